"""Exponentials, logarithms, powers, whole parts: what everybody knows of them, and what only looks like it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HEAD = """theorem Functions
for all a, b, c > 0, e > 0, n : int >= 1, μ in (0, 1), ν in (0, 1)

claim s:
"""
TRUE = [
    "given c > 1\n  show log(c) < c - 1",
    "given a != 0\n  show exp(a) > 1 + a",
    "given a != 0\n  show |tanh(a)| < |a|",
    "show log(exp(a) + exp(b)) >= max(a, b)",
    "show log(exp(a + c) + exp(b + c)) == c + log(exp(a) + exp(b))",
    "show log(c/e) == log(c) - log(e)",
    "show log(√c) == log(c)/2",
    "show exp(log(c)) == c",
    "given c <= e\n  show log(c) <= log(e)",
    "given a < b\n  show exp(a) < exp(b)",
    "given a < b\n  show tanh(a) < tanh(b)",
    "show exp(2*a) == exp(a)²",
    "show sigmoid(a) == 1 - sigmoid(-a)",
    "show sigmoid(a) == 1/(1 + exp(-a))",
    "given a <= b\n  show sigmoid(a) <= sigmoid(b)",
    "given a >= -1\n  show (1 + a)^n >= 1 + n*a",
    "given μ <= ν\n  show μ^n <= ν^n",
    "show μ^(n + 1) <= μ^n",
    "show floor(a) <= a < floor(a) + 1",
    "given a >= 3\n  show floor(a) >= 3",
]
FALSE = [
    "show log(c) < c - 1",
    "show exp(a) > 1 + a",
    "given a != 0\n  show tanh(a) < a",
    "show log(exp(a) + exp(b)) >= max(a, b) + 1/2",
    "show log(c + e) == log(c) + log(e)",
    "show log(c²) == log(c)*log(c)",
    "show exp(2*a) == 2*exp(a)",
    "given a <= b\n  show exp(a) < exp(b)",
    "show (1 + a)^n >= 1 + n*a",
    "show (1 + c)^n >= 1 + n*c + n*c²/2",
    "show c^a >= 1 + a*(c - 1)",
    "given c <= e\n  show c^a <= e^a",
    "show floor(a) + floor(b) == floor(a + b)",
    "show ceil(a) == floor(a) + 1",
]


@pytest.mark.parametrize(("claim", "status"), [*((c, "proved") for c in TRUE), *((c, "refuted") for c in FALSE)])
def test_functions(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    assert report.status == status, report
    assert status == "refuted" or verify(report.certificate or {})
