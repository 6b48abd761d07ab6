"""What `by` asks for: experiments refute and prove nothing; a proof must be of the kind that is named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]


CASES = {
    "show ‖x‖ <= ‖x‖ + 1\n  by sampling(trials=1000)": "open",  # true, and provable, but no proof is asked for
    "show ‖x‖[1] <= ‖x‖\n  by sampling(trials=1000)": "refuted",
    "show ‖x‖[1] <= ‖x‖\n  by simulation(seeds=5)": "refuted",
    "show ‖x‖ <= ‖x‖ + 1\n  by simulation(seeds=5)": "open",
    "show ‖x - x‖ == 0\n  by algebra": "proved",
    "show 2*dot(x, x) >= dot(x, x)\n  by algebra": "open",  # it takes signs
    "show 2*dot(x, x) >= dot(x, x)\n  by smt": "proved",
    "show ‖x - x‖ == 0\n  by induction(t)": "open",
    "show ‖x‖ <= 0\n  by algebra": "refuted",
}


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_experiments(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"theorem Tries\nfor all x : real[d]\n\nclaim c:\n  {claim}\n")
    assert report.status == status
    if "sampling" in claim and status == "open":
        assert "random points" in report.reason
