"""The addresses, shapes and pieces of one bucket, for the C backend: made once, filled and run at every step."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dotopt.compiler.ir import Node
from dotopt.compiler.schedule.passes import Routine
from dotopt.runtime import routines
from dotopt.runtime.backends import memory
from dotopt.runtime.backends.bucket import SCRATCH, Bucket, complete, stored
from dotopt.runtime.backends.host_numbers import numbers
from dotopt.runtime.backends.layout import PIECE, apart, axis_sizes, cut, extent

if TYPE_CHECKING:
    from dotopt.runtime.backends.cpu import Kernel

WHOLE = 2 * PIECE  # where there are sums: a tensor up to this size is one piece, so later passes find it in the cache


class Work(ctypes.Structure):
    """`struct work` of a compiled module."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("tensors", "pieces", "units")),
        *((name, ctypes.c_void_p) for name in ("data", "shape", "tensor", "start", "stop", "first", "unit", "row")),
        *((name, ctypes.c_void_p) for name in ("given", "made", "host", "sums", "totals", "rows")),
        ("next", ctypes.c_int64),
        ("parallel", ctypes.c_void_p),
        ("threads", ctypes.c_int64),
    ]


class Table:
    """The addresses, shapes and pieces of one bucket, for one variant of its program."""

    def __init__(self, kernel: Kernel, truth: tuple[bool, ...], bucket: Bucket) -> None:
        self.params = bucket.params
        self.bucket: Any = None  # during a step
        self.turn = bucket.turn
        program = kernel.program
        param = program.params[0]
        self.columns = {param.name: bucket.params, **bucket.states, **bucket.beside}
        complete(bucket)
        self.watch = memory.Watch(list(self.columns.values()))
        compiled = kernel.compiled(truth, stored(self.columns, bucket))
        self.compiled = compiled
        module = self.module = compiled.module
        self.routines = compiled.schedule.routines
        self.numbers: dict[Node, Callable[[Bucket], tuple[float, ...]]] = {}
        self.answers: dict[Node, list[Tensor]] = {}  # gradients elsewhere
        self.later: list[tuple[Tensor, Tensor]] = []  # states of other shapes, and what they are after the step
        self.run_ = compiled.run
        self.stages = module.stages
        count = len(bucket.params)
        self.sizes = [tensor.numel() for tensor in bucket.params]
        apart(self.watch.tensors)
        self.data = np.zeros((len(module.arrays), count), dtype=np.uint64)
        self.scratch_type = SCRATCH.get(bucket.params[0].dtype, bucket.params[0].dtype)
        self.scratch = {
            buffer.name: [torch.empty(p.shape, dtype=self.scratch_type) for p in bucket.params]
            for buffer in compiled.schedule.buffers
            if buffer.kind == "scratch"
        }
        gradient = self.gradient = compiled.schedule.gradient
        self.addresses = np.zeros(count, dtype=np.uint64)
        shapes = self.axes = [axis_sizes(param, tensor.shape) for tensor in bucket.params]
        self.shape = np.array(
            [
                [extent(key, sizes, tensor.shape) for key in module.shape]
                for sizes, tensor in zip(shapes, bucket.params, strict=True)
            ],
            dtype=np.int64,
        ).reshape(count, len(module.shape))
        whole = PIECE if module.stages == 1 else WHOLE
        self.pieces = cut(self.sizes, list(self.shape[:, 1]) if module.by_rows else None, whole)
        rows = (
            self.shape[:, 0] // np.maximum(self.shape[:, 1], 1) if module.by_rows else np.zeros(count, dtype=np.int64)
        )
        self.row = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self.given = np.zeros(max(len(module.given), 1))
        self.made = np.zeros(max(len(module.made), 1))
        pieces = len(self.pieces.tensor)
        self.spaces = [
            np.zeros(max(n, 1))
            for n in (module.host, pieces * module.sums, count * module.totals, int(self.row[-1]) * module.rows)
        ]
        self.model = [
            (module.given.index(("model", k)), module.made.index(("model", k)), op) for k, op in enumerate(module.model)
        ]
        self.keys = [_reader(key) for key in module.given]
        self.counts = [k for k, (kind, _) in enumerate(module.given) if kind == "count"]
        self.shared = [(k, str(name)) for k, (kind, name) in enumerate(module.made) if kind == "shared"]
        p = self.pieces
        cuts = (p.tensor, p.start, p.stop, p.first, p.unit)
        arrays: tuple[Any, ...] = (self.data, self.shape, *cuts, self.row, self.given, self.made)
        self.work = Work(
            count, pieces, len(p.unit) - 1, *(array.ctypes.data for array in (*arrays, *self.spaces)), 0, parallel(), 1
        )
        self.address = ctypes.addressof(self.work)
        for name in module.arrays:
            if name != gradient:
                tensors = self.columns.get(name) or self.scratch[name]
                self.data[module.arrays.index(name)] = [tensor.data_ptr() for tensor in tensors]

    def stale(self) -> bool:
        """Whether a parameter or a state has other memory, sizes or dtype than when the table was made."""
        return self.watch.changed()

    def fill(self, bucket: Bucket) -> None:
        """Take in the gradients and the numbers of this step; raises before anything is touched if they do not fit."""
        self.kept = self.watch.take([tensor.grad for tensor in self.params], self.addresses)
        if self.gradient in self.module.arrays:
            self.data[self.module.arrays.index(self.gradient)] = self.addresses
        self.bucket = bucket
        self.given[: len(self.keys)] = [read(bucket) for read in self.keys]
        self.work.threads = torch.get_num_threads()

    def run(self, stage: int) -> None:
        """Stage `stage` of the step, or all of it if negative."""
        self.run_(self.address, stage)

    def between(self, stage: int) -> None:
        """The matrix work after pass `stage`, tensor by tensor."""
        for routine in self.routines:
            if routine.after == stage:
                for place, sizes in enumerate(self.axes):
                    made = routines.run(routine, self._inputs(routine, place), self._group_number, sizes)
                    for (buffer, _), result in zip(routine.results, made, strict=False):
                        room = self.scratch[buffer.name][place]
                        room.view(result.shape).copy_(result)
                    for (name, _), result in zip(routine.kept, made[len(routine.results) :], strict=True):
                        self.later.append((self.columns[name][place], result))

    def _inputs(self, routine: Routine, place: int) -> dict[Node, Tensor]:
        """What a routine is given for one tensor, in the type of the arithmetic."""
        sizes = self.axes[place]
        given = {**{here: buffer.name for here, buffer in routine.inputs.items()}, **routine.states}
        found = {}
        for here, name in given.items():
            value = self.column(name)[place].view([sizes[axis] for axis in here.type.axes])
            value = value.to(SCRATCH.get(value.dtype, value.dtype))
            found[here] = -value if name == self.gradient and self.bucket.group.get("maximize") else value
        for here in routine.asks:
            found[here] = self.answers[here][place].view(list(sizes.values())).to(self.scratch_type)
        return found

    def column(self, name: str) -> Sequence[Tensor]:
        return self.kept if name == self.gradient else self.columns.get(name) or self.scratch[name]

    def _group_number(self, here: Node) -> float:
        if here not in self.numbers:
            self.numbers[here] = numbers([here], self.compiled.schedule.program)
        return float(self.numbers[here](self.bucket)[0])

    def keep(self) -> None:
        """Take over the new values of the numbers that the group shares, and let go of the gradients."""
        for place, name in self.shared:
            self.bucket.shared[name] = float(self.made[place])
        for state, value in self.later:
            state.view(value.shape).copy_(value)
        self.clear()

    def clear(self) -> None:
        """Let go of what belongs to one step."""
        self.bucket, self.kept, self.later, self.answers = None, [], [], {}


def _reader(key: tuple[str, object]) -> Callable[[Bucket], float]:
    """What puts one number of the group into the table."""
    match key:
        case "hyper", str(name):
            return lambda bucket: float(bucket.hypers[name])
        case "shared", str(name):
            return lambda bucket: float(bucket.shared[name])
        case "time", _:
            return lambda bucket: float(bucket.t)
        case "scale", _:
            return lambda bucket: -1.0 if bucket.group.get("maximize") else 1.0
        case _:  # made during the step
            return lambda bucket: 0.0


@cache
def parallel() -> int | None:
    """The address of the OpenMP entry that torch's own loops use, for one team of threads in all; None without."""
    folder = Path(torch.__file__).parent / "lib"
    for name in (*sorted(map(str, folder.glob("lib*omp*"))), "libgomp.so.1"):
        try:
            return ctypes.cast(ctypes.CDLL(name).GOMP_parallel, ctypes.c_void_p).value
        except (OSError, AttributeError):
            continue
    return None
