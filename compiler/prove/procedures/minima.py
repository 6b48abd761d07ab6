"""Sentences about `argmin` and `prox` are about minima: what must hold for them to exist is owed, as for quotients."""

from __future__ import annotations

from collections.abc import Callable

from dotopt.compiler.analysis.curvature import curvature
from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms.domain import conditions, shown
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous
from dotopt.compiler.prove.procedures.sentences import task
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.text import syntax as s


def where_minima_exist(case: Case, show: s.Show, fuel: float, decide: Callable[[], Outcome]) -> Outcome:
    """The outcome of a sentence where its minima exist; a proof that needs more than the premises leaves it open."""
    match show.goal:  # what it asks the minimum of is known when it is read
        case s.Holds(condition=condition):
            case.value(condition)
        case s.Becomes(old=old, new=new):
            case.value(old), case.value(new)
    if not case.context.minimised:
        return decide()
    held = task(case, fuel)
    needed, facts, premises = _needed(case, held.of_rule), held.facts, list(case.premises)
    missing = [x for x in needed or () if not shown(facts, x)]
    case.premises += missing
    outcome = decide()
    case.premises = premises
    if needed is None and isinstance(outcome, Proved | Refuted):
        return Open("true or false only where the minimum exists: the function is not seen to be convex")
    if missing and isinstance(outcome, Vacuous) and not facts.contradictory():
        return Open("the minimum exists nowhere: its function is not convex")
    if missing and isinstance(outcome, Refuted if show.refute else Proved):
        return Open(f"true wherever the minimum exists; add `given {missing[0]!r}`")
    return outcome


def _needed(case: Case, of_rule: frozenset[Node]) -> list[Node] | None:
    """What the minima need; None where it is not known. The quotients of the rule itself are taken as defined."""
    found: dict[Node, None] = {}
    for function in case.context.minimised:
        curved = curvature(function)
        if curved is None:
            return None
        variables = set(function.variables)
        inside = (c for c in conditions([case.settle(function.body)]) if c.source not in of_rule)
        values = (c.implied for c in inside if not variables & set(c.implied.walk()))
        found |= dict.fromkeys([*map(case.settle, curved), *values])
    return list(found)


__all__ = ["where_minima_exist"]
