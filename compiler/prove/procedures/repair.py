"""What would make a refuted sentence true."""

from __future__ import annotations

from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.fuel import remaining, until, within
from dotopt.compiler.prove.procedures.direct import direct
from dotopt.compiler.prove.procedures.task import Task

MOST = 600_000  # work


def repair(goal: Node, task: Task) -> str:
    """A premise under which the goal is provable, tried from a short list; empty if there is none."""
    leaves = sorted(
        {here for here in goal.walk() if here.op == "leaf" and here.role in ("hyper", "free") and here.type.scalar},
        key=lambda n: n.name,
    )
    end = until(min(MOST, remaining() // 2))  # a refutation must not be lost for want of fuel to repair it
    candidates = [node("eq", x, number(0)) for x in leaves]
    candidates += [node("gt", x, number(0)) for x in leaves]
    candidates += [node("le", node("mul", x, y), number(1)) for i, x in enumerate(leaves) for y in leaves[i + 1 :]]
    candidates += [node("le", x, y) for x in leaves for y in leaves if x is not y]
    for extra in candidates:
        if end.passed:
            return ""
        if extra in task.premises:
            continue
        try:
            with within(end.left):
                trial = Task((*task.premises, extra), task.program, task.of_rule, fuel=300_000, refute=False)
                if trial.facts.contradictory(100_000):
                    continue
                if direct(goal, trial) is not None:
                    return f"given {extra!r}"
        except (Unsupported, ArithmeticError):
            continue
    return ""


__all__ = ["repair"]
