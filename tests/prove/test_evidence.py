"""Experiments refute, and prove nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]


CASES = {
    "show ‖x‖ <= ‖x‖ + 1\n  by sampling(trials=1000)": "open",  # true, and provable, but no proof is asked for
    "show ‖x‖[1] <= ‖x‖\n  by sampling(trials=1000)": "refuted",
    "show ‖x‖[1] <= ‖x‖\n  by simulation(seeds=5)": "open",
}


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_experiments(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"theorem Tries\nfor all x : real[d]\n\nclaim c:\n  {claim}\n")
    assert report.status == status
    if "sampling" in claim and status == "open":
        assert "random points" in report.reason
