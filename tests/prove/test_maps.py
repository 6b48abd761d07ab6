"""Maps hold in every step: the states go their own way, the parameter through the same points or those the maps say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

RULE = '''"""Mapped: states that move in different ways."""
rule Mapped
use SGD
objective f
param  θ : real[...]
hyper  η as lr       >= 0      = 1e-2
hyper  μ as momentum in [0, 1) = 0.9
state  m : like θ = 0
state  p : like θ = first θ
state  q : like θ = first ∇f(θ)
state  k : real = 1
g  = ∇f(θ)
m' = (sign(g) if t == 1 else μ*m + g)
p' = θ
q' = g
k' = k + ‖g‖
θ' = θ - η*m' - η*(θ - p) - η*(g - q)/k

claim written:
  for all c > 0, b : like θ
  h(u) = f(u - b)
'''

TRUE = ["k' - 1 -> c*(k' - 1) under f -> c*f", "q' -> c*q' under f -> c*f", "p' -> p' + b under θ -> θ + b, f -> h"]
FALSE = ["k' -> c*k' under f -> c*f", "q' -> c²*q' under f -> c*f", "p' -> p' under θ -> θ + b, f -> h"]


@pytest.mark.parametrize("sentence", TRUE)
def test_a_true_motion_is_not_refuted(decided: Decided, sentence: str) -> None:
    assert decided(f"{RULE}  show {sentence}\n").status in ("proved", "open")


@pytest.mark.parametrize("sentence", FALSE)
def test_a_false_motion_is_refuted(decided: Decided, sentence: str) -> None:
    assert decided(f"{RULE}  show {sentence}\n").status == "refuted"


@pytest.mark.parametrize("premise", ["t == 2", "t >= 2", "t > 1 and μ == 0.5"])
@pytest.mark.parametrize("sentence", ["m' -> c*m' under f -> c*f", "equivalent to SGD"])
def test_what_holds_in_every_step_is_not_asked_of_some_steps(decided: Decided, premise: str, sentence: str) -> None:
    found = decided(f"{RULE}  given {premise}\n  show {sentence}\n")
    assert found.status == "open"
    assert "lines about t" in found.reason


def test_premises_that_fail_in_the_first_step_refute_nothing(decided: Decided) -> None:
    assert decided(f"{RULE}  given k > 1\n  show m' -> c²*m' under f -> c*f\n").status != "refuted"
    assert decided(f"{RULE}  given k > 1\n  show k <= 0 for all steps\n").status == "vacuous"
