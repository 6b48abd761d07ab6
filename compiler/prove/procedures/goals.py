"""The goals of claims: each form of sentence and the procedure that decides it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial, reduce

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.fuel import FAST
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.procedures.decide import decide
from dotopt.compiler.prove.procedures.induction import for_all_steps, kept_by_itself
from dotopt.compiler.prove.procedures.lemmas import lemmas
from dotopt.compiler.prove.procedures.orders import coefficients, speaks_of_orders
from dotopt.compiler.prove.procedures.sentences import task, with_invariants
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.lemma_names import lemma_names
from dotopt.compiler.prove.statements.reached import LATEST, every_step, reached
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import state_leaves
from dotopt.compiler.prove.worlds.numbers import text
from dotopt.compiler.text import syntax as s


def outcome_of(case: Case, show: s.Show, fuel: float = FAST) -> Outcome:
    """The outcome of one `show` or `refute` in one case."""
    body = case.claim.body
    if any(isinstance(c, s.Derive) for c in body) and (show.refute or sum(isinstance(c, s.Show) for c in body) > 1):
        raise Unreadable("constants that are to be derived for more than one sentence, or for a `refute`")
    if show.refute:
        return _wanted_counterexample(outcome_of(case, replace(show, refute=False), fuel))
    if any(isinstance(c, s.Flow) for c in case.claim.body):
        from dotopt.compiler.prove.procedures.flow import flow

        return flow(case, show.goal, fuel)
    match show.goal:
        case s.Holds(_, condition, all_steps):
            rounded = next((c.name for c in case.claim.body if isinstance(c, s.Precision)), None)
            if rounded is not None:
                from dotopt.compiler.prove.procedures.machine import machine

                return machine(case, condition, rounded, all_steps, fuel)
            if lemma_names(case.claim) and not case.lemmas:
                return _leaning(case, show, fuel)
            goal = case.members(case.value(condition))
            if speaks_of_orders(goal):
                return _expanded(with_invariants(case, coefficients(case, goal), fuel))
            if goal.op == "bool" and not goal.attrs[0]:
                return _false(case, goal, sides(case, condition), fuel)
            if all_steps or case.begins:
                return _in_every_step(case, goal, fuel)
            if case.lemmas:
                case = replace(case, premises=[*case.premises, *case.lemmas])
            outcome = with_invariants(case, goal, fuel)
            return _by_steps(case, goal, fuel / 2) or outcome if isinstance(outcome, Open) else outcome
        case s.Becomes():
            from dotopt.compiler.prove.procedures.symmetry import becomes

            return becomes(case, show.goal, fuel)
        case s.Equivalent():
            from dotopt.compiler.prove.procedures.equivalence import equivalent

            return equivalent(case, show.goal, fuel)
        case s.Stable():
            from dotopt.compiler.prove.procedures.stability import stable

            return stable(case, show.goal, fuel)
    raise Unreadable("this form of claim")


def _false(case: Case, goal: Node, shown: dict[str, object], fuel: float) -> Outcome:
    """What is said of a sentence that is false whatever its names stand for: the premises may exclude each other."""
    held = task(case, fuel)
    if not held.premises and not held.points:
        return Refuted("arithmetic", shown)
    if held.facts.contradictory():
        return Vacuous()
    search = held.search(goal)
    if search.quick() is None and search.run(fuel / 4) is None:
        return Open("it is false, but no numbers were found for which the premises hold")
    return Refuted("arithmetic", shown)


def _in_every_step(case: Case, goal: Node, fuel: float) -> Outcome:
    """A sentence about all steps, alone or together with the others of the claim."""
    if any(isinstance(c, s.Derive) for c in case.claim.body):
        raise Unreadable("constants that are to be derived for all steps")
    shown = [c.goal for c in case.claim.body if isinstance(c, s.Show) and not c.refute]
    others = [case.value(g.condition) for g in shown if isinstance(g, s.Holds) and (g.all_steps or case.begins)]
    if len(others) > 1:  # one that needs the others is true as a rule: they are tried before counterexamples are sought
        for sentence in (goal, reduce(partial(node, "and"), others)):
            outcome = for_all_steps(case, sentence, fuel / 2, hunt=False)
            if isinstance(outcome, Proved):
                return outcome
    return for_all_steps(case, goal, fuel)


def _leaning(case: Case, show: s.Show, fuel: float) -> Outcome:
    """The outcome with the lemmas that the claim asks for."""
    found = lemmas(case, fuel / 2)
    facts = [fact for lemma in found for fact in lemma.facts]
    outcome = outcome_of(replace(case, lemmas=facts), show, fuel)
    if not isinstance(outcome, Proved):
        return outcome
    certificate = {"kind": "all", "parts": [outcome.certificate, *(lemma.certificate for lemma in found)]}
    assumptions = (*outcome.assumptions, *(a for lemma in found for a in lemma.assumptions))
    return Proved(outcome.procedure, certificate, tuple(dict.fromkeys(assumptions)))


def _by_steps(case: Case, goal: Node, fuel: float) -> Proved | None:
    """A proof of what is left open: it is so in every step, or in the step that a premise names, written out."""
    if case.at_start or not case.program.next or not state_leaves([goal]):
        return None
    run = reached(case)
    premises = (*case.premises, *case.point_premises)
    last = run.last(premises)
    if last is None:
        return kept_by_itself(every_step(case), goal, fuel)
    if last > LATEST or not run.readable:
        return None
    own = run.nodes(last)
    parts = [
        decide(shown, Task(given, case.program, own, fuel=fuel, refute=False))
        for given, shown in run.written_out(premises, goal, last)
    ]
    outcome = all_of(parts) if parts else None
    return outcome if isinstance(outcome, Proved) else None


def _expanded(outcome: Outcome) -> Outcome:
    """The outcome for Taylor coefficients as one for the expansion."""
    if isinstance(outcome, Proved):
        return replace(outcome, assumptions=("the objective is smooth enough", *outcome.assumptions))
    return outcome


def sides(case: Case, condition: s.Expression) -> dict[str, object]:
    """The values of both sides of a comparison of numbers."""
    if not isinstance(condition, s.Compare):
        return {"fails": condition.span.text}
    numbers = [case.value(x).value for x in condition.operands]
    words = ("left", "right", "third", "fourth")
    values = {w: text(x) for w, x in zip(words, numbers, strict=False) if x is not None}
    return {**values, "fails": condition.span.text}


def _wanted_counterexample(outcome: Outcome) -> Outcome:
    """`refute c` holds when c is refuted, and is refuted when c is a theorem."""
    match outcome:
        case Refuted(procedure, counterexample):
            return Proved(procedure, {"kind": "counterexample", "values": counterexample})
        case Proved(procedure, certificate):
            return Refuted(
                procedure, {"theorem": "the sentence is proved, so it cannot be refuted", "by": certificate["kind"]}
            )
    return outcome


__all__ = ["Open", "outcome_of"]
