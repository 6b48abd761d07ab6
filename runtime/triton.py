"""The Triton backend: a step is one launch a pass, however many tensors there are.

The tables of a bucket (addresses, extents, pieces) lie in device memory and are rebuilt only when an address changes.
The numbers of a step are worked out on the host in double precision and go over in one small copy; a bucket whose group
says `capturable` works them out on the device, from a step count that lives there, so that a captured graph advances.

With TRITON_INTERPRET=1 in the environment the kernels run on CPU tensors, for tests.
"""

from __future__ import annotations

import hashlib
import linecache
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dotopt.compiler.emit.scalars import Scalars
from dotopt.compiler.emit.triton import Module, emit
from dotopt.compiler.ir import Node, Program
from dotopt.compiler.places import REDUCE, Unsupported, order
from dotopt.compiler.schedule import Schedule, schedule
from dotopt.compiler.variants import conditions, specialise
from dotopt.runtime import scalars
from dotopt.runtime.cpu import STORED, Bucket, Union, same_size
from dotopt.runtime.layout import Changed, Pieces, axis_sizes, cut, extent

PIECE = 16384  # entries of a program
BLOCK = 1024  # entries of one turn of its loop: eight for each thread of four warps
WARPS = 4


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def available() -> bool:
    """Whether there is a device that Triton compiles for, or its interpreter is on."""
    return interpreted() or torch.cuda.is_available()


def accepts(bucket: Bucket) -> bool:
    """Whether the tensors of the bucket are real, dense and on such a device."""
    device = "cpu" if interpreted() else "cuda"
    tensors = [*bucket.params, *(tensor for column in bucket.states.values() for tensor in column)]
    return all(tensor.device.type == device and tensor.dtype in STORED and tensor.is_contiguous() for tensor in tensors)


def kernel(program: Program) -> Kernel | None:
    """What steps buckets of `program`; None if it has no form in Triton."""
    try:
        return Kernel(program)
    except Unsupported:
        return None


@dataclass(frozen=True)
class Compiled:
    """One variant of a program for one choice of dtypes: its kernels, and what computes its numbers."""

    schedule: Schedule
    module: Module
    kernels: ModuleType
    numbers: Callable[[Bucket], tuple[float, ...]]  # the slots that the host fills
    shared: Callable[[Bucket], tuple[float, ...]]


class Kernel:
    """A program on this backend. Raises `Unsupported` if it has no form in Triton."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.conditions = conditions(program)
        self.decide = _numbers(self.conditions, program)
        self.names = frozenset(state.name for state in program.states)
        self._compiled: dict[tuple[object, ...], Compiled] = {}
        self._unions: dict[tuple[int, ...], Union] = {}
        self.module(dict.fromkeys(self.conditions, False))

    def module(self, truth: Mapping[Node, bool], stored: Mapping[str, str] | None = None) -> tuple[Schedule, Module]:
        """The schedule and the text of the variant in which the conditions are `truth`; `stored` as for `emit`."""
        plan = schedule(specialise(self.program, truth))
        if plan.routines:
            raise Unsupported("it needs matrix products")
        names = {buffer.name for buffer in plan.buffers} | self.names
        return plan, emit(plan, dict.fromkeys(names, "fp32") | dict(stored or {}), f"{self.program.name}, by dotopt")

    def compiled(self, truth: tuple[bool, ...], stored: tuple[tuple[str, str], ...]) -> Compiled:
        """The variant, with its kernels ready to be launched."""
        key = (truth, stored)
        if key not in self._compiled:
            plan, module = self.module(dict(zip(self.conditions, truth, strict=True)), dict(stored))
            early = [here for here in module.host if here not in module.late]
            nexts = [s.next for s in plan.program.states if s.shared and s.next is not None]
            self._compiled[key] = Compiled(
                plan, module, _executed(module.text), _numbers(early, plan.program), _numbers(nexts, plan.program)
            )
        return self._compiled[key]

    def filled(self, buckets: Sequence[Bucket]) -> list[Table]:
        """The tables of a step with the gradients and numbers in them; raises if one does not fit, before any runs."""
        tables = [self._table(bucket) for bucket in self._merged(buckets)]
        for table in tables:
            table.fill()
        return tables

    @staticmethod
    def run(tables: Sequence[Table]) -> None:
        """Launch the passes of the tables of one step; sums over the model go over all of them, on the device."""
        for stage in range(max(table.module.stages for table in tables)):
            running = [table for table in tables if stage < table.module.stages]
            for table in running:
                table.launch(stage)
            having = [table for table in running if table.module.model[stage]]
            for places in zip(*(table.model_places(stage) for table in having), strict=True):
                if len(having) > 1:
                    whole = torch.stack([table.given[k] for table, k in zip(having, places, strict=True)]).sum()
                    for table, k in zip(having, places, strict=True):
                        table.given[k] = whole
        for table in tables:
            table.keep()

    def _merged(self, buckets: Sequence[Bucket]) -> list[Any]:
        if len(buckets) == 1 or any(state.shared for state in self.program.states):
            return list(buckets)
        alike: dict[tuple[object, ...], list[Bucket]] = {}
        for bucket in buckets:
            alike.setdefault((id(bucket.group), bucket.t, bucket.params[0].dtype), []).append(bucket)
        return [self._unions.setdefault(tuple(map(id, some)), Union(some)) for some in alike.values()]

    def _table(self, bucket: Bucket) -> Table:
        if bucket.cache is None:
            bucket.cache = {}
        truth = tuple(map(bool, self.decide(bucket)))
        table: Table | None = bucket.cache.get(truth)
        if table is None or table.stale():
            table = bucket.cache[truth] = Table(self, truth, bucket)
        return table


class Table:
    """The device tables of one bucket, for one variant of its program."""

    def __init__(self, kernel: Kernel, truth: tuple[bool, ...], bucket: Bucket) -> None:
        self.bucket = bucket
        param = kernel.program.params[0]
        columns = {param.name: bucket.params, **bucket.states}
        stored = {name: STORED[tensors[0].dtype] for name, tensors in columns.items()}
        self.compiled = kernel.compiled(truth, tuple(sorted((stored | {"grad": stored[param.name]}).items())))
        module = self.module = self.compiled.module
        device = bucket.params[0].device
        self.parameters = [p.data_ptr() for p in bucket.params]
        count = len(bucket.params)
        self.sizes = [p.numel() for p in bucket.params]
        same_size(kernel.program, bucket, self.sizes)
        addresses = np.zeros((len(module.arrays), count), dtype=np.int64)
        for place, name in enumerate(module.arrays):
            if name != "grad":
                addresses[place] = [tensor.data_ptr() for tensor in columns[name]]
        self.data = torch.from_numpy(addresses).to(device)
        shapes = [axis_sizes(param, p.shape) for p in bucket.params]
        extents = [
            [extent(key, sizes, p.shape) for key in module.shape]
            for sizes, p in zip(shapes, bucket.params, strict=True)
        ]
        self.entries = sum(self.sizes)
        self.pieces: Pieces = cut(self.sizes, piece=PIECE, unit=PIECE)
        self.aligned = (addresses % 16 == 0).all(axis=0)
        self.shape = torch.tensor(extents, dtype=torch.int64, device=device).reshape(count, len(module.shape))
        self.tensor = torch.from_numpy(self.pieces.tensor).to(device)
        self.start = torch.from_numpy(self.pieces.start).to(device)
        self.first = torch.from_numpy(self.pieces.first).to(device)
        self.full = torch.zeros(len(self.pieces.tensor), dtype=torch.int32, device=device)
        self.given = torch.zeros(max(len(module.given), 1), dtype=torch.float64, device=device)
        self.host = torch.zeros(max(len(module.host), 1), dtype=torch.float64, device=device)
        self.sums = torch.zeros(max(len(self.full) * module.sums, 1), dtype=torch.float64, device=device)
        self.totals = torch.zeros(max(count * module.totals, 1), dtype=torch.float64, device=device)
        self.early = [k for k, here in enumerate(module.host) if here not in module.late]
        self.gradient = module.arrays.index("grad")
        self.gradients: list[int] = []
        self.kept: list[Tensor] = []

    def stale(self) -> bool:
        """Whether a parameter has been given other memory since the table was made."""
        return self.parameters != list(map(Tensor.data_ptr, self.bucket.params))

    def fill(self) -> None:
        """Take in the gradients and the numbers of this step; raises before anything is touched if they do not fit."""
        bucket = self.bucket
        gradients: list[Any] = [p.grad for p in bucket.params]
        if any(gradient is None for gradient in gradients):
            raise Changed
        dtype = bucket.params[0].dtype
        if {gradient.dtype for gradient in gradients} != {dtype}:
            raise TypeError(f"a gradient is not {dtype}, as its parameter is: convert it before the step")
        gradients = [gradient.contiguous() for gradient in gradients]
        addresses = list(map(Tensor.data_ptr, gradients))
        if addresses != self.gradients:
            if [gradient.numel() for gradient in gradients] != self.sizes:
                raise RuntimeError("a parameter or its gradient was resized since the last step")
            self.gradients = addresses
            row = np.array(addresses, dtype=np.int64)
            self.data[self.gradient] = torch.from_numpy(row).to(self.data.device)
            aligned = self.aligned & (row % 16 == 0)
            full = aligned[self.pieces.tensor] & (self.pieces.stop - self.pieces.start == PIECE)
            self.full.copy_(torch.from_numpy(full.astype(np.int32)))
        self.kept = gradients
        if bucket.group.get("capturable"):
            self._advance_on_device()
            return
        given = [self._number(key) for key in self.module.given]
        values = np.array([*given, *self.compiled.numbers(bucket)])
        self.given[: len(given)] = torch.from_numpy(values[: len(given)])
        self.host[self.early] = torch.from_numpy(values[len(given) :])

    def _number(self, key: tuple[str, object]) -> float:
        match key:
            case "hyper", str(name):
                return float(self.bucket.hypers[name])
            case "shared", str(name):
                return float(self.bucket.shared[name])
            case "time", _:
                return float(self.bucket.t)
            case "scale", _:
                return -1.0 if self.bucket.group.get("maximize") else 1.0
            case "count", _:
                return float(self.entries)
            case _:  # made during the step
                return 0.0

    def _advance_on_device(self) -> None:
        for place, key in enumerate(self.module.given):
            if key[0] == "time":
                self.given[place] += 1.0
            elif key[0] != "model":
                self.given[place] = self.bucket.hypers[str(key[1])] if key[0] == "hyper" else self._number(key)
        self._launch("host_0", 1)

    def launch(self, stage: int) -> None:
        """The kernels of stage `stage`."""
        if stage > 0 and self.module.late:
            self._launch(f"host_{stage}", 1)
        if len(self.pieces.tensor):
            self._launch(f"pass_{stage}", len(self.pieces.tensor), PIECE=PIECE, BLOCK=BLOCK, num_warps=WARPS)
        if self.compiled.schedule.passes[stage].sums:
            self._launch(f"finish_{stage}", len(self.bucket.params))
        if self.module.model[stage]:
            self._launch(f"model_{stage}", 1)
        if stage == self.module.stages - 1 and self.module.closes:
            self._launch("close", len(self.bucket.params))

    def _launch(self, name: str, programs: int, **constants: int) -> None:
        getattr(self.compiled.kernels, name)[(programs,)](
            self.data,
            self.shape,
            self.tensor,
            self.start,
            self.full,
            self.first,
            self.given,
            self.host,
            self.sums,
            self.totals,
            len(self.bucket.params),
            **constants,
        )

    def model_places(self, stage: int) -> list[int]:
        """Where the sums over the model of this stage stand among the numbers."""
        return [self.module.given.index(("model", slot)) for slot in self.module.model[stage]]

    def keep(self) -> None:
        """Take over the new values of the numbers that the group shares, and let go of the gradients."""
        names = [s.name for s in self.compiled.schedule.program.states if s.shared and s.next is not None]
        for name, value in zip(names, self.compiled.shared(self.bucket), strict=True):
            self.bucket.shared[name] = float(value)
        self.kept = []


def _numbers(nodes: Sequence[Node], program: Program) -> Callable[[Bucket], tuple[float, ...]]:
    """What computes numbers of the group on the host."""
    names = {}
    for here in order(nodes):
        if here.op == "leaf" and not here.args:
            word = {
                "hyper": f"bucket.hypers[{here.name!r}]",
                "state": f"bucket.shared[{here.name!r}]",
                "time": "bucket.t",
            }
            names[here] = word.get(here.role, here.name)
        if here.op in REDUCE or here.op in ("size", "native"):
            raise Unsupported(f"{here!r} is not known before the step")
    writer = Scalars(names, {hyper.name: hyper for hyper in program.hypers}, lambda here: None)
    text = "".join(f"({writer.text(here)}), " for here in nodes)
    made: Callable[[Bucket], tuple[float, ...]] = eval(f"lambda bucket: ({text})", {"scalars": scalars, "math": math})
    return made


def _executed(text: str) -> ModuleType:
    """The module of this text; Triton reads the source of its kernels again, so the text is kept where it looks."""
    name = f"<dotopt {hashlib.sha256(text.encode()).hexdigest()[:16]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
    return module
