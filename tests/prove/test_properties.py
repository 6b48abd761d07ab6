"""Properties of functions and operators: what follows from them is proved, what does not is refuted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dotopt.compiler.prove.report import ClaimReport
from dotopt.compiler.resolve import resolve
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import load

Decided = Callable[..., ClaimReport]

HEAD = """theorem Curved
objective f : strongly_convex(m), smooth(L)
operator  F : strongly_monotone(m)
operator  G : monotone, lipschitz(L)
operator  C : cocoercive(b)
for all x : real[d], y : real[d], z : real[d]
for all L > 0, m > 0, b > 0, s >= 0

claim c:
"""
TRUE = [
    "show dot(∇f(x) - ∇f(y), x - y) >= m*‖x - y‖²",
    "show dot(∇f(x) - ∇f(y), x - y)*(m + L) >= m*L*‖x - y‖² + ‖∇f(x) - ∇f(y)‖²",
    "given ∇f(z) == 0\n  show f(x) - f(z) <= 1/(2*m)*‖∇f(x)‖²",
    "show dot(F(x) - F(y), x - y) >= m*‖x - y‖²",
    "show ‖G(x) - G(y)‖² <= L^2*‖x - y‖²",
    "show m <= L",
]
FALSE = [
    "show dot(∇f(x) - ∇f(y), x - y) >= 2*m*‖x - y‖²",
    "show dot(∇f(x) - ∇f(y), x - y)*(m + L) >= 2*m*L*‖x - y‖² + ‖∇f(x) - ∇f(y)‖²",
    "given ∇f(z) == 0 and s*L <= 2\n  show ‖x - s*∇f(x) - z‖² <= (1 - s*m)^2*‖x - z‖²",
    "given ∇f(z) == 0\n  show f(x) - f(z) <= 1/(4*m)*‖∇f(x)‖²",
    "show ‖G(x) - G(y)‖² <= L*‖x - y‖²",
    "show ‖C(x) - C(y)‖² <= b^2*‖x - y‖²",
]


def status(decided: Decided, text: str) -> str:
    return decided(text, fuel=4_000_000).status


@pytest.mark.parametrize("claim", TRUE)
def test_what_follows_is_proved(decided: Decided, claim: str) -> None:
    assert status(decided, f"{HEAD}  {claim}\n") == "proved"


@pytest.mark.parametrize("claim", FALSE)
def test_what_does_not_follow_is_refuted(decided: Decided, claim: str) -> None:
    assert status(decided, f"{HEAD}  {claim}\n") == "refuted"


def test_without_such_a_function_nothing_is_said(decided: Decided) -> None:
    assert status(decided, f"{HEAD}  given m > 2*L\n  show m == 7\n") == "vacuous"


def test_a_constant_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "curved.opt"
    path.write_text(HEAD.replace("strongly_convex(m)", "strongly_convex") + "  show m > 0\n", encoding="utf-8")
    with pytest.raises(OptError, match="E313"):
        resolve(load(path))
