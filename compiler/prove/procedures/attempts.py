"""One goal in several ways: as it stands, side by side, where it is defined, for any values that it repeats."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.forms.domain import unmet
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.fuel import remaining, within
from dotopt.compiler.prove.outcome import Proved
from dotopt.compiler.prove.procedures.direct import direct
from dotopt.compiler.prove.procedures.generalise import generalised
from dotopt.compiler.prove.procedures.task import Task

SMALL = 12  # nodes of a goal that is first tried as it stands
HURRIED = 250_000  # work of a first round, in which every way is tried


def attempts(goal: Node, task: Task) -> Proved | None:
    """A proof as it stands, where it is defined, or for any values in the place of those that the goal repeats."""
    if goal.op not in ("lt", "le", "gt", "ge"):
        outcome = direct(goal, task)
        return outcome if outcome is not None or not task.refute else _where_defined(goal, task)
    small = sum(1 for _ in goal.walk()) <= SMALL
    sides = (direct, _by_sides)
    ways = (*sides, _for_any_value) if small else (_for_any_value, *sides)
    hurried = replace(task, fuel=min(task.fuel, HURRIED))
    failed: Exception | None = None
    for held, here in ((hurried, ways), (task, (*ways, _where_defined))):
        for way in here:
            try:
                outcome = way(goal, held)
            except (Unsupported, ArithmeticError) as error:
                failed = failed or error
                continue
            if outcome is not None:
                return outcome
    if failed is not None:
        raise failed
    return None


def _by_sides(goal: Node, task: Task) -> Proved | None:
    """|e| <= c by e <= c and -e <= c, max(a, b) <= c by both, and so on, where z3 sees no sum or maximum as a whole."""
    small, large = goal.args if goal.op in ("le", "lt") else goal.args[::-1]
    relation = "le" if goal.op in ("le", "ge") else "lt"
    match small.op, large.op:
        case "abs", _:
            parts = [node(relation, side, large) for side in (small.args[0], node("neg", small.args[0]))]
        case "max", _:
            parts = [node(relation, side, large) for side in small.args]
        case _, "min":
            parts = [node(relation, small, side) for side in large.args]
        case _:
            return None
    found = []
    for part in parts:
        outcome = direct(part, task) or _by_sides(part, task)
        if outcome is None:
            return None
        found.append(outcome)
    return Proved(found[0].procedure, {"kind": "all", "parts": [outcome.certificate for outcome in found]})


def _where_defined(goal: Node, task: Task) -> Proved | None:
    """A proof that takes quotients, roots and logarithms of the goal as defined; `with_domain` says so or refuses."""
    owed = tuple(condition.implied for condition in unmet(task.facts, [goal]))
    if not owed:
        return None
    stronger = replace(task, premises=(*task.premises, *owed))
    return None if stronger.facts.contradictory() else direct(goal, stronger)


def _for_any_value(goal: Node, task: Task) -> Proved | None:
    """A proof for every value in the place of those that the goal repeats."""
    for wider, premises in generalised(goal, task.facts):
        general = replace(task, premises=premises)
        with suppress(Unsupported, ArithmeticError), within(remaining() / 2):
            outcome = direct(wider, general)
            if outcome is None and task.fuel > HURRIED:
                outcome = _where_defined(wider, general)
            if outcome is not None:
                return outcome
    return None


__all__ = ["attempts"]
