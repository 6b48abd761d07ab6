"""Signs that a rule keeps by itself: states that start nonnegative and stay so, each by induction on its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dotopt.compiler.ir import Node, leaf, node, number
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.run import first_step, held
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.prove.statements.unroll import names_below


def signs_kept(case: Case, goals: Sequence[Node] = ()) -> Iterator[Node]:
    """`s >= 0` for the states that start so and keep it in every step in which the premises of the case hold.

    They must be premises of every step: what is said of this one says nothing of those before it. With goals, only
    the states that these hang on, in this step or a later one.
    """
    names = names_below(case.program, [*goals, *case.premises]) if goals else {s.name for s in case.program.states}
    begins = first_step(case.program, case.settle).values
    found: list[Node] = []
    for state in case.program.states:
        if state.next is None or state.name not in names or state.type.kind not in ("real", "int"):
            continue
        indices, begin = begins["state", state.name]
        here = leaf("state", state.name, state.type, *indices)
        following = case.settle(held(case.program, state, indices, state.next))
        try:
            first, wanted, then = (node("ge", x, number(0)) for x in (begin, here, following))
        except Mismatch:
            continue
        if not Task(tuple(case.premises), case.program).facts.proves(first, 200):
            continue
        if Task((*case.premises, *found, wanted), case.program).facts.proves(then, 200):
            found.append(wanted)
            yield wanted


__all__ = ["signs_kept"]
