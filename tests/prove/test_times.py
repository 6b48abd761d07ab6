"""Expansions at other times and after several steps; sentences that are false whatever names stand for."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

EXPANSION = '''"""Timed: expansions."""
theorem Timed
use SGD
objective f
for all θ : real[d], y : real[d], h > 0, k > 0
g = ∇f(θ)
H = ∇²f(θ)

claim written:
  flow
'''


@pytest.mark.parametrize(
    "motion, sentence, status",
    [
        ("-g", "SGD(θ; lr=2*h) == θ(2*h) + O(h²)", "proved"),
        ("-g", "SGD(θ; lr=h) == θ(2*h) + O(h²)", "refuted"),
        ("-k*g", "θ(h/k) == θ - h*g + O(h²)", "proved"),
        ("-g", "θ(h²) == θ - h*g + O(h²)", "refuted"),
        ("-g", "θ(1 + h) == θ - h*g + O(h²)", "open"),
        ("-g", "SGD(SGD(θ; lr=h); lr=h) == θ(2*h) + O(h²)", "proved"),
        ("-g", "SGD(SGD(θ; lr=h); lr=h) == θ(h) + O(h²)", "refuted"),
        ("-g", "SGD(SGD(θ; lr=h); lr=h) == θ(2*h) + O(h^3)", "refuted"),
        ("-g - h/2*H @ g", "SGD(SGD(θ; lr=h); lr=h) == θ(2*h) + O(h^3)", "proved"),
        ("-g", "SGD(y; lr=h) == θ(h) + O(h²)", "open"),
    ],
)
def test_the_time_and_the_point_of_an_expansion_count(
    decided: Decided, motion: str, sentence: str, status: str
) -> None:
    assert decided(f"{EXPANSION}  ddt(θ) = {motion}\n  show {sentence}\n").status == status


RULE = '''"""Falsely: sentences without a name."""
rule Falsely
objective f
param  θ : real[...]
hyper  η as lr >= 0 = 1e-2
hyper  k : int > 0  = 2
state  n : real = 0
n' = n + 1
θ' = θ - η*∇f(θ) + 0*n

claim written:
'''


@pytest.mark.parametrize(
    "premise, status",
    [
        ("", "refuted"),
        ("given η > 1", "refuted"),
        ("given n == 2", "refuted"),
        ("given η > 1 and η < 0", "vacuous"),
        ("given k > 1 and k < 2", "vacuous"),  # k is whole
        ("given n == -1", "open"),
    ],
)
def test_a_false_sentence_needs_premises_that_hold_somewhere(decided: Decided, premise: str, status: str) -> None:
    assert decided(f"{RULE}  {premise}\n  show 1 == 2\n").status == status
    wanted = {"refuted": "proved"}.get(status, status)
    assert decided(f"{RULE}  {premise}\n  refute 1 == 2\n").status == wanted
