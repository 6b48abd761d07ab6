"""Time limits for z3, which knows the clock on the wall only: other processes run too."""

from __future__ import annotations

import time

import z3

NOTABLE = 0.01  # seconds of a call that are worth a measurement
SLOWEST = 10.0  # the slowest pace that is believed
_PACE = [1.0]  # seconds on the wall that pass, lately, while this process computes for one


def ask(solver: z3.Solver | z3.Optimize, milliseconds: float) -> z3.CheckSatResult:
    """The answer of a solver that may compute for so long."""
    solver.set("timeout", int(milliseconds * _PACE[0]))
    wall, cpu = time.monotonic(), time.process_time()
    result = solver.check()
    spent = time.process_time() - cpu
    if spent > NOTABLE:
        _PACE[0] = (_PACE[0] + min(max((time.monotonic() - wall) / spent, 1.0), SLOWEST)) / 2
    return result


__all__ = ["ask"]
