"""Intervals that hold a number for certain, so that no rounding makes a counterexample.

Inside `enclosed(digits)` the numbers of a world that are no fractions are intervals of `mpmath.iv`. Two that overlap
are not told apart: 40 digits of `exp(-100)` are those of 0, but no interval around it holds 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import mpmath

iv = mpmath.iv
Enclosure = type(iv.mpf(0))
_ACTIVE: list[int] = []


@contextmanager
def enclosed(digits: int) -> Iterator[None]:
    """Numbers that are no fractions are intervals in the body."""
    before = iv.dps
    iv.dps = digits
    _ACTIVE.append(digits)
    try:
        yield
    finally:
        _ACTIVE.pop()
        iv.dps = before


def active() -> bool:
    """Whether numbers are intervals now."""
    return bool(_ACTIVE)


def enclosure(x: Any) -> Any:
    """The interval around a fraction or a rounded number.

    >>> enclosure(Fraction(1, 3)).delta > 0
    True
    """
    return iv.mpf(x.numerator) / iv.mpf(x.denominator) if isinstance(x, Fraction) else iv.mpf(x)


def ends(x: Any) -> tuple[Fraction, Fraction]:
    """Both ends of an interval as fractions; raises OverflowError where one is infinite."""
    low, high = (mpmath.libmp.to_rational(end) for end in x._mpi_)
    return Fraction(*map(int, low)), Fraction(*map(int, high))


def middle(x: Any) -> Any:
    """A rounded number inside an interval; other numbers as they are."""
    return mpmath.mpf(x.mid) if isinstance(x, Enclosure) else x


def around(x: Any) -> Any:
    """What a routine without error bounds gave, with a quarter of its digits believed."""
    if not active():
        return x
    centre = iv.mpf(x)
    return centre + iv.mpf([-1, 1]) * iv.mpf(10) ** -(iv.dps // 4) * (1 + abs(centre))


def order(x: Any) -> int | None:
    """The sign of an interval; None if it holds 0 and more."""
    if x.a > 0:
        return 1
    return -1 if x.b < 0 else None


def larger(x: Any, y: Any, pick: Callable[..., Any] = max) -> Any:
    """The interval of max(x, y), or of min with `pick`."""
    return iv.mpf([pick(x.a, y.a), pick(x.b, y.b)])


def root(x: Any) -> Any:
    """√x; None unless x is positive for certain."""
    return iv.sqrt(x) if order(x) == 1 else None


def power(x: Any, y: Any) -> Any:
    """x^y for x that is positive for certain, else None; whole powers of any x."""
    if isinstance(y, Fraction) and y.denominator == 1:
        return x ** int(y) if y >= 0 else None if order(x) is None else 1 / x ** int(-y)
    exponent = y if isinstance(y, Enclosure) else enclosure(y)
    return iv.exp(exponent * iv.log(x)) if order(x) == 1 else None


def floor(x: Any) -> Fraction | None:
    """⌊x⌋ where both ends agree."""
    low, high = (Fraction(end.numerator // end.denominator) for end in ends(x))
    return low if low == high else None


def function(name: str, x: Any) -> Any:
    """A function of one real number by its name in the IR; None where it may have no value."""
    match name:
        case "exp" | "sin" | "cos":
            return getattr(iv, name)(x)
        case "log":
            return iv.log(x) if order(x) == 1 else None
        case "tan":
            below = iv.cos(x)
            return iv.sin(x) / below if order(below) is not None else None
        case "sigmoid":
            return 1 / (1 + iv.exp(-x))
        case "tanh":
            return 1 - 2 / (1 + iv.exp(2 * x))
        case "atanh":
            inside = order(1 - x) == 1 == order(1 + x)
            return iv.log((1 + x) / (1 - x)) / 2 if inside else None
        case "gelu":
            return x * (1 + function("erf", x / iv.sqrt(iv.mpf(2)))) / 2
        case "erf":
            return _monotone(mpmath.erf, x)
        case "acos":
            return _monotone(mpmath.acos, x) if order(1 - x) == 1 == order(1 + x) else None
    return None


def _monotone(body: Callable[[Any], Any], x: Any) -> Any:
    """A monotone function from the ends, whose values have a few digits more than are believed."""
    with mpmath.workdps(iv.dps + 10):
        values = sorted(body(mpmath.mp.make_mpf(end)) for end in x._mpi_)
        return iv.mpf([values[0], values[1]]) + iv.mpf([-1, 1]) * iv.mpf(10) ** -iv.dps
