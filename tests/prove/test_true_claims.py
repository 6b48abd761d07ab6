"""Known theorems are proved, their certificates verify, and their mutants are never called true by mistake."""

from pathlib import Path

import pytest

from dotopt.compiler.prove import check_claim
from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.mutants import mutants
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library, load

FOLDER = Path(__file__).parent.parent / "claims" / "true"
CLAIMS = [(path, claim) for path in sorted(FOLDER.glob("*.opt")) for claim in load(path).claims]


@pytest.mark.parametrize(("path", "claim"), CLAIMS, ids=lambda x: x.stem if isinstance(x, Path) else x.name)
def test_theorem_is_proved(path: Path, claim: s.Claim) -> None:
    report = check_claim(load(path), claim, Library(FOLDER), fuel=4_000_000)
    assert report.status == "proved", report
    assert report.certificate is not None and verify(report.certificate)


STILL_TRUE = {  # with the first sign changed
    "norm_growth",  # q is orthogonal to w, so the direction of the step does not matter
    "idempotent",  # what is added is zero
    "two_tasks_decrease",  # a sum of squares
}
EQUATIONS = [(p, c) for p, c in CLAIMS if p.stem in ("projections", "memories") and c.name not in STILL_TRUE]


@pytest.mark.parametrize(("path", "claim"), EQUATIONS, ids=lambda x: x.stem if isinstance(x, Path) else x.name)
def test_a_changed_sign_is_not_proved(path: Path, claim: s.Claim) -> None:
    for what, mutant in mutants(claim):
        if what == "sign":
            assert check_claim(load(path), mutant, Library(FOLDER)).status != "proved", what
