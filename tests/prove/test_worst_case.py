"""Rates that are false by little: the function that breaks them, as points, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import permutations

import pytest

from dotopt.compiler.prove.procedures import sdp
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

pytestmark = pytest.mark.skipif(not sdp.available(), reason="needs Clarabel: pip install dotopt[sdp]")
HEAD = """theorem Rates
objective f : convex, smooth(1)
objective h : strongly_convex(1), smooth(4)
for all x : real[d], y : real[d], s : real[d]

claim c:
"""


def decide(decided: Decided, claim: str) -> ClaimReport:
    return decided(f"{HEAD}  {claim}\n", fuel=6_000_000)


def numbers(text: str) -> list[Fraction]:
    return [Fraction(part) for part in text.strip("[]").split(",")]


def test_the_points_belong_to_a_smooth_convex_function(decided: Decided) -> None:
    """The conditions of interpolation, written anew: f(b) >= f(a) + ⟨g(a), b - a⟩ + ½‖g(b) - g(a)‖² for L = 1."""
    report = decide(decided, "given ∇f(s) == 0\n  show f(x - ∇f(x)) - f(s) <= ‖x - s‖²/(61/10)")
    assert report.status == "refuted" and report.counterexample is not None
    c = {name: numbers(str(value)) for name, value in report.counterexample.items()}
    z = [a - b for a, b in zip(c["x"], c["∇f(x)"], strict=True)]
    points = [
        (c["x"], c["∇f(x)"], c["f(x)"][0]),
        (z, c["∇f(x - ∇f(x))"], c["f(x - ∇f(x))"][0]),
        (c["s"], [Fraction(0)] * len(z), c["f(s)"][0]),
    ]
    for (a, slope, value), (b, other, higher) in permutations(points, 2):
        step = sum((g * (q - p) for g, p, q in zip(slope, a, b, strict=True)), Fraction(0))
        bend = sum(((p - q) ** 2 for p, q in zip(slope, other, strict=True)), Fraction(0)) / 2
        assert higher >= value + step + bend
    distance = sum(((p - q) ** 2 for p, q in zip(c["x"], c["s"], strict=True)), Fraction(0))
    assert points[1][2] - points[2][2] > distance / Fraction(61, 10)


TRUE = [
    "show ‖∇f(x)‖ <= ‖∇f(x)‖ + ‖x‖",
    "show f(y) - f(x) - dot(∇f(x), y - x) <= ‖x - y‖*‖∇f(x) - ∇f(y)‖",  # norms are no numbers of their own
    "given ‖x - y‖ <= 1\n  show f(y) - f(x) - dot(∇f(x), y - x) <= ½",  # a premise about vectors
    "given ∇h(s) == 0\n  show ‖x - 2/5*∇h(x) - s‖² <= 9/25*‖x - s‖²",
    "given ∇f(s) == 0\n  z = x - ∇f(x)\n  show f(z - ∇f(z)) - f(s) <= ‖x - s‖²/10",
]


@pytest.mark.parametrize("claim", TRUE)
def test_what_is_true_is_not_refuted(decided: Decided, claim: str) -> None:
    assert decide(decided, claim).status != "refuted"


@pytest.mark.parametrize("steps", ["101/10", "11"])
def test_two_steps(decided: Decided, steps: str) -> None:
    claim = f"given ∇f(s) == 0\n  z = x - ∇f(x)\n  show f(z - ∇f(z)) - f(s) <= ‖x - s‖²/({steps})"
    assert decide(decided, claim).status == "refuted"
