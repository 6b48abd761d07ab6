"""`for all steps`, after a `show` or on a line of its own; states that only claims read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]


RULE = '''rule Tracked
source "test"
objective f
param  x : real[...]
hyper  η as lr >= 0 = 0.1
hyper  β as momentum in [0, 1) = 0.9
state  v : like x = 0

g  = ∇f(x)
v' = max(β*v, |g|)
x' = x - η*g

claim c:
'''


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        ("  show v >= 0 for all steps\n", "proved"),
        ("  for all steps\n  show v >= 0\n", "proved"),
        ("  for all c > 0, steps\n  show c*v >= 0\n", "proved"),
        ("  for all steps\n  show v > 0\n", "refuted"),
    ],
)
def test_every_step(decided: Decided, claim: str, status: str) -> None:
    assert decided(RULE + claim).status == status
