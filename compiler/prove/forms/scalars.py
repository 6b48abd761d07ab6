"""Functions of one polynomial: roots, absolute values, signs, truth values and powers, under a way of knowing signs.

A factor known to be positive is pulled out of roots, signs, comparisons and maxima, which is what makes homogeneity
visible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import isqrt

from dotopt.compiler.ops import OPERATIONS, Absent
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    ZERO,
    Atom,
    Polynomial,
    atom,
    fraction,
    inverse,
    number,
    single,
    single_product,
    split_content,
)

HIGHEST = 12  # power of an exponential that is written out


WHOLE = ("size", "truth", "sign", "floor")  # kinds of atoms that are integers


class Unsupported(Exception):
    """The normal form of this node is not defined; the message says why."""


@dataclass
class Scalars:
    """`positive(p)` and `nonnegative(p)` answer only when they are sure; `integers` are known by their types."""

    positive: Callable[[Polynomial], bool] = lambda p: (p.constant or 0) > 0
    nonnegative: Callable[[Polynomial], bool] = lambda p: (p.constant or 0) > 0
    integers: set[Atom] = field(default_factory=set)

    def content(self, p: Polynomial) -> tuple[Polynomial, Polynomial]:
        """A positive factor of p, and what is left: p = factor * rest."""
        if p.zero:
            return ONE, p
        (monomial, lead), _ = split_content(p)
        factor = tuple(f for f in monomial if f[0].kind != "truth" and self.positive(single(f[0])))
        scale = single_product(factor) * abs(lead)
        if scale == ONE:
            return ONE, p
        return scale, p * inverse(scale)

    def _without_quotient(self, p: Polynomial) -> Polynomial:
        """p times a positive factor that clears positive denominators: has the sign of p, and may be 0 written so."""
        top, bottom = fraction(p)
        if bottom == ONE or bottom.constant is not None:
            return p
        return top if self.positive(bottom) else -top if self.positive(-bottom) else p

    def absolute(self, p: Polynomial) -> Polynomial:
        """|p|."""
        if p.zero or self.nonnegative(p):
            return p
        if self.nonnegative(-p):
            return -p
        factor, rest = self.content(p)
        top, bottom = fraction(rest)
        if bottom != ONE and self.positive(-bottom):
            top, bottom = -top, -bottom
        if bottom != ONE and bottom.constant is None and self.positive(bottom):
            if top.zero:
                return ZERO
            inner, top = self.content(top)
            factor, rest = factor * inner * inverse(bottom), top
        if rest.terms[-1][1] < 0:
            rest = -rest
        if rest == ONE:
            return factor
        if len(rest.terms) == 1:
            return factor * self._product(rest, self._size)
        return factor * single(atom("abs", rest, axes=rest.axes))

    def _product(self, p: Polynomial, one: Callable[[Polynomial], Polynomial]) -> Polynomial:
        """A multiplicative function of a monomial with coefficient 1, factor by factor."""
        result = ONE
        for a, power in p.terms[0][0]:
            value = single(a) if self.nonnegative(single(a)) else one(single(a))
            result = result * (value**power if power > 0 else inverse(value) ** -power)
        return result

    def sign(self, p: Polynomial) -> Polynomial:
        """sign(p), zero at zero."""
        if p.zero:
            return ZERO
        if self.positive(p):
            return ONE
        if self.positive(-p):
            return -ONE
        _, rest = self.content(self._without_quotient(p))
        if rest.zero:
            return ZERO
        _, rest = self.content(rest)
        flipped = rest.terms[-1][1] < 0
        value = single(atom("sign", -rest if flipped else rest, axes=rest.axes))
        return -value if flipped else value

    def truth(self, p: Polynomial) -> Polynomial:
        """1 where p > 0, else 0."""
        if p.zero or self.nonnegative(-p):
            return ZERO
        if self.positive(p):
            return ONE
        _, rest = self.content(self._without_quotient(p))
        if rest.zero:
            return ZERO
        _, rest = self.content(rest)
        return single(atom("truth", "gt", rest, axes=rest.axes))

    def equal(self, p: Polynomial) -> Polynomial:
        """1 where p = 0, else 0."""
        if p.zero:
            return ONE
        if self.positive(p) or self.positive(-p):
            return ZERO
        _, rest = self.content(self._without_quotient(p))
        if rest.zero:
            return ONE
        if rest.terms[-1][1] < 0:
            rest = -rest
        return single(atom("truth", "eq", rest, axes=rest.axes))

    def root(self, p: Polynomial) -> Polynomial:
        """√p: factors known to be positive and even powers come out."""
        if p.zero:
            return ZERO
        top, bottom = fraction(p)
        if bottom != ONE:
            if self.positive(-bottom):
                top, bottom = -top, -bottom
            if not self.positive(bottom):
                return self.root(top * bottom) * inverse(self.absolute(bottom))
            return self.root(top) * inverse(self.root(bottom))
        (monomial, lead), rest = split_content(p)
        lead = abs(lead)
        numerator, denominator = lead.numerator * lead.denominator, lead.denominator
        outside = number(Fraction(_square_part(numerator), denominator))
        inside = number(Fraction(numerator, _square_part(numerator) ** 2))
        sign = 1 if p.terms[-1][1] > 0 else -1
        for a, power in monomial:
            base = single(a)
            half, odd = divmod(power, 2)
            if half:
                size = base if self.nonnegative(base) else self.absolute(base)
                outside = outside * (size**half if half > 0 else inverse(size) ** -half)
            if odd and self.positive(base):
                outside = outside * single(atom("sqrt", base, axes=a.axes))
            elif odd:
                inside = inside * base
        inside = inside * rest * sign
        if inside == ONE:
            return outside
        return outside * single(atom("sqrt", inside, axes=inside.axes))

    def power(self, base: Polynomial, exponent: Polynomial) -> Polynomial:
        """base ^ exponent."""
        constant = exponent.constant
        if constant is not None:
            if constant.denominator == 1:
                power = int(constant)
                if abs(power) > 12 and len(base.terms) > 1:
                    raise Unsupported("a high power of a sum")
                return base**power if power >= 0 else inverse(base) ** -power
            if constant.denominator == 2:
                root = self.root(base)
                power = int(constant * 2)
                return root**power if power >= 0 else inverse(root) ** -power
            whole = constant.numerator // constant.denominator
            value = single(atom("pow", base, number(constant - whole), axes=base.axes))
            return value * (base**whole if whole >= 0 else inverse(base) ** -whole)
        if base == ONE:
            return ONE
        if base.zero and self.positive(exponent):
            return ZERO
        if len(base.terms) == 1:
            apart = self._factors_to_the(base, exponent)
            if apart is not None:
                return apart
        result = ONE
        many = self.positive(base)
        offset = next((c for m, c in exponent.terms if not m), Fraction(0))
        whole = offset.numerator // offset.denominator
        if whole > 0 or (whole and many):
            result = base**whole if whole >= 0 else inverse(base) ** -whole
            exponent = exponent - whole
        parts = [number(c) * single_product(m) for m, c in exponent.terms] if many else [exponent]
        for part in parts:
            factor = Fraction(1)
            if len(part.terms) == 1:
                c = part.terms[0][1]
                if c.denominator == 1 and (many or (c > 0 and self._splits(base, part * (1 / c)))):
                    factor, part = c, part * (1 / c)
            value = single(atom("pow", base, part, axes=base.axes | part.axes))
            result = result * (value ** int(factor) if factor > 0 else inverse(value) ** int(-factor))
        return result

    def _factors_to_the(self, base: Polynomial, exponent: Polynomial) -> Polynomial | None:
        """(x*y)^e = x^e * y^e for whole e, and for positive factors; (x^d)^e = x^(d*e) for positive x."""
        ((monomial, c),) = base.terms
        whole, alone = self.whole(exponent), c == 1 and len(monomial) == 1 and monomial[0][1] == 1
        if not whole and (c < 0 or not all(self.positive(single(a)) for a, _ in monomial)):
            return None
        if (alone and not (monomial[0][0].kind in ("pow", "exp") and self.positive(base))) or (c > 0 and not monomial):
            return None
        result = ONE if abs(c) == 1 else self.power(number(abs(c)), exponent)
        for m, k in exponent.terms if c < 0 else ():  # of -1 the odd powers are left
            result = result * (single(atom("pow", number(-1), single_product(m))) if m and k % 2 else 1)
            result = result * (-1 if not m and k % 2 else 1)
        for a, power in monomial:
            match a.kind, a.key:
                case "exp", (inside,):
                    value = self.function("exp", inside * exponent * abs(power))
                case "pow", (other, inner) if self.positive(other):
                    value = self.power(other, inner * exponent * abs(power))
                case _:
                    value = self.power(single(a), exponent * abs(power))
            result = result * (value if power > 0 else inverse(value))
        return result

    def _size(self, a: Polynomial) -> Polynomial:
        """|a| for an atom a."""
        ((monomial, _),) = a.terms
        ((here, _),) = monomial
        if here.kind == "pow" and self.whole(here.key[1]):
            return self.power(self.absolute(here.key[0]), here.key[1])
        return single(atom("abs", a, axes=a.axes))

    def _splits(self, base: Polynomial, exponent: Polynomial) -> bool:
        """Whether base^(n*exponent) = (base^exponent)^n for natural n; x^(2*y) is no square at x = -1, y = 1/2."""
        return self.whole(exponent) or self.nonnegative(base)

    def whole(self, p: Polynomial) -> bool:
        """Whether p is an integer, by its coefficients and atoms."""
        return all(
            c.denominator == 1 and all(power > 0 and (a in self.integers or a.kind in WHOLE) for a, power in monomial)
            for monomial, c in p.terms
        )

    def floor(self, p: Polynomial) -> Polynomial:
        """The integer below p: what is whole comes out."""
        outside = ZERO
        for monomial, c in p.terms:
            whole = c.numerator // c.denominator
            if whole and self.whole(single_product(monomial)) and (not monomial or c == whole):
                outside = outside + single_product(monomial) * whole
        rest = p - outside
        return outside if rest.constant is not None else outside + single(atom("floor", rest, axes=rest.axes))

    def function(self, name: str, p: Polynomial) -> Polynomial:
        """A function of one number, of p: sums below exp become products, signs come out of odd and even functions."""
        row = OPERATIONS[name]
        if p.zero and not isinstance(row.known, Absent):
            for at, exact in row.known:
                if at == "0" and exact.isdigit():
                    return number(Fraction(exact))
        if name == "log" and not p.zero:
            return self._logarithm(p)
        if name == "exp":
            result = ONE
            for monomial, c in p.terms:
                power = abs(c.numerator) if abs(c.numerator) <= HIGHEST else 1
                part = single_product(monomial) * (abs(c) / power)
                value = single(atom("exp", part, axes=part.axes))
                result = result * (value**power if c > 0 else inverse(value) ** power)
            return result
        if p.zero or isinstance(row.parity, Absent) or p.terms[-1][1] > 0:
            return single(atom(name, p, axes=p.axes))
        value = single(atom(name, -p, axes=p.axes))
        return value if row.parity == "even" else -value

    def _logarithm(self, p: Polynomial) -> Polynomial:
        """log p: positive factors become terms."""
        top, bottom = fraction(p)
        if bottom != ONE and self.positive(bottom):
            return self._logarithm(top) - self._logarithm(bottom)
        factor, rest = self.content(p)
        ((monomial, scale),) = factor.terms
        result = ZERO if scale == 1 else single(atom("log", number(scale)))
        if len(rest.terms) == 1 and rest != ONE:  # of what has no sign, even powers are powers of |…|
            even = tuple(f for f in rest.terms[0][0] if f[1] % 2 == 0)
            rest = rest * single_product(tuple((a, -power) for a, power in even))
            for a, power in even:
                size = self.absolute(single(a))
                result = result + single(atom("log", size, axes=size.axes)) * power
        for a, power in monomial:
            match a.kind, a.key:
                case "exp", (exponent,):
                    result = result + exponent * power
                case "sqrt", (inside,):
                    result = result + self._logarithm(inside) * Fraction(power, 2)
                case "inverse", (inside,):
                    result = result - self._logarithm(inside) * power
                case "pow", (base, exponent) if self.positive(base):
                    result = result + self._logarithm(base) * exponent * power
                case _:
                    result = result + single(atom("log", single(a), axes=a.axes)) * power
        return result if rest == ONE else result + single(atom("log", rest, axes=rest.axes))


def _square_part(n: int) -> int:
    """The largest k with k² dividing n, by trial division of small primes.

    >>> _square_part(72)
    6
    """
    if isqrt(n) ** 2 == n:
        return isqrt(n)
    k, d = 1, 2
    while d * d <= n and d < 10_000:
        while n % (d * d) == 0:
            k, n = k * d, n // (d * d)
        d += 1
    return k
