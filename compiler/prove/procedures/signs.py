"""Signs that a rule keeps by itself: states that start nonnegative and stay so, each by induction on its own."""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.ir import Node, leaf, node, number
from dotopt.compiler.prove.procedures.decide import Task
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.prove.statements.unroll import start
from dotopt.compiler.types import Mismatch


def signs_kept(case: Case, standing: bool = False) -> Iterator[Node]:
    """`s >= 0` for the states that start so and keep it in every step, each by induction on its own.

    Premises about this step say nothing of those before it, so they count only if they are `standing`.
    """
    table = start(case.program)
    premises = case.premises if standing else [p for p in case.premises if not of_this_step(p)]
    found: list[Node] = []
    for state in case.program.states:
        if state.next is None or state.indices or state.type.kind not in ("real", "int") or state.kind != "constant":
            continue
        here = leaf("state", state.name, state.type)
        if table[here].value is None or (table[here].value or 0) < 0:
            continue
        try:
            wanted = node("ge", here, number(0))
            goal = node("ge", case.settle(state.next), number(0))
            facts = Task((*premises, *found, wanted), case.program).facts
            if facts.proves(goal, 200):
                found.append(wanted)
                yield wanted
        except Mismatch:
            continue


def of_this_step(premise: Node) -> bool:
    """Whether a premise speaks of what may be different in every step."""
    moving = ("param", "state", "input", "draw", "time")
    return any(here.role in moving or here.op in ("oracle", "base", "fires") for here in premise.walk())


__all__ = ["of_this_step", "signs_kept"]
