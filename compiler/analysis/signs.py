"""Which states are never negative: by induction over the steps, with intervals.

All states are assumed to be, and those whose first or next value cannot be shown to be are struck out, until none is.
"""

from __future__ import annotations

from dotopt.compiler.analysis.intervals import NONNEGATIVE, assumptions, interval
from dotopt.compiler.ir import Program, leaf


def nonnegative(program: Program) -> frozenset[str]:
    """The names of the states of `program` that are 0 or more at every step.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> sorted(nonnegative(lower(Library().file("AdamW"))))
    ['s', 'v']
    """
    declared = assumptions(program)
    kept = {state.name: state for state in program.states}
    while True:
        known = declared | {leaf("state", state.name, state.type): NONNEGATIVE for state in kept.values()}
        sure = {
            name: state
            for name, state in kept.items()
            if all(interval(root, known).low >= 0 for root in (state.start, state.next) if root is not None)
        }
        if len(sure) == len(kept):
            return frozenset(sure)
        kept = sure
