"""Which code runs a step: a table of backends, and the choice for one bucket of tensors.

The module of a backend has `available()`, `refusal(bucket)`, which says why kernels cannot take its tensors, and
`Kernel(program)`, which raises `Unsupported` for a program that it cannot run. A kernel has `prepare(bucket)`, which
compiles what the next step needs, `filled(buckets)`, which checks buckets (see `groups.Bucket`) and readies them, and
`run(filled, objective)`, which moves what several kernels have readied. What no other backend takes is run by the
emitted torch code, unless the user asked for one by name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from dotopt.runtime.backends import memory
from dotopt.runtime.backends.build import BuildError
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


class Unable(RuntimeError):
    """A backend that was asked for by name cannot take a step."""


_kernels: dict[tuple[str, int], tuple[Any, Any]] = {}  # with the step, which keeps its id from being used again
_said: set[str] = set()


def kernel(name: str, origin: tuple[str, Any, str] | None, bucket: Bucket) -> Any:
    """What steps the bucket; None if that is torch's code.

    `fused=True` of a group, in the words of torch, asks for a kernel (RuntimeError if there is none), and `fused=False`
    for none. Raises `Unable`, before anything has moved, if the backend `name` was asked for and cannot.
    """
    fused = bucket.group["fused"]
    made = None if fused is False and name == "auto" else _chosen(name, origin, bucket)
    if made is None and fused:
        where = f"{bucket.rule.name} on {bucket.params[0].device} in {bucket.params[0].dtype}"
        raise RuntimeError(f"fused=True, and no kernel takes {where}; leave `fused` out for torch code")
    return made


def _chosen(name: str, origin: tuple[str, Any, str] | None, bucket: Bucket) -> Any:
    if name == "torch" or (name == "auto" and bucket.group["foreach"] is False):
        return None
    for candidate in BACKENDS if name == "auto" else (name,):
        try:
            made = _ready(candidate, origin, bucket)
        except BuildError as error:
            made = str(error)
            if name == "auto" and made not in _said:
                _said.add(made)
                warnings.warn(f"{bucket.rule.name} runs on the torch backend, which is slower: {error}", stacklevel=2)
        if not isinstance(made, str):
            return made
        if name != "auto":
            raise Unable(
                f"backend={name!r} cannot step these tensors under {bucket.rule.name}: {made}. "
                "backend='auto' takes torch's code where there are no kernels"
            )
    return None


def alike(kernels: Sequence[Any], buckets: Sequence[Bucket]) -> list[Any]:
    """The kernels of the buckets of one step, or None for those that torch's code steps.

    What asks for more than gradients (sums over the model, gradients elsewhere) is asked of all tensors together: it
    runs on one backend, or else as torch's code.
    """
    asking = [kernel for kernel, bucket in zip(kernels, buckets, strict=True) if bucket.step.generator]
    if len({getattr(kernel, "run", None) for kernel in asking}) < 2:
        return list(kernels)
    return [None if bucket.step.generator else kernel for kernel, bucket in zip(kernels, buckets, strict=True)]


def _ready(name: str, origin: tuple[str, Any, str] | None, bucket: Bucket) -> Any:
    """The kernels of a backend for the next step of a bucket, or why there are none; raises `BuildError`."""
    if origin is None:  # such a class needs no compiler
        return "its class was written by `dotopt compile`, which holds torch's code alone"
    from dotopt.compiler.schedule.places import Unsupported
    from dotopt.compiler.text.errors import OptError

    found = module(name)
    if found is None:
        return "it cannot run here"
    if bucket.step.torch_only:
        return "it reads what linear layers see" if bucket.step.layer else "it draws random numbers"
    reason = found.refusal(bucket)
    if reason is not None:
        return reason
    try:
        made = _compiled(name, found, origin, bucket)
        if bucket.precision.blocks and not made.takes_blocks:
            return "its kernels go by rows, and blocks of states in 8 bits do not end where rows do"
        made.prepare(bucket)
    except Unsupported as error:
        return error.reason
    except OptError as error:
        return error.diagnostics[0].message
    return made


def _compiled(name: str, found: Any, origin: tuple[str, Any, str], bucket: Bucket) -> Any:
    """The kernels for one step of a rule; raises `Unsupported`, `OptError` or `BuildError` if there are none."""
    key = (name, id(bucket.step))
    if key not in _kernels:
        from dotopt.compiler.schedule.places import Unsupported
        from dotopt.compiler.text.errors import OptError
        from dotopt.runtime.loading.load import program

        rank = max(bucket.params[0].ndim, 1) if bucket.rule.ranked else None
        options = groups.options_of(bucket.rule, bucket.group)
        try:
            made: Any = found.Kernel(program(origin, options, rank))
        except (Unsupported, OptError) as error:
            made = error
        _kernels[key] = made, bucket.step
    made, _ = _kernels[key]
    if isinstance(made, Exception):
        raise made
    return made


def step(kernels: Mapping[Any, Sequence[Bucket]], objective: Objective | None = None) -> None:
    """One step of all buckets; everything is checked before anything moves, and sums over the model see all of it.

    `objective` answers where a rule asks for gradients elsewhere than at the parameters.
    """
    filled: dict[Any, list[Any]] = {}
    for kernel, buckets in kernels.items():
        filled.setdefault(kernel.run, []).extend(kernel.filled(buckets))
    for run, some in filled.items():
        run(some, objective)
    memory.written([p for buckets in kernels.values() for bucket in buckets for p in bucket.params])
