"""Tensors that are a part of something else: what a rule can be given is checked here, when an optimizer is made.

DTensors (FSDP2, tensor parallelism) say what they are a part of: see `runtime.shards`. FSDP1 makes one flat vector of
many parameters and cuts it, so a "parameter" is a slice without shape; ZeRO gives an optimizer some of the parameters
only. A rule that moves each entry by itself does not notice. A norm over a tensor, a matrix or a sum over the model
comes out wrong, and is refused, with the cure.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from dotopt.runtime.rule import Rule

FLAT = ("_is_flat_param", "_fsdp_flattened")  # what FSDP1 writes on its vectors, and on the views into them
DEPTH = 8  # frames between `ZeroRedundancyOptimizer` and the check


def check(origin: Any, rule: Rule, group: Mapping[str, Any], name: str, p: Tensor) -> None:
    """Raises ValueError for a part that the rule would take for the whole, or that cannot be stepped in parts."""
    step = rule.step(tuple(group[option.keyword] for option in rule.options), p.ndim)
    if any(getattr(p, mark, False) for mark in FLAT) and not step.entrywise:
        raise ValueError(
            f"{rule.name} looks at whole tensors, and `{name}` is a flat slice of FullyShardedDataParallel; "
            "shard with `torch.distributed.fsdp.fully_shard`, which keeps shapes, or take a rule that moves each "
            "entry by itself, such as AdamW"
        )
    if is_spread(p):
        from dotopt.runtime.shards import local

        local.check(origin, rule, group, name, p)
    if step.over_model and _share():
        raise ValueError(
            f"{rule.name} sums over all parameters, and ZeroRedundancyOptimizer gives each process some of them only; "
            "shard with `torch.distributed.fsdp.fully_shard`, or take a rule without such sums, such as AdamW"
        )


def is_spread(p: Tensor) -> bool:
    """Whether a tensor is spread over processes, a DTensor; nobody has one who has not loaded the module."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(p, module.DTensor)


def here(p: Any) -> Tensor:
    """The part of a tensor in this process: all of it, but of a DTensor."""
    part: Tensor = p.detach().to_local() if is_spread(p) else p
    return part


def placed(p: Any) -> tuple[Any, ...] | None:
    """The mesh and the placements of a DTensor; None for others."""
    return (p.device_mesh, tuple(p.placements)) if is_spread(p) else None


def filled(like: Tensor, value: Tensor) -> Tensor:
    """`like` with this value in it; each may be a DTensor or a plain tensor, on other processes than before."""
    if is_spread(value) and placed(value) != placed(like):
        value = value.full_tensor()  # type: ignore[attr-defined]
    if not is_spread(like):
        return like.copy_(value)
    from dotopt.runtime.shards.layout import layout

    whole = layout(like)
    own = here(value) if is_spread(value) else value[whole.box(whole.here)]
    here(like).copy_(own)
    return like


def some(groups: Iterable[Mapping[str, Any]]) -> bool:
    """Whether any parameter is a DTensor."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and any(isinstance(p, module.DTensor) for group in groups for p in group["params"])


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
