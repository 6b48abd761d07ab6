"""`by lemma(name)`: another claim of the file, once it is proved, is used wherever its own premises hold.

A lemma for all steps needs its premises in every step: one about an input or a gradient is of use to another claim for
all steps, and not to a sentence about this step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.outcome import Proved, all_of
from dotopt.compiler.prove.procedures.sentences import task
from dotopt.compiler.prove.statements.cases import cases
from dotopt.compiler.prove.statements.lemma_names import leans_on, lemma_names
from dotopt.compiler.prove.statements.run import moves
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s

OTHER = (s.Flow, s.Precision, s.Derive)  # clauses that give a sentence another meaning


@dataclass(frozen=True)
class Lemma:
    """What a proved claim says in this case, and its proof."""

    facts: tuple[Node, ...]
    certificate: dict[str, Any]
    assumptions: tuple[str, ...]


def lemmas(case: Case, fuel: float) -> list[Lemma]:
    """The lemmas that the claim asks for; raises `Unreadable` if one is not proved, or says nothing here."""
    names = lemma_names(case.claim)
    if any(c.name == case.claim.name for c in leans_on(case.file, case.claim)):
        raise Unreadable("lemmas that need each other")
    known = {c.name: c for c in case.file.claims}
    for name in names:
        if name not in known:
            raise Unreadable(f"`by lemma({name})`: no claim of this file has that name")
    return [_lemma(case, known[name], int(fuel / (len(names) + 1))) for name in names]


def _lemma(case: Case, claim: s.Claim, fuel: int) -> Lemma:
    from dotopt.compiler.prove.claim import outcomes

    if any(isinstance(clause, OTHER) for clause in claim.body):
        raise Unreadable(f"the lemma `{claim.name}`, which speaks of something else than a step")
    outcome = all_of(outcomes(case.file, claim, case.library, fuel, []))
    if not isinstance(outcome, Proved):
        raise Unreadable(f"the lemma `{claim.name}` is not proved itself")
    other = next((c for c in cases(case.file, claim, case.library) if _same(case, c)), None)
    if other is None:
        raise Unreadable(f"the lemma `{claim.name}` says nothing of these options")
    facts: list[Node] = []
    for show in (clause for clause in claim.body if isinstance(clause, s.Show)):
        if not isinstance(show.goal, s.Holds) or show.refute:
            raise Unreadable(f"the lemma `{claim.name}`, which is no sentence about a step")
        _applies(case, other, show.goal.all_steps)
        facts.append(case.settle(other.value(show.goal.condition)))
    return Lemma(tuple(facts), outcome.certificate, outcome.assumptions)


def _same(case: Case, other: Case) -> bool:
    return (case.options, case.rank, case.recurrences) == (other.options, other.rank, other.recurrences)


def _applies(case: Case, other: Case, all_steps: bool) -> None:
    """Raises `Unreadable` if the premises of the lemma do not follow from those of the case."""
    here = task(case, 1, refute=False).facts
    equations = [node("eq", name, body) for table in other.substitutions for name, body in table.items()]
    for premise in (*other.premises, *equations, *other.point_premises):
        settled = case.settle(premise)
        holds = settled.op == "bool" and bool(settled.attrs[0])
        lasts = case.standing or not all_steps or not moves(premise)
        same = premise in case.premises or settled in case.premises or settled.args[:1] == settled.args[1:]
        if not lasts or not (holds or same or here.proves(settled, 300)):
            raise Unreadable(f"the lemma `{other.claim.name}`, whose premise {premise!r} is not one of this claim")
    for name, meaning in other.functions.items():
        if case.functions.get(name) != meaning:
            raise Unreadable(f"the lemma `{other.claim.name}`, where `{name}` is another function")


__all__ = ["Lemma", "lemmas"]
