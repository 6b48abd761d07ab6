"""A sample of what `python -m bench.mutants` does: claims of the library, changed, are refuted or still true."""

from pathlib import Path

from dotopt.compiler.prove import check_claim
from dotopt.compiler.prove.mutants import mutants, pairs
from dotopt.compiler.text.library import Library, load

FOLDER = Path(__file__).parent.parent.parent / "stdlib"
SAMPLE = ("optimizers/signum.opt", "optimizers/lion.opt", "theorems/projection.opt", "theorems/delta_rule.opt")
MOST = 0.1  # the share that may stay open


def test_changed_claims_are_refuted_or_still_true() -> None:
    answers = []
    for path in (FOLDER / name for name in SAMPLE):
        file = load(path)
        for claim in file.claims[:6]:
            changed = list(mutants(claim))
            assert changed, claim.name
            answers += [check_claim(file, mutant, Library(path.parent)).status for _, mutant in changed[-2:]]
    assert len(answers) >= 35
    assert answers.count("open") <= MOST * len(answers)
    assert answers.count("refuted") >= 0.75 * len(answers)


def test_every_claim_has_two() -> None:
    for path in sorted(FOLDER.glob("*/*.opt")):
        file = load(path)
        for claim in file.claims:
            assert len(list(mutants(claim, pairs(file)))) >= 2, (path.name, claim.name)
