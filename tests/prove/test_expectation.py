"""Means over the draws of a step: by moments; what is not a matter of moments stays open, what is false is refuted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]


RULE = '''rule Noisy
objective f
param  x : real[d]
hyper  η as lr >= 0 = 0.1
hyper  σ >= 0 = 1
hyper  p in [0, 1] = 0.5
z : like x ~ normal(1, σ)
u : like x ~ uniform(-1, 2)
b : like x ~ bernoulli(p)
r : like x ~ rademacher()

x' = x - η*(∇f(x) + z + u + r)*b

claim c:
  show '''
CASES = {
    "expect(z) == 1 + 0*z": "proved",
    "expect(x') == x - η*p*(∇f(x) + 1 + ½)": "proved",
    "expect(x') == x - η*p*(∇f(x) + 1)": "refuted",
    "expect((z - 1)^2) == σ^2 + 0*x": "proved",
    "expect(z^2) == σ^2 + 0*x": "refuted",
    "expect(z^4) == 1 + 6*σ^2 + 3*σ^4 + 0*x": "proved",
    "expect(u^3) == 5/4 + 0*x": "proved",
    "expect(r*r*x) == x": "proved",
    "expect(r*z) == 0*x": "proved",
    "expect(‖z - 1‖²) == σ^2*size(x)": "proved",
    "expect(‖z‖²) == σ^2*size(x)": "refuted",
    "expect(b^2) == expect(b)": "proved",
    "expect(dot(z, x)) == sum(x)": "proved",
    "expect(dot(z, x)^2) == dot(x, x)": "open",
    "expect(exp(z)) == exp(1) + 0*x": "open",
    "expect(z/u) == 0*x": "open",
}


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_means(decided: Decided, claim: str, status: str) -> None:
    assert decided(f"{RULE}{claim}\n").status == status


CHOSEN = """rule Chosen
objective f
param  x : real[d]
hyper  η as lr >= 0 = 0.1
hyper  k : int >= 1 = 3
hyper  q in [0, 1] = 0.5
S ~ choose({}, k)
b : like x ~ bernoulli(q)
m : real[d] = indicator(S)

x' = x - η*d/k*m*∇f(x)*b

claim c:
  show {}
"""


@pytest.mark.parametrize(
    ("positions", "claim", "status"),
    [
        ("1..d", "expect(x') == x - η*q*∇f(x)", "proved"),
        ("1..d", "expect(x') == x - η*∇f(x)", "refuted"),
        ("1..d", "expect(‖d/k*m*x - x‖²) == (d/k - 1)*‖x‖²", "proved"),
        ("1..d", "expect(‖d/k*m*x - x‖²) == d/k*‖x‖²", "refuted"),
        ("1..d", "expect(m^3*b^2) == k/d*q + 0*x", "proved"),
        ("1..d", "expect(dot(m, x)^2) == k/d*‖x‖²", "open"),  # two entries of a choice are not independent
        ("1..d - 1", "expect(m) == k/d + 0*x", "open"),  # the last position is never chosen
    ],
)
def test_chosen_positions(decided: Decided, positions: str, claim: str, status: str) -> None:
    report = decided(CHOSEN.format(positions, claim))
    assert report.status == status, report


def test_the_moments_are_those_of_samples() -> None:
    """The numbers above, beside NumPy's generator."""
    draw = np.random.default_rng(0)
    normal, uniform = draw.normal(1, 0.5, 1_000_000), draw.uniform(-1, 2, 1_000_000)
    assert (normal**4).mean() == pytest.approx(1 + 6 * 0.25 + 3 * 0.0625, rel=1e-2)
    assert (uniform**3).mean() == pytest.approx(5 / 4, rel=1e-2)
