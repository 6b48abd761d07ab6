"""Decides one boolean node under premises: the procedures in their order, the first answer counts.

P1  a few random worlds                              refutes
P2  normal form of the difference is zero            proves an equation (`identities`)
P7  one variable: Sturm, intervals                   proves (`univariate`)
P6  z3 on the entries at one place, and on sums      proves (`direct`, `termwise`), or gives a model for P5
P5  worlds from models and more random ones          refutes, evaluated exactly
"""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.forms.domain import unmet
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.fuel import within
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.procedures.attempts import attempts
from dotopt.compiler.prove.procedures.missing import missing
from dotopt.compiler.prove.procedures.repair import repair
from dotopt.compiler.prove.procedures.task import Task


def decide(goal: Node, task: Task) -> Outcome:
    """The outcome for a boolean node."""
    if task.facts.contradictory():
        return Vacuous()
    return all_of(_one(part, task) for part in conjuncts_of(goal))


def conjuncts_of(goal: Node) -> Iterator[Node]:
    """The parts of a conjunction, and of an equation of tuples."""
    if goal.op == "and":
        for part in goal.args:
            yield from conjuncts_of(part)
    elif goal.op == "eq" and all(a.op == "tuple" for a in goal.args):
        for left, right in zip(goal.args[0].args, goal.args[1].args, strict=True):
            yield from conjuncts_of(node("eq", left, right))
    else:
        yield goal


def _one(goal: Node, task: Task) -> Outcome:
    search = task.search(goal)
    if task.refute:
        found = search.quick()
        if found is not None:
            return Refuted("sampling", found)
    reason = ""
    outcome: Proved | None = None
    try:
        with within(task.fuel * 0.5):
            outcome = attempts(goal, task)
    except Unsupported as error:
        reason = str(error)
    except ArithmeticError as error:
        reason = f"{error}"
    if outcome is not None:
        with within(task.fuel * 0.5):
            return with_domain(outcome, goal, task)
    if task.refute:
        found = search.run(task.fuel * 0.6)
        if found is not None:
            return Refuted("smt" if not search.points else "sampling", found, repair(goal, task))
    lacks = reason or missing(goal, task.facts)
    why = f"no procedure decides it{': ' * bool(lacks)}{lacks}"
    if not task.refute:
        return Open(why)
    if not search.points:
        return Open(f"{why}; no numbers were found for which the premises hold")
    return Open(f"{why}; no counterexample among {search.points} points", search.points)


def with_domain(outcome: Proved, goal: Node, task: Task) -> Outcome:
    """The outcome, with the conditions under which both sides have a value; those of the claim's own text are owed."""
    assumptions = list(outcome.assumptions)
    for condition in unmet(task.facts, [goal]):
        if condition.source in task.of_rule:
            assumptions.append(f"where {condition.holds!r}")
        else:
            return Open(f"true wherever both sides have a value; add `given {condition.holds!r}`")
    return Proved(outcome.procedure, outcome.certificate, tuple(dict.fromkeys(assumptions)))


__all__ = ["conjuncts_of", "decide", "with_domain"]
