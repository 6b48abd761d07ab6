"""Draws in claims and rules: their laws bound them, and a law that leaves one value is that value."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

OF_CLAIMS = {
    "z ~ normal(3, 1)\n  show expect(z) == 3": "proved",
    "z ~ normal(3, 1)\n  show expect(z) == 0": "refuted",
    "z ~ normal(a, 2)\n  show expect((z - a)²) == 4": "proved",
    "z ~ uniform(-1, 1)\n  show z <= 1": "proved",
    "z ~ uniform(-1, 1)\n  show z >= 0": "refuted",
    "z ~ rademacher\n  show z² == 1": "proved",
    "z ~ rademacher\n  show z == 1": "refuted",
    "z ~ normal(3, 0)\n  show z == 3": "proved",
    "z ~ normal(3, s)\n  show z == 3": "refuted",
    "given s == 0\n  z ~ normal(3, s)\n  show z == 3": "proved",
    "z ~ uniform(a, a)\n  show z == a": "proved",
    "z ~ bernoulli(0)\n  show (1 if z else 0) == 0": "proved",
    "z ~ bernoulli(s)\n  show (1 if z else 0) == 0": "refuted",
    "z : real[4] ~ normal(x, 0)\n  show z == x": "proved",
    "y ~ normal(0, 1)\n  z ~ normal(0, 1)\n  show y == z": "refuted",
}


@pytest.mark.parametrize(("claim", "status"), OF_CLAIMS.items())
def test_draws_of_claims(decided: Decided, claim: str, status: str) -> None:
    text = f"theorem Draws\nfor all a, s in [0, 1], x : real[4]\n\nclaim one:\n  {claim}\n"
    assert decided(text).status == status


NOISY = """rule Noisy
objective f
param x : real[...]
hyper η as lr >= 0 = 0.1
hyper σ >= 0 = 0
state a : like x = 0
z : like x ~ normal(0, σ)
u ~ uniform(0, 1)
x' = x - η*∇f(x) + z
a' = a + u*z
"""
OF_RULES = {
    "given σ == 0\n  show x' == x - η*∇f(x)": "proved",
    "show x' == x - η*∇f(x)": "refuted",
    "given σ == 0\n  show a == 0 for all steps": "proved",
    "show a == 0 for all steps": "refuted",
    "show |u*z| <= |z|": "proved",
    "show |u*z| <= |z|/2": "refuted",
}


@pytest.mark.parametrize(("claim", "status"), OF_RULES.items())
def test_draws_of_rules(decided: Decided, claim: str, status: str) -> None:
    assert decided(f"{NOISY}\nclaim one:\n  {claim}\n").status == status
