"""Sequences in theorem files: recurrences, premises for every t, sums over what came before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove import check_claim
from dotopt.compiler.prove.report import ClaimReport
from dotopt.compiler.text.library import Library

Decided = Callable[..., ClaimReport]

SUM = "for all s[t], g[t]\n  s[t] = s[t - 1] + g[t]\n"
MEAN = "for all m[t], g[t], β in [0, 1)\n  m[t] = β*m[t - 1] + (1 - β)*g[t]\n  given m[0] == 0"
POWER = "for all x[t], r\n  x[t] = r*x[t - 1]\n"
MOVE = "for all x[t], d\n  x[t + 1] = x[t] + d\n"
TWO = "for all x[t], a, b\n  x[t + 1] = a*x[t] + b*x[t - 1]\n"
DESCENT = "for all x[t] : real[n], g[t] : real[n], u : real[n], η > 0\n  x[t + 1] = x[t] - η*g[t]\n"
MOMENTUM = (
    "for all p[t] : real[n], w[t] : real[n], g[t] : real[n], μ in [0, 1), η > 0\n"
    "  p[t] = μ*p[t - 1] + g[t]\n  w[t] = w[t - 1] - η*p[t]\n  given p[0] == 0"
)
DECAYED = "for all x[t], η[t] in [0, 1]\n  x[t + 1] = (1 - η[t])*x[t]\n  given x[0] >= 0\n"
CROSSED = "for all p[t], q[t], g[t]\n  p[t] = q[t - 1] + g[t]\n  q[t] = p[t - 1] - g[t]\n"
BOUNDED = "for all C >= 0, x[t], g[t]\n  x[t + 1] = x[t] - g[t]\n  given |g[t]| <= C and"

TRUE = [
    f"{POWER}  show x[t] == r^t*x[0] for all steps",
    f"{POWER}  given 0 <= r <= 1\n  show |x[t]| <= |x[0]| for all steps",
    f"{POWER}  given 0 < r < 1 and x[0] == 1\n  show x[t] < x[t - 1] for all steps",
    f"{MOVE}  given x[1] == 0\n  show x[t] == (t - 1)*d for all steps",
    f"{MOVE}  given x[0] == 0\n  show x[t] == t*d for all steps",
    f"{SUM}  given s[0] == 0\n  show s[t] == sum(g[k] for k in 1..t) for all steps",
    f"{SUM}  given s[0] == 0 and g[t] >= 1\n  show s[t] >= t for all steps",
    f"{SUM}  given g[t] == 2\n  show s[t] == s[0] + 2*t for all steps",
    f"{MEAN}\n  show m[t] == (1 - β)*sum(β^(t - k)*g[k] for k in 1..t) for all steps",
    f"{MEAN} and g[t] == 1\n  show m[t] == 1 - β^t for all steps",
    "for all m[t], g[t]\n  m[t] = m[t - 1] + (g[t] - m[t - 1])/t\n  show m[t] == mean(g[k] for k in 1..t)",
    f"{MOMENTUM}\n  show w[t] == w[0] - η*sum(p[k] for k in 1..t) for all steps",
    f"{MOMENTUM} and μ == 0 and dot(w[t - 1], g[t]) == 0\n"
    "  show ‖w[t]‖² == ‖w[0]‖² + η²*sum(‖g[k]‖² for k in 1..t)",
    f"{DESCENT}  show sum(2*η*dot(g[k], x[k] - u) for k in 0..t) "
    "== ‖x[0] - u‖² - ‖x[t + 1] - u‖² + η²*sum(‖g[k]‖² for k in 0..t) for all steps",
    f"{TWO}  given a >= 0 and b >= 0 and x[0] >= 0 and x[1] >= 0\n  show x[t] >= 0 for all steps",
    f"{TWO}  given a == 2 and b == -1\n  show x[t] == x[0] + t*(x[1] - x[0]) for all steps",
    f"{DECAYED}  show 0 <= x[t] <= x[0] for all steps",
    f"{CROSSED}  show p[t] + q[t] == p[0] + q[0] for all steps",
    f"{BOUNDED} x[0] == 0\n  show |x[t]| <= C*t for all steps",
    f"{BOUNDED} x[1] == 0\n  show |x[t]| <= C*(t - 1) for all steps",
    "for all x[t]\n  x[1] = 1\n  x[t + 1] = x[t]/2\n  show x[t] == (1/2)^(t - 1) for all steps",
    "for all x[t]\n  x[t] = x[t - 1]*(1 - x[t - 1])\n  given 0 < x[0] < 1\n  show x[t] <= 1/(t + 2) for all steps",
    "for all e[t], ρ in [0, 1), δ >= 0\n  given e[t] <= ρ*e[t - 1] + δ\n"
    "  show e[t] <= ρ^t*e[0] + δ/(1 - ρ) for all steps",
    "for all x[t], g[t], c\n  x[t] = x[t - 1] + g[t]\n  given g[t] == c and x[0] == 0\n  show x[t] == c*t",
]
TRUE += [
    "for all x[t]\n  x[0] = 1\n  x[t] = x[t - 1]/2\n  show x[2] == 1/4",
    "for all x[t], y[t]\n  x[t] = x[t - 1] + y[t]\n  given x[3] == 0\n  show x[2] == -y[3]",
    "for all a[t], b[t]\n  a[t] = a[t - 1] + 1\n  b[t] = b[t - 1] + a[t - 1]\n  given a[0] == 0 and b[0] == 0\n"
    "  show b[t] == t*(t - 1)/2\n  show a[t] == t",
]
FALSE = [
    f"{POWER}  show x[t] == r^(t - 1)*x[0] for all steps",
    f"{POWER}  given x[0] >= 0\n  show x[t] >= 0 for all steps",
    f"{POWER}  given 0 <= r < 1 and x[0] == 1\n  show x[t] < x[t - 1] for all steps",
    f"{POWER}  given 0 <= r <= 1 and x[0] == 1\n  show x[t] <= 1/2",
    f"{MOVE}  given x[0] == 0\n  show x[t] == (t - 1)*d for all steps",
    f"{SUM}  given s[0] == 0\n  show s[t] == sum(g[k] for k in 1..t - 1) for all steps",
    f"{SUM}  given s[0] == 0\n  show s[t] == sum(g[k] for k in 0..t) for all steps",
    f"{SUM}  given s[0] == 0 and g[t] <= 1\n  show s[t] <= 3 for all steps",
    f"{SUM}  given s[0] == 0\n  show s[t] == t*g[t] for all steps",
    f"{SUM}  given s[0] == 0 and g[1] == 1\n  show s[t] == t for all steps",
    f"{MEAN}\n  show m[t] == (1 - β)*sum(β^(t - k + 1)*g[k] for k in 1..t) for all steps",
    f"{MEAN} and g[t] == 1\n  show m[t] == 1 - β^(t - 1) for all steps",
    "for all m[t], g[t]\n  m[t] = m[t - 1] + (g[t] - m[t - 1])/(t + 1)\n  show m[t] == mean(g[k] for k in 1..t)",
    f"{MOMENTUM}\n  show w[t] == w[0] - η*sum(g[k] for k in 1..t) for all steps",
    f"{DESCENT}  show 2*η*dot(g[t], x[t] - u) <= ‖x[t] - u‖² - ‖x[t + 1] - u‖² for all steps",
    f"{TWO}  given a >= 0 and b >= 0 and x[1] >= 0\n  show x[t] >= 0 for all steps",
    f"{TWO}  given a == 2 and b == -1\n  show x[t] == x[0] + t*x[1] for all steps",
    f"{DECAYED}  show x[t] == (1 - η[t])^t*x[0] for all steps",
    f"{CROSSED}  show p[t] == p[0] for all steps",
    f"{BOUNDED} x[0] == 0\n  show |x[t]| <= C*(t - 1) for all steps",
    "for all x[t], g[t]\n  x[t] = g[t]\n  show x[t] == x[0] for all steps",
    "for all x[t], g[t]\n  x[t] = g[t - 1]\n  show x[t] == g[t] for all steps",
    "for all e[t], ρ in [0, 1)\n  given e[t] <= ρ*e[t - 1]\n  show e[t] <= e[0] for all steps",
    "for all η[t]\n  η[t] = 1/t\n  show η[t] <= 1/2 for all steps",
]


NEVER_REFUTED = [
    "for all x[t]\n  x[0] = 1/2\n  x[t] = x[t - 1]/2\n  show x[2*t] == 2*x[t]² for all steps",
    "for all x[t], n : int > 0\n  x[t] = x[t - 1] + 1\n  given x[0] == 0\n"
    "  show sum(x[k] for k in 1..n) == n*(n + 1)/2",
]


@pytest.mark.parametrize("claim", NEVER_REFUTED)
def test_values_that_no_equation_was_put_in_for_refute_nothing(decided: Decided, claim: str) -> None:
    assert decided(f"theorem Sequences\n\nclaim c:\n  {claim}\n").status != "refuted"


@pytest.mark.parametrize("claim", TRUE)
def test_true_for_every_t(decided: Decided, claim: str) -> None:
    assert decided(f"theorem Sequences\n\nclaim c:\n  {claim}\n").status == "proved"


@pytest.mark.parametrize("claim", FALSE)
def test_false_for_some_t(decided: Decided, claim: str) -> None:
    assert decided(f"theorem Sequences\n\nclaim c:\n  {claim}\n").status == "refuted"


@pytest.mark.parametrize(
    ("claim", "says"),
    [
        ("for all x[t]\n  x[t] = x[t + 1]/2\n  show x[t] == 0 for all steps", "a later one"),
        ("for all x[t], y[t]\n  x[t] = y[t] + 1\n  y[t] = x[t]/2\n  show x[t] == 2 for all steps", "need each other"),
        ("for all x[t]\n  x[t] = x[t - 1]/2\n  show x[t - 2] >= x[t] for all steps", "before the beginning"),
        ("for all x[t]\n  x[t] = x[t - 1]\n  x[t] = 2*x[t - 1]\n  show x[t] == 0 for all steps", "two recurrences"),
        ("for all x[t]\n  x[t] = x[t - 1]/2\n  show x[t/2] == 1", "a value of a sequence at"),
        ("for all x[t], y[t]\n  x[t] = x[t - 1] + y[t]\n  derive c\n  show x[t] <= c", "to be derived"),
        ("for all x[t], g[t]\n  x[t] = sum(g[k] for k in 1..t)\n  show x[t] == 0 for all steps", "fixed distance"),
    ],
)
def test_what_a_recurrence_cannot_say_is_told(decided: Decided, claim: str, says: str) -> None:
    found = decided(f"theorem Sequences\n\nclaim c:\n  {claim}\n")
    assert found.status == "open" and says in found.reason


def test_recurrences_of_the_whole_file(decided: Decided) -> None:
    file = "theorem Whole\nfor all x[t], r in [0, 1]\nx[t] = r*x[t - 1]\ngiven x[0] == 1\n"
    text = f"{file}\nclaim c:\n  show x[t] <= 1\n"
    assert decided(text).status == "proved"


def test_momentum_makes_the_weights_of_scale_invariant_layers_grow() -> None:
    file = Library().file("NormGrowth")
    assert file is not None
    claim = next(c for c in file.claims if c.name == "momentum_growth")
    assert check_claim(file, claim, Library()).status == "proved"


RATE = '''theorem Rate
objective f : convex, smooth(L)
for all L > 0, s : real[d], η >= 0

claim c:
  for all x[t] : real[d]
  x[t + 1] = x[t] - η*∇f(x[t])
  given η <= 1/L and ∇f(s) == 0
'''


@pytest.mark.parametrize(
    ("sentence", "status"),
    [
        pytest.param("f(x[t]) <= f(x[0])", "proved", marks=pytest.mark.thorough),  # a minute on a slow machine
        ("2*η*t*(f(x[t]) - f(s)) <= ‖x[0] - s‖² - ‖x[t] - s‖²", "proved"),
        ("4*η*t*(f(x[t]) - f(s)) <= ‖x[0] - s‖² - ‖x[t] - s‖²", "refuted"),
    ],
)
def test_rates_of_gradient_descent_for_any_number_of_steps(decided: Decided, sentence: str, status: str) -> None:
    assert decided(f"{RATE}  show {sentence} for all steps\n", fuel=8_000_000).status == status
