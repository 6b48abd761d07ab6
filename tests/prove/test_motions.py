"""Maps that change from step to step: a motion of the states must be that of the next step after it."""

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

SUMS = """rule Sums
input  k : real[a]
input  v : real[a]
state  S : real[a] = 0
output o : real[a]
S' = S + k
o  = {o}

claim c:
  for all A : real[a, a], u : real[a]
  show {goal}
"""
SIGNS = """rule Signs
objective f
param  x : real[...]
hyper  η as lr       >= 0     = 1e-4
hyper  β as momentum in [0, 1) = 0.9
state  m : like x = 0

m' = β*m + (1 - β)*∇f(x)
x' = x - η*sign(m')

claim c:
  show {goal}
"""


@pytest.mark.parametrize(
    ("o", "goal", "status"),
    [
        ("S' + 0*v", "o -> 2*o under k -> 2*k", "proved"),
        ("S' + 0*v", "o -> A @ o under k -> A @ k", "proved"),
        ("S' + 0*v", "o -> t*o under k -> t*k", "refuted"),  # the first token was multiplied by 1
        ("S' + 0*v", "o -> o + u under k -> k + u", "refuted"),
        ("S' + 0*v", "o -> o + t*v under k -> k + v", "refuted"),  # v is another one in every step
        ("k + 0*v", "o -> t*o under k -> t*k", "proved"),
        ("k + 0*v", "o -> o + v under k -> k + v", "proved"),
    ],
)
def test_maps_of_inputs(decided: Decided, o: str, goal: str, status: str) -> None:
    report = decided(SUMS.format(o=o, goal=goal))
    assert report.status == status, report


def test_an_objective_that_grows_with_time_turns_signs(decided: Decided) -> None:
    assert decided(SIGNS.format(goal="x' invariant under f -> t*f")).status != "proved"
    assert decided(SIGNS.format(goal="m' -> t*m' under f -> t*f")).status != "proved"
    assert decided(SIGNS.format(goal="m' -> 2*m' under f -> 2*f")).status == "proved"
