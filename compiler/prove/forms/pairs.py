"""Laws that relate two atoms: inequalities of Cauchy and Schwarz between sums, and monotone functions.

Each holds for all values of the arguments for which both sides are defined.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

from dotopt.compiler.prove.forms.polynomial import Atom, Monomial, Polynomial, atom, existing
from dotopt.compiler.prove.solver.logic import And, If, Implies, Term

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.smt import Smt

NEVER_NEGATIVE = ("sqrt", "abs", "truth", "exp", "size")  # kinds of atoms
MOST = 4  # atoms of one kind that are compared with each other


def laws(atoms: set[Atom], smt: Smt) -> Iterator[Term]:
    """What holds between these atoms, all that are inside others included."""
    ordered, uses = sorted(atoms, key=lambda a: a.number), set[Atom]()
    yield from _cauchy_schwarz(ordered, smt)
    for kind, law in (("exp", _exponentials), ("tanh", _increasing), ("erf", _increasing), ("log", _logarithms)):
        for a, b in combinations(_of(kind, ordered), 2):
            yield from law(smt.variable(a), smt.term(_below(a), uses), smt.variable(b), smt.term(_below(b), uses))
    for a, b in combinations(_of("exp", ordered), 2):
        yield from _multiples(a, b, smt)
    for a, b in product(_of("log", ordered), _of("exp", ordered)):
        inside, exponent = smt.term(_below(a), uses), smt.term(_below(b), uses)
        yield from _inverse(smt.variable(a), inside, smt.variable(b), exponent)
    for a, b in combinations(_of("pow", ordered), 2):
        yield from _powers(a, b, smt, uses)


def _of(kind: str, atoms: list[Atom]) -> list[Atom]:
    return [a for a in atoms if a.kind == kind][:MOST]


def _below(a: Atom) -> Polynomial:
    inside: Polynomial = a.key[0]
    return inside


def _increasing(v: Any, x: Any, w: Any, y: Any) -> Iterator[Term]:
    """v = f(x), w = f(y), f strictly increasing."""
    yield (x < y) == (v < w)
    yield (y < x) == (w < v)


def _multiples(a: Atom, b: Atom, smt: Smt) -> Iterator[Term]:
    """exp(p*x)^q = exp(q*x)^p for small whole p and q."""
    (first, c), *more = _below(a).terms
    (second, d), *others = _below(b).terms
    ratio = c / d
    if first == second and not more and not others and 0 < max(ratio.numerator, ratio.denominator) <= MOST:
        yield smt.variable(a) ** ratio.denominator == smt.variable(b) ** ratio.numerator


def _exponentials(v: Any, x: Any, w: Any, y: Any) -> Iterator[Term]:
    """Each is above the tangent at the other."""
    yield from _increasing(v, x, w, y)
    yield And(v >= w * (1 + x - y), w >= v * (1 + y - x))


def _logarithms(v: Any, x: Any, w: Any, y: Any) -> Iterator[Term]:
    yield Implies(And(x > 0, y > 0), And(*_increasing(v, x, w, y)))


def _inverse(log: Any, inside: Any, exp: Any, exponent: Any) -> Iterator[Term]:
    """log(p) >= q where p >= exp(q), and the other way round."""
    yield Implies(inside > 0, And((inside < exp) == (log < exponent), (inside > exp) == (log > exponent)))


def _powers(a: Atom, b: Atom, smt: Smt, uses: set[Atom]) -> Iterator[Term]:
    """b^e grows with b for e >= 0; with e for b >= 1; it falls with e for 0 < b <= 1."""
    (base, exponent), (other, its) = a.key, b.key
    v, w = smt.variable(a), smt.variable(b)
    if exponent == its:
        x, y, e = smt.term(base, uses), smt.term(other, uses), smt.term(exponent, uses)
        for low, high, small, large in ((x, y, v, w), (y, x, w, v)):
            yield Implies(And(low >= 0, low <= high, e > 0), small <= large)
            yield Implies(And(low >= 0, low < high, e > 0), small < large)
            yield from _tangent_and_chord(low, high, e, small, large)
    if base == other:
        x, d, e = smt.term(base, uses), smt.term(exponent, uses), smt.term(its, uses)
        for low, high, small, large in ((d, e, v, w), (e, d, w, v)):
            yield Implies(And(x >= 1, low <= high), small <= large)
            yield Implies(And(x > 0, x <= 1, low <= high), small >= large)


def _tangent_and_chord(x: Any, y: Any, e: Any, v: Any, w: Any) -> Iterator[Term]:
    """v = x^e is on one side of the tangent at y, w = y^e, and for x <= y on one side of the chord from 0."""
    inside, tangent = And(e >= 0, e <= 1), w * (y + e * (x - y))
    yield Implies(And(x > 0, y > 0), If(inside, v * y <= tangent, v * y >= tangent))
    chord = If(inside, v * y >= w * x, Implies(e >= 1, v * y <= w * x))
    yield Implies(And(x > 0, x <= y), chord)


# ---- sums ----------------------------------------------------------------------------------------------------------


def _cauchy_schwarz(atoms: Iterable[Atom], smt: Smt) -> Iterator[Term]:
    sums = {opened(a): a for a in atoms if a.kind == "sum"}
    for (axes, inside), a in sums.items():
        v = smt.variable(a)
        sizes = [atom("size", axis) for axis in axes]
        known = all(size in atoms for size in sizes)
        if len(inside) == 2 and all(power == 1 for _, power in inside):
            (x, _), (y, _) = inside
            xx, yy = sums.get((axes, ((x, 2),))), sums.get((axes, ((y, 2),)))
            if xx is not None and yy is not None:
                yield v * v <= smt.variable(xx) * smt.variable(yy)
        if len(inside) == 1 and inside[0][1] == 1:  # (Σx)² ≤ n Σx²
            xx = sums.get((axes, ((inside[0][0], 2),)))
            if xx is not None and known:
                yield v**2 <= _product(smt.variable(size) for size in sizes) * smt.variable(xx)
        xx = sums.get((axes, _squared(inside)))
        if xx is not None:  # Σx² ≤ (Σ|x|)² ≤ n Σx²
            yield smt.variable(xx) <= v**2
            yield v >= 0
            if known:
                yield v**2 <= _product(smt.variable(size) for size in sizes) * smt.variable(xx)


def opened(a: Atom) -> tuple[tuple[str, ...], Monomial]:
    """The axes of nested sums, the outer one first, and what is summed."""
    axis, inside = a.key
    if len(inside) == 1 and inside[0][1] == 1 and inside[0][0].kind == "sum":
        axes, term = opened(inside[0][0])
        return (axis, *axes), term
    return (axis,), inside


def squares(a: Atom) -> Iterator[Atom]:
    """For Σ x*y the sums of squares of x and y that occur anywhere: Cauchy and Schwarz relate them."""
    if a.kind != "sum":
        return
    axes, inside = opened(a)
    found = [_made(axes, squared)] if (squared := _squared(inside)) else []
    found += [_made(axes, ((b, 2),)) for b, _ in inside if len(inside) <= 2]
    for total in found:
        if total is not None:
            yield total
            yield from (size for axis in axes if (size := existing("size", axis)) is not None)


def _made(axes: tuple[str, ...], inside: Monomial) -> Atom | None:
    """The atom of a nested sum, if it was ever made."""
    varying = frozenset(axis for b, _ in inside for axis in b.axes)
    for axis in reversed(axes):
        varying -= {axis}
        found = existing("sum", axis, inside, axes=varying)
        if found is None:
            return None
        inside = ((found, 1),)
    return inside[0][0]


def _product(factors: Iterable[Any]) -> Any:
    return reduce(operator.mul, factors)


def _squared(inside: Monomial) -> Monomial:
    """The square of what stands under a sum without negative terms; empty for other sums."""
    if not never_negative(inside):
        return ()
    powers: dict[Atom, int] = {}
    for a, power in inside:
        terms = a.key[0].terms if a.kind == "abs" else (((((a, 1),)), 1),)
        if len(terms) != 1 or abs(terms[0][1]) != 1 or a.kind in ("sqrt", "truth"):
            return ()
        for b, own in terms[0][0]:
            powers[b] = powers.get(b, 0) + 2 * power * own
    return tuple(sorted(powers.items(), key=lambda item: item[0].number))


def never_negative(monomial: Monomial) -> bool:
    """Whether a product of atoms is at least zero wherever it has a value, whatever the premises say."""
    return all(power % 2 == 0 or b.kind in NEVER_NEGATIVE or _sum_of_such(b) for b, power in monomial)


def _sum_of_such(a: Atom) -> bool:
    return a.kind == "sum" and never_negative(a.key[1])


__all__ = ["laws", "never_negative", "opened", "squares"]
