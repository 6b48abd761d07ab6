"""Experiments refute, and prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from dotopt.compiler.library import Library, load
from dotopt.compiler.prove import check_claim

CASES = {
    "show ‖x‖ <= ‖x‖ + 1\n  by sampling(trials=1000)": "open",  # true, and provable, but no proof is asked for
    "show ‖x‖[1] <= ‖x‖\n  by sampling(trials=1000)": "refuted",
    "show ‖x‖[1] <= ‖x‖\n  by simulation(seeds=5)": "open",
}


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_experiments(tmp_path: Path, claim: str, status: str) -> None:
    path = tmp_path / "tries.opt"
    path.write_text(f"theorem Tries\nfor all x : real[d]\n\nclaim c:\n  {claim}\n", encoding="utf-8")
    file = load(path)
    report = check_claim(file, file.claims[0], Library(tmp_path))
    assert report.status == status
    if "sampling" in claim and status == "open":
        assert "random points" in report.reason
