"""One claim: every case of every sentence within its fuel, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.cache import subject
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.forms.certificates import forget_names, strengthened
from dotopt.compiler.prove.forms.facts import forget_facts
from dotopt.compiler.prove.forms.polynomial import forget_atoms
from dotopt.compiler.prove.fuel import FAST, FULL, OutOfFuel, StoppedByClock, TooLarge, left_unanswered, tank, until
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Stopped, Vacuous, all_of, one_of
from dotopt.compiler.prove.procedures.goals import outcome_of
from dotopt.compiler.prove.procedures.minima import where_minima_exist
from dotopt.compiler.prove.procedures.simulation import simulated
from dotopt.compiler.prove.statements.cases import cases
from dotopt.compiler.prove.statements.methods import as_asked, experiment, runs, sampled, simulates
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library

RUNS = 5  # times the fuel of a claim: what `run(…)` gets
LONGEST = 300  # characters of an internal error


def decided(file: s.File, claim: s.Claim, library: Library, fuel: int = FAST) -> Outcome:
    """The outcome of a claim; whatever goes wrong inside leaves it open, with the reason, but for the guard's clock."""
    limit = fuel * RUNS if runs(claim) else fuel
    try:
        with tank(limit):
            forget_facts()
            forget_names()
            forget_atoms()
            outcome = _searched(file, claim, library, fuel)
            if isinstance(outcome, Open) and left_unanswered():
                return Stopped()
        if not isinstance(outcome, Proved):
            return outcome
        with tank(limit):
            outcome = replace(outcome, certificate=strengthened(outcome.certificate))
        with tank(limit):
            return _verified(outcome, subject(file, claim, library))
    except OutOfFuel:
        return Open("the certificate is more work to verify than the proof was to find")
    except StoppedByClock:
        return Stopped()


def _searched(file: s.File, claim: s.Claim, library: Library, fuel: int) -> Outcome:
    """The outcome before its certificate is looked at."""
    undecided: list[Open] = []
    try:
        return all_of(outcomes(file, claim, library, fuel, undecided), "cases")
    except OptError as error:
        found = error.diagnostics[0]
        return Open(str(error).splitlines()[0] + (f"; {found.help}" if found.help else ""))
    except Unreadable as error:
        return Open(f"not readable yet: {error}")
    except Mismatch as error:
        return Open(f"not readable: shapes do not fit: {error}")
    except OutOfFuel:
        return _out_of_fuel(fuel, undecided)
    except TooLarge as error:
        return Open(str(error))
    except RecursionError:
        return Open("the expression is too deep")
    except Exception as error:
        return Open(f"internal: {type(error).__name__}: {error}"[:LONGEST])


def _verified(outcome: Outcome, about: str) -> Outcome:
    """The outcome; a proof counts only when the checker has verified its certificate, which says what it is about."""
    if not isinstance(outcome, Proved):
        return outcome
    certificate = {**outcome.certificate, "about": about}
    if not verify(certificate, about):
        return Open(f"a proof by {outcome.procedure} was found, and the checker does not verify its certificate")
    return replace(outcome, certificate=certificate)


def _out_of_fuel(fuel: int, undecided: list[Open]) -> Open:
    """What is said when the fuel is used up: the case that was left open before, if there was one."""
    more = f"; --full gives it {FULL // FAST} times as much" if fuel < FULL else ""
    return undecided[0] if undecided else Open(f"ran out of its fuel{more}")


def outcomes(
    file: s.File, claim: s.Claim, library: Library, fuel: int, undecided: list[Open]
) -> Iterator[Outcome]:
    """What every sentence comes to in every case; those that are left open are put into `undecided` too."""
    evidence = experiment(claim)
    if runs(claim) and not evidence:
        yield Open("`run(…)` is for experiments: add `by simulation(seeds=10)`")
        return
    if simulates(claim):
        yield simulated(cases(file, claim, library), claim, 0.9 * (fuel * RUNS if runs(claim) else fuel))
        return
    end = until(fuel)
    found = False
    seen: set[object] = set()
    wanted: dict[int, list[Outcome]] = {}  # by the place of a `refute`: a counterexample in one case is enough
    for case in cases(file, claim, library):
        found = True
        for place, clause in enumerate(case.claim.body):
            if isinstance(clause, s.Show):
                if any(isinstance(outcome, Proved) for outcome in wanted.get(place, ())):
                    continue
                same = signature(case, clause)
                if same in seen:  # the options that differ are not read
                    continue
                seen.add(same)
                left = max(end.left, fuel / 10)
                share = left / 2 if undecided else left
                decide = partial(sampled if evidence else outcome_of, case, clause, share)
                outcome = as_asked(where_minima_exist(case, clause, share, decide), claim)
                if isinstance(outcome, Refuted) and case.label:
                    outcome = Refuted(
                        outcome.procedure, {"options": case.label, **outcome.counterexample}, outcome.repair
                    )
                if isinstance(outcome, Open) and case.label:
                    outcome = Open(f"{outcome.reason} ({case.label})", outcome.points, outcome.evidence)
                if isinstance(outcome, Open):
                    undecided.append(outcome)
                if clause.refute:
                    wanted.setdefault(place, []).append(outcome)
                else:
                    yield outcome
    yield from map(one_of, wanted.values())
    if not found:
        yield Vacuous("cases")


def signature(case: Case, show: s.Show) -> object:
    """What a case is decided from: two cases with the same one have the same outcome."""
    goal = show.goal
    if isinstance(goal, s.Holds) and not goal.all_steps:
        return (id(show), case.value(goal.condition), *case.premises)
    program = case.program
    moves = (*program.next.values(), *(x.next for x in program.states), *(x.start for x in program.states))
    condition = case.value(goal.condition) if isinstance(goal, s.Holds) else None
    options = case.label if isinstance(goal, s.Equivalent) else ""
    return (id(show), condition, options, *moves, *case.premises)
