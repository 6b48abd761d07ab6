"""Which code runs a step: a table of backends, and the choice for one bucket of tensors.

The module of a backend has `available()`, `accepts(bucket)` and `kernel(program)`: None for a program that it cannot
run, or an object with `filled(buckets)`, which checks buckets (see `groups.Bucket`) and readies them, and
`run(filled, objective)`, which moves what several kernels have readied. What no other backend takes is run by the
emitted torch code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from dotopt.runtime.optimizer import groups
from dotopt.runtime.optimizer.groups import Bucket
from dotopt.runtime.oracles import Objective

# fastest first: `auto` takes the first one that can
BACKENDS = {"triton": "dotopt.runtime.backends.triton", "cpu": "dotopt.runtime.backends.cpu"}
NAMES = ("auto", "torch", *BACKENDS)


@cache
def module(name: str) -> Any:
    """The module of a backend, or None where it cannot run."""
    try:
        found = import_module(BACKENDS[name])
    except ImportError:
        return None
    ready = getattr(found, "available", None)
    return found if ready is not None and ready() else None


def check(name: str) -> None:
    """Raises ValueError for a backend that does not exist, RuntimeError for one that cannot run here."""
    if name not in NAMES:
        raise ValueError(f"backend={name!r}: it must be one of {', '.join(map(repr, NAMES))}")
    if name in BACKENDS and module(name) is None:
        raise RuntimeError(f"backend={name!r} cannot run here; backend='auto' takes what can")


_kernels: dict[tuple[str, int], Any] = {}


def kernel(name: str, origin: tuple[str, Any, str] | None, bucket: Bucket) -> Any:
    """What steps the bucket, or None if that is the torch code.

    `fused=True` of a group, in the words of torch, asks for a kernel (RuntimeError if there is none), and `fused=False`
    for none.
    """
    fused = bucket.group["fused"]
    made = None if fused is False and name == "auto" else _chosen(name, origin, bucket)
    if made is None and fused:
        where = f"{bucket.rule.name} on {bucket.params[0].device} in {bucket.params[0].dtype}"
        raise RuntimeError(f"fused=True, and no kernel takes {where}; leave `fused` out for torch code")
    return made


def _chosen(name: str, origin: tuple[str, Any, str] | None, bucket: Bucket) -> Any:
    if name == "torch" or origin is None or bucket.group["foreach"] is False or bucket.step.torch_only:
        return None
    for candidate in BACKENDS if name == "auto" else (name,):
        found = module(candidate)
        if found is not None and found.accepts(bucket):
            made = _compiled(candidate, found, origin, bucket)
            if made is not None and (not bucket.precision.blocks or made.takes_blocks):
                return made
    return None


def _compiled(name: str, found: Any, origin: tuple[str, Any, str], bucket: Bucket) -> Any:
    key = (name, id(bucket.step))
    if key not in _kernels:
        from dotopt.runtime.loading.load import program

        rank = max(bucket.params[0].ndim, 1) if bucket.rule.ranked else None
        options = groups.options_of(bucket.rule, bucket.group)
        _kernels[key] = found.kernel(program(origin, options, rank))
    return _kernels[key]


def step(kernels: Mapping[Any, Sequence[Bucket]], objective: Objective | None = None) -> None:
    """One step of all buckets; everything is checked before anything moves, and sums over the model see all of it.

    `objective` answers where a rule asks for gradients elsewhere than at the parameters.
    """
    filled: dict[Any, list[Any]] = {}
    for kernel, buckets in kernels.items():
        filled.setdefault(kernel.run, []).extend(kernel.filled(buckets))
    for run, some in filled.items():
        run(some, objective)
