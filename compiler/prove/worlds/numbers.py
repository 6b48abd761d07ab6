"""Exact numbers for counterexamples: fractions where possible, else 40 digits; None where a value is not defined.

A comparison of two rounded numbers that are too close to tell apart is None as well, so that rounding never decides a
branch. What is found so is looked at again with intervals in the place of digits (`enclosures`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from typing import Any

import mpmath

from dotopt.compiler.ops import OPERATIONS, Absent, present
from dotopt.compiler.prove.worlds import enclosures
from dotopt.compiler.prove.worlds.enclosures import Enclosure, enclosure

DIGITS = 40
CLOSE = mpmath.mpf(10) ** -24
FAR = mpmath.mpf(10) ** -12

mpmath.mp.dps = DIGITS


def plain(x: Any) -> Any:
    """Booleans count as 0 and 1."""
    return Fraction(int(x)) if isinstance(x, bool) else x


def real(x: Any) -> Any:
    """As a number of 40 digits, or an interval."""
    x = plain(x)
    if enclosures.active():
        return x if isinstance(x, Enclosure) else enclosure(x)
    return mpmath.mpf(x.numerator) / x.denominator if isinstance(x, Fraction) else x


def pi() -> Any:
    """π."""
    return +mpmath.iv.pi if enclosures.active() else +mpmath.pi


def _binary(exact: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(x: Any, y: Any) -> Any:
        if x is None or y is None:
            return None
        x, y = plain(x), plain(y)
        if isinstance(x, Fraction) and isinstance(y, Fraction):
            return exact(x, y)
        return exact(real(x), real(y))

    return apply


add = _binary(operator.add)
sub = _binary(operator.sub)
_product = _binary(operator.mul)


def mul(x: Any, y: Any) -> Any:
    """x * y; an exact zero stays exact."""
    if x is None or y is None:
        return None
    return Fraction(0) if _zero(x) or _zero(y) else _product(x, y)


def _zero(x: Any) -> bool:
    return not isinstance(x, Enclosure) and bool(x == 0)


def _quotient(x: Any, y: Any) -> Any:
    if isinstance(y, Enclosure):
        return None if enclosures.order(y) is None else x / y
    return None if y == 0 or (not isinstance(y, Fraction) and abs(y) < CLOSE) else x / y


div = _binary(_quotient)


def power(x: Any, y: Any) -> Any:
    """x ^ y for real results."""
    if x is None or y is None:
        return None
    x, y = plain(x), plain(y)
    if isinstance(x, Enclosure) or isinstance(y, Enclosure):
        return enclosures.power(real(x), y)
    if isinstance(y, Fraction) and y.denominator == 1 and abs(y) < 400:
        if x == 0:
            return None if y < 0 else Fraction(int(y == 0))
        return x ** int(y)
    if isinstance(y, Fraction) and y.denominator == 2:
        root = sqrt(x)
        return power(root, Fraction(y.numerator))
    if x < 0 or (x == 0 and y <= 0):
        return None
    if x == 0:
        return Fraction(0)
    return enclosures.power(real(x), y) if enclosures.active() else mpmath.power(real(x), real(y))


def sqrt(x: Any) -> Any:
    """√x, exact for squares of fractions."""
    if x is None:
        return None
    x = plain(x)
    if isinstance(x, Fraction):
        if x < 0:
            return None
        n, d = isqrt(x.numerator), isqrt(x.denominator)
        if n * n == x.numerator and d * d == x.denominator:
            return Fraction(n, d)
    elif isinstance(x, mpmath.mpf) and x < 0:
        return None
    return enclosures.root(real(x)) if enclosures.active() else mpmath.sqrt(real(x))


def tell(x: Any, y: Any) -> int | None:
    """-1, 0, 1 as x is below, equal to or above y; None if they are too close to tell."""
    if x is None or y is None:
        return None
    x, y = plain(x), plain(y)
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return (x > y) - (x < y)
    difference = real(x) - real(y)
    if isinstance(difference, Enclosure):
        return enclosures.order(difference)
    if abs(difference) <= FAR * (1 + abs(real(x)) + abs(real(y))):
        return None
    return 1 if difference > 0 else -1


def same(x: Any, y: Any) -> bool | None:
    """Whether two values are equal: to 24 digits if they are rounded; None if they are close but not that close."""
    if x is None or y is None:
        return None
    x, y = plain(x), plain(y)
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return bool(x == y)
    if enclosures.active():
        return None if enclosures.order(real(x) - real(y)) is None else False
    return close(x, y)


def close(x: Any, y: Any) -> bool | None:
    """Whether two numbers have 24 digits in common, or none beyond 12."""
    x, y = enclosures.middle(plain(x)), enclosures.middle(plain(y))
    x, y = (mpmath.mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v for v in (x, y))
    difference, size = abs(x - y), 1 + abs(x) + abs(y)
    if difference <= CLOSE * size:
        return True
    return None if difference <= FAR * size else False


def compare(relation: str, x: Any, y: Any) -> bool | None:
    """x relation y, for `lt le gt ge eq ne`."""
    if relation in ("eq", "ne"):
        equal = same(x, y)
        return None if equal is None else equal == (relation == "eq")
    order = tell(x, y)
    if order is None:
        return None
    return {"lt": order < 0, "le": order <= 0, "gt": order > 0, "ge": order >= 0}[relation]


def absolute(x: Any) -> Any:
    """|x|."""
    return None if x is None else abs(plain(x))


def sign(x: Any) -> Any:
    """sign(x)."""
    order = tell(x, Fraction(0))
    return None if order is None else Fraction(order)


def largest(x: Any, y: Any) -> Any:
    """max(x, y)."""
    if x is None or y is None:
        return None
    x, y = plain(x), plain(y)
    if isinstance(x, Enclosure) or isinstance(y, Enclosure):
        return enclosures.larger(real(x), real(y))
    return x if real(x) >= real(y) else y


def smallest(x: Any, y: Any) -> Any:
    """min(x, y)."""
    if x is None or y is None:
        return None
    x, y = plain(x), plain(y)
    if isinstance(x, Enclosure) or isinstance(y, Enclosure):
        return enclosures.larger(real(x), real(y), min)
    return x if real(x) <= real(y) else y


def function(name: str) -> Callable[[Any], Any]:
    """A function of one real number by its name in the IR."""
    row = OPERATIONS[name]
    pairs = () if isinstance(row.known, Absent) else row.known
    known = {Fraction(at): Fraction(value) for at, value in pairs if "π" not in value}

    def apply(x: Any) -> Any:
        if x is None:
            return None
        x = plain(x)
        if isinstance(x, Fraction) and x in known:
            return known[x]
        if enclosures.active():
            return enclosures.function(name, real(x))
        value = present(row.exact)(mpmath.mp, real(x))
        return value if isinstance(value, mpmath.mpf) and mpmath.isfinite(value) else None

    return apply


def floor(x: Any) -> Any:
    """⌊x⌋, not defined for rounded numbers next to a whole one."""
    if x is None:
        return None
    x = plain(x)
    if isinstance(x, Fraction):
        return Fraction(x.numerator // x.denominator)
    if isinstance(x, Enclosure):
        return enclosures.floor(x)
    whole = mpmath.nint(x)
    return None if abs(x - whole) < FAR else Fraction(int(mpmath.floor(x)))


def text(x: Any) -> str:
    """A number for people."""
    x = plain(x)
    if x is None:
        return "undefined"
    if isinstance(x, Fraction):
        for places in range(5):
            if x.denominator == 1 or (x * 10**places).denominator == 1:
                return f"{float(x):.{places}f}" if x.denominator != 1 else str(x.numerator)
        return str(x) if len(str(x)) < 14 else f"{float(x):.6g}"
    return str(mpmath.nstr(x, 7))
