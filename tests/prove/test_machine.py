"""Claims about arithmetic that rounds: `in fp16`, `in bf16`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from dotopt.compiler.prove.procedures.machine import FORMATS, Rounded
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

RULE = """rule Rounding
objective f
param  x : real[...]
hyper  η as lr >= 0 = 0.1
hyper  β in [0, 1) = 0.9
state  m : like x = 0
state  v : like x = 0

g  = ∇f(x)
m' = m + (1 - β)*(g - m)
v' = β*v + (1 - β)*g^2
x' = x - η*m'/(sqrt(v') + 1)

claim c:
"""
CASES = {
    "in fp16\n  given |g| > 1/1000\n  show g^2 > 0": "proved",
    "in fp16\n  given |g| > 1/10000\n  show g^2 > 0": "refuted",  # 10⁻⁸ is below the smallest number
    "in bf16\n  given |g| > 1/10000\n  show g^2 > 0": "proved",
    "in fp16\n  show g + g == 2*g": "proved",
    "in fp16\n  given β == 0.75\n  show v >= 0 for all steps": "proved",
    "in fp16\n  given β == 0.75\n  show v > 0 for all steps": "refuted",
    "in fp16\n  given β == 0.75\n  show v - v == 0 for all steps": "refuted",  # it overflows
    "in bf16\n  given |g - m| > |m|/2\n  show m' != m": "refuted",  # small numbers and large β: the mean stands still
    "in bf16\n  show exp(g) > 0": "open",
    "in fp16\n  given η == 1/10\n  show η + η + η == 3/10": "refuted",  # true of numbers that do not round
    "in fp16\n  given g > 1/100\n  show g^2/g == g": "refuted",  # the square overflows
    "in fp16\n  given β > 2\n  show m == 7": "vacuous",
}


@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_rounded_claims(decided: Decided, claim: str, status: str) -> None:
    assert decided(f"{RULE}  {claim}\n", fuel=6_000_000).status == status


DTYPES = [("fp16", torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)]


@pytest.mark.parametrize(("name", "dtype"), DTYPES)
def test_numbers_are_rounded_as_torch_does(name: str, dtype: torch.dtype) -> None:
    drawn = np.random.default_rng(0)
    numbers = drawn.normal(size=4000) * 10.0 ** drawn.integers(-46, 39, size=4000)
    form = Rounded(FORMATS[name], {})
    ours = torch.tensor([form.round(float(x)) for x in numbers], dtype=torch.float64)
    torch.testing.assert_close(ours, torch.tensor(numbers).to(dtype).double(), rtol=0, atol=0)


STEPPED = '''"""Stepped: a product of factors, and a mean."""
rule Stepped
objective f
param  θ : real[...]
hyper  η as lr >= 0 = 1e-2
hyper  β in [0, 1)  = 0.9
state  m : like θ = 0
state  a : real   = 1
g  = ∇f(θ)
m' = m + (1 - β)*(g - m)
a' = a*β
θ' = θ - η*m' + 0*a

claim written:
  in fp16
'''


@pytest.mark.parametrize(
    "premise, sentence, status",
    [
        ("given t == 2", "a == β", "proved"),
        ("given t == 2", "a == β*β", "refuted"),
        ("given t == 3", "a <= 1", "proved"),
        ("given t == 3", "a > 0", "refuted"),
        ("given m == 1 and g == 1", "m' == 1", "proved"),
        ("given θ == 2048 and t == 1", "θ - 1 == 2047", "proved"),
        ("given θ == 2048", "θ + 2 == 2048", "refuted"),
    ],
)
def test_premises_about_the_step_count(decided: Decided, premise: str, sentence: str, status: str) -> None:
    assert decided(f"{STEPPED}  {premise}\n  show {sentence}\n").status == status
