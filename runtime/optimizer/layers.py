"""What linear layers see: hooks that keep inputs, outputs and gradients of outputs, a row for each sample.

A layer may be called several times before a step, and several backward passes may add up: all rows count, one below the
other, as the gradient of the weight is the sum over all of them. Rows are dropped with the gradient that they belong
to: by the step, and by a backward pass that finds the gradient gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from dotopt.runtime.optimizer.groups import Bucket

ROUNDING = 0.05  # of a weight's gradient, between what autograd added up and what the rows give


@dataclass(frozen=True)
class Rows:
    """What one call of a layer saw, once `backward` has come through it: rows of inputs, outputs, gradients."""

    input: Tensor
    output: Tensor
    gradient: Tensor
    task: int  # the backward pass


class Layers:
    """Hooks on the linear layers of a model, and what they have seen since the last step, by weight."""

    def __init__(self, modules: Iterable[nn.Linear]) -> None:
        self.rows: dict[Tensor, list[Rows]] = {}
        self.checked: set[Tensor] = set()
        self.handles = [module.register_forward_hook(self._called, with_kwargs=True) for module in modules]

    def _called(self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], output: Tensor) -> None:
        weight = module.weight
        if not (isinstance(weight, Tensor) and weight.requires_grad and output.requires_grad):
            return
        inside, outside = (given[0] if given else named["input"]).detach(), output.detach()

        def arrived(gradient: Tensor) -> None:
            task = torch._C._current_graph_task_id()
            known = self.rows.setdefault(weight, [])
            if weight.grad is None and known and known[-1].task != task:
                known.clear()
            known.append(Rows(inside, outside, gradient.detach(), task))

        output.register_hook(arrived)

    def seen(self, bucket: Bucket) -> list[list[Tensor]]:
        """The rows of the one parameter of a bucket, as its step asks for them; raises RuntimeError if there are none.

        The first time they are held against the gradient: a weight that is also used outside of its layer has more.
        """
        (p,) = bucket.params
        rows = self.rows.get(p, [])
        if not rows:
            raise RuntimeError(
                f"{bucket.rule.name}: a weight of shape {tuple(p.shape)} has a gradient, but its linear layer was not "
                "called: the model uses the weight in another way, for which `rest=` of `dotopt.attach` is there"
            )
        wide = torch.float32 if p.dtype in (torch.float16, torch.bfloat16) else p.dtype
        found = {word: _stacked(rows, word, wide) for word in {*bucket.step.layer, "input", "gradient"}}
        if p not in self.checked and p.grad is not None:
            whole = p.grad.to(wide)
            if (found["gradient"].mT @ found["input"] - whole).norm() > ROUNDING * whole.norm():
                raise RuntimeError(
                    f"{bucket.rule.name}: the gradient of a weight of shape {tuple(p.shape)} is not that of its linear "
                    "layer alone: the model also uses it elsewhere; leave it to `rest=` of `dotopt.attach`"
                )
            self.checked.add(p)
        if bucket.scale is not None:
            found["gradient"] = found["gradient"] / bucket.scale
        if bucket.group["maximize"]:
            found["gradient"] = -found["gradient"]
        return [[found[word]] for word in bucket.step.layer]

    def forget(self, params: Sequence[Tensor]) -> None:
        """Drop the rows of parameters that have been stepped."""
        for p in params:
            self.rows.pop(p, None)

    def remove(self) -> None:
        """Take the hooks away."""
        for handle in self.handles:
            handle.remove()
        self.rows.clear()


def _stacked(rows: Sequence[Rows], word: str, dtype: torch.dtype) -> Tensor:
    parts = [part.reshape(-1, part.shape[-1]) for part in (getattr(seen, word) for seen in rows)]
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).to(dtype)
