"""Sentences as a stranger writes them: the true ones are proved, the near misses refuted with numbers."""

from pathlib import Path

import pytest

from dotopt.compiler.prove import check_claim
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.text.library import Library, load

FOLDER = Path(__file__).parent.parent / "claims"
TRUE = sorted((FOLDER / "strange_true").glob("*.opt"))
FALSE = sorted((FOLDER / "strange_false").glob("*.opt"))


@pytest.mark.parametrize("path", TRUE, ids=lambda path: path.stem)
def test_true_sentences_are_proved(path: Path) -> None:
    file = load(path)
    for claim in file.claims:
        report = check_claim(file, claim, Library(FOLDER), fuel=4_000_000)
        assert report.status == "proved", (claim.name, report)
        assert report.certificate is not None and verify(report.certificate), claim.name


@pytest.mark.parametrize("path", FALSE, ids=lambda path: path.stem)
def test_false_sentences_are_refuted_with_numbers(path: Path) -> None:
    file = load(path)
    for claim in file.claims:
        report = check_claim(file, claim, Library(FOLDER), fuel=4_000_000)
        assert report.status == "refuted", (claim.name, report)
        assert any(c.isdigit() for c in str(report.counterexample)) or "theorem" in str(report.counterexample)
