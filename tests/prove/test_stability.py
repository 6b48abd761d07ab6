"""Stability where a premise gives the gradient at the parameter; eigenvalues that rounding moves refute nothing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from dotopt.compiler.prove.procedures.stability import rounding
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

RULE = '''rule HB
source "derived here"

objective f
param  x : real[...]
hyper  a as lr >= 0 = 0.1
hyper  b as momentum in [0, 1) = 0.9
hyper  w as weight_decay >= 0 = 0
state  p : like x = 0

g  = ∇f(x) + w*x
p' = b*p - a*g
x' = x + p'

claim c:
  for all λ > 0
'''
CASES = {
    "given ∇f(x) == λ*x and w == 0\n  show stable exactly for a*λ <= 2*(1 + b)": "proved",
    "given ∇f(x) == λ*x\n  show stable exactly for a*(λ + w) <= 2*(1 + b)": "proved",
    "given ∇f(x) == λ*x and w == 0\n  show stable for a*λ < 2*(1 + b)": "proved",
    "given ∇f(x) == λ*x and w == 0\n  show stable exactly for a*λ <= 2*(1 - b)": "refuted",
    "given ∇f(x) == λ*x and w == 0\n  show stable for a*λ < 3*(1 + b)": "refuted",
    "given ∇f(x) == x*x\n  show stable for a*λ < 1": "open",
    "given ∇f(x) == λ*x and w == 0 and a > 0\n  show strictly stable exactly for a*λ < 2*(1 + b)": "proved",
    "given ∇f(x) == λ*x and w == 0 and a > 0\n  show strictly stable for a*λ <= 2*(1 + b)": "refuted",
    "given ∇f(x) == λ*x and w == 0\n  show strictly stable for a*λ < 2*(1 + b)": "refuted",  # a = 0
    "given ∇f(x) == λ*x and w == 0 and a > 0\n  show strictly stable exactly for a*λ < 1 + b": "refuted",
}


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_a_gradient_given_at_the_parameter(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"{RULE}  {claim}\n")
    assert report.status == status
    assert "w" not in (report.counterexample or {})  # fixed by the premises


SCALED = """rule Scaled
objective f
param  x : real[...]
hyper  η as lr >= 0 = 0.1
hyper  β in [0, 1) = 0.9
hyper  γ in [0, 1) = 0.99
state  m : like x = 0
state  v : like x = 0

m' = β*m + (1 - β)*∇f(x)
v' = γ*v + (1 - γ)*∇f(x)²
d  = √(v'/(1 - γ^t))
x' = x - η*m'/d

claim c:
  for all σ > 0, D > 0
"""


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("given f(x) == σ/2*‖x‖² and d == D\n  show stable exactly for η*σ*(1 - β) <= 2*(1 + β)*D", "proved"),
        ("given f(x) == σ/2*‖x‖² and d == 3\n  show stable exactly for η*σ*(1 - β) <= 6*(1 + β)", "proved"),
        ("given f(x) == σ/2*‖x‖² and d == D\n  show stable for η*σ*(1 - β) <= 3*(1 + β)*D", "refuted"),
        ("given f(x) == σ/2*‖x‖² and d == -1\n  show stable for η*σ <= 1", "vacuous"),
        ("given f(x) == σ/2*‖x‖² and v == D\n  show stable for η*σ <= 1", "open"),  # v moves on
        ("given f(x) == σ/2*‖x‖²\n  show stable for η*σ <= 1", "open"),
    ],
)
def test_what_a_step_divides_by_may_be_held_fixed(decided: Decided, claim: str, status: str) -> None:
    report = decided(f"{SCALED}  {claim}\n")
    assert report.status == status, report


@pytest.mark.parametrize("n", [2, 3, 4, 6])
def test_a_multiple_root_on_the_circle_lies_within_the_rounding(n: int) -> None:
    block = np.eye(n) + np.diag(np.ones(n - 1), 1)
    turn = np.linalg.qr(np.random.default_rng(n).normal(size=(n, n)))[0]
    matrix = turn @ block @ turn.T
    assert abs(max(abs(np.linalg.eigvals(matrix))) - 1) < rounding(matrix)


ENDS = '''"""Ends: heavy ball, or a step that is another one now and then."""
rule Ends
objective f
param  θ : real[...]
hyper  η as lr       >= 0      = 1e-2
hyper  μ as momentum in [0, 1) = 0.9
hyper  k : int > 0  = 5
option slow = false
state  m : like θ = 0
state  s : like θ = first θ
m' = μ*m + ∇f(θ)
s' = s + 0.5*(θ - η*m' - s) every k
θ' = s' if slow else θ - η*m'

claim written:
  for all σ > 0
  given f(θ) == σ/2*‖θ‖² and {0}
  show stable {1}
'''


@pytest.mark.parametrize(
    "given, sentence, status",
    [
        ("not slow", "exactly for η*σ <= 2*(1 + μ)", "proved"),
        ("not slow", "exactly for η*σ < 2*(1 + μ)", "refuted"),  # at the end itself no root is outside the disc
        ("not slow", "for η*σ < 2*(1 + μ)", "proved"),
        ("slow", "for η*σ <= 2", "open"),
    ],
)
def test_the_ends_of_ranges_count(decided: Decided, given: str, sentence: str, status: str) -> None:
    assert decided(ENDS.format(given, sentence)).status == status


THREE = """rule Three
objective f
param  x : real[...]
hyper  η as lr >= 0 = 0.1
state  m : like x = 0
state  s : like x = 0
g  = ∇f(x)
m' = {decay}*m + {weight}*g
s' = {mean}*s + {half}*m'
x' = x - η*(s' + {now}*g)

claim c:
  given f(x) == ½*‖x‖² and η > 0
"""


def end(decay: float, weight: float, mean: float, half: float, now: float) -> float:
    """The largest η up to which the eigenvalues of the step stay in the disc, by bisection."""

    def radius(lr: float) -> float:
        m = np.array([weight, decay, 0])
        s = half * m + np.array([0, 0, mean])
        x = np.array([1, 0, 0]) - lr * (s + np.array([now, 0, 0]))
        return float(max(abs(np.linalg.eigvals(np.array([x, m, s])))))

    low = next(lr for lr in np.arange(0.01, 100, 0.01) if radius(lr + 0.01) > 1)
    high = low + 0.01
    for _ in range(60):
        low, high = ((low + high) / 2, high) if radius((low + high) / 2) <= 1 else (low, (low + high) / 2)
    return float(low)


@pytest.mark.parametrize("numbers", [("2/5", "1/2", "3/10", "1/2", "1/4"), ("1/2", "1", "1/5", "1/2", "1/2")])
def test_three_states_against_eigenvalues(decided: Decided, numbers: tuple[str, ...]) -> None:
    rule = THREE.format(**dict(zip(("decay", "weight", "mean", "half", "now"), numbers, strict=True)))
    last = Fraction(end(*(float(Fraction(n)) for n in numbers))).limit_denominator(1000)
    assert decided(f"{rule}  show stable exactly for η <= {last}\n").status == "proved"
    assert decided(f"{rule}  show stable for η <= {last + Fraction(1, 20)}\n").status == "refuted"
    assert decided(f"{rule}  show stable exactly for η <= {last + Fraction(1, 20)}\n").status == "refuted"


TWICE = """rule Twice
objective f
param x : real[...]
hyper a as lr > 0 = 0.1
state p : like x = 0
state q : like x = 0

p' = p/2 + ∇f(x)
q' = q/2 + p'
x' = x - a*q'

claim c:
  for all λ > 0
  given ∇f(x) == λ*x
  show strictly stable exactly for a*λ < {}
"""


@pytest.mark.parametrize(("bound", "status"), [("3/4", "proved"), ("1/2", "refuted"), ("1", "refuted")])
def test_strict_stability_of_three_states(decided: Decided, bound: str, status: str) -> None:
    assert decided(TWICE.format(bound)).status == status
