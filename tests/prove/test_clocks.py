"""What is new in every step is not taken for that of the step before: draws, and equations that fire every so often."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

DRAWS = '''"""Noisy: a step with noise, which is kept."""
rule Noisy
objective f
param  θ : real[...]
hyper  η as lr >= 0 = 1e-2
state  p : like θ = 0
ξ : like θ ~ normal(0, 1)
p' = ξ
θ' = θ - η*∇f(θ) + ξ + 0*p

claim written:
'''
FIRES = '''"""Fired: equations that fire every so often."""
rule Fired
objective f
param  θ : real[...]
hyper  η as lr       >= 0      = 1e-2
hyper  k : int > 0 = 5
state  a : real = 0
state  b : real = 0
state  n : real = 0
state  s : like θ = first θ
g  = ∇f(θ)
a' = a + 1 every k
b' = a
n' = n + 1 every 2 from 1
s' = s + 0.5*(θ - η*g - s) every k
θ' = s' every k otherwise θ - η*g + 0*(b + n)

claim written:
'''


@pytest.mark.parametrize("sentence", ["p == ξ or t == 1", "(p - ξ)*(t - 1) == 0", "p' == p or t <= 1"])
def test_a_draw_is_another_one_in_the_next_step(decided: Decided, sentence: str) -> None:
    assert decided(f"{DRAWS}  show {sentence} for all steps\n").status == "refuted"


FALSE = [
    ("", "a' - a == a - b or t == 1 for all steps"),
    ("given k == 2", "a == t - 1 for all steps"),
    ("given k == 2", "2*a == t - 1 for all steps"),
    ("given t == 2", "n' == 2"),
    ("given k > 1", "θ' == θ - η*g"),
    ("given k == 3 and t == 7", "θ' == s'"),
    ("", "a' == a"),
]
TRUE = [
    ("", "a <= t - 1 for all steps"),
    ("given k == 1", "a == t - 1 for all steps"),
    ("given k == 1", "a' == a + 1"),
    ("given t == 1", "n' == 1"),
    ("given k == 3 and t == 6", "θ' == s'"),
]


@pytest.mark.parametrize("premise, sentence", FALSE)
def test_a_false_claim_about_firings_is_refuted(decided: Decided, premise: str, sentence: str) -> None:
    assert decided(f"{FIRES}  {premise}\n  show {sentence}\n").status == "refuted"


@pytest.mark.parametrize("premise, sentence", TRUE)
def test_a_true_claim_about_firings_is_proved(decided: Decided, premise: str, sentence: str) -> None:
    assert decided(f"{FIRES}  {premise}\n  show {sentence}\n").status == "proved"
