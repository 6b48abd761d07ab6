"""Every false claim is refuted, with concrete numbers; none may ever be proved."""

from pathlib import Path

import pytest

from dotopt.compiler.prove import check_claim
from dotopt.compiler.text.library import Library, load

FOLDER = Path(__file__).parent.parent / "claims" / "false"
FILES = sorted(FOLDER.glob("*.opt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_false_claim_is_refuted_with_numbers(path: Path) -> None:
    file = load(path)
    (claim,) = file.claims
    report = check_claim(file, claim, Library(FOLDER), fuel=4_000_000)
    assert report.status == "refuted", report
    assert report.counterexample is not None
    numbers = [text for text in map(str, report.counterexample.values()) if any(c.isdigit() for c in text)]
    assert numbers, report.counterexample


def test_all_26_false_claims_are_here() -> None:
    assert len(FILES) == 26
