"""No test looks at a clock: nothing fails because a machine is slow or busy."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = {"perf_counter", "process_time", "monotonic", "thread_time", "perf_counter_ns", "monotonic_ns", "time_ns"}
# It stands for the clock of a card, and its numbers are written to a page that no test reads.
ALLOWED = {"pretended_card.py"}


def clocks(text: str) -> Iterator[int]:
    """The lines that read a clock, sleep, or give something a limit of time."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in CLOCKS:
                yield node.lineno
            case ast.Attribute(value=ast.Name(id="time"), attr="time" | "sleep"):
                yield node.lineno
            case ast.keyword(arg="timeout" | "deadline", value=value):
                if not (isinstance(value, ast.Constant) and value.value is None):
                    yield value.lineno
            case ast.Constant(value=str(inner)) if "process_time()" in inner or "perf_counter()" in inner:
                yield node.lineno


@pytest.mark.parametrize("text", ["t.perf_counter()", "time.sleep(1)", "run(x, timeout=60)", "'process_time()'"])
def test_the_search_finds(text: str) -> None:
    assert list(clocks(text)) == [1]


def test_no_test_looks_at_a_clock() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        if path.name not in ALLOWED | {Path(__file__).name}
        for line in clocks(path.read_text(encoding="utf-8"))
    ]
    assert found == []
