"""A step like the one before it, without finding out again what it is.

Collecting buckets costs a few microseconds a tensor, each step, to learn what nearly always is the same. After a step
that ran wholly on kernels an optimizer keeps what it was; the next one checks that nothing has changed (groups, the
tensors in them and in `optimizer.state`, where these lie, the clocks), reads gradients and numbers, and runs. Anything
else (a tensor without a gradient, a new group, a state that somebody has replaced) goes the long way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dotopt.runtime.backends import memory
from dotopt.runtime.backends.layout import Changed
from dotopt.runtime.optimizer import groups
from dotopt.runtime.optimizer.groups import Bucket

if TYPE_CHECKING:
    from dotopt.runtime.optimizer import Optimizer


def kept(optimizer: Optimizer, kernels: Mapping[Any, Sequence[Bucket]]) -> Replay | None:
    """The step that was just taken, to be taken again; None where there is no C compiler."""
    return None if memory.library() is None else Replay(optimizer, kernels)


class Replay:
    """The last step of an optimizer: its kernels with their buckets, and what it was made from."""

    def __init__(self, optimizer: Optimizer, kernels: Mapping[Any, Sequence[Bucket]]) -> None:
        self.kernels = [(kernel, list(kernel.merged(buckets))) for kernel, buckets in kernels.items()]
        self.buckets = [bucket for _, buckets in self.kernels for bucket in buckets]
        self.params = [p for bucket in self.buckets for p in bucket.params]
        self.groups = [
            (group, group["params"], list(group["params"]), groups.options_of(optimizer.rule_of(group), group))
            for group in optimizer.param_groups
        ]
        stepped = set(map(id, self.params))
        self.idle = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in stepped]
        self.on_device = all(getattr(kernel, "on_device", False) for kernel in kernels)
        self.clocks = [_clocks(bucket, optimizer.state) for bucket in self.buckets]
        self.exact = [bucket for bucket in self.buckets if bucket.clocks[0].dtype is torch.float32]
        self.numbers = [(b, s.name, s.key) for b in self.buckets for s in b.step.states if s.place == "group"]
        self.state = optimizer.state
        self.states = memory.Held([self.state]), memory.Held([self.state[p] for p in self.params])

    def step(self, optimizer: Optimizer) -> bool:
        """Take the step, if it is like the last one; otherwise False, and nothing has moved."""
        if not self._same(optimizer):
            return False
        optimizer.check_numbers()
        numbers = {id(group): groups.numbers_of(optimizer.rule_of(group), group) for group, *_ in self.groups}
        for bucket, name, key in self.numbers:
            bucket.shared[name] = bucket.group["shared"][key]
        for bucket in self.buckets:
            bucket.hypers = numbers[id(bucket.group)]
            bucket.scale, bucket.skip = optimizer.scaling
            bucket.t += 1
        tables = []
        try:
            for kernel, some in self.kernels:
                tables += kernel.filled(some, again=True)
        except BaseException as error:
            for bucket in self.buckets:
                bucket.t -= 1
            if isinstance(error, Changed):
                return False
            raise
        self.kernels[0][0].run(tables)
        for clock in self.clocks:
            clock.advance()
        groups.agree(self.buckets)
        memory.written(self.params)
        return True

    def _same(self, optimizer: Optimizer) -> bool:
        if optimizer.state is not self.state or any(held.changed() for held in self.states):
            return False
        if len(optimizer.param_groups) != len(self.groups) or any(p.grad is not None for p in self.idle):
            return False
        if any(bucket.t >= groups.EXACT for bucket in self.exact):  # float32 counts no further
            return False
        return all(
            now is group
            and group["params"] is params
            and len(params) == len(those)
            and all(map(is_, params, those))
            and group["foreach"] is not False
            and group["fused"] is not False
            and groups.options_of(optimizer.rule_of(group), group) == options
            for now, (group, params, those, options) in zip(optimizer.param_groups, self.groups, strict=True)
        ) and all(clock.same() for clock in self.clocks)


def _clocks(bucket: Bucket, state: Mapping[Any, dict[str, Any]]) -> _Clocks | _OnDevice:
    return (_OnDevice if bucket.group.get("capturable") else _Clocks)(bucket, state)


class _OnDevice:
    """Clocks that nobody on the host reads."""

    def __init__(self, bucket: Bucket, state: Mapping[Any, dict[str, Any]]) -> None:
        self.advance = lambda: groups.advance(bucket, state)

    def same(self) -> bool:
        """Kernels read them where they are."""
        return True


class _Clocks:
    """The addresses of `step`, and of the numbers kept beside it, in the states of a bucket."""

    def __init__(self, bucket: Bucket, state: Mapping[Any, dict[str, Any]]) -> None:
        self.bucket = bucket
        self.columns = []
        for name, key in [("", "step")] + [(s.name, s.key) for s in bucket.step.states if s.place == "clock"]:
            tensors = [state[p][key] for p in bucket.params]
            (dtype,) = {tensor.dtype for tensor in tensors}
            assert dtype in (torch.float32, torch.float64)
            assert all(tensor.device.type == "cpu" and tensor.numel() == 1 for tensor in tensors)
            addresses = np.array([tensor.data_ptr() for tensor in tensors], dtype=np.uint64)
            self.columns.append((name, dtype.itemsize, memory.Watch([tensors]), addresses))

    def _value(self, name: str) -> float:
        return float(self.bucket.shared[name]) if name else float(self.bucket.t)

    def same(self) -> bool:
        """Whether all of them are where they were, and hold what was written there."""
        ticked = memory.library().dotopt_ticked
        return all(
            not watch.changed() and ticked(len(addresses), addresses.ctypes.data, size, self._value(name))
            for name, size, watch, addresses in self.columns
        )

    def advance(self) -> None:
        """Write the new step count, and the numbers that go with it."""
        for name, size, _, addresses in self.columns:
            memory.library().dotopt_clocks(len(addresses), addresses.ctypes.data, size, self._value(name))
