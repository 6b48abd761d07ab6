"""`dotopt check`: every claim of every file, with its status; errors with their place."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dotopt.runtime.commands import PROVED

if TYPE_CHECKING:
    from dotopt.compiler.prove import ClaimReport
    from dotopt.runtime.report.checking import Report

LONGEST = 160  # characters of what was found; the JSON has all of it

SIDES = ("left", "right", "fails")  # of a counterexample: what both sides come to, and the sentence

STYLES = {"proved": "green", "refuted": "red", "vacuous": "yellow", "open": "yellow"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Files, and the form of the answer."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="files, folders, or names of the catalogue")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object a line")
    parser.add_argument("--full", action="store_true", help="fifteen times the fuel for each claim")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes that share the claims")
    records = parser.add_mutually_exclusive_group()
    records.add_argument("--record", action="store_true", help="write what is found beside each file, as FILE.cert")
    records.add_argument("--recorded", action="store_true", help="verify the proofs of FILE.cert: no search, no z3")
    records.add_argument("--verify", action="store_true", help="the files are .cert: verify every proof in them")
    parser.epilog = "exit codes: 0 all proved, 1 something refuted, not compiled or an error, 3 something left open"


def run(args: argparse.Namespace) -> int:
    """The worst of the exit codes of the files: an error before an open claim."""
    from dotopt.runtime.commands.files import expand, locate
    from dotopt.runtime.report.checking import check_all, check_recorded

    if args.verify:
        return verify([Path(file) for file in args.files])
    codes = set()
    paths = [locate(str(path or "-")) for path in expand(args.files)]
    if args.recorded:
        for report in map(check_recorded, paths):
            codes.add(report.code)
            _print(report, args.format)
        return 1 if 1 in codes else max(codes, default=PROVED)
    with _progress(args.format == "text") as watch:
        for report in check_all(paths, args.full, args.jobs, watch):
            codes.add(report.code)
            _print(report, args.format)
            if args.record and report.claims and not report.errors:
                record(report)
    return 1 if 1 in codes else max(codes, default=PROVED)


def _print(report: Report, form: str) -> None:
    if form == "json":
        print(json.dumps(as_json(report), ensure_ascii=False), flush=True)
    else:
        show(report)


def record(report: Report) -> None:
    """Writes the record of a file beside it, and says which theorems it lost."""
    from dotopt.compiler.prove import recorded
    from dotopt.runtime.report.console import err

    path = Path(report.file)
    for name in recorded.write(path, report.claims):
        err().print(f"{recorded.beside(path)}: `{name}` was proved and is no more", style="red")


def verify(places: list[Path]) -> int:
    """Verifies the proofs of records, z3 being asked again where they trust it; 1 if one of them does not verify."""
    from dotopt.compiler.prove import recorded
    from dotopt.runtime.report.console import err, out

    code = PROVED
    for place in places:
        try:
            if not place.is_file():
                raise ValueError(f"{place}: there is no such file")
            for name, procedure, holds in recorded.verified(place):
                out().print(f"{place.name}: {name}: {'verified' if holds else 'DOES NOT VERIFY'} ({procedure})")
                code = code if holds else 1
        except ValueError as error:
            err().print(f"{place}: not a record of claims: {error}", style="red")
            code = 1
    return code


@contextmanager
def _progress(wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar of the claims that are decided, on a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from dotopt.runtime.report.console import err, out

    if not (wanted and err().is_terminal and out().is_terminal):
        yield None
        return
    with Progress(TextColumn("claims"), BarColumn(), MofNCompleteColumn(), console=out(), transient=True) as bar:
        task = bar.add_task("claims", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def as_json(report: Report) -> dict[str, object]:
    """One object for a file: `file`, `claims`, `chunks`, `backends`, `errors` (E601 among them), `warnings`."""
    from dotopt.compiler.text.render import to_json

    return {
        "file": report.file,
        "claims": [_claim(claim) for claim in report.claims],
        "chunks": [
            {"states": proof.names, "status": proof.status, "sentence": proof.sentence} for proof in report.chunks
        ],
        "backends": {name: reason or None for name, reason in report.backends.reasons.items()},
        "errors": [to_json(error) for error in (*report.errors, *report.uncompiled)],
        "warnings": [to_json(warning) for warning in report.warnings],
    }


def _claim(claim: ClaimReport) -> dict[str, object]:
    from dotopt.runtime.report.checking import trusts_z3

    return {
        "rule": claim.rule,
        "name": claim.name,
        "status": claim.status,
        "procedure": claim.procedure,
        "seconds": round(claim.seconds, 4),
        "certificate": claim.certificate,
        "counterexample": claim.counterexample,
        "trusts": ["z3"] if trusts_z3(claim) else [],
        "assumptions": list(claim.assumptions),
        "reason": claim.reason or None,
        "repair": claim.repair or None,
        "line": claim.line,
        "evidence": claim.evidence,
    }


def show(report: Report) -> None:
    """Print a report: diagnostics on standard error, claims on standard output."""
    from rich.text import Text

    from dotopt.compiler.text.render import render_all
    from dotopt.runtime.report.checking import trusts_z3
    from dotopt.runtime.report.console import err, out, table

    found = [*report.errors, *report.uncompiled, *report.warnings]
    if found:
        print(render_all(found, color=err().is_terminal and not err().no_color), file=err().file)
    if report.errors:
        return
    name = Path(report.file).name
    if not report.claims:
        out().print(Text(f"{name}: no claims"))
        _below(report)
        return
    rows = table("claim", "status", "by", "seconds", "what was found", title=name)
    for claim in report.claims:
        status = Text(claim.status, style=STYLES.get(claim.status, ""))
        by = claim.procedure + " (trusts z3)" * trusts_z3(claim)
        rows.add_row(Text(claim.name), status, by, f"{claim.seconds:.2f}", Text(summary(claim)))
    out().print(rows)
    _below(report)


def _below(report: Report) -> None:
    """Which backends run the rule, and whether the chunked form that compiled code uses is proved the recurrence."""
    from rich.text import Text

    from dotopt.runtime.report.console import out

    if report.uncompiled:
        out().print(Text("  no backend compiles it, so exit code 1: the claims are about its equations", style="red"))
    elif report.backends.reasons:
        reasons = "; ".join(f"not {name}: {reason}" for name, reason in report.backends.missing.items())
        out().print(Text(f"  runs on {', '.join(report.backends.runs)}{f' ({reasons})' * bool(reasons)}"))
    for proof in report.chunks:
        out().print(Text(f"  {proof.sentence}"))


def summary(claim: ClaimReport) -> str:
    """In a few words: the counterexample, the constants, the assumptions, or what is missing."""
    from dotopt.runtime.report.checking import constants

    if claim.counterexample and "theorem" in claim.counterexample:
        words = str(claim.counterexample["theorem"])
    elif claim.counterexample:
        given = {name: value for name, value in claim.counterexample.items() if name not in SIDES and value != []}
        sides = [f"{name} {_value(claim.counterexample[name])}" for name in SIDES[:2] if name in claim.counterexample]
        words = "for " * bool(given) + ", ".join(f"{name} = {_value(value)}" for name, value in given.items())
        words += ": " * bool(given and sides) + ", ".join(sides)
    elif found := constants(claim):
        words = ", ".join(f"{name} = {value}" for name, value in found.items())
    else:
        words = claim.reason
    if claim.assumptions:
        words = f"{words}; " * bool(words) + "; ".join(claim.assumptions)
    if claim.repair:
        words += f"; it holds {claim.repair}"
    return words if len(words) <= LONGEST else words[:LONGEST] + " …"


def _value(value: object) -> str:
    """Numbers without quotes; a list of one as its entry."""
    if isinstance(value, list):
        inside = ", ".join(map(_value, value))
        text = inside if len(value) == 1 else f"[{inside}]"
    else:
        text = str(value)
    return text if len(text) <= 40 else text[:40] + "…"
