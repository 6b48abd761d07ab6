"""A step like the one before it, without finding out again what it is.

Collecting buckets costs a few microseconds a tensor, each step, to learn what nearly always is the same. After a step
that ran wholly on kernels an optimizer keeps what it was; the next one only checks that nothing has changed, reads
gradients and numbers, and runs. Anything else (a tensor without a gradient, a new group, a loaded state) goes the long
way.

What is not looked at: whether somebody has put another tensor into `optimizer.state[p]` under a key that exists. Change
such a tensor in place, or use `load_state_dict`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dotopt.runtime.backends import build
from dotopt.runtime.backends.layout import Changed
from dotopt.runtime.optimizer import groups
from dotopt.runtime.optimizer.groups import Bucket

if TYPE_CHECKING:
    from dotopt.runtime.optimizer import Optimizer

CLOCKS = """\
#include <stdint.h>
void dotopt_clocks(int64_t count, void **at, int64_t bytes, double value) {
  for (int64_t k = 0; k < count; k++)
    if (bytes == 8) *(double *)at[k] = value; else *(float *)at[k] = (float)value;
}
"""


class Replay:
    """The last step of an optimizer: its kernels with their buckets, and what it was made from."""

    def __init__(self, optimizer: Optimizer, kernels: Mapping[Any, Sequence[Bucket]]) -> None:
        self.optimizer = optimizer
        self.kernels = [(kernel, list(kernel.merged(buckets))) for kernel, buckets in kernels.items()]
        self.buckets = [bucket for _, buckets in self.kernels for bucket in buckets]
        self.state, self.count = optimizer.state, len(optimizer.state)
        self.groups = [
            (group, group["params"], len(group["params"]), groups.options_of(optimizer.rule_of(group), group))
            for group in optimizer.param_groups
        ]
        stepped = {id(p) for bucket in self.buckets for p in bucket.params}
        self.idle = [p for group in optimizer.param_groups for p in group["params"] if id(p) not in stepped]
        self.on_device = all(getattr(kernel, "on_device", False) for kernel in kernels)
        self.clocks = [_clocks(bucket, optimizer.state) for bucket in self.buckets]
        self.exact = [bucket for bucket in self.buckets if bucket.clocks[0].dtype is torch.float32]

    def step(self) -> bool:
        """Take the step, if it is like the last one; otherwise False, and nothing has moved."""
        if not self._same():
            return False
        self.optimizer.check_numbers()
        numbers = {id(group): groups.numbers_of(self.optimizer.rule_of(group), group) for group, *_ in self.groups}
        for bucket in self.buckets:
            bucket.hypers = numbers[id(bucket.group)]
            bucket.scale, bucket.skip = self.optimizer.scaling
            bucket.t += 1
        tables = []
        try:
            for kernel, some in self.kernels:
                tables += kernel.filled(some)
        except BaseException as error:
            for bucket in self.buckets:
                bucket.t -= 1
            if isinstance(error, Changed):
                return False
            raise
        self.kernels[0][0].run(tables)
        for advance in self.clocks:
            advance()
        return True

    def _same(self) -> bool:
        optimizer = self.optimizer
        if optimizer.state is not self.state or len(self.state) != self.count:
            return False
        if len(optimizer.param_groups) != len(self.groups) or any(p.grad is not None for p in self.idle):
            return False
        if any(bucket.t >= groups.EXACT for bucket in self.exact):  # float32 counts no further
            return False
        return all(
            now is group
            and group["params"] is params
            and len(params) == count
            and group["foreach"] is not False
            and group["fused"] is not False
            and groups.options_of(optimizer.rule_of(group), group) == options
            for now, (group, params, count, options) in zip(optimizer.param_groups, self.groups, strict=True)
        )


def _clocks(bucket: Bucket, state: Mapping[Any, dict[str, Any]]) -> Callable[[], None]:
    """What advances the clocks of a bucket."""
    if bucket.group.get("capturable"):
        return lambda: groups.advance(bucket, state)
    return _Clocks(bucket, state).advance


class _Clocks:
    """The addresses of `step`, and of the numbers kept beside it, in the states of a bucket."""

    def __init__(self, bucket: Bucket, state: Mapping[Any, dict[str, Any]]) -> None:
        self.bucket = bucket
        self.fill = build.load(CLOCKS).dotopt_clocks
        self.fill.argtypes = (ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_double)
        self.columns = []
        for name, key in [("", "step")] + [(s.name, s.key) for s in bucket.step.states if s.place == "clock"]:
            tensors = [state[p][key] for p in bucket.params]
            sizes = {tensor.element_size() for tensor in tensors}
            assert len(sizes) == 1 and all(tensor.device == torch.device("cpu") for tensor in tensors)
            addresses = np.array([tensor.data_ptr() for tensor in tensors], dtype=np.uint64)
            self.columns.append((name, sizes.pop(), addresses))
        self.groups = [s for s in bucket.step.states if s.place == "group"]

    def advance(self) -> None:
        """Write the new step count, and keep the shared numbers."""
        for name, size, addresses in self.columns:
            value = float(self.bucket.shared[name]) if name else float(self.bucket.t)
            self.fill(len(addresses), addresses.ctypes.data, size, value)
        for s in self.groups:
            self.bucket.group["shared"][s.key] = self.bucket.shared[s.name]
