"""`by simulation`: runs are evidence; only a failure far beyond rounding, with nothing drawn by a law, refutes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dotopt.compiler.prove.report import ClaimReport
from dotopt.runtime.cli import main
from dotopt.runtime.property import Failed, Passed
from dotopt.runtime.property import test_file as properties
from dotopt.runtime.property.search import Budget

Decided = Callable[..., ClaimReport]

HEAD = """theorem Runs
use SGD, Adam
for all c : real[d], σ in (0, 1], x0 : like c
q(x) = ½*‖x‖²
f(x) = ½*σ*‖x - c‖²

claim c:
"""

CASES = {  # the claim: status, runs, held
    "a = run(SGD, f, start=x0, lr=0.5, steps=20)\n  show ‖a - c‖ <= ‖x0 - c‖\n  by simulation(seeds=4)": ("open", 4, 4),
    "a = run(SGD, q, start=x0, lr=0.5, steps=3)\n  show a == x0/8\n  by simulation(seeds=4)": ("open", 4, 4),
    # the largest stable step is 2
    "a = run(SGD, q, start=x0, lr=2.5, steps=9)\n  show ‖a‖ <= ‖x0‖\n  by simulation": ("refuted", None, None),
    # false by 1e-8, true to rounding
    "a = run(SGD, q, start=x0, lr=0.5, steps=3)\n  show 8*a == 1.00000001*x0\n  by simulation": ("refuted", None, None),
    "a = run(SGD, q, start=x0, lr=0.1, steps=2)\n  show a - 0.81*x0 == 0\n  by simulation(seeds=3)": ("open", 3, 0),
    # a law: the mean is 4, no run is a counterexample
    "z : like c ~ normal(0, 1)\n  show ‖z‖² <= 6\n  by simulation(seeds=20)": ("open", 20, 15),
    "z : like c ~ uniform(2, 3)\n  show z >= 2 and z <= 3\n  by simulation(seeds=5)": ("open", 5, 5),
    # noise that is new in every step
    "z : like c ~ normal(0, 1)\n  r(x; z) = ½*‖x - z‖²\n  a = run(SGD, r, start=x0, lr=1, steps=2)\n"
    "  b = run(SGD, r, start=x0, lr=1, steps=3)\n  show ‖a - b‖ > 1e-3\n  by simulation(seeds=3)": ("open", 3, 3),
    "given ‖x0‖ >= 1\n  a = run(Adam, q, start=x0, lr=0.01, steps=9)\n  show ‖a‖ <= ‖x0‖\n  by simulation(seeds=2)": (
        "open", 2, 2,
    ),
    "given σ == ‖c‖ and ‖c‖ == σ² + 1\n  show σ == 5\n  by simulation(seeds=2)": ("open", 0, 0),
    "a = run(SGD, q, start=x0, lr=1/2, steps=3)\n  show a == x0/8\n  by sampling(trials=3)": ("open", 3, 3),
}  # fmt: skip


@pytest.mark.parametrize(("claim", "wanted"), CASES.items())
def test_runs(decided: Decided, claim: str, wanted: tuple[str, int | None, int | None]) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    found = report.evidence or {"runs": None, "held": None}
    assert (report.status, found["runs"], found["held"]) == wanted
    assert decided(f"{HEAD}  {claim}\n").counterexample == report.counterexample  # from the seeds alone


def test_what_has_no_numbers_is_said(decided: Decided) -> None:
    unknown = HEAD.replace("q(x) = ½*‖x‖²", "objective q")
    claim = "a = run(SGD, q, start=x0, lr=0.5, steps=3)\n  show a == x0/8\n"
    for text, word in {
        f"{unknown}  {claim}  by simulation\n": "`q(x) = …`",
        f"{HEAD}  {claim}": "by simulation",
        f"{HEAD}  {claim.replace(', steps=3', '')}  by simulation\n": "steps",
        f"{HEAD}  in fp16\n  show σ + 1 > 1\n  by simulation\n": "rounded",
        f"{HEAD}  show ‖x0‖ >= 0 for all steps\n  by simulation\n": "one place",
    }.items():
        report = decided(text)
        assert report.status == "open" and word in report.reason


TOLD = """theorem Told
use SGD
for all x0 : real[3]
q(x) = ½*‖x‖²

claim shrinks:
  a = run(SGD, q, start=x0, lr=0.5, steps=5)
  show ‖a‖ <= ‖x0‖/16
  by simulation(seeds=3)

claim grows:
  a = run(SGD, q, start=x0, lr=3, steps=5)
  show ‖a‖ <= ‖x0‖
  by simulation(seeds=3)
"""


def test_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "told.opt"
    path.write_text(TOLD, encoding="utf-8")
    main(["check", "--format", "json", str(path)])
    shrinks, grows = json.loads(capsys.readouterr().out)["claims"]
    assert shrinks["evidence"] == {"runs": 3, "held": 3, "seed": 0, "failed": []}
    assert shrinks["reason"] == "held in 3 of 3 runs (simulation is evidence, no proof)"
    assert grows["status"] == "refuted" and grows["counterexample"]["seed"] == 0
    first, second = properties(path, Budget(examples=2, seed=7)).results[-2:]
    assert first.outcome == Passed(3, shrinks["reason"])
    assert isinstance(second.outcome, Failed) and "seed = 7" in second.outcome.message
