"""Checks the claims of files: from the cache or decided, by one process or several, into reports."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dotopt.compiler.prove import cache
from dotopt.compiler.prove.fuel import FAST, FULL
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Stopped, Vacuous
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library, load


@dataclass(frozen=True, slots=True)
class ClaimReport:
    """One claim: `status` is proved, refuted, vacuous or open; or `error`, where the clock stopped it."""

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
    evidence: dict[str, Any] | None = None  # of a simulation: runs, held, seed, failed


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

    >>> from dotopt.compiler.text.library import Library
    >>> report = check_file(Library().find("norm1"))
    >>> [claim.status for claim in report.claims]
    ['proved']
    """
    path = Path(path)
    count = len(load(path).claims)
    with workers(jobs if count > 1 else 1) as pool:
        return finished(path, started(path, full, pool), full)


Waiting = Sequence["Future[ClaimReport] | int"]  # the claims of a file: answers to come, or numbers still to be decided


@contextmanager
def workers(jobs: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that share claims; None for one job, which this process does itself."""
    if jobs <= 1:
        yield None
        return
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    with ProcessPoolExecutor(jobs, multiprocessing.get_context(method)) as pool:
        yield pool


def started(path: Path, full: bool, pool: ProcessPoolExecutor | None) -> Waiting:
    """The claims of a file, given to the pool if there is one; raises `OptError` if the file cannot be read."""
    numbers = range(len(load(path).claims))
    return [i if pool is None else pool.submit(numbered, path, i, full) for i in numbers]


def finished(
    path: Path, waiting: Waiting, full: bool = False, told: Callable[[ClaimReport], None] = lambda claim: None
) -> Report:
    """The report on a file once its claims are decided; each is `told` as soon as its turn has come."""
    done: list[ClaimReport] = []
    for w in waiting:
        done.append(numbered(path, w, full) if isinstance(w, int) else w.result())
        told(done[-1])
    return Report(str(path), tuple(done), tuple(c.reason for c in done if c.reason.startswith("error[")))


def numbered(path: Path, index: int, full: bool) -> ClaimReport:
    """The report on one claim of a file, from the cache if it was decided before."""
    file = load(path)
    claim = file.claims[index]
    fuel = FULL if full else FAST
    began = time.monotonic()
    library = Library(path.parent)
    name = cache.key(file, claim, library)
    known = cache.find(name, cache.subject(file, claim, library), fuel)
    if known is not None:
        known |= {"assumptions": tuple(known["assumptions"]), "line": line_of(claim)}
        return replace(ClaimReport(**known), seconds=round(time.monotonic() - began, 3))
    found = check_claim(file, claim, library, fuel)
    if found.status != "error" and not found.reason.startswith("internal"):
        cache.keep(name, asdict(found), fuel)
    return found


def check_claim(file: s.File, claim: s.Claim, library: Library, fuel: int = FAST) -> ClaimReport:
    """Decides one claim of a file."""
    from dotopt.compiler.prove.claim import decided

    began = time.monotonic()
    outcome = decided(file, claim, library, fuel)
    return report(file.head.name, claim, outcome, time.monotonic() - began)


def line_of(claim: s.Claim) -> int:
    """The line at which a claim begins."""
    return claim.span.source.text.count("\n", 0, claim.span.start) + 1


def report(rule: str, claim: s.Claim, outcome: Outcome, seconds: float) -> ClaimReport:
    """The outcome as a line of the report."""
    line = line_of(claim)
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
        case Stopped(reason):
            return ClaimReport(rule, claim.name, "error", "", spent, reason=reason, line=line)
        case Open(reason, points, evidence):
            tried = f"{evidence['runs']} runs" if evidence else f"{points} points" if points else ""
            return ClaimReport(
                rule, claim.name, "open", tried, spent, reason=reason, line=line, evidence=evidence or None
            )
