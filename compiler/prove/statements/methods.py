"""What `by` asks for: a kind of proof, or experiments.

A proof of another kind than the one that is asked for leaves the sentence open, and says so. Experiments (`sampling`,
`simulation`) may refute a sentence and never prove it. `lemma` brings in other claims; `quotient` and `enumeration` are
advice to the reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted
from dotopt.compiler.prove.procedures.sentences import task
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.text import syntax as s

PLAIN = {"truth", "nf-zero"}
ONLY = {  # what the certificates at the leaves may be
    "algebra": PLAIN | {"trees"},
    "smt": PLAIN | {"smt-unsat", "positive"},
    "range": PLAIN | {"smt-unsat", "positive", "elementary"},
}
# what must be among the certificates
SOME = {"induction": "induction", "monotone": "multipliers", "sos": "multipliers"}


def methods(claim: s.Claim) -> list[str]:
    """The methods that a claim asks for, by name."""
    asked = (m for clause in claim.body if isinstance(clause, s.By) for m in clause.methods)
    names = (m.function if isinstance(m, s.Call) else m for m in asked)
    return [name.name for name in names if isinstance(name, s.Name)]


def experiment(claim: s.Claim) -> str:
    """The kind of experiment that a claim asks for, if any."""
    return next((name for name in methods(claim) if name in ("simulation", "sampling")), "")


def runs(claim: s.Claim) -> bool:
    """Whether a claim speaks of `run(…)`."""
    calls = (here.function for here in claim.walk() if isinstance(here, s.Call))
    return any(isinstance(name, s.Name) and name.name == "run" for name in calls)


def simulates(claim: s.Claim) -> bool:
    """Whether a claim is decided by its runs: `by simulation`, or `by sampling` where it speaks of `run(…)`."""
    return experiment(claim) == "simulation" or (bool(experiment(claim)) and runs(claim))


def as_asked(outcome: Outcome, claim: s.Claim) -> Outcome:
    """The outcome, or `Open` for a proof of another kind than the claim asks for."""
    if not isinstance(outcome, Proved):
        return outcome
    kinds = set(_kinds(outcome.certificate))
    inner = {kind for kind, leaf in kinds if leaf}
    for name in methods(claim):
        fits = (name not in ONLY or inner <= ONLY[name]) and (name not in SOME or SOME[name] in {k for k, _ in kinds})
        if not fits:
            return Open(f"it is proved by {outcome.procedure}, which is not what `by {name}` asks for")
    return outcome


def _kinds(certificate: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The kinds of a certificate and of its parts, and whether they have none."""
    parts = certificate.get("parts") or ()
    yield certificate["kind"], not parts
    for part in parts:
        yield from _kinds(part)


def sampled(case: Case, show: s.Show, fuel: float) -> Outcome:
    """A counterexample among random points, or at how many of them the sentence held."""
    rounded = any(isinstance(clause, s.Precision) for clause in case.claim.body)
    if rounded or not isinstance(show.goal, s.Holds) or show.goal.all_steps or show.refute:
        return Open("sampling is evidence, never a proof; of this form of sentence `dotopt test` takes samples")
    held = task(case, fuel)
    goal = case.value(show.goal.condition)
    search = held.search(goal)
    found = search.run(fuel)
    if found is not None:
        return Refuted("sampling", found)
    return Open(f"it held at {search.points} random points, which is evidence and no proof", search.points)


__all__ = ["as_asked", "experiment", "runs", "sampled", "simulates"]
