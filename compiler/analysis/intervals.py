"""Interval analysis: between what two numbers a value lies, from the declared ranges of what it is made of.

    interval(e, {β: Interval(0, 1, open_high=True)})      √v + ε is positive, 1 - β^t is in (0, 1]

Ends are floats, rounded outward where they are computed; an end that is excluded is open. The result may be wider than
the truth (each operand is taken to vary by itself), never narrower. NaN is outside every interval: the statement is
about values that exist.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from dotopt.compiler.analysis.interpretation import Interpretation
from dotopt.compiler.ir import Node, Program, leaf, sentence
from dotopt.compiler.ops import OPERATIONS, Absent, Operation, having, present

INF = math.inf


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`; `open_low` and `open_high` say which ends are excluded."""

    low: float = -INF
    high: float = INF
    open_low: bool = False
    open_high: bool = False

    def __str__(self) -> str:
        return f"{'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"

    @property
    def positive(self) -> bool:
        """Whether every value is above 0."""
        return self.low > 0 or (self.low == 0 and self.open_low)

    @property
    def nonzero(self) -> bool:
        """Whether 0 is excluded."""
        return self.positive or self.high < 0 or (self.high == 0 and self.open_high)

    def __contains__(self, value: float) -> bool:
        above = value > self.low or (value == self.low and not self.open_low)
        return above and (value < self.high or (value == self.high and not self.open_high))


ALL = Interval()
UNIT = Interval(0, 1)
COUNT = Interval(1, INF)
NONNEGATIVE = Interval(0, INF)

End = tuple[float, bool]  # the value, and whether it is excluded


def interval(root: Node, assumptions: Mapping[Node, Interval] | None = None) -> Interval:
    """The interval in which all entries of `root` lie, when leaves lie in those of `assumptions`.

    >>> from dotopt.compiler.ir import TIME, node, number
    >>> β = leaf("hyper", "β")
    >>> str(interval(node("sub", number(1), node("pow", β, TIME)), {β: Interval(0, 1, open_high=True)}))
    '(0, 1]'
    """
    return Interpretation(transfer, assumptions or {}).of(root)


def assumptions(program: Program) -> dict[Node, Interval]:
    """What the declarations of hypers and inputs say of their leaves.

    Ends that use other hyperparameters are those of these.
    """
    known: dict[Node, Interval] = {}
    declared = [(leaf("hyper", h.name, h.type), h.interval, h.default) for h in program.hypers]
    declared += [(leaf("input", given.name, given.type), given.interval, None) for given in program.inputs]
    for here, bounds, default in declared:
        infinite = default is not None and default.op == "inf"  # otherwise a hyperparameter is a number
        low = interval(bounds.low, known) if bounds.low is not None else Interval(open_low=True)
        high = interval(bounds.high, known) if bounds.high is not None else Interval(open_high=not infinite)
        known[here] = Interval(low.low, high.high, bounds.open_low or low.open_low, bounds.open_high or high.open_high)
    return known


def transfer(here: Node, args: Sequence[Interval], run: Interpretation[Interval]) -> Interval:
    """What an operation makes of intervals, from its row: its range, and whether it is monotone."""
    if here.op in _TABLE:
        return _TABLE[here.op](here, args)
    row = OPERATIONS[here.op]
    if row.range == "x":  # its entries lie between those of its argument
        return args[0]
    within = ALL if isinstance(row.range, Absent) else stated(row.range)
    if isinstance(row.monotone, Absent) or isinstance(row.numpy, Absent) or len(args) != 1:
        return within
    return _monotone(row, args[0], within)


@cache
def stated(text: str) -> Interval:
    """The interval that a row states; values may be infinite where it has no bound.

    >>> str(stated("(-1, 1)")), stated("[0, π]").high > 3
    ('(-1, 1)', True)
    """
    low, high = (_end(end, side) for end, side in zip(text[1:-1].split(", "), (-INF, INF), strict=True))
    return Interval(low, high, text[0] == "(" and low > -INF, text[-1] == ")" and high < INF)


@cache
def never_below_zero() -> frozenset[str]:
    """The operations on real numbers whose values are 0 or more, by their ranges."""
    ranges = having(lambda row: row.range)
    return frozenset(op for op, text in ranges.items() if text != "x" and stated(text).low >= 0)


def _end(text: str, outward: float) -> float:
    """An end of a stated interval; what is no float is rounded outward."""
    found = interval(sentence(text))
    return found.low if outward < 0 else found.high


def _leaf(here: Node, args: Sequence[Interval]) -> Interval:
    if here.type.kind == "bool":
        return UNIT
    return COUNT if here.role in ("time", "axis", "rank") else ALL


def _constant(here: Node, args: Sequence[Interval]) -> Interval:
    exact, value = here.attrs.value, float(here.attrs.value)
    if value == exact:
        return Interval(value, value)
    return Interval(math.nextafter(value, -INF), math.nextafter(value, INF))


# ---- ends ----------------------------------------------------------------------------------------------------------


def _hull(ends: Iterable[End]) -> Interval:
    """The smallest interval around some ends; an end that one of several allows is allowed."""
    found = list(ends)
    if any(math.isnan(value) for value, _ in found):
        return ALL
    low, high = min(value for value, _ in found), max(value for value, _ in found)
    return Interval(
        low, high,
        all(excluded for value, excluded in found if value == low),
        all(excluded for value, excluded in found if value == high),
    )  # fmt: skip


def _outward(made: Interval) -> Interval:
    """One float further out, where rounding may have moved an end; 0 and ±1 are kept, since they are exact."""
    low = made.low if made.low in (0, 1, -1) else math.nextafter(made.low, -INF)
    high = made.high if made.high in (0, 1, -1) else math.nextafter(made.high, INF)
    return Interval(low, high, made.open_low, made.open_high)


def _ends(of: Interval) -> tuple[End, End]:
    return (of.low, of.open_low), (of.high, of.open_high)


def _corners(
    function: Callable[[float, float], float], a: Interval, b: Interval, *decide: tuple[float, ...]
) -> Interval:
    """A function that is monotone in each argument: its extremes are at the corners.

    A corner is excluded if one of its ends is, unless the other end decides the value alone, as 0 does in a product;
    `decide` are the ends that do, of `a` and of `b`.
    """
    ends = []
    for x in _ends(a):
        for y in _ends(b):
            sure = any(end[0] in alone and not end[1] for end, alone in zip((x, y), decide, strict=True))
            ends.append((function(x[0], y[0]), (x[1] or y[1]) and not sure))
    return _outward(_hull(ends))


def _times(x: float, y: float) -> float:
    return 0.0 if x == 0 or y == 0 else x * y


def _add(here: Node, args: Sequence[Interval]) -> Interval:
    a, b = args
    low, high = a.low + b.low, a.high + b.high
    return _outward(Interval(low, high, a.open_low or b.open_low, a.open_high or b.open_high))


def _negative(here: Node, args: Sequence[Interval]) -> Interval:
    (a,) = args
    return Interval(-a.high, -a.low, a.open_high, a.open_low)


def _subtract(here: Node, args: Sequence[Interval]) -> Interval:
    if here.args[0] is here.args[1]:
        return Interval(0, 0)
    return _add(here, [args[0], _negative(here, args[1:])])


def _multiply(here: Node, args: Sequence[Interval]) -> Interval:
    if here.args[0] is here.args[1]:
        return _even(args[0], 2)
    return _corners(_times, args[0], args[1], (0,), (0,))


def _divide(here: Node, args: Sequence[Interval]) -> Interval:
    a, b = args
    if not b.nonzero:
        return ALL
    positive = b.low >= 0
    inverse = Interval(
        1 / b.high if positive or b.high != 0 else -INF,
        1 / b.low if not positive or b.low != 0 else INF,
        b.open_high, b.open_low,
    )  # fmt: skip
    return _corners(_times, a, _outward(inverse), (0,), (0,))


def _even(a: Interval, power: int) -> Interval:
    size = _absolute(a)
    return _outward(Interval(_power(size.low, power), _power(size.high, power), size.open_low, size.open_high))


def _absolute(a: Interval) -> Interval:
    if a.low >= 0:
        return a
    if a.high <= 0:
        return Interval(-a.high, -a.low, a.open_high, a.open_low)
    return Interval(0, max(-a.low, a.high), False, _hull([(-a.low, a.open_low), (a.high, a.open_high)]).open_high)


def _power(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except OverflowError:
        return INF
    except ValueError:  # 0 to a negative power
        return INF if x == 0 else math.nan


def _raise(here: Node, args: Sequence[Interval]) -> Interval:
    a, b = args
    exponent = here.args[1].value
    if exponent is not None and exponent.denominator == 1 and exponent > 0:
        if exponent % 2 == 0:
            return _even(a, int(exponent))
        return _outward(Interval(_power(a.low, int(exponent)), _power(a.high, int(exponent)), a.open_low, a.open_high))
    if a.low < 0:
        return ALL
    corners = _corners(_power, a, b, (0, 1), (0,))
    return _hull([*_ends(corners), (1.0, False)]) if a.low <= 1 <= a.high and b.low <= 0 <= b.high else corners


def _smaller(here: Node, args: Sequence[Interval]) -> Interval:
    a, b = args
    low = _hull([(a.low, a.open_low), (b.low, b.open_low)])
    high = min(a.high, b.high)
    return Interval(low.low, high, low.open_low, any(o for value, o in (_ends(a)[1], _ends(b)[1]) if value == high))


def _larger(here: Node, args: Sequence[Interval]) -> Interval:
    smaller = _smaller(here, [_negative(here, [arg]) for arg in args])
    return _negative(here, [smaller])


def _choice(here: Node, args: Sequence[Interval]) -> Interval:
    return _hull([*_ends(args[1]), *_ends(args[2])])


def _sum(here: Node, args: Sequence[Interval]) -> Interval:
    """Of one entry or more."""
    (a,) = args
    low = a.low if a.low >= 0 else -INF
    high = a.high if a.high <= 0 else INF
    return Interval(low, high, a.open_low and low == a.low, a.open_high and high == a.high)


ERROR = 5  # units in the last place by which a function of a library may be off


def _monotone(row: Operation, a: Interval, within: Interval) -> Interval:
    """From the values at the ends, moved outward by as much as they may be wrong, and inside the range."""
    domain = domain_of(row.name)
    low, high = max(a.low, domain.low), min(a.high, domain.high)
    if low > high:
        return ALL
    ends = [(low, a.open_low and low == a.low), (high, a.open_high and high == a.high)]
    (bottom, open_bottom), (top, open_top) = ends if row.monotone in ("increasing", "nondecreasing") else ends[::-1]
    strict = row.monotone in ("increasing", "decreasing")
    least, most = _value(row.name, bottom, -INF), _value(row.name, top, INF)
    made = Interval(least, most, open_bottom and strict, open_top and strict)
    return _meet(made, within)


def _value(name: str, x: float, outward: float) -> float:
    """The value at an end: exact where the row knows it, else no further in than the true one."""
    row = OPERATIONS[name]
    for at, exact in () if isinstance(row.known, Absent) else row.known:
        if _end(at, -INF) == x == _end(at, INF):
            return _end(exact, outward)
    with np.errstate(all="ignore"):
        value = float(present(row.numpy)(np, np.float64(x)))
    if math.isnan(value):
        return outward
    steps = row.monotone in ("nondecreasing", "nonincreasing")  # these are computed without an error
    for _ in range(0 if steps else ERROR):
        value = math.nextafter(value, outward)
    return value


def _meet(a: Interval, b: Interval) -> Interval:
    low, high = max(a.low, b.low), min(a.high, b.high)
    return Interval(
        low, high,
        any(end.open_low for end in (a, b) if end.low == low), any(end.open_high for end in (a, b) if end.high == high),
    )  # fmt: skip


@cache
def domain_of(name: str) -> Interval:
    """The interval on which a function has values, from the sentence of its row."""
    x = leaf("free", "x")
    condition = sentence(present(OPERATIONS[name].domain), x)
    match condition.op, condition.args:
        case "bool", ():
            return ALL
        case ("ge" | "gt"), (left, bound) if left is x:
            return Interval(_end(repr(bound), -INF), INF)
        case ("le" | "lt"), (size, bound) if size.op == "abs" and size.args[0] is x:
            return Interval(-_end(repr(bound), INF), _end(repr(bound), INF))
    raise ValueError(f"the domain of the monotone {name} is an interval")


_TABLE: dict[str, Callable[[Node, Sequence[Interval]], Interval]] = {
    "leaf": _leaf,
    "const": _constant,
    "inf": lambda here, args: Interval(INF, INF),
    "pi": lambda here, args: Interval(math.pi, math.nextafter(math.pi, INF)),
    "neg": _negative,
    "abs": lambda here, args: _absolute(args[0]),
    "add": _add,
    "sub": _subtract,
    "mul": _multiply,
    "div": _divide,
    "pow": _raise,
    "min": _smaller,
    "max": _larger,
    "select": _choice,
    "sum": _sum,
}
