"""`by simulation(seeds=n)`: the sentence is tried in n runs, numbered by their seeds. That is evidence and no proof.

Everything that the claim leaves open is drawn anew for every seed: its draws by their laws, names of `for all` within
their ranges; `run(R, f, …)` is run by the judge in float64. The same seed gives the same numbers everywhere.

A run in which the sentence fails refutes it only where nothing was drawn by a law, so that the run is one case of what
is claimed, and where the failure outlives disturbances of every number on the way that are far larger than rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.fuel import Mark, until
from dotopt.compiler.prove.outcome import Open, Outcome, Refuted
from dotopt.compiler.prove.procedures.trial import Disturbance, Lab, Trial
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s

SEEDS = 10  # runs, where the claim does not say how many
ATTEMPTS = 50  # draws for a seed until the premises hold
DISTURBED = 6  # runs with disturbed numbers that a counterexample has to outlive
DISTURBED_BY = 2.0**-36  # relative, of each number on the way: rounding is 2^-53
MARGIN = 100.0  # a failure is this many times larger than what the disturbances make of it
COMPARED: dict[str, Callable[[Any], Any]] = {  # by how much left - right holds
    "eq": lambda d: -np.abs(d), "ne": np.abs, "le": lambda d: -d, "lt": lambda d: -d, "ge": lambda d: d,
    "gt": lambda d: d,
}  # fmt: skip
STRICT = ("lt", "gt", "ne")
RELATIVE = 1e-9  # sides that are as close are taken as equal


@dataclass
class Tally:
    """What came of the runs."""

    first: int  # seed
    wanted: int = 0
    held: int = 0
    failed: list[tuple[int, str]] = field(default_factory=list)  # the seed, and what was found
    unmet: int = 0  # seeds for which the premises were never met
    late: bool = False  # the time was up before the last run

    @property
    def outcome(self) -> Open:
        """The sentence of the report, and its numbers."""
        runs = self.held + len(self.failed)
        evidence = {"runs": runs, "held": self.held, "seed": self.first, "failed": [seed for seed, _ in self.failed]}
        if not runs:
            missing = "no run was finished in the time" if self.late else "no draw of its names met the premises"
            return Open(f"{missing}, so there is no evidence", 0, evidence)
        rest = f"; {self.unmet} draws more did not meet the premises" if self.unmet else ""
        rest += f"; {self.wanted - runs - self.unmet} runs more did not fit into the time" if self.late else ""
        if not self.failed:
            return Open(f"held in {self.held} of {runs} runs (simulation is evidence, no proof){rest}", 0, evidence)
        seed, found = self.failed[0]
        many = f"failed in {len(self.failed)} of {runs} runs (simulation is evidence, no proof)"
        return Open(f"{many}, first with seed {seed}: {found}{rest}", 0, evidence)


def simulated(cases: Iterable[Case], claim: s.Claim, fuel: float, first: int = 0) -> Outcome:
    """Runs the sentences of a claim; `Refuted` by a run that is a counterexample beyond rounding, else `Open`.

    Raises `Unreadable` for what has no numbers.
    """
    end = until(fuel)
    for clause in claim.body:
        if isinstance(clause, s.Flow | s.Derive | s.Precision):
            raise Unreadable("a simulation of a flow, of rounded numbers, or of constants that are to be found")
    shows = [clause for clause in claim.body if isinstance(clause, s.Show)]
    for show in shows:
        if not isinstance(show.goal, s.Holds) or show.goal.all_steps or show.refute:
            raise Unreadable("a simulation of a sentence that is not about numbers at one place")
    tally = Tally(first)
    seen: set[object] = set()
    for case in cases:
        goals = [case.value(show.goal.condition) for show in shows if isinstance(show.goal, s.Holds)]
        own = any(here.role == "function" and here.name == case.file.head.name for g in goals for here in g.walk())
        same = (*goals, *case.premises, case.label if own else "")
        if same in seen:  # the options that differ are not read
            continue
        seen.add(same)
        lab = Lab(case)
        tally.wanted += seeds(claim)
        for seed in range(first, first + seeds(claim)):
            try:
                trial = _fitting(lab, seed, end)
                if trial is None:
                    tally.unmet += 1
                    continue
                failing = _failing(trial, goals)
                if failing is not None and trial.lawful and _outlives(trial, goals):
                    return Refuted("simulation", _numbers(trial, failing))
            except TimeoutError:
                tally.late = True
                return tally.outcome
            if failing is None:
                tally.held += 1
            else:
                tally.failed.append((seed, f"{failing!r} is {_sides(trial, failing)}"))
    return tally.outcome


def seeds(claim: s.Claim) -> int:
    """The number that `by simulation(seeds=n)` asks for, or `by sampling(trials=n)`."""
    for clause in claim.body:
        for method in clause.methods if isinstance(clause, s.By) else ():
            for keyword in method.keywords if isinstance(method, s.Call) else ():
                if keyword.name in ("seeds", "trials") and isinstance(keyword.value, s.Number):
                    return max(int(keyword.value.value), 1)
    return SEEDS


def _fitting(lab: Lab, seed: int, end: Mark) -> Trial | None:
    """The first draw of a seed that meets the premises."""
    for attempt in range(ATTEMPTS):
        trial = Trial(lab, seed + (attempt << 32), end)
        if _admitted(trial):
            return trial
    return None


def _admitted(trial: Trial) -> bool:
    return all(bool(np.all(trial.at(p))) for p in trial.lab.case.premises)


def _parts(goal: Node) -> Iterator[Node]:
    if goal.op == "and":
        for arg in goal.args:
            yield from _parts(arg)
    else:
        yield goal


def _failing(trial: Trial, goals: list[Node]) -> Node | None:
    """The first part of the sentences that does not hold to rounding."""
    return next((part for goal in goals for part in _parts(goal) if not _holds(trial, part)), None)


def _holds(trial: Trial, part: Node) -> bool:
    if part.op not in COMPARED:
        return bool(np.all(trial.at(part)))
    sides = [np.abs(np.asarray(trial.at(a), dtype=float)) for a in part.args]
    rounding = 0.0 if part.op in STRICT else RELATIVE * np.maximum(*sides)
    slack = _slack(trial, part) + rounding
    return bool(np.all(slack > 0 if part.op in STRICT else slack >= 0))  # False where a side is no number


def _slack(trial: Trial, part: Node) -> Any:
    """By how much each entry of a comparison holds; negative where it fails."""
    left, right = (np.asarray(trial.at(a), dtype=float) for a in part.args)
    with np.errstate(invalid="ignore"):
        return COMPARED[part.op](left - right)


def _outlives(trial: Trial, goals: list[Node]) -> bool:
    """Whether one part fails by far more than disturbances of every number change it, premises being met in all."""
    others = [
        Trial(trial.lab, trial.seed, trial.end, Disturbance(DISTURBED_BY, number)) for number in range(DISTURBED)
    ]
    if not all(map(_admitted, others)):
        return False
    for part in (p for goal in goals for p in _parts(goal) if p.op in COMPARED):
        slack = _slack(trial, part)
        moved = np.max([np.abs(_slack(other, part) - slack) for other in others], axis=0)
        if np.any(np.isfinite(slack) & np.isfinite(moved) & (slack < 0) & (slack < -MARGIN * moved)):
            return True
    return False


def _sides(trial: Trial, part: Node) -> str:
    if part.op not in COMPARED:
        return "false"
    left, right = (_text(trial.at(a)) for a in part.args)
    return f"left {left}, right {right}"


def _text(value: Any) -> str:
    array = np.asarray(value, dtype=float)
    return f"{float(array):.6g}" if array.ndim == 0 else f"[{', '.join(map(_text, array))}]"


def _numbers(trial: Trial, part: Node) -> dict[str, Any]:
    """The run as a counterexample."""
    case = trial.lab.case
    drawn = {here.name: np.asarray(value).tolist() for here, value in trial.drawn.items() if here.role != "axis"}
    options = {"options": case.label} if case.label else {}
    sides = {n: _text(trial.at(a)) for n, a in zip(("left", "right"), part.args, strict=False)}
    return {**options, "seed": trial.seed, **drawn, **sides, "fails": repr(part)}


__all__ = ["simulated"]
