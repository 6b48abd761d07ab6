"""Optimizers as a new user writes them, with true and false claims; each was simulated before it was written here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dotopt.compiler.prove import check_claim
from dotopt.compiler.text.library import Library, load

FOLDER = Path(__file__).parent.parent / "claims" / "written"
STATUS = {"true": "proved", "false": "refuted"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.opt")), ids=lambda path: path.stem)
def test_true_claims_are_proved_and_false_ones_refuted(path: Path) -> None:
    wanted = dict(re.findall(r"^claim (\w+): *# (true|false)$", path.read_text(encoding="utf-8"), re.MULTILINE))
    file = load(path)
    found = {claim.name: check_claim(file, claim, Library(FOLDER), fuel=4_000_000).status for claim in file.claims}
    assert found == {name: STATUS[truth] for name, truth in wanted.items()}
