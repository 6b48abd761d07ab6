"""What is 0 only once a positive denominator is cleared, inside sign, size and comparisons; axes that are not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

RULE = """rule Quotients
objective f
param  θ : real[...]
hyper  η as lr >= 0 = 0.1
hyper  β in [0, 1) = 0.9
state  p : like θ = 0

g  = ∇f(θ)
p' = β*p + (1 - β)*θ
c  = p'/(1 - β^t)
θ' = θ - η*(g + {})

claim c:
  given t == 1
  show  θ' == θ - η*(g + {})
"""


@pytest.mark.parametrize(
    ("written", "value"),
    [("sign(θ - c)", "0"), ("|θ - c|", "0"), ("(1 if θ > c else 0)", "0"), ("(1 if θ == c else 0)", "1")],
)
def test_a_difference_that_is_zero_at_the_first_step(decided: Decided, written: str, value: str) -> None:
    assert decided(RULE.format(written, value)).status == "proved"
    assert decided(RULE.format(written, f"{value} + 1")).status == "refuted"


AXES = """rule Sizes
objective f
param  θ : real[...]
hyper  η as lr >= 0 = 0.1

s  = 1 if rank(θ) <= 1 else 1/native(θ, 1)
θ' = θ - η*s*∇f(θ)

claim c:
  show {}
"""


@pytest.mark.parametrize(
    ("sentence", "status"), [("θ' == θ - η*∇f(θ)", "open"), ("s <= 1", "proved"), ("θ' == θ - 2*η*∇f(θ)", "refuted")]
)
def test_axes_by_number(decided: Decided, sentence: str, status: str) -> None:
    report = decided(AXES.format(sentence))
    assert report.status == status, report.reason
    assert "internal" not in report.reason
