"""`dotopt test` of rules that ask for more than gradients, and of strict claims: right ones pass, false ones fail."""

from __future__ import annotations

import pytest

from dotopt.runtime import property as properties
from dotopt.runtime.property import Budget
from dotopt.runtime.property.outcome import Failed, Passed, Untested

RULE = """rule {name}
objective {f}
param θ : real[...]
hyper η as lr >= 0 = 0.01

g  = ∇{f}(θ)
{lines}
"""
BUDGET = Budget(12, 0, 2.0)


def outcomes(tmp_path, name, f, lines, *wanted):
    path = tmp_path / f"{name.lower()}.opt"
    path.write_text(RULE.format(name=name, f=f, lines=lines), encoding="utf-8")
    report = properties.test_file(path, BUDGET, lambda what: what.startswith(wanted))
    assert not report.errors, report.errors
    return {result.name: result.outcome for result in report.results}


@pytest.mark.parametrize(
    ("name", "f", "lines"),
    [
        ("Newtonish", "f", "θ' = θ - η*(g + ∇²f(θ) @ g)"),
        ("Curved", "loss", "h  = ∇²loss(θ) @ g\nθ' = θ - η*g*norm(h, over=model)"),
        ("Polyak", "J", "θ' = θ - η*J(θ)*g"),
    ],
)
def test_rules_that_ask_for_curvature_and_for_the_value_pass(tmp_path, name, f, lines) -> None:
    found = outcomes(tmp_path, name, f, lines, "torch, float64", "lambdify")
    assert all(isinstance(outcome, Passed) for outcome in found.values()), found
    assert len(found) == 2


CLAIMS = """θ' = θ - η*J(θ)*g

claim step:
  show θ' == θ - η*J(θ)*g

claim positive:
  show norm(g) >= 0

claim strictly:
  show norm(g) > 0

claim other:
  show θ' != θ

claim below_one:
  show tanh(norm(g) + 20) < 1
"""


def test_claims_about_an_objective_of_another_name_are_tried_and_strict_ones_are_strict(tmp_path) -> None:
    found = outcomes(tmp_path, "Polyak", "J", CLAIMS, "claim")
    kinds = {name.removeprefix("claim "): type(outcome) for name, outcome in found.items()}
    assert kinds == {"step": Passed, "positive": Passed, "strictly": Failed, "other": Failed, "below_one": Untested}
