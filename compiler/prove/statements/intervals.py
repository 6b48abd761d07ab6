"""Declared ranges as conditions."""

from __future__ import annotations

from dataclasses import replace
from math import floor

from dotopt.compiler.ir import Interval, Node, node, number


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


__all__ = ["inside"]
