"""Sums compared term by term, and sentences about any value in the place of an expression that they repeat."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HEAD = """theorem Sums
for all x : real[n], y : real[n], a, b, c > 0, k >= 1

claim s:
"""
TRUE = [
    "show ‖(x + y)/max(1, ‖x + y‖)‖ <= 1",
    "show ‖(x + 2*y)*min(1, c/(‖x + 2*y‖ + 1))‖ <= c",
    "show mean(x*(x > 0)) >= mean(x)",
    "show sum(|x*y|) >= |sum(x*y)|",
    "show sum(max(x, y)) >= max(sum(x), sum(y))",
    "show mean(x²)*k >= mean(x²)",
    "given a > b\n  show sum((x - a)*(x > a)) >= 0",
    "show 2*(a + b)/(1 + (a + b)²) <= 1",
    "show norm(x*x*y*y) <= sum(x*x*y*y)",
    "show max(|clip(c*x, -c, c)|) <= c + c/4",
    "show min(c*x + 1) >= 1 - c*max(|x|)",
    "show exp(1) > 2 and log(2) < 7/10",
]
FALSE = [
    "show ‖(x + y)/max(1, ‖x‖)‖ <= 1",
    "show ‖(x + 2*y)*min(1, c/(‖x + 2*y‖ + 1))‖ <= c/2",
    "show mean(x*(x > 0)) >= mean(|x|)",
    "show sum(|x*y|) <= |sum(x*y)|",
    "show sum(min(x, y)) >= min(sum(x), sum(y))",
    "show mean(x)*k >= mean(x)",
    "given a > b\n  show sum((x - a)*(x > b)) >= 0",
    "show 2*(a + b)/(1 + (a + b)²) < 1",
    "show norm(x*y) <= sum(x*y)",
    "show max(|clip(c*x, -c, c)|) <= c - c/4",
    "show max(c*x) <= max(x)",
    "show exp(1) > 3",
]


@pytest.mark.parametrize(("claim", "status"), [*((c, "proved") for c in TRUE), *((c, "refuted") for c in FALSE)])
def test_sums(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    assert report.status == status, report
    assert status == "refuted" or verify(report.certificate or {})


RULE = """rule Clipped
objective f
param θ : real[...]
hyper c > 0 = 1
g  = ∇f(θ)
s  = norm(g)*norm(g, over=model)
θ' = θ - min(1, c/norm(g, over=model))*g

claim s:
"""


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("show norm(θ' - θ, over=model) <= c", "proved"),
        ("show norm(θ' - θ) <= c", "proved"),
        ("show norm(g)*norm(g, over=model) <= norm(g)² + norm(g, over=model)²", "proved"),
        ("show norm(2*g, over=model) == 2*norm(g, over=model)", "proved"),
        # These are false for two tensors of different norms.
        ("show norm(g, over=model) <= norm(g)", "open"),
        ("show norm(s*g, over=model) == s*norm(g, over=model)", "open"),
        ("show norm(2*s*g, over=model) <= 2*s*norm(g, over=model) or s < 0", "open"),
        ("given norm(g) > 0\n  show norm(θ' - θ, over=model)/norm(g, over=model) == norm(θ' - θ)/norm(g)", "proved"),
        ("given norm(g) > 0\n  show norm(s*g, over=model)/norm(g, over=model) == norm(s*g)/norm(g)", "open"),
    ],
)
def test_sums_over_the_model(decided: Decided, claim: str, status: str) -> None:
    assert decided(f"{RULE}  {claim}\n").status == status


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("show exp(a) <= 1 + a + a²*exp(|a|)", "exp(a)"),
        ("show sum(x*y)² <= sum(x^4)*sum(y²) + sum(x²)", "sum"),
        ("given x/a == y and a == 0\n  show sum(x) <= 0", ""),
    ],
)
def test_what_is_missing_is_said(decided: Decided, claim: str, said: str) -> None:
    report = decided(f"{HEAD}  {claim}\n")
    assert report.status != "open" or said in report.reason, report
