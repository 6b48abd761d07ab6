"""Declared ranges, and what laws of draws allow, as conditions."""

from __future__ import annotations

from dataclasses import replace
from math import floor

from dotopt.compiler.ir import Interval, Node, Random, node, number


def inside(here: Node, interval: Interval) -> list[Node]:
    """The bounds of an interval as premises."""
    if here.type.kind == "int" and interval.open_low and interval.low is not None and interval.low.value is not None:
        interval = replace(interval, low=number(floor(interval.low.value) + 1), open_low=False)
    found = []
    if interval.low is not None:
        found.append(node("gt" if interval.open_low else "ge", here, interval.low))
    if interval.high is not None and interval.high.op != "inf":
        found.append(node("lt" if interval.open_high else "le", here, interval.high))
    return found


def by_law(here: Node, random: Random) -> list[Node]:
    """What every value of a draw obeys; laws that leave one value only count as well.

    >>> from dotopt.compiler.ir import leaf
    >>> from dotopt.compiler.ops.types import REAL
    >>> z, s = leaf("draw", "z", REAL), leaf("hyper", "s", REAL)
    >>> by_law(z, Random("z", REAL, "normal", (number(3), s), 0))
    [s != 0 or z == 3]
    """
    match random.law, random.args:
        case "uniform", (low, high):
            return [node("ge", here, low), node("le", here, high)]
        case "rademacher", _:
            return [node("eq", node("mul", here, here), number(1))]
        case "normal", (mean, deviation):
            return _unless(node("ne", deviation, number(0)), node("eq", here, mean))
        case "bernoulli", (p,):
            never, always = node("not", here), here
            return [*_unless(node("ne", p, number(0)), never), *_unless(node("ne", p, number(1)), always)]
    return []


def _unless(usual: Node, otherwise: Node) -> list[Node]:
    """`otherwise`, but where the usual holds."""
    value, other = (a.value for a in usual.args)
    if value is not None and other is not None:
        return [] if value != other else [otherwise]
    return [node("or", usual, otherwise)]


__all__ = ["by_law", "inside"]
