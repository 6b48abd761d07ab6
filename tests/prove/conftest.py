"""A claim written in a test, decided."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dotopt.compiler.prove import check_claim
from dotopt.compiler.prove.report import FAST, ClaimReport
from dotopt.compiler.text.library import Library, load

Decided = Callable[..., ClaimReport]


@pytest.fixture
def decided(tmp_path: Path) -> Decided:
    """`decided(text, fuel)`: the report on the first claim of a file with this text."""

    def decide(text: str, fuel: int = FAST) -> ClaimReport:
        path = tmp_path / "written.opt"
        path.write_text(text, encoding="utf-8")
        file = load(path)
        return check_claim(file, file.claims[0], Library(tmp_path), fuel=fuel)

    return decide
