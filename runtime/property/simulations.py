"""The property "a simulated claim holds in its runs": those of `by simulation(seeds=n)`, from the seed of the tests."""

from __future__ import annotations

from dotopt.compiler.prove.outcome import Open, Refuted
from dotopt.compiler.prove.procedures.simulation import simulated
from dotopt.compiler.prove.statements.cases import cases
from dotopt.compiler.prove.statements.statement import Unreadable
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library
from dotopt.runtime.property.outcome import Failed, Outcome, Passed, Untested
from dotopt.runtime.property.search import Budget

FUEL = 20_000_000  # work for a claim


def claim_in_runs(file: s.File, claim: s.Claim, library: Library, budget: Budget) -> Outcome:
    """Whether a claim holds in every run that it asks for."""
    try:
        found = simulated(cases(file, claim, library), claim, FUEL, budget.seed)
    except (OptError, Unreadable) as error:
        return Untested(str(error).splitlines()[0])
    match found:
        case Open(reason, _, {"runs": int(runs), "held": int(held)}) if held < runs:
            return Failed(f"claim `{claim.name}` {reason}", _snippet(file, claim, budget.seed))
        case Open(reason, _, {"runs": int(runs)}) if runs:
            return Passed(runs, reason)
        case Refuted(_, counterexample):
            lines = (f"  {name} = {value}" for name, value in counterexample.items())
            return Failed("\n".join([f"claim `{claim.name}` is false", *lines]), _snippet(file, claim, budget.seed))
        case Open(reason):
            return Untested(reason)
    return Untested("there is nothing to run")


def _snippet(file: s.File, claim: s.Claim, seed: int) -> str:
    path = file.span.source.path
    return (
        "from pathlib import Path\n"
        "from dotopt.compiler.text.library import Library, load\n"
        "from dotopt.compiler.prove.procedures.simulation import simulated\n"
        "from dotopt.compiler.prove.statements.cases import cases\n\n"
        f"path = Path({str(path)!r})\n"
        f"claim = next(c for c in load(path).claims if c.name == {claim.name!r})\n"
        f"print(simulated(cases(load(path), claim, Library(path.parent)), claim, {FUEL}, {seed}))\n"
    )
