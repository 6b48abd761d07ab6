"""Signs that a rule keeps by itself: states that start nonnegative and stay so, each by induction on its own."""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.ir import Node, leaf, node, number
from dotopt.compiler.prove.procedures.decide import Task
from dotopt.compiler.prove.statements.reached import every_step
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.prove.statements.unroll import start
from dotopt.compiler.types import Mismatch


def signs_kept(case: Case, standing: bool = False) -> Iterator[Node]:
    """`s >= 0` for the states that start so and keep it in every step, each by induction on its own.

    Premises about this step say nothing of those before it, so they count only if they are `standing`.
    """
    case = case if standing else every_step(case)
    table = start(case.program)
    found: list[Node] = []
    for state in case.program.states:
        if state.next is None or state.indices or state.type.kind not in ("real", "int"):
            continue
        here = leaf("state", state.name, state.type)
        try:
            begin, wanted, following = (
                node("ge", x, number(0)) for x in (case.settle(table[here]), here, case.settle(state.next))
            )
            if not Task(tuple(case.premises), case.program).facts.proves(begin, 200):
                continue
            if Task((*case.premises, *found, wanted), case.program).facts.proves(following, 200):
                found.append(wanted)
                yield wanted
        except Mismatch:
            continue


__all__ = ["signs_kept"]
