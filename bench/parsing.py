"""How long `.opt` files take to parse, beside what Python's own parser takes for as much text.

    python -m bench.parsing

Written to results/parsing.md. Python's parser is written in C and ours in Python, so the ratio is well above 1; as a
ratio on one machine, unlike milliseconds, it may be compared with that of another.
"""

from __future__ import annotations

import ast
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dotopt.compiler.parse import parse
from dotopt.compiler.text.source import Source

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "parsing.md"
LINE = "mean = beta * mean + (1 - beta) * gradient(point)\n"
ROUNDS = 7


@dataclass(frozen=True)
class Row:
    """One file: its length, and the milliseconds of both parsers."""

    name: str
    characters: int
    ours: float
    python: float

    @property
    def ratio(self) -> float:
        """How many times as long ours takes."""
        return self.ours / self.python


def measured(path: Path) -> Row:
    """The fastest of several rounds of each."""
    text = path.read_text(encoding="utf-8")
    source = Source(path.name, text)
    python = LINE * (len(text) // len(LINE) + 1)
    return Row(path.name, len(text), fastest(lambda: parse(source)), fastest(lambda: ast.parse(python)))


def fastest(work: Callable[[], object]) -> float:
    """Milliseconds of the processor, the least disturbed of several rounds."""
    times = []
    gc.disable()
    try:
        for _ in range(ROUNDS):
            start = time.process_time()
            work()
            times.append(1e3 * (time.process_time() - start))
    finally:
        gc.enable()
    return min(times)


def page(rows: list[Row]) -> str:
    """The results as a page."""
    ours, python = sum(row.ours for row in rows), sum(row.python for row in rows)
    slowest = sorted(rows, key=lambda row: -row.ratio)[:5]
    return "\n".join(
        [
            "# Parsing",
            "",
            "`python -m bench.parsing`: every file of the library and of `tests/worked`, and Python's own parser "
            "(`ast.parse`, written in C) on as much Python.",
            "",
            f"All {len(rows)} files together, {sum(row.characters for row in rows):,} characters, take "
            f"{ours / python:.0f} times as long; the median file {statistics.median(r.ratio for r in rows):.0f} times, "
            f"{statistics.median(row.ours for row in rows):.1f} ms on the machine of this run.",
            "",
            "| file | characters | ms | Python, ms | ratio |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| {row.name} | {row.characters:,} | {row.ours:.1f} | {row.python:.2f} | {row.ratio:.0f} |"
                for row in slowest
            ),
            "",
        ]
    )


def main() -> None:
    """Measures, prints and writes the page."""
    paths = sorted([*ROOT.joinpath("tests/worked").glob("*.opt"), *ROOT.joinpath("stdlib").rglob("*.opt")])
    text = page([measured(path) for path in paths])
    print(text, end="")
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
