"""Checks the claims of a file: every case of every claim, with time and certificate, into one report."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dotopt.compiler import syntax as s
from dotopt.compiler.errors import OptError
from dotopt.compiler.library import Library, load
from dotopt.compiler.prove import cache
from dotopt.compiler.prove.facts import forget
from dotopt.compiler.prove.goals import outcome_of
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.polynomial import within
from dotopt.compiler.prove.statement import Case, Unreadable, cases


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


FAST, FULL = 2.0, 30.0  # seconds a claim
LONGEST = 300  # characters of an internal error


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """One claim: `status` is proved, refuted, vacuous or open."""

    rule: str
    name: str
    status: str
    procedure: str
    seconds: float
    certificate: dict[str, Any] | None = None
    counterexample: dict[str, Any] | None = None
    assumptions: tuple[str, ...] = ()
    reason: str = ""
    repair: str = ""
    line: int = 0


@dataclass(frozen=True)
class Report:
    """The claims of one file, and the errors that kept some from being read."""

    file: str
    claims: tuple[ClaimReport, ...]
    errors: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:
        """The report as the JSON of `dotopt check` has it."""
        return {"file": self.file, "claims": [asdict(c) for c in self.claims], "errors": list(self.errors)}


def check_file(path: str | Path, full: bool = False, jobs: int = 1) -> Report:
    """Decides every claim of a file; raises `OptError` if the file cannot be read.

    >>> from dotopt.compiler.library import Library
    >>> report = check_file(Library().find("norm1"))
    >>> [claim.status for claim in report.claims]
    ['proved']
    """
    path = Path(path)
    file = load(path)
    names = range(len(file.claims))
    if jobs > 1 and len(names) > 1:
        with ProcessPoolExecutor(max_workers=jobs) as pool:
            done = list(pool.map(_numbered, [path] * len(names), names, [full] * len(names)))
    else:
        done = [_numbered(path, i, full) for i in names]
    errors = tuple(c.reason for c in done if c.reason.startswith("error["))
    return Report(str(path), tuple(done), errors)


def _numbered(path: Path, index: int, full: bool) -> ClaimReport:
    file = load(path)
    claim = file.claims[index]
    seconds = FULL if full else FAST
    began = time.monotonic()
    name = cache.key(path, claim.name, seconds)
    known = cache.find(name)
    if known is not None:
        spent = round(time.monotonic() - began, 3)
        return ClaimReport(**{**known, "assumptions": tuple(known["assumptions"]), "seconds": spent})
    found = check_claim(file, claim, Library(path.parent), seconds)
    if "ran out of its" not in found.reason and not found.reason.startswith("internal"):
        cache.keep(name, asdict(found))
    return found


def check_claim(file: s.File, claim: s.Claim, library: Library, seconds: float = FAST) -> ClaimReport:
    """Decides one claim of a file."""
    began = time.monotonic()
    outcome: Outcome
    forget()
    undecided: list[Open] = []
    try:
        with time_limit(seconds), within(seconds):
            outcome = all_of(_outcomes(file, claim, library, seconds, undecided), "cases")
    except OptError as error:
        outcome = Open(str(error).splitlines()[0])
    except Unreadable as error:
        outcome = Open(f"not readable yet: {error}")
    except OutOfTime:
        outcome = _out_of_time(seconds, undecided)
    except RecursionError:
        outcome = Open("the expression is too deep")
    except Exception as error:
        late = "OutOfTime" in str(error)  # raised inside a callback of z3
        outcome = (
            _out_of_time(seconds, undecided) if late else Open(f"internal: {type(error).__name__}: {error}"[:LONGEST])
        )
    return report(file.head.name, claim, outcome, time.monotonic() - began)


def _out_of_time(seconds: float, undecided: list[Open]) -> Open:
    """What is said when the budget is used up: the case that was left open before, if there was one."""
    longer = f"; --full gives it {FULL:g} s" if seconds < FULL else ""
    if undecided:
        return Open(undecided[0].reason, undecided[0].points, undecided[0].evidence)
    return Open(f"ran out of its {seconds:g} s{longer}")


def _outcomes(
    file: s.File, claim: s.Claim, library: Library, seconds: float, undecided: list[Open]
) -> Iterator[Outcome]:
    evidence = _evidence(claim)
    if evidence:
        yield Open(f"{evidence} is evidence, never a proof; this claim asks for nothing else")
        return
    deadline = time.process_time() + seconds
    found = False
    seen: set[object] = set()
    for case in cases(file, claim, library):
        found = True
        for clause in case.claim.body:
            if isinstance(clause, s.Show):
                same = signature(case, clause)
                if same in seen:  # the options that differ are not read
                    continue
                seen.add(same)
                left = max(deadline - time.process_time(), seconds / 10)
                outcome = outcome_of(case, clause, left / 2 if undecided else left)
                if isinstance(outcome, Refuted) and case.label:
                    outcome = Refuted(
                        outcome.procedure, {"options": case.label, **outcome.counterexample}, outcome.repair
                    )
                if isinstance(outcome, Open) and case.label:
                    outcome = Open(f"{outcome.reason} ({case.label})", outcome.points, outcome.evidence)
                if isinstance(outcome, Open):
                    undecided.append(outcome)
                yield outcome
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


def _evidence(claim: s.Claim) -> str:
    for clause in claim.body:
        if isinstance(clause, s.Precision):
            return f"sampling in {clause.name}"
        if isinstance(clause, s.By):
            for method in clause.methods:
                name = method.function if isinstance(method, s.Call) else method
                if isinstance(name, s.Name) and name.name in ("simulation", "sampling"):
                    return name.name
    return ""


def report(rule: str, claim: s.Claim, outcome: Outcome, seconds: float) -> ClaimReport:
    """The outcome as a line of the report."""
    line = claim.span.source.text.count("\n", 0, claim.span.start) + 1
    spent = round(seconds, 3)
    match outcome:
        case Proved(procedure, certificate, assumptions):
            return ClaimReport(rule, claim.name, "proved", procedure, spent, certificate, None, assumptions, line=line)
        case Refuted(procedure, counterexample, repair):
            return ClaimReport(
                rule, claim.name, "refuted", procedure, spent, None, counterexample, repair=repair, line=line
            )
        case Vacuous(procedure):
            reason = "the premises exclude each other"
            return ClaimReport(rule, claim.name, "vacuous", procedure, spent, reason=reason, line=line)
        case Open(reason, points):
            return ClaimReport(
                rule, claim.name, "open", f"{points} points" if points else "", spent, reason=reason, line=line
            )
