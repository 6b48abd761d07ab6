"""Compiled aggregators as `torchjd.aggregation.Aggregator`: for `jac_to_grad` and the like.

from dotopt.runtime.adapters.torchjd import aggregator
jac_to_grad(shared, aggregator(SAMGS(gamma=0.7)))
GramianWeightedAggregator(weighting(UPGrad()))
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchjd.aggregation import Aggregator as Base
from torchjd.aggregation import Weighting

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


class Weights(Weighting):  # type: ignore[type-arg]
    """A compiled aggregator as weights of the tasks, from their Gramian alone: work that does not grow with n.

    For rules that read gradients in their inner products only, and return a combination of them. Such a rule does the
    same for any rows with these inner products, so it is given the rows of a root of the Gramian.
    """

    def __init__(self, rule: Aggregator) -> None:
        super().__init__()
        self.rule = rule

    def forward(self, gramian: Tensor, /) -> Tensor:
        """The weights, [tasks], for the Gramian [tasks, tasks]."""
        values, vectors = torch.linalg.eigh(gramian)
        least = values.amax() * torch.finfo(gramian.dtype).eps * len(values)
        roots = values.clamp(min=0).sqrt()
        direction = self.rule(vectors * roots)
        along = torch.where(values > least, direction / roots, 0)
        found: Tensor = vectors @ along
        return found


def weighting(rule: Aggregator) -> Weights:
    """The torchjd weighting of a compiled aggregator; raises TypeError where its result needs more than the Gramian.

    Whether it does is tried: turned gradients, and a rule that only reads inner products, give the turned result.
    """
    if not isinstance(rule, Aggregator):
        raise TypeError(f"{rule!r} is no aggregator: `PCGrad()` is one")
    generator = torch.Generator().manual_seed(0)
    J = torch.randn(3, 5, dtype=torch.float64, generator=generator)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=generator))[0]
    tried = type(rule)(**_settings(rule))
    plain = tried(J)
    tried.reset()
    if not torch.allclose(tried(J @ turn), plain @ turn, rtol=1e-6, atol=1e-9):
        raise TypeError(
            f"{rule.rule.name} reads single entries of the gradients, so the Gramian does not suffice: use aggregator()"
        )
    return Weights(rule)


def _settings(rule: Aggregator) -> dict[str, Any]:
    """What makes another rule like this one."""
    hypers = {hyper.keyword: rule.hyper[hyper.name] for hyper in rule.rule.hypers if hyper.position is None}
    return hypers | {o.keyword: v for o, v in zip(rule.rule.options, rule.options, strict=True)}


def aggregator(rule: Aggregator) -> Adapted:
    """The torchjd aggregator of a compiled one; raises TypeError for another kind of rule."""
    if not isinstance(rule, Aggregator):
        raise TypeError(f"{rule!r} is no aggregator: `PCGrad()` is one")
    return Adapted(rule)
