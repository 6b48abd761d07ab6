"""Sentences about functions with properties: what follows from them, and what misses by little."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HEAD = """theorem Classes
objective f : {}
objective g : convex
objective l : convex, lipschitz(L)
operator  M : monotone
operator  F : monotone, lipschitz(L)
operator  C : cocoercive(2), lipschitz(L)
for all x : real[d], y : real[d], s : real[d], w : real[d], L > 0, μ > 0, η > 0
z = x - η*∇f(x)

claim c:
"""
SMOOTH, BOTH, STRONG = "smooth(L)", "convex, smooth(L)", "smooth(L), strongly_convex(μ)"
TRUE = [
    # smooth functions that are not convex lie between two parabolas
    (SMOOTH, "show f(y) >= f(x) + dot(∇f(x), y - x) - L/2*‖y - x‖²"),
    (SMOOTH, "show ‖∇f(x) - ∇f(y)‖ <= L*‖x - y‖"),
    (SMOOTH, "given ∇f(s) == 0\n  show |f(x) - f(s)| <= L/2*‖x - s‖²"),
    # norms are compared by their squares, vectors by the norm of their difference
    (BOTH, "given ∇f(s) == 0 and η*L <= 2\n  show ‖z - s‖ <= ‖x - s‖"),
    (BOTH, "show f(x) - f(y) <= ‖∇f(x)‖*‖x - y‖"),
    (STRONG, "given ∇f(s) == 0 and ∇f(w) == 0\n  show s == w"),
    (STRONG, "given μ == L\n  show ∇f(x) - ∇f(y) == L*(x - y)"),
    # implicit steps, and where the gradients of two functions cancel
    (BOTH, "given y == x - η*∇g(y)\n  show g(y) <= g(x) - η*‖∇g(y)‖²"),
    (BOTH, "given ∇f(s) + ∇g(s) == 0\n  show f(s) + g(s) <= f(x) + g(x)"),
    (BOTH, "given y == x - η*∇f(x) - η*∇g(y) and η*L <= 2\n  show f(y) + g(y) <= f(x) + g(x)"),
    (BOTH, "given M(s) == 0 and w == x - η*M(w)\n  show ‖w - s‖² <= ‖x - s‖² - ‖w - x‖²"),
    # Lipschitz functions have bounded gradients
    (SMOOTH, "show l(x) - l(y) <= L*‖x - y‖"),
    (SMOOTH, "show ‖∇l(x)‖ <= L"),
    (SMOOTH, "given L == 1/4\n  show ‖C(x) - C(y)‖³ <= ‖x - y‖³/64"),
    # inequalities among the premises
    (SMOOTH, "given ‖∇f(x)‖² >= 2*μ*(f(x) - f(s)) and η*L == 1\n  show f(z) - f(s) <= (1 - μ/L)*(f(x) - f(s))"),
    # the multipliers that one length of the step suggests do not do for all
    (BOTH, "given ∇f(s) == 0 and η*L <= 2\n  show ‖z - s‖² <= ‖x - s‖²"),
    (STRONG, "given ∇f(s) == 0 and η*(L + μ) == 2\n  show ‖z - s‖² <= ((L - μ)/(L + μ))²*‖x - s‖²"),
]
FALSE = [
    (SMOOTH, "show f(y) >= f(x) + dot(∇f(x), y - x)"),
    (SMOOTH, "given ∇f(s) == 0\n  show |f(x) - f(s)| <= L/3*‖x - s‖²"),
    (BOTH, "show f(x) - f(y) <= ‖∇f(y)‖*‖x - y‖"),
    (BOTH, "given ∇f(s) == 0 and ∇f(w) == 0\n  show s == w"),
    (STRONG, "show ∇f(x) - ∇f(y) == L*(x - y)"),
    (BOTH, "given ∇f(s) - ∇g(s) == 0\n  show f(s) - g(s) <= f(x) - g(x)"),
    (BOTH, "given y == x - η*∇g(y)\n  show g(y) <= g(x) - 2*η*‖∇g(y)‖²"),
    (SMOOTH, "given ‖∇f(x)‖² >= 2*μ*(f(x) - f(s)) and η*L == 1\n  show f(z) - f(s) <= (1 - 2*μ/L)*(f(x) - f(s))"),
    # where a premise holds with equality, where two points are one, and where operators turn
    (SMOOTH, "given η*L <= 2.02\n  show f(z) <= f(x)"),
    (BOTH, "given ∇f(s) == 0 and η*L <= 2.01\n  show ‖z - s‖² <= ‖x - s‖²"),
    (BOTH, "given ∇f(s) == 0\n  show f(s) < f(x)"),
    (BOTH, "given F(s) == 0 and η*L <= 1\n  show ‖x - η*F(x) - s‖² <= ‖x - s‖²"),
    (STRONG, "given ∇f(s) == 0 and η*(L + μ) <= 3\n  show ‖z - s‖² <= (1 - η*μ)²*‖x - s‖²"),
]


@pytest.mark.parametrize(
    ("properties", "claim", "status"), [*((*c, "proved") for c in TRUE), *((*c, "refuted") for c in FALSE)]
)
def test_classes(decided: Decided, properties: str, claim: str, status: str) -> None:
    report = decided(f"{HEAD.format(properties)}  {claim}\n", 4_000_000)
    assert report.status == status, report
    assert status == "refuted" or verify(report.certificate or {})
