"""Laws that relate two atoms: inequalities of Cauchy and Schwarz between sums, and monotone functions.

Each holds for all values of the arguments for which both sides are defined.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import combinations
from typing import TYPE_CHECKING, Any

from dotopt.compiler.analysis.intervals import never_below_zero
from dotopt.compiler.prove.forms.axioms import MOST, of_two
from dotopt.compiler.prove.forms.polynomial import Atom, Monomial, Polynomial, atom, existing
from dotopt.compiler.prove.solver.logic import Term

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.smt import Smt

NEVER_NEGATIVE = frozenset(("truth", *never_below_zero()))  # kinds of atoms


def laws(atoms: set[Atom], smt: Smt) -> Iterator[Term]:
    """What holds between these atoms, all that are inside others included."""
    ordered = sorted(atoms, key=lambda a: a.number)
    yield from _cauchy_schwarz(ordered, smt)
    for a, b in combinations(_of("exp", ordered), 2):
        yield from _multiples(a, b, smt)
    yield from of_two(ordered, smt)


def _of(kind: str, atoms: list[Atom]) -> list[Atom]:
    return [a for a in atoms if a.kind == kind][:MOST]


def _below(a: Atom) -> Polynomial:
    inside: Polynomial = a.key[0]
    return inside


def _multiples(a: Atom, b: Atom, smt: Smt) -> Iterator[Term]:
    """exp(p*x)^q = exp(q*x)^p for small whole p and q."""
    (first, c), *more = _below(a).terms
    (second, d), *others = _below(b).terms
    ratio = c / d
    if first == second and not more and not others and 0 < max(ratio.numerator, ratio.denominator) <= MOST:
        yield smt.variable(a) ** ratio.denominator == smt.variable(b) ** ratio.numerator


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
