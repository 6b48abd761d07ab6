"""Which states are never negative: by induction over the steps, with intervals.

All states are assumed to be, and those whose first or next value cannot be shown to be are struck out, until none is.
"""

from __future__ import annotations

from dotopt.compiler.analysis.interpretation import Interpretation, fixed_point
from dotopt.compiler.analysis.intervals import NONNEGATIVE, assumptions, transfer
from dotopt.compiler.ir import Program, leaf


def nonnegative(program: Program) -> frozenset[str]:
    """The names of the states of `program` that are 0 or more at every step.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> sorted(nonnegative(lower(Library().file("AdamW"))))
    ['s', 'v']
    """
    declared = assumptions(program)
    states = {state.name: state for state in program.states}

    def still(names: frozenset[str]) -> frozenset[str]:
        """Those that stay 0 or more if all of `names` are."""
        leaves = (leaf("state", name, states[name].type) for name in names)
        run = Interpretation(transfer, declared | dict.fromkeys(leaves, NONNEGATIVE))
        roots = {name: (states[name].start, states[name].next) for name in names}
        return frozenset(n for n in names if all(run.of(root).low >= 0 for root in roots[n] if root is not None))

    return fixed_point(still, frozenset(states), len(states) + 1) or frozenset()
