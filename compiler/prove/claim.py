"""One claim: every case of every sentence within its budget of time, and what comes out of it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import z3

from dotopt.compiler.prove.cache import subject
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.forms.certificates import forget_names, strengthened
from dotopt.compiler.prove.forms.facts import forget_facts
from dotopt.compiler.prove.forms.polynomial import TooLarge, forget_atoms, within
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of, one_of
from dotopt.compiler.prove.procedures.goals import outcome_of
from dotopt.compiler.prove.procedures.minima import where_minima_exist
from dotopt.compiler.prove.procedures.simulation import simulated
from dotopt.compiler.prove.report import FAST, FULL
from dotopt.compiler.prove.statements.cases import cases
from dotopt.compiler.prove.statements.methods import as_asked, experiment, runs, sampled, simulates
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library

RUNS = 5  # times the budget of a claim: what `run(…)` gets
LONGEST = 300  # characters of an internal error


class OutOfTime(BaseException):
    """The hard limit of a claim has passed; no `Exception`, so no procedure takes it for a failure of its own."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises `OutOfTime` in the body after this time; only the main thread can do it, elsewhere there is no limit."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGVTALRM"):
        yield
        return

    running = True

    def stop(number: int, frame: object) -> None:
        if running:
            raise OutOfTime

    def unraisable(found: sys.UnraisableHookArgs) -> None:
        if found.exc_type is not OutOfTime:  # in a finaliser it is lost: the timer rings again
            report_unraisable(found)

    before, report_unraisable = signal.signal(signal.SIGVTALRM, stop), sys.unraisablehook
    sys.unraisablehook = unraisable
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, 0.05)  # of this process, however busy the machine is
    try:
        yield
    finally:
        running = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        sys.unraisablehook = report_unraisable


def decided(file: s.File, claim: s.Claim, library: Library, seconds: float = FAST) -> Outcome:
    """The outcome of a claim; whatever goes wrong inside leaves it open, with the reason."""
    forget_facts()
    forget_names()
    forget_atoms()
    undecided: list[Open] = []
    limit = seconds * RUNS if runs(claim) else seconds
    try:
        with time_limit(limit), within(limit):
            outcome = all_of(outcomes(file, claim, library, seconds, undecided), "cases")
    except OptError as error:
        found = error.diagnostics[0]
        return Open(str(error).splitlines()[0] + (f"; {found.help}" if found.help else ""))
    except Unreadable as error:
        return Open(f"not readable yet: {error}")
    except OutOfTime:
        return _out_of_time(seconds, undecided)
    except TooLarge as error:
        return Open(str(error))
    except RecursionError:
        return Open("the expression is too deep")
    except Exception as error:
        if "OutOfTime" in str(error):  # raised inside a callback of z3
            return _out_of_time(seconds, undecided)
        return Open(f"internal: {type(error).__name__}: {error}"[:LONGEST])
    return _verified(_without_z3(outcome, limit), subject(file, claim, library))


def _verified(outcome: Outcome, about: str) -> Outcome:
    """The outcome; a proof counts only when the checker has verified its certificate, which says what it is about."""
    if not isinstance(outcome, Proved):
        return outcome
    certificate = {**outcome.certificate, "about": about}
    if not verify(certificate, about):
        return Open(f"a proof by {outcome.procedure} was found, and the checker does not verify its certificate")
    return replace(outcome, certificate=certificate)


def _without_z3(outcome: Outcome, seconds: float) -> Outcome:
    """A proof with as few questions to z3 in its certificate as can be answered otherwise in this time."""
    if not isinstance(outcome, Proved):
        return outcome
    try:
        with time_limit(seconds):
            return replace(outcome, certificate=strengthened(outcome.certificate))
    except (OutOfTime, z3.Z3Exception):
        return outcome


def _out_of_time(seconds: float, undecided: list[Open]) -> Open:
    """What is said when the budget is used up: the case that was left open before, if there was one."""
    longer = f"; --full gives it {FULL:g} s" if seconds < FULL else ""
    if undecided:
        return Open(undecided[0].reason, undecided[0].points, undecided[0].evidence)
    return Open(f"ran out of its {seconds:g} s{longer}")


def outcomes(
    file: s.File, claim: s.Claim, library: Library, seconds: float, undecided: list[Open]
) -> Iterator[Outcome]:
    """What every sentence comes to in every case; those that are left open are put into `undecided` too."""
    evidence = experiment(claim)
    if runs(claim) and not evidence:
        yield Open("`run(…)` is for experiments: add `by simulation(seeds=10)`")
        return
    if simulates(claim):
        yield simulated(cases(file, claim, library), claim, 0.9 * (seconds * RUNS if runs(claim) else seconds))
        return
    deadline = time.process_time() + seconds
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
                left = max(deadline - time.process_time(), seconds / 10)
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
