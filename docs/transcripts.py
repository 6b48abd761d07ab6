"""Fills docs/claims.md with what the engine answers today: `python docs/transcripts.py`; a test says if it is old.

Every `opt` block of the page is a file; the plain block that follows it holds its claims, one a line: name, status,
procedure, and what was found.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from dotopt.compiler.parse import parse
from dotopt.compiler.prove import ClaimReport, check_claim
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source

PAGE = Path(__file__).resolve().parent / "claims.md"
PAIR = re.compile(r"(^```opt\n(.*?)^```\n\n)^```\n.*?^```", re.MULTILINE | re.DOTALL)
WIDTH = 112


def fill(text: str) -> str:
    """The page with its transcripts renewed."""
    return PAIR.sub(lambda pair: f"{pair[1]}```\n{transcript(pair[2])}\n```", text)


def transcript(text: str) -> str:
    """What is found of each claim of a file."""
    file = parse(Source("example.opt", text))
    reports = [check_claim(file, claim, Library(PAGE.parent)) for claim in file.claims]
    name = max(len(r.name) for r in reports)
    return "\n".join(line for report in reports for line in lines(report, name))


def lines(report: ClaimReport, width: int) -> list[str]:
    """A claim in the words of `dotopt check`, folded."""
    from dotopt.runtime.commands.check import summary

    head = f"{report.name:{width}}  {report.status:7}  {report.procedure:11}"
    rest = textwrap.wrap(summary(report), WIDTH - len(head) - 2) or [""]
    return [f"{head}  {rest[0]}".rstrip(), *(" " * (len(head) + 2) + more for more in rest[1:])]


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
