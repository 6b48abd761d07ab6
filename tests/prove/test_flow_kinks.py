"""Claims about derivatives along a flow hold where these exist."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

CASES = {
    "ddt(x) = y\n  show ddt(‖x‖) <= ‖y‖": "open",  # ‖x‖ has no derivative at 0
    "given x != 0\n  ddt(x) = y\n  show ddt(‖x‖) <= ‖y‖": "proved",
    "given ‖x‖ > 0\n  ddt(x) = y\n  show ‖x‖*ddt(‖x‖) == dot(x, y)": "proved",
    "ddt(x) = y\n  show ddt(‖x‖²) == 2*dot(x, y)": "proved",
    "ddt(x) = y\n  show ddt(‖x‖²) == dot(x, y)": "refuted",
    "ddt(u) = 1\n  show ddt(|u|^2) == 2*u": "proved",
    "given u != 0\n  ddt(u) = 1\n  show ddt(floor(u)) == 0": "open",  # jumps at every whole number
    "given 0 < u and u < 1\n  ddt(u) = 1\n  show ddt(floor(u)) == 0": "proved",
}


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_kinks(decided: Decided, claim: str, status: str) -> None:
    text = f"theorem Flows\nfor all x : real[d], y : real[d], u\n\nclaim one:\n  flow\n  {claim}\n"
    assert decided(text).status == status
