"""`by sampling` and `by simulation`: experiments. They may refute a sentence; what they do not refute stays open."""

from __future__ import annotations

from dotopt.compiler import syntax as s
from dotopt.compiler.prove.goals import task
from dotopt.compiler.prove.outcome import Open, Outcome, Refuted
from dotopt.compiler.prove.refute import Search
from dotopt.compiler.prove.statement import Case


def experiment(claim: s.Claim) -> str:
    """The kind of experiment that a claim asks for, if any."""
    for clause in claim.body:
        for method in clause.methods if isinstance(clause, s.By) else ():
            name = method.function if isinstance(method, s.Call) else method
            if isinstance(name, s.Name) and name.name in ("simulation", "sampling"):
                return name.name
    return ""


def sampled(case: Case, show: s.Show, seconds: float) -> Outcome:
    """A counterexample among random points, or at how many of them the sentence held."""
    rounded = any(isinstance(clause, s.Precision) for clause in case.claim.body)
    if rounded or not isinstance(show.goal, s.Holds) or show.goal.all_steps or show.refute:
        return Open("sampling is evidence, never a proof; of this form of sentence `dotopt test` takes samples")
    held = task(case, seconds)
    goal = case.value(show.goal.condition)
    search = Search(
        (*held.premises, *held.points), goal, held.program, held.classes, held.index_sets, free_states=held.free_states
    )
    found = search.run(seconds)
    if found is not None:
        return Refuted("sampling", found)
    return Open(f"it held at {search.points} random points, which is evidence and no proof", search.points)


__all__ = ["experiment", "sampled"]
