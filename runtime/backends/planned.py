"""What the kernels of every backend begin with: the schedule of one variant, and how its arrays lie in memory."""

from __future__ import annotations

from collections.abc import Mapping

from dotopt.compiler.ir import Node, Program
from dotopt.compiler.schedule.passes import Schedule, schedule
from dotopt.compiler.schedule.storage import narrow
from dotopt.compiler.schedule.variants import specialise
from dotopt.runtime import routines


def planned(program: Program, truth: Mapping[Node, bool], stored: Mapping[str, str]) -> tuple[Schedule, dict[str, str]]:
    """The schedule of the variant in which the conditions are `truth`, and the type of each array, as `emit` takes it.

    What `stored` does not name is as wide as the arithmetic. Raises `Unsupported` if the schedule, or a routine of the
    library that it calls, has no form there.
    """
    plan = schedule(specialise(program, truth), narrow(program, stored))
    for routine in plan.routines:
        routines.supported(routine)
    param = program.params[0].name
    names = {param, *(buffer.name for buffer in plan.buffers), *(state.name for state in program.states)}
    wide = "fp64" if stored.get(param) == "fp64" else "fp32"
    found = dict.fromkeys(names, wide) | dict(stored)
    return plan, found if plan.gradient is None else found | {plan.gradient: found[param]}
