"""Counterexamples are steps that a run reaches: premises that fix a name hold for the steps before, or for this one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

RULE = '''"""Counted: states that say how far a run is."""
rule Counted
objective f
param  θ : real[...]
hyper  η as lr     >= 0      = 1e-3
hyper  β as beta   in [0, 1) = 0.9
state  n : real = 0
state  k : real = 1
state  a : like θ = 0
state  v : like θ = 0
state  p : like θ = first θ
g  = ∇f(θ)
n' = n + 1
k' = k*β
a' = a + g
v' = β*v + (1 - β)*g²
p' = θ
θ' = θ - η*g + 0*(n' + k' + a' + v' + p')

claim written:
'''

TRUE = {
    "a step": ("given t == 2", "n == 1"),
    "a step and a number": ("given t == 2 and β == 1/2", "k == 1/2"),
    "powers": ("given t == 2", "k' == β²"),
    "a number that hangs on t": ("given β == 1/t and t == 3", "k == 1/9"),
    "a number": ("given β == 0.5", "k <= 1"),
    "a knob that is zero": ("given β == 0 and t >= 2", "k == 0"),
    "no step": ("given t == 2 and η == 0", "p == θ"),
    "a function": ("given f(θ) == sum(θ)", "a >= 0"),
    "a state": ("given k == 1", "n == 0 or β > 0"),
}
FALSE = {
    "a step": ("given t == 2", "a == 0"),
    "a late step": ("given t == 4", "n == 2"),
    "steps": ("given t <= 3", "n <= 1"),
    "a number": ("given t == 3 and β == 0.5", "k <= 0.2"),
    "an answer": ("given ∇f(θ) == 1", "a >= 0"),
    "an answer by its name": ("given g == 1", "a >= 0"),
    "answers": ("given g >= 0", "a >= 0"),
}


@pytest.mark.parametrize("name", TRUE)
def test_a_true_claim_is_not_refuted_by_a_step_that_no_run_reaches(decided: Decided, name: str) -> None:
    premise, sentence = TRUE[name]
    assert decided(f"{RULE}  {premise}\n  show {sentence}\n").status in ("proved", "open")


@pytest.mark.parametrize("name", FALSE)
def test_a_false_claim_is_refuted_by_a_step_of_a_run(decided: Decided, name: str) -> None:
    premise, sentence = FALSE[name]
    assert decided(f"{RULE}  {premise}\n  show {sentence}\n").status == "refuted"


@pytest.mark.parametrize("sentence", ["v >= 0", "v' >= 0", "√v' >= 0", "k >= 0"])
def test_signs_that_a_rule_keeps_are_known(decided: Decided, sentence: str) -> None:
    found = decided(f"{RULE}  show {sentence}\n")
    assert found.status == "proved"
    assert any("(induction)" in a for a in found.assumptions)


@pytest.mark.parametrize("premise", ["∇f(θ) == 1", "g == 1", "g >= 0", "f(θ) == dot(a, θ)"])
def test_what_holds_in_this_step_keeps_no_sign(decided: Decided, premise: str) -> None:
    assert decided(f"{RULE}  given {premise}\n  show a >= 0\n").status != "proved"


def test_a_premise_about_an_answer_holds_in_every_step(decided: Decided) -> None:
    found = decided(f"{RULE}  given ∇f(θ) == 1\n  show a == t - 1 for all steps\n")
    assert found.status in ("proved", "open")


PROVED = [
    ("given t == 2", "n == 1"),
    ("given t == 2 and β == 1/2", "k == 1/2"),
    ("given t == 3", "k == β²"),
    ("given β == 1/t and t == 3", "k == 1/9"),
    ("given t == 2 and η == 0", "p == θ"),
    ("given t <= 3", "n <= 2"),
    ("given t < 3", "n <= 1"),
    ("", "n == t - 1"),
    ("given β == 0.5", "k <= 1"),
]


@pytest.mark.parametrize("premise, sentence", PROVED)
def test_a_step_is_written_out_and_what_every_step_keeps_is_known(
    decided: Decided, premise: str, sentence: str
) -> None:
    assert decided(f"{RULE}  {premise}\n  show {sentence}\n").status == "proved"


def test_each_step_may_have_its_own_sample(decided: Decided) -> None:
    assert decided(f"{RULE}  given t == 2 and η == 0\n  show a == g\n").status != "proved"
