"""`dotopt test`: property tests: every backend against the reference, every numeric claim at random points."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dotopt.runtime.commands import FAILED, PROVED, Refused

if TYPE_CHECKING:
    from dotopt.runtime.property.outcome import Report


def arguments(parser: argparse.ArgumentParser) -> None:
    """Files, how many examples, and from which seed."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="files, folders, or names of the catalogue")
    parser.add_argument("--examples", type=int, default=25, metavar="N", help="examples a property (25)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same examples (0)")


def run(args: argparse.Namespace) -> int:
    """0; 1 if something failed or a file is broken."""
    from dotopt.runtime.commands.files import expand, locate

    try:
        from dotopt.runtime.property import Budget, test_file
    except ImportError as error:
        hint = "; pip install 'dotopt[test]' brings it" if error.name == "hypothesis" else ""
        raise Refused(f"the property tests cannot run: {error.msg}{hint}") from None
    code = PROVED
    for path in expand(args.files):
        report = test_file(locate(str(path or "-")), Budget(max(args.examples, 1), args.seed))
        show(report)
        code = max(code, FAILED if report.code else PROVED)
    return code


def show(report: Report) -> None:
    """A line for each property, then what failed, with Python that shows it: once for the dtypes of a backend."""
    from rich.text import Text

    from dotopt.compiler.text.render import render_all
    from dotopt.runtime.property.outcome import Failed, Passed, Untested
    from dotopt.runtime.report.console import err, out, table

    if report.errors:
        print(render_all(report.errors, color=err().is_terminal and not err().no_color), file=err().file)
        return
    rows = table("rule", "property", "outcome", "seconds", "", title=report.file)
    for result in report.results:
        match result.outcome:
            case Passed(examples, note):
                cells = Text("passed", style="green"), f"{examples} examples" + f"; {note}" * bool(note)
            case Failed():
                cells = Text("failed", style="red"), "see below"
            case Untested(reason):
                cells = Text("untested", style="yellow"), reason
        rows.add_row(result.rule, Text(result.name), cells[0], f"{result.seconds:.2f}", Text(cells[1]))
    out().print(rows)
    told: set[tuple[str, str]] = set()
    for result in report.failures:
        if isinstance(result.outcome, Failed):
            backend = result.rule, result.name.partition(",")[0]
            text = result.outcome.message.splitlines()[0] if backend in told else result.outcome.text
            out().print(Text(f"\n{text}"), soft_wrap=True)  # a program that is wrapped does not run
            told.add(backend)
