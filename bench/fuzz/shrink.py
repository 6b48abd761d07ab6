"""The smallest rule and data that fail in the same way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from bench.fuzz import runs
from bench.fuzz.rules import Rule
from bench.fuzz.runs import Defect, Kind, Refused

Found = tuple[Rule, Any, Defect]


def shrunk(kind: Kind, rule: Rule, given: Any, defect: Defect, seconds: float = 20.0) -> Found:
    """Take the first smaller case that still fails so, until there is none or time is up."""
    end = time.monotonic() + seconds
    best: Found = rule, given, defect
    moved = True
    while moved and time.monotonic() < end:
        moved = False
        for smaller_rule, smaller_data in _candidates(kind, best[0], best[1]):
            if time.monotonic() > end:
                break
            again = _same(kind, smaller_rule, smaller_data, defect)
            if again is not None:
                best, moved = again, True
                break
    return best


def _candidates(kind: Kind, rule: Rule, given: Any) -> Iterator[tuple[Rule, Any]]:
    if given is not None:
        yield from ((rule, less) for less in kind.smaller(given))
    for less in rule.smaller():
        if less.size <= rule.size:
            yield less, given


def _same(kind: Kind, rule: Rule, given: Any, defect: Defect) -> Found | None:
    ways = (defect.way,) if defect.way in kind.ways else kind.ways[:1]

    def fitted(cls: Any) -> Any:
        if given is None:
            raise Refused("there are no data")
        return kind.fitting(cls, given)

    try:
        made, found = runs.attempt(kind, rule, fitted, () if given is None else ways)
    except Refused:
        return None
    same = next((one for one in found if one.signature == defect.signature), None)
    return None if same is None else (rule, made if made is not None else given, same)
