"""Exact numbers for counterexamples: fractions where possible, else 40 digits; None where a value is not defined.

A comparison of two rounded numbers that are too close to tell apart is None as well, so that rounding never decides a
branch.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from typing import Any

import mpmath

DIGITS = 40
CLOSE = mpmath.mpf(10) ** -24
FAR = mpmath.mpf(10) ** -12

mpmath.mp.dps = DIGITS


def plain(x: Any) -> Any:
    """Booleans count as 0 and 1."""
    return Fraction(int(x)) if isinstance(x, bool) else x


def real(x: Any) -> Any:
    """As a number of 40 digits."""
    x = plain(x)
    return mpmath.mpf(x.numerator) / x.denominator if isinstance(x, Fraction) else x


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
    return Fraction(0) if x == 0 or y == 0 else _product(x, y)


div = _binary(lambda x, y: None if y == 0 or (not isinstance(y, Fraction) and abs(y) < CLOSE) else x / y)


def power(x: Any, y: Any) -> Any:
    """x ^ y for real results."""
    if x is None or y is None:
        return None
    x, y = plain(x), plain(y)
    if isinstance(y, Fraction) and y.denominator == 1 and abs(y) < 400:
        if x == 0:
            return None if y < 0 else Fraction(int(y == 0))
        return x ** int(y)
    if isinstance(y, Fraction) and y.denominator == 2:
        root = sqrt(x)
        return power(root, Fraction(y.numerator))
    if x < 0 or (x == 0 and y <= 0):
        return None
    return mpmath.power(real(x), real(y)) if x != 0 else Fraction(0)


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
    elif x < 0:
        return None
    return mpmath.sqrt(real(x))


def tell(x: Any, y: Any) -> int | None:
    """-1, 0, 1 as x is below, equal to or above y; None if they are too close to tell."""
    if x is None or y is None:
        return None
    x, y = plain(x), plain(y)
    if isinstance(x, Fraction) and isinstance(y, Fraction):
        return (x > y) - (x < y)
    difference = real(x) - real(y)
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
    difference, size = abs(real(x) - real(y)), 1 + abs(real(x)) + abs(real(y))
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
    return x if real(x) >= real(y) else y


def smallest(x: Any, y: Any) -> Any:
    """min(x, y)."""
    if x is None or y is None:
        return None
    x, y = plain(x), plain(y)
    return x if real(x) <= real(y) else y


def function(name: str) -> Callable[[Any], Any]:
    """A function of one real number by its name in the IR."""
    if name == "gelu":
        return lambda x: None if x is None else real(x) * mpmath.ncdf(real(x))
    if name == "sigmoid":
        return lambda x: None if x is None else 1 / (1 + mpmath.exp(-real(x)))
    body = getattr(mpmath, name)

    def apply(x: Any) -> Any:
        if x is None:
            return None
        if x == 0 and name in ("sin", "tan", "tanh", "atanh"):
            return Fraction(0)
        if x == 0 and name in ("exp", "cos"):
            return Fraction(1)
        value = body(real(x)) if not (name == "log" and x <= 0) else None
        return value if value is None or isinstance(value, mpmath.mpf) else None

    return apply


def floor(x: Any) -> Any:
    """⌊x⌋, not defined for rounded numbers next to a whole one."""
    if x is None:
        return None
    x = plain(x)
    if isinstance(x, Fraction):
        return Fraction(x.numerator // x.denominator)
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
