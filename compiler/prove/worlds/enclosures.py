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

from dotopt.compiler.analysis.intervals import domain_of
from dotopt.compiler.ir import Node, leaf, sentence
from dotopt.compiler.ops import OPERATIONS, Absent, Operation, present
from dotopt.compiler.ops.row import ENDS, PARTS

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


FAR = 10**15  # beyond it waves are enclosed by their ranges
HUGE = mpmath.mpf(10) ** 100  # beyond it numbers are taken for infinite


def function(name: str, x: Any) -> Any:
    """A function of one real number by its name in the IR; None where it may have no value."""
    row = OPERATIONS[name]
    domain = row.domain if isinstance(row.domain, str) else "true"
    if row.enclosure == ENDS:
        return _by_ends(row, x) if _inside(name, x) else None
    if row.enclosure == PARTS and isinstance(row.definition, str):
        return _of(sentence(row.definition, _X), x)
    if isinstance(row.enclosure, Absent | str) or domain != "true":
        return None
    if not -FAR < x.a <= x.b < FAR and "∞" not in present(row.range):
        return _range(row)
    return row.enclosure(iv, x)


_X = leaf("free", "x")


def _of(root: Node, x: Any) -> Any:
    """An expression in x, operation by operation; None where it may have no value."""
    known: dict[Node, Any] = {_X: x}
    for here in root.walk():
        if here in known:
            continue
        args = [known[arg] for arg in here.args]
        if any(arg is None for arg in args):
            return None
        row = OPERATIONS[here.op]
        if here.value is not None:
            known[here] = enclosure(here.value)
        elif here.op == "pi":
            known[here] = +iv.pi
        elif len(args) == 1:
            known[here] = function(here.op, *args)
        elif here.op == "pow":
            exponent = here.args[1].value
            known[here] = power(args[0], args[1] if exponent is None else exponent)
        elif isinstance(row.enclosure, Absent | str):
            return None
        else:
            known[here] = row.enclosure(iv, *args)
    return known[root]


def _range(row: Operation) -> Any:
    low, high = present(row.range)[1:-1].split(", ")
    ends = [_of(sentence(end), None) if "∞" not in end else iv.mpf(end.replace("∞", "inf")) for end in (low, high)]
    return iv.mpf([ends[0].a, ends[1].b])


def _inside(name: str, x: Any) -> bool:
    """Whether an interval lies in the domain of a function."""
    domain = domain_of(name)
    low = x.a > domain.low if domain.open_low else x.a >= domain.low
    return bool(low and (x.b < domain.high if domain.open_high else x.b <= domain.high))


def _by_ends(row: Operation, x: Any) -> Any:
    """A monotone function from the values at the ends, with more digits than are believed, and inside its range."""
    left, right = (mpmath.mp.make_mpf(end) for end in x._mpi_)
    left = -mpmath.inf if left < -HUGE else min(left, HUGE)
    right = mpmath.inf if right > HUGE else max(right, -HUGE)
    first, last = (left, right) if row.monotone in ("increasing", "nondecreasing") else (right, left)
    within = _range(row)
    return iv.mpf([max(iv.mpf(_at(row, first)[0]).a, within.a), min(iv.mpf(_at(row, last)[1]).b, within.b)])


def _at(row: Operation, x: Any) -> tuple[Any, Any]:
    """Numbers below and above the value at a number; the value itself where the row knows it."""
    for at, exact in () if isinstance(row.known, Absent) else row.known:
        if x * Fraction(at).denominator == Fraction(at).numerator and "π" not in exact:
            value = mpmath.mpf(Fraction(exact).numerator) / Fraction(exact).denominator
            return value, value
    with mpmath.workdps(iv.dps + 10):
        value = present(row.exact)(mpmath.mp, x)
        error = 0 if mpmath.isinf(value) else abs(value) * mpmath.mpf(10) ** -iv.dps
        return value - error, value + error
