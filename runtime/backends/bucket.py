"""What kernels are given: tensors that are stepped together, and whether they are fit for kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from dotopt.runtime.backends import memory

STORED = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}
KINDS = {**STORED, torch.int16: "int16", torch.int32: "int32"}  # these are no numbers, but parts of them

SCRATCH = {torch.bfloat16: torch.float32, torch.float16: torch.float32}  # what matrices are multiplied in


class Bucket(Protocol):
    """Tensors that are stepped together: of one group, program and dtype, and after the same number of steps.

    `states` are by name, a tensor for each parameter (like it, or with one entry); `shared` are numbers of the group.
    `stored` says which of them are not plain numbers, and `beside` holds what else those need. `cache` belongs to the
    backend and lives as long as the same tensors are stepped together.
    """

    params: list[Tensor]
    states: dict[str, list[Tensor]]
    shared: dict[str, Any]
    hypers: dict[str, Any]
    group: dict[str, Any]
    step: Any
    t: int
    clocks: list[Tensor]
    scale: Tensor | None
    skip: Tensor | None
    turn: int
    beside: dict[str, list[Tensor]]
    stored: dict[str, str]
    cache: Any


def columns(bucket: Bucket) -> Iterator[tuple[str, list[Tensor]]]:
    """Every list of tensors of a bucket, by its name for the user."""
    keys = {s.name: s.key for s in bucket.step.states}
    yield "parameter", bucket.params
    for name, column in bucket.states.items():
        yield keys[name], column
    yield from bucket.beside.items()


def refusal(bucket: Bucket, device: str) -> str | None:
    """Why kernels for `device` cannot take these tensors: they must be real, dense and in its memory."""
    for name, column in columns(bucket):
        for tensor in column:
            if tensor.device.type != device:
                return f"a {name} is on {tensor.device.type}"
        if len({tensor.dtype for tensor in column}) > 1:
            return f"tensors of `{name}` have different dtypes"
    for name, column in {"parameter": bucket.params, **bucket.states}.items():
        if column[0].dtype not in STORED and name not in bucket.stored:
            return f"a {name} is {column[0].dtype}"
    for name, column in columns(bucket):
        for tensor in column:
            if not memory.owned(tensor):
                return f"a {name} has no memory of its own here ({type(tensor).__name__})"
            if not tensor.is_contiguous() or tensor.is_neg():
                return f"a {name} is not dense"
    return None


def complete(bucket: Bucket) -> None:
    """Raises RuntimeError if a state does not have the size that its parameter asks for, so that no kernel leaves an
    array.
    """
    for name, wanted in sizes(bucket).items():
        found = {**dict(columns(bucket))}[name]
        for p, tensor, size in zip(bucket.params, found, wanted, strict=True):
            if tensor.numel() != size:
                raise RuntimeError(
                    f"a parameter has {p.numel()} entries and its `{name}` {tensor.numel()}, not {size}: one of them "
                    "was resized or replaced after the first step; empty its entry of `optimizer.state` to begin anew"
                )


def sizes(bucket: Bucket) -> dict[str, list[int]]:
    """How many entries each tensor of each list must have."""
    from dotopt.compiler.schedule.storage import BLOCK

    pattern, params = bucket.step.pattern, bucket.params
    found = {}
    for s in bucket.step.states:
        match s.place:
            case "like":
                found[s.key] = [p.numel() for p in params]
            case "number":
                found[s.key] = [1] * len(params)
            case "axes":
                views = [pattern.view(tuple(p.shape)) for p in params]
                found[s.key] = [math.prod(pattern.sizes(s.axes, view, bucket.hypers)) for view in views]
    for name in bucket.beside:
        one = name.endswith(" beside") and bucket.stored.get(f"{pattern.name} rounding") == "stochastic"
        per = 1 if name.endswith(" beside") else BLOCK
        found[name] = [1 if one else -(-p.numel() // per) for p in params]
    return found


def stored(arrays: Mapping[str, Sequence[Tensor]], bucket: Bucket) -> tuple[tuple[str, str], ...]:
    """How each array of a bucket lies in memory, as `emit` takes it."""
    found = {name: KINDS[tensors[0].dtype] for name, tensors in arrays.items() if name not in bucket.stored}
    return tuple(sorted((found | bucket.stored).items()))
