"""Buckets of DTensors as buckets of the tensors in this process, and the states of DTensors."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime.backends.layout import axis_sizes
from dotopt.runtime.optimizer.groups import Bucket
from dotopt.runtime.rule import Rule, State, Step
from dotopt.runtime.shards import pieces
from dotopt.runtime.shards.layout import Layout, beside, cut_axes, in_rows, is_spread, layout, spread


def part(p: Any, known: MutableMapping[Any, Tensor]) -> Tensor:
    """The tensor in this process, which shares its memory with the DTensor; the same one at every step."""
    here = p.detach().to_local()
    here = here.wait() if hasattr(here, "wait") else here
    kept = known.get(p)
    if kept is None or kept.data_ptr() != here.data_ptr() or kept.shape != here.shape or kept.dtype != here.dtype:
        known[p] = kept = here
    return kept


def gradient(p: Any) -> Tensor:
    """The part of the gradient that belongs to the part of the parameter."""
    if not is_spread(p.grad):
        raise RuntimeError(f"the gradient of a DTensor of shape {tuple(p.shape)} is a plain tensor; it must be one too")
    grad = p.grad
    if tuple(grad.placements) != tuple(p.placements):
        grad = grad.redistribute(p.device_mesh, p.placements)
    here = grad.to_local()
    return here.wait() if hasattr(here, "wait") else here  # type: ignore[no-any-return]


def parts(bucket: Bucket, state: Any, known: MutableMapping[Any, Tensor]) -> Bucket:
    """A bucket of DTensors as one of their parts; `.grad` of the parts is set."""
    given, wholes = bucket.params, [layout(p) for p in bucket.params]
    params = [part(p, known) for p in given]
    for p, here in zip(given, params, strict=True):
        if p.grad is not None:
            here.grad = gradient(p)
    return replace(
        bucket,
        params=params,
        states={name: [_part(tensor) for tensor in column] for name, column in bucket.states.items()},
        given=given,
        home={here: state[p] for p, here in zip(given, params, strict=True)},
        boxes=[(whole.shape, whole.box(whole.here)) for whole in wholes],
    )


def _part(tensor: Any) -> Tensor:
    here: Tensor = tensor.to_local() if is_spread(tensor) else tensor
    return here


# ---- what can be stepped in parts ----


def check(origin: Any, rule: Rule, group: Mapping[str, Any], name: str, p: Any) -> None:
    """Raises ValueError for a DTensor that the rule cannot move."""
    whole, options = layout(p), tuple(group[option.keyword] for option in rule.options)
    step = pieces.know(origin, rule, options, p.ndim)
    if whole.partial:
        raise ValueError(f"`{name}` is a DTensor whose values are still to be summed; redistribute it first")
    if whole.mesh.get_coordinate() is None:
        raise ValueError(f"`{name}` is a DTensor of other processes; give an optimizer what its process has a part of")
    if whole.sizes(whole.here) != tuple(p.to_local().shape):
        raise ValueError(f"`{name}` is a DTensor that is cut in an order that is not known: {whole.placements}")
    if group.get("state_dtype") is not None or group.get("param_rounding") is not None:
        raise ValueError(f"`state_dtype` and `param_rounding` do not take DTensors yet, and `{name}` is one")
    if step.entrywise or not whole.cuts:
        return
    try:
        phases = pieces.plan(step, cut_axes(step.pattern, whole)).phases
        for s in step.states:
            if s.place == "axes":
                state_layout(step, s, p, {hyper.name: hyper.of(group) for hyper in rule.hypers})
    except pieces.Refused as error:
        raise ValueError(
            f"{rule.name} cannot move parts of tensors, and `{name}` is a DTensor: {error}; take plain tensors, or a "
            "rule that moves each entry by itself, such as AdamW"
        ) from None
    if phases and p.is_complex():
        raise ValueError(f"{rule.name} sums over whole tensors, and `{name}` is a complex DTensor: take a real one")


# ---- states ----


def state_layout(step: Step, s: State, p: Any, hypers: Any) -> Layout:
    """How the state of a DTensor lies over processes: as the parameter along the axes that both have.

    What only the owner of a matrix needs is cut along its first axis. Raises `Refused` if torch has no word for it.
    """
    whole = layout(p)
    cut = cut_axes(step.pattern, whole)
    shape = step.pattern.sizes(s.axes, step.pattern.view(whole.shape), hypers) if s.place == "axes" else ()
    if cut and s.name in pieces.kept(step, cut):
        return in_rows(shape, whole)
    found = beside(step.pattern, s.axes, shape, whole)
    if found is None:
        raise pieces.Refused(f"its state `{s.key}` goes along axes that are cut where no even part of it begins")
    return found


def allocate(step: Step, s: State, p: Any, hypers: Any, dtype: torch.dtype) -> Any:
    """The state of a DTensor, filled with 0: a DTensor, or a plain tensor where every process has all of it."""
    whole = state_layout(step, s, p, hypers)
    made = torch.zeros(whole.sizes(whole.here), dtype=dtype, device=p.device)
    return spread(made, whole) if whole.cuts else made


def axes_of(program: Any, shape: Sequence[int]) -> dict[str, int]:
    """The sizes of the axes of the parameter of a program, and of axes by their numbers."""
    return axis_sizes(program.params[0], shape)


# ---- a step ----


def sorted_out(optimizer: Any, buckets: Sequence[Bucket]) -> tuple[list[Bucket], list[Bucket]]:
    """The buckets that each process steps by itself, in the tensors that are here, and those that need messages."""
    left: list[Bucket] = []
    sending: list[Bucket] = []
    for bucket in buckets:
        first = bucket.params[0]
        own = parts(bucket, optimizer.state, optimizer._parts) if is_spread(first) else bucket
        cut = cut_axes(bucket.step.pattern, layout(first)) if own.given else frozenset()
        if bucket.step.reasons:
            raise RuntimeError(
                f"{bucket.rule.name} asks the closure for gradients elsewhere, which parts of tensors have none of: "
                "give it plain tensors"
            )
        if (own.given or bucket.step.over_model) and not _silent(optimizer.origin, own, first.ndim, cut):
            sending.append(own)
        else:
            left.append(own)
    return left, sending


def _silent(origin: Any, bucket: Bucket, rank: int, cut: pieces.Cut) -> bool:
    if bucket.step.entrywise:
        return True
    pieces.know(origin, bucket.rule, tuple(bucket.group[o.keyword] for o in bucket.rule.options), rank)
    return not pieces.plan(bucket.step, cut).phases
