"""`dotopt.check`: a file parsed, resolved and inferred, and its claims decided."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Diagnostic, OptError
from dotopt.compiler.text.library import load
from dotopt.runtime.report.backends import Standing, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dotopt.compiler.ir import Program
    from dotopt.compiler.prove.procedures.chunks import ChunkProof
    from dotopt.compiler.prove.report import ClaimReport, Waiting

STATUSES = ("proved", "refuted", "vacuous", "open")


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found: `claims` in the order of the file, and errors that stopped it or warnings.

    `chunks` says, in a full check, whether the chunked form of a rule over sequences is proved to be the recurrence.
    `backends` says what each backend makes of the rule; where none can compile it, the claims stand all the same, and
    `uncompiled` says why (E601).

    A claim has `rule`, `name`, `status` (proved, refuted, vacuous, open), `procedure`, `seconds`, `certificate`,
    `counterexample`, `assumptions`, and for an open one the `reason`.
    """

    file: str
    claims: tuple[ClaimReport, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    chunks: tuple[ChunkProof, ...] = ()
    backends: Standing = field(default_factory=Standing)
    seconds: float = field(default=0.0, compare=False)

    @property
    def uncompiled(self) -> tuple[Diagnostic, ...]:
        """Why no backend can compile the rule; empty where one can, and where nothing is there to compile."""
        return self.backends.errors

    @property
    def code(self) -> int:
        """The exit code: 0 all proved, 1 something refuted, vacuous, not compiled or an error, 3 something open."""
        answers = {claim.status for claim in self.claims} | {proof.status for proof in self.chunks}
        if self.errors or self.uncompiled or answers & {"refuted", "vacuous", "error"}:
            return 1
        return 3 if any(claim.status == "open" for claim in self.claims) else 0


def check(path: str | Path, full: bool = False, jobs: int = 1) -> Report:
    """The report on the `.opt` file at `path`; errors of the file are in the report, not raised.

    `full` gives each claim fifteen times the fuel, `jobs` processes share the claims.

    >>> from dotopt.compiler.text.library import Library
    >>> report = check(Library().find("Lion"))
    >>> report.errors, {claim.name: claim.status for claim in report.claims}["scale_free"]
    ((), 'proved')
    """
    (report,) = check_all([path], full, jobs)
    return report


def check_all(
    paths: Sequence[str | Path], full: bool = False, jobs: int = 1, watch: Callable[[int, int], None] | None = None
) -> Iterator[Report]:
    """The reports on several files, in their order; `watch` is told after each claim how many are done, of how many."""
    from dotopt.compiler.prove.report import finished, started, workers

    with workers(jobs) as pool:
        waiting: list[Waiting | OptError] = []
        for path in paths:
            try:
                waiting.append(started(Path(path), full, pool))
            except OptError as error:
                waiting.append(error)
        total = sum(len(w) for w in waiting if not isinstance(w, OptError))
        done = 0

        def told(claim: ClaimReport) -> None:
            nonlocal done
            done += 1
            if watch is not None:
                watch(done, total)

        for path, begun in zip(paths, waiting, strict=True):
            start = time.perf_counter()
            try:
                if isinstance(begun, OptError):
                    raise begun
                program, warnings, backends = _infer(load(Path(path)), Path(path))
                claims = finished(Path(path), begun, full, told).claims
                chunks = _chunks(program) if full else ()  # of a whole library they take half a minute
                yield Report(str(path), claims, (), warnings, chunks, backends, time.perf_counter() - start)
            except OptError as error:
                yield Report(str(path), errors=error.diagnostics, seconds=time.perf_counter() - start)


def check_recorded(path: Path) -> Report:
    """The report on a file from the record beside it: certificates are verified, nothing is searched or lowered."""
    from dotopt.compiler.prove.recorded import beside, recorded
    from dotopt.compiler.text.errors import diagnostic

    start = time.perf_counter()
    try:
        return Report(str(path), recorded(path), seconds=time.perf_counter() - start)
    except OptError as error:
        return Report(str(path), errors=error.diagnostics, seconds=time.perf_counter() - start)
    except ValueError as error:
        return Report(str(path), errors=(diagnostic("E905", None, path=str(beside(path)), reason=str(error)),))


def constants(claim: ClaimReport) -> dict[str, str]:
    """The values that were found for the unknowns of a `derive` claim."""
    found: dict[str, str] = {}
    parts = [claim.certificate or {}]
    while parts:
        part = parts.pop(0)
        found.update({name: value for name, value in (part.get("constants") or {}).items() if name not in found})
        parts.extend(inner for inner in part.get("parts", ()) if isinstance(inner, dict))
    return found


def trusts_z3(claim: ClaimReport) -> bool:
    """Whether the certificate rests on an answer of z3, which gives no proof that the checker could verify."""
    parts: list[object] = [claim.certificate]
    while parts:
        match parts.pop():
            case {"kind": "smt-unsat"}:
                return True
            case dict() as inside:
                parts.extend(inside.values())
            case list() as inside:
                parts.extend(inside)
    return False


def _chunks(program: Program) -> tuple[ChunkProof, ...]:
    if program.kind != "module" or not program.states:
        return ()
    from dotopt.runtime.sequence.forms import proofs

    return proofs(program, 30_000_000)


def _infer(file: s.File, path: Path) -> tuple[Program, tuple[Diagnostic, ...], Standing]:
    """Resolve the names, lower the file with every option in turn.

    The program of the defaults, the warnings, and what the backends make of the rule.
    """
    from dotopt.compiler.analysis import ranges, units
    from dotopt.compiler.lower import Static, lower
    from dotopt.compiler.resolve import resolve
    from dotopt.compiler.text.library import Library

    library = Library(path.parent)
    symbols = resolve(file)
    program = lower(file, Static(), library)
    defaults = {option.name: option.default for option in program.options}
    for option in program.options:
        for value in option.values:
            lower(file, Static(options={**defaults, option.name: value}), library)
    if found := (*ranges.check(program), *units.check(program, file)):
        raise OptError(*found)
    usual = lower(file, Static(options=defaults), library)
    return usual, (*symbols.warnings, *_unread(symbols.file, program)), standing(symbols.file, library)


def _unread(file: s.File, program: Program) -> tuple[Diagnostic, ...]:
    """W205 for each state that reaches no parameter, no output and no claim, whatever the options."""
    from dotopt.compiler.text import syntax
    from dotopt.compiler.text.errors import diagnostic

    if program.kind in ("theorem", "formula"):
        return ()
    claims = (claim for claim in file.statements if isinstance(claim, syntax.Claim))
    kept = {state.name for state in program.states}
    kept |= {here.name for claim in claims for here in claim.walk() if isinstance(here, syntax.Name)}
    states = (d for d in file.statements if isinstance(d, syntax.Declaration) and d.word == "state")
    return tuple(diagnostic("W205", d.name_span, name=d.name) for d in states if d.name not in kept)
