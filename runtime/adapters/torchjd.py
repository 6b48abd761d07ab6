"""Compiled aggregators as `torchjd.aggregation.Aggregator`: for `jac_to_grad` and the like.

from dotopt.runtime.adapters.torchjd import aggregator
jac_to_grad(shared, aggregator(SAMGS(gamma=0.7)))
"""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import Aggregator as Base

from dotopt.runtime.functions.aggregate import Aggregator


class Adapted(Base):
    """A compiled aggregator in torchjd's interface. What the rule remembers stays between calls, until `reset()`."""

    def __init__(self, rule: Aggregator) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, matrix: Tensor, /) -> Tensor:
        """The direction, [n], for the Jacobian [tasks, n]."""
        return self.rule(matrix)

    def reset(self) -> None:
        """Forgets what was remembered."""
        self.rule.reset()

    def __repr__(self) -> str:
        return repr(self.rule)


def aggregator(rule: Aggregator) -> Adapted:
    """The torchjd aggregator of a compiled one; raises TypeError for another kind of rule."""
    if not isinstance(rule, Aggregator):
        raise TypeError(f"{rule!r} is no aggregator: `PCGrad()` is one")
    return Adapted(rule)
