"""`A == B + O(h^n)` without a flow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

RULE = """rule Ahead
objective f
param  x : real[...]
hyper  h as lr >= 0 = 0.1
hyper  λ as weight_decay >= 0 = 0
state  m : like x = 0

y  = x - h*∇f(x)
m' = m + h*∇f(x)
x' = x - h*∇f(y) - h*λ*x

claim c:
"""
CASES = {
    "x' == x + O(h)": "proved",
    "x' == x - h*(∇f(x) + λ*x) + O(h^2)": "proved",
    "x' == x - h*∇f(x) + O(h^2)": "refuted",
    "x' == x - h*(∇f(x) + λ*x) + O(h^3)": "open",  # false, and for a third derivative of f there is no word
    "1/(1 + h) == 1 - h + h^2 + O(h^3)": "proved",
    "1/(1 + h) == 1 - h + O(h^3)": "refuted",
    "exp(h) == 1 + h + h^2/2 + O(h^3)": "proved",
    "exp(h) == 1 + h + O(h^3)": "refuted",
    "|h| == 0 + O(h^2)": "open",  # the derivative at a kink is a convention
    "h^(3/2) == 0 + O(h^2)": "open",
    "max(h, 0) == h + O(h^2)": "open",
    "h^2/h == 0 + O(h^2)": "refuted",
    "m' == m + O(h)": "open",  # m may depend on h
}


PREMISES = {
    "given λ*h == 1\n  show λ*h^2 == 0 + O(h^2)": "open",  # false: λ h² is h
    "given h >= 1\n  show h^2 == 0 + O(h^2)": "open",  # h does not go to 0
    "given λ <= 1\n  show λ*h^2 == 0 + O(h^2)": "proved",
}


@pytest.mark.parametrize(("claim", "status"), PREMISES.items())
def test_premises_about_h(decided: Decided, claim: str, status: str) -> None:
    assert decided(f"{RULE}  {claim}\n").status == status


def test_a_convex_function_may_have_a_kink(decided: Decided) -> None:
    text = "theorem Kinks\nobjective k : convex\nfor all x : real[d], y : real[d], h\n\nclaim c:\n"
    assert decided(f"{text}  show k(x + h*y) == k(x) + h*dot(∇k(x), y) + O(h^2)\n").status == "open"


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_expansions(decided: Decided, claim: str, status: str) -> None:
    assert decided(f"{RULE}  show {claim}\n").status == status
