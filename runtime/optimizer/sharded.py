"""Tensors that are a slice of something else, for rules that must see the whole: refused, with the cure.

FSDP1 makes one flat vector of many parameters and cuts it, so a "parameter" is a slice without shape; ZeRO gives an
optimizer some of the parameters only. A rule that moves each entry by itself does not notice. A norm over a tensor, a
matrix or a sum over the model comes out wrong.
"""

from __future__ import annotations

import sys

from torch import Tensor

from dotopt.runtime.rule import Rule

FLAT = ("_is_flat_param", "_fsdp_flattened")  # what FSDP1 writes on its vectors, and on the views into them
DEPTH = 8  # frames between `ZeroRedundancyOptimizer` and the check


def check(rule: Rule, options: tuple[bool | str, ...], name: str, p: Tensor) -> None:
    """Raises ValueError for a slice, or a share of the parameters, that the rule would take for the whole."""
    if any(getattr(p, mark, False) for mark in FLAT) and not rule.step(options, p.ndim).entrywise:
        raise ValueError(
            f"{rule.name} looks at whole tensors, and `{name}` is a flat slice of FullyShardedDataParallel; "
            "shard with `torch.distributed.fsdp.fully_shard`, which keeps shapes, or take a rule that moves each "
            "entry by itself, such as AdamW"
        )
    apart = [s.key for s in rule.step(options, p.ndim).states if s.place in ("axes", "number")]
    if apart and _is_dtensor(p):
        raise ValueError(
            f"{rule.name} keeps `{apart[0]}`, which has another shape than the parameter, and `{name}` is a DTensor, "
            "of which each process holds a part: give it plain tensors, or take a rule whose states are like the "
            "parameter, such as AdamW"
        )
    if rule.step(options, p.ndim).over_model and _share():
        raise ValueError(
            f"{rule.name} sums over all parameters, and ZeroRedundancyOptimizer gives each process some of them only; "
            "shard with `torch.distributed.fsdp.fully_shard`, or take a rule without such sums, such as AdamW"
        )


def _is_dtensor(p: Tensor) -> bool:
    """Whether a tensor is spread over processes; nobody has one who has not loaded the module."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(p, module.DTensor)


def _share() -> bool:
    """Whether ZeroRedundancyOptimizer is making this optimizer; it leaves no other mark."""
    module = sys.modules.get("torch.distributed.optim.zero_redundancy_optimizer")
    if module is None:
        return False
    frame = sys._getframe(1)
    for _ in range(DEPTH):
        if isinstance(frame.f_locals.get("self"), module.ZeroRedundancyOptimizer):
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
