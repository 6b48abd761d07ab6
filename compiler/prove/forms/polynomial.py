"""Normal form N1: sparse polynomials with rational coefficients over atoms, with negative powers of atoms allowed.

    polynomial = {monomial: coefficient}        monomial = ((atom, power), ...) sorted by atom number

An atom is anything that the ring operations do not look into: a leaf, a root, a sum over an axis, a matrix word.
Four kinds carry a law that the product applies at once, so that equal values get equal polynomials more often:
roots (s² is what stands below the root), absolute values, truth values (i² = i) and signs (s³ = s).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from dotopt.compiler.prove.forms.atoms import Atom, Monomial, atom, existing, no_atoms
from dotopt.compiler.prove.forms.text import render, render_atom
from dotopt.compiler.prove.fuel import TooLarge, remaining, spend, within

PAIR, TERM = 3, 1  # work for each product of two terms, and for each term of a result
MOST_PRODUCTS = 40_000  # pairs of terms in one multiplication; beyond it the expression is given up


def forget_atoms() -> None:
    """Starts anew, so that the order of atoms, and with it every normal form, depends on one claim alone."""
    no_atoms()
    fraction.cache_clear()
    render_atom.cache_clear()


@dataclass(frozen=True, slots=True)
class Polynomial:
    """An immutable polynomial; two that are equal as polynomials compare equal.

    >>> x = variable("x")
    >>> (x + 1)**2 - x**2 - 2*x
    1
    """

    terms: tuple[tuple[Monomial, Fraction], ...]
    _hash: int = field(compare=False, default=0)

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Polynomial | Fraction | int) -> Polynomial:
        total = dict(self.terms)
        for monomial, coefficient in _lift(other).terms:
            total[monomial] = total.get(monomial, Fraction(0)) + coefficient
        return make(total)

    def __neg__(self) -> Polynomial:
        return self * -1

    def __sub__(self, other: Polynomial | Fraction | int) -> Polynomial:
        return self + -_lift(other)

    def __radd__(self, other: Fraction | int) -> Polynomial:
        return self + other

    def __rmul__(self, other: Fraction | int) -> Polynomial:
        return self * other

    def __rsub__(self, other: Fraction | int) -> Polynomial:
        return _lift(other) - self

    def __mul__(self, other: Polynomial | Fraction | int) -> Polynomial:
        right = _lift(other)
        if len(right.terms) == 1 and not right.terms[0][0]:
            factor = right.terms[0][1]
            return _frozen(tuple((m, c * factor) for m, c in self.terms))
        pairs = len(self.terms) * len(right.terms)
        if pairs > MOST_PRODUCTS or (pairs > 50 and remaining() < 0):
            raise TooLarge("the expression is too large when multiplied out")
        spend(PAIR * pairs)
        total: dict[Monomial, Fraction] = {}
        late: list[Polynomial] = []
        for m1, c1 in self.terms:
            for m2, c2 in right.terms:
                monomial, law = merge(m1, m2)
                if law is None:
                    total[monomial] = total.get(monomial, Fraction(0)) + c1 * c2
                else:
                    late.append(_law(monomial) * (c1 * c2))
        for extra in late:
            for monomial, coefficient in extra.terms:
                total[monomial] = total.get(monomial, Fraction(0)) + coefficient
        return make(total)

    def __pow__(self, power: int) -> Polynomial:
        result, base = ONE, self
        while power:
            if power & 1:
                result = result * base
            power >>= 1
            if power:
                base = base * base
        return result

    def __repr__(self) -> str:
        return render(self)

    @property
    def zero(self) -> bool:
        """Whether this is the zero polynomial."""
        return not self.terms

    @property
    def constant(self) -> Fraction | None:
        """The number, if no atom occurs."""
        if not self.terms:
            return Fraction(0)
        if len(self.terms) == 1 and not self.terms[0][0]:
            return self.terms[0][1]
        return None

    @property
    def axes(self) -> frozenset[str]:
        """The axes along which it varies."""
        return frozenset().union(*(a.axes for a in self.atoms()))

    def atoms(self) -> Iterator[Atom]:
        """The atoms that occur, each once, not those inside other atoms."""
        seen: set[Atom] = set()
        for monomial, _ in self.terms:
            for a, _ in monomial:
                if a not in seen:
                    seen.add(a)
                    yield a

    def replace(self, table: Callable[[Atom], Polynomial | None]) -> Polynomial:
        """With atoms of non-negative power replaced at the top level; others stay."""
        total: dict[Monomial, Fraction] = {}
        for monomial, coefficient in self.terms:
            new = [(value, power) for a, power in monomial if power > 0 and (value := table(a)) is not None]
            kept = tuple(f for f in monomial if f[1] <= 0 or table(f[0]) is None) if new else monomial
            term = _frozen(((kept, coefficient),))
            for value, power in new:
                term = term * value**power
            accumulate(total, term)
        return make(total)


def _frozen(terms: tuple[tuple[Monomial, Fraction], ...]) -> Polynomial:
    terms = tuple(t for t in terms if t[1] != 0)
    return Polynomial(terms, hash(terms))


def _order(term: tuple[Monomial, Fraction]) -> tuple[tuple[int, int], ...]:
    return tuple((a.number, p) for a, p in term[0])


def make(terms: dict[Monomial, Fraction]) -> Polynomial:
    """The polynomial with these terms."""
    spend(TERM * len(terms) + 1)
    return _frozen(tuple(sorted(((m, c) for m, c in terms.items() if c != 0), key=_order)))


def accumulate(total: dict[Monomial, Fraction], p: Polynomial) -> None:
    """Adds p to a polynomial that is being made."""
    for monomial, coefficient in p.terms:
        total[monomial] = total.get(monomial, Fraction(0)) + coefficient


def number(value: Fraction | int) -> Polynomial:
    """A constant polynomial."""
    return _frozen((((), Fraction(value)),))


ZERO = _frozen(())
ONE = number(1)
MINUS_ONE = number(-1)


def _lift(value: Polynomial | Fraction | int) -> Polynomial:
    return value if isinstance(value, Polynomial) else number(value)


def single_product(monomial: Monomial) -> Polynomial:
    """The polynomial that is this monomial."""
    return _frozen(((monomial, Fraction(1)),))


def single(a: Atom, power: int = 1) -> Polynomial:
    """A power of one atom."""
    return _law(((a, power),)) if _has_law(a, power) else _frozen(((((a, power),), Fraction(1)),))


def variable(name: str) -> Polynomial:
    """A free scalar."""
    return single(atom("leaf", "free", name))


# ---- products of monomials -----------------------------------------------------------------------------------------


def merge(left: Monomial, right: Monomial) -> tuple[Monomial, bool | None]:
    """The product of two monomials; the second result is not None if a law must still be applied."""
    if not left:
        return right, None
    if not right:
        return left, None
    powers = dict(left)
    law = None
    for a, p in right:
        total = powers.get(a, 0) + p
        if total:
            powers[a] = total
            if _has_law(a, total):
                law = True
        else:
            del powers[a]
    return tuple(sorted(powers.items(), key=lambda item: item[0].number)), law


def _has_law(a: Atom, power: int) -> bool:
    match a.kind:
        case "sqrt" | "abs":
            return power not in (0, 1)
        case "truth":
            return power > 1
        case "sign":
            return power > 2 or power < 0
        case "sin":
            return power > 1
        case "pow":  # of -1
            return a.key[0] == MINUS_ONE and power not in (0, 1)
        case _:
            return False


def _law(monomial: Monomial) -> Polynomial:
    """The monomial after the laws of roots, truth values, signs and sines."""
    result = ONE
    plain: dict[Atom, int] = {}
    for a, power in monomial:
        match a.kind:
            case "sqrt" if power not in (0, 1):
                inside: Polynomial = a.key[0]
                half, odd = divmod(power, 2)
                result = result * (inside**half if half >= 0 else inverse(inside) ** -half)
                if odd:
                    result = result * _frozen(((((a, 1),), Fraction(1)),))
            case "abs" if power not in (0, 1):
                half, odd = divmod(power, 2)
                inside = a.key[0]
                result = result * (inside ** (2 * half) if half >= 0 else inverse(inside) ** (-2 * half))
                if odd:
                    result = result * _frozen(((((a, 1),), Fraction(1)),))
            case "truth" if power > 1:
                plain[a] = 1
            case "sign" if power > 2 or power < 0:
                plain[a] = 2 - power % 2 if power > 2 else 1 + (power + 1) % 2
            case "sin" if power > 1:  # sin² = 1 - cos²
                half, odd = divmod(power, 2)
                result = result * (ONE - single(atom("cos", *a.key, axes=a.axes)) ** 2) ** half
                plain |= {a: 1} if odd else {}
            case "pow" if a.key[0] == MINUS_ONE:
                plain |= {a: 1} if power % 2 else {}
            case _:
                plain[a] = power
    rest = tuple(sorted(plain.items(), key=lambda item: item[0].number))
    return result * _frozen(((rest, Fraction(1)),))


# ---- quotients -----------------------------------------------------------------------------------------------------


def inverse(p: Polynomial) -> Polynomial:
    """1/p, an atom of its own unless p is one term; the caller keeps the condition p ≠ 0.

    Raises ZeroDivisionError if p is the zero polynomial.
    """
    if p.zero:
        raise ZeroDivisionError("division by zero")
    top, bottom = fraction(p)
    if bottom != ONE:
        return bottom * inverse(top)
    content, rest = split_content(p)
    result = ONE
    for a, power in content[0]:
        if a.kind == "inverse":
            result = result * a.key[0] ** power if power > 0 else result * single(a, -power)
        elif a.kind == "truth":
            result = result * single(atom("inverse", single(a), axes=a.axes)) ** power
        else:
            result = result * single(a, -power)
    result = result * (1 / content[1])
    if rest != ONE:
        result = result * single(atom("inverse", rest, axes=rest.axes))
    return result


def split_content(p: Polynomial) -> tuple[tuple[Monomial, Fraction], Polynomial]:
    """The greatest common monomial and the leading coefficient, and what is left, with leading coefficient 1."""
    common = dict(p.terms[0][0])
    for monomial, _ in p.terms[1:]:
        here = dict(monomial)
        for a in list(common):
            power = (
                min(common[a], here.get(a, 0))
                if a.kind not in ("sqrt", "abs", "truth", "sign")
                else (common[a] if here.get(a, 0) == common[a] else 0)
            )
            if a not in here and common[a] < 0:
                power = common[a]
            if power:
                common[a] = power
            else:
                del common[a]
        for a, power in here.items():
            if power < 0 and a not in common:
                common[a] = power
            elif power < 0:
                common[a] = min(common[a], power)
    lead = p.terms[-1][1]
    content = tuple(sorted(common.items(), key=lambda item: item[0].number))
    back = dict(content)
    terms: dict[Monomial, Fraction] = {}
    for monomial, coefficient in p.terms:
        powers = dict(monomial)
        for a, power in back.items():
            powers[a] = powers.get(a, 0) - power
            if not powers[a]:
                del powers[a]
        terms[tuple(sorted(powers.items(), key=lambda item: item[0].number))] = coefficient / lead
    return (content, lead), make(terms)


@lru_cache(maxsize=50_000)
def fraction(p: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Numerator and denominator without `inverse` atoms and negative powers at the top level.

    >>> x, y = variable("x"), variable("y")
    >>> fraction(inverse(x + y) + inverse(y))[0]
    2*y + x
    """
    bottom = ONE
    for _ in range(50):
        powers: dict[Atom, int] = {}
        for monomial, _c in p.terms:
            for a, power in monomial:
                if (a.kind == "inverse" and power > 0) or power < 0:
                    powers[a] = max(powers.get(a, 0), abs(power))
        if not powers:
            return p, bottom
        total: dict[Monomial, Fraction] = {}
        for monomial, coefficient in p.terms:
            here = dict(monomial)
            term = _frozen(((tuple(f for f in monomial if f[0] not in powers), coefficient),))
            for a, most in powers.items():
                power = here.get(a, 0)
                base = a.key[0] if a.kind == "inverse" else single(a)
                term = term * base ** (most - power if a.kind == "inverse" else most + power)
            accumulate(total, term)
        top = make(total)
        for a, most in powers.items():
            bottom = bottom * (a.key[0] if a.kind == "inverse" else single(a)) ** most
        p = top
    raise ArithmeticError("quotients nested too deep")


__all__ = [
    "ONE",
    "ZERO",
    "Atom",
    "Monomial",
    "Polynomial",
    "TooLarge",
    "atom",
    "existing",
    "forget_atoms",
    "fraction",
    "inverse",
    "make",
    "merge",
    "number",
    "remaining",
    "single",
    "single_product",
    "split_content",
    "variable",
    "within",
]
