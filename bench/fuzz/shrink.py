"""The smallest rule and data that fail in the same way."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.fuzz import data, runs
from bench.fuzz.rules import Rule
from bench.fuzz.runs import Defect, Refused
from dotopt.runtime.property.example import Example

Found = tuple[Rule, Example | None, Defect]


def shrunk(rule: Rule, example: Example | None, defect: Defect, seconds: float = 20.0) -> Found:
    """Take the first smaller case that still fails so, until there is none or time is up."""
    end = time.monotonic() + seconds
    best: Found = rule, example, defect
    moved = True
    while moved and time.monotonic() < end:
        moved = False
        for smaller_rule, smaller_data in _candidates(best[0], best[1]):
            if time.monotonic() > end:
                break
            again = _same(smaller_rule, smaller_data, defect)
            if again is not None:
                best, moved = again, True
                break
    return best


def _candidates(rule: Rule, example: Example | None) -> Iterator[tuple[Rule, Example | None]]:
    if example is not None:
        yield from ((rule, less) for less in data.smaller(example))
    for less in rule.smaller():
        if less.size <= rule.size:
            yield less, example


def _same(rule: Rule, example: Example | None, defect: Defect) -> Found | None:
    if defect.backend == "load" or example is None:
        backends: tuple[str, ...] = ()
    else:
        backends = (defect.backend,) if defect.backend in runs.BACKENDS else ("torch",)

    def given(cls: object) -> Example:
        if example is None:
            raise Refused("there is no data")
        return _fitting(cls, example)

    try:
        made, found = runs.attempt(rule, given, backends)
    except Refused:
        return None
    same = next((one for one in found if one.signature == defect.signature), None)
    return None if same is None else (rule, made if made is not None else example, same)


def _fitting(cls: object, example: Example) -> Example:
    """The options and groups that the smaller rule still has."""
    from dataclasses import replace

    rule = cls.rule  # type: ignore[attr-defined]
    options = {option.keyword: example.options.get(option.keyword, option.default) for option in rule.options}
    if any(rule.pattern.misfit(start.ndim) is not None for start in example.starts):
        raise Refused("the data do not fit")
    return replace(example, options=options)
