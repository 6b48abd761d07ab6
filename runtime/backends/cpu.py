"""The C backend: one call steps all tensors of a bucket.

A bucket is prepared once: the addresses of its tensors, their shapes, and the cut into pieces that the threads share. A
step then reads the addresses of the gradients, fills in the numbers (hyperparameters, t), and calls the compiled
function. Everything is checked before the call, so a step is taken whole or not at all.

Threads are torch's own: the OpenMP library that torch has loaded, with `torch.get_num_threads()` of them.
"""

from __future__ import annotations

import ctypes
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from dotopt.compiler.emit.kernels.c.passes import Module, emit
from dotopt.compiler.emit.torch.scalars import Scalars
from dotopt.compiler.ir import TIME, Node, Program
from dotopt.compiler.schedule.passes import Routine, Schedule
from dotopt.compiler.schedule.places import Unsupported, order
from dotopt.compiler.schedule.variants import conditions
from dotopt.runtime import routines, scalars
from dotopt.runtime.backends import build
from dotopt.runtime.backends.layout import PIECE, Changed, apart, axis_sizes, cut, extent
from dotopt.runtime.backends.planned import planned
from dotopt.runtime.optimizer.union import merged
from dotopt.runtime.oracles import Objective

STORED = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}
KINDS = {**STORED, torch.int16: "int16", torch.int32: "int32"}  # these are no numbers, but parts of them

SCRATCH = {torch.bfloat16: torch.float32, torch.float16: torch.float32}  # what matrices are multiplied in

WHOLE = 2 * PIECE  # where there are sums: a tensor up to this size is one piece, so later passes find it in the cache


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
    t: int
    clocks: list[Tensor]
    scale: Tensor | None
    skip: Tensor | None
    beside: dict[str, list[Tensor]]
    stored: dict[str, str]
    cache: Any


def available() -> bool:
    """Whether there is a C compiler that works; says so once if not."""
    try:
        build.load("int dotopt_works(void) { return 1; }")
    except build.BuildError as error:
        warnings.warn(f"optimizers run on the torch backend, which is slower: {error}", stacklevel=2)
        return False
    return True


def accepts(bucket: Bucket) -> bool:
    """Whether the tensors of the bucket are real, dense and in this machine's memory."""
    return all(
        tensor.device.type == "cpu" and (tensor.dtype in STORED or name in bucket.stored) and tensor.is_contiguous()
        for name, column in {"": bucket.params, **bucket.states}.items()
        for tensor in column
    )


def kernel(program: Program) -> Kernel | None:
    """What steps buckets of `program`; None if it has no form in C."""
    try:
        return Kernel(program)
    except Unsupported:
        return None


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


@dataclass(frozen=True)
class Compiled:
    """One variant of a program for one choice of dtypes, ready to run."""

    schedule: Schedule
    module: Module
    run: Callable[[int, int], None]


class Kernel:
    """A program on this backend; its variants are compiled when a step first needs them.

    Raises `Unsupported` if the program has no form in C.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.conditions = conditions(program)
        self.readers = [_condition(condition, program) for condition in self.conditions]
        self.shares = any(state.shared for state in program.states)
        self._compiled: dict[tuple[object, ...], Compiled] = {}
        # what is unsupported is said now, not at the first step
        _, usual = self.module(dict.fromkeys(self.conditions, False))
        self.takes_blocks = not usual.by_rows

    def module(self, truth: Mapping[Node, bool], stored: Mapping[str, str] | None = None) -> tuple[Schedule, Module]:
        """The schedule and the C text of the variant in which the conditions are `truth`; `stored` as for `emit`."""
        plan, arrays = planned(self.program, truth, stored or {})
        source = f" from {Path(self.program.source).name}" if self.program.source else ""
        title = f"{self.program.name}: generated by dotopt{source}"
        return plan, emit(plan, arrays, title)

    def compiled(self, truth: tuple[bool, ...], stored: tuple[tuple[str, str], ...]) -> Compiled:
        """The built variant; raises `BuildError` if the compiler fails."""
        key = (truth, stored)
        if key not in self._compiled:
            plan, module = self.module(dict(zip(self.conditions, truth, strict=True)), dict(stored))
            self._compiled[key] = Compiled(plan, module, _entry(module.text))
        return self._compiled[key]

    def truth(self, bucket: Bucket) -> tuple[bool, ...]:
        """Which conditions hold in this step."""
        return tuple(bool(read(bucket)) for read in self.readers)

    def filled(self, buckets: Sequence[Bucket]) -> list[Table]:
        """The tables of a step with the gradients and numbers in them; raises if one does not fit, before any runs."""
        tables = [self._table(bucket) for bucket in self.merged(buckets)]
        for table in tables:
            table.fill()
        return tables

    @staticmethod
    def run(tables: Sequence[Table], objective: Objective | None = None) -> None:
        """Run the tables of one step, also of several kernels: sums over the model go over all of them."""
        step(tables, objective)

    def merged(self, buckets: Sequence[Bucket]) -> Sequence[Any]:
        """Fewer buckets: tensors of all shapes are stepped in one call, but where they make numbers of the group."""
        return buckets if len(buckets) == 1 or self.shares else merged(buckets)

    def _table(self, bucket: Bucket) -> Table:
        if bucket.cache is None:
            bucket.cache = {}
        truth = self.truth(bucket) if self.conditions else ()
        table: Table | None = bucket.cache.get(truth)
        if table is None or table.stale():
            table = bucket.cache[truth] = Table(self, truth, bucket)
        return table


def step(tables: Sequence[Table], objective: Objective | None = None) -> None:
    """Run filled tables: each at once, or stage by stage where sums run over all of them.

    `objective` answers where a rule asks for gradients on its way.
    """
    stages = max(table.stages for table in tables)
    if any(table.counts for table in tables):
        total = sum(sum(table.sizes) for table in tables)
        for table in tables:
            table.given[table.counts] = total
    if not any(table.model or table.routines for table in tables):
        for table in tables:
            table.run(-1)
    else:
        for stage in range(stages):
            running = [table for table in tables if stage < table.stages]
            for table in running:
                table.run(stage)
            routines.ask(running, stage, objective)
            for table in running:
                table.between(stage)
            _share([table for table in running if table.model])
        for table in tables:
            table.run(table.stages)
    for table in tables:
        table.keep()


_JOIN: dict[str, Callable[[Any], Any]] = {"sum": np.sum, "amax": np.max, "amin": np.min}


def _share(tables: Sequence[Table]) -> None:
    """Add up the sums over the model that each table made; the k-th sum of one is the k-th of all."""
    for index in range(max((len(table.model) for table in tables), default=0)):
        having = [table for table in tables if index < len(table.model)]
        parts = np.array([table.made[table.model[index][1]] for table in having])
        whole = _JOIN[having[0].model[index][2]](parts)
        for table in having:
            table.given[table.model[index][0]] = whole


class Table:
    """The addresses, shapes and pieces of one bucket, for one variant of its program."""

    def __init__(self, kernel: Kernel, truth: tuple[bool, ...], bucket: Bucket) -> None:
        self.bucket = bucket
        self.params = bucket.params
        program = kernel.program
        param = program.params[0]
        self.columns = {param.name: bucket.params, **bucket.states, **bucket.beside}
        compiled = kernel.compiled(truth, stored(param.name, self.columns, bucket))
        self.compiled = compiled
        module = self.module = compiled.module
        self.routines = compiled.schedule.routines
        self.numbers: dict[Node, Callable[[Bucket], float]] = {}
        self.answers: dict[Node, list[Tensor]] = {}  # gradients elsewhere
        self.later: list[tuple[Tensor, Tensor]] = []  # states of other shapes, and what they are after the step
        self.run_ = compiled.run
        self.stages = module.stages
        count = len(bucket.params)
        self.sizes = [tensor.numel() for tensor in bucket.params]
        self.parameters = [tensor.data_ptr() for tensor in bucket.params]
        same_size(kernel.program, bucket, self.sizes)
        apart(self.parameters, self.sizes, bucket.params[0].element_size())
        self.data = np.zeros((len(module.arrays), count), dtype=np.uint64)
        self.fixed = [name for name in module.arrays if name != "grad"]
        self.scratch_type = SCRATCH.get(bucket.params[0].dtype, bucket.params[0].dtype)
        self.scratch = {
            buffer.name: [torch.empty(p.shape, dtype=self.scratch_type) for p in bucket.params]
            for buffer in compiled.schedule.buffers
            if buffer.kind == "scratch"
        }
        self.gradient = module.arrays.index("grad") if "grad" in module.arrays else None
        self.gradients: list[int] = []
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
            if name != "grad":
                tensors = self.columns.get(name) or self.scratch[name]
                self.data[module.arrays.index(name)] = [tensor.data_ptr() for tensor in tensors]

    def stale(self) -> bool:
        """Whether a parameter has been given other memory since the table was made."""
        return self.parameters != list(map(Tensor.data_ptr, self.bucket.params))

    def fill(self) -> None:
        """Take in the gradients and the numbers of this step; raises before anything is touched if they do not fit."""
        params = self.bucket.params
        gradients: list[Any] = [tensor.grad for tensor in params]
        try:
            dense = all(map(Tensor.is_contiguous, gradients))
        except TypeError:
            raise Changed from None
        if not dense:
            gradients = [gradient.contiguous() for gradient in gradients]
        addresses = list(map(Tensor.data_ptr, gradients))
        if addresses != self.gradients:
            dtype = params[0].dtype
            if {gradient.dtype for gradient in gradients} != {dtype}:
                found = next(gradient.dtype for gradient in gradients if gradient.dtype != dtype)
                raise TypeError(f"a gradient is {found}, its parameter {dtype}: convert it before the step")
            if list(map(Tensor.numel, gradients)) != self.sizes:
                raise RuntimeError("a parameter or its gradient was resized since the last step")
            self.gradients = addresses
            if self.gradient is not None:
                self.data[self.gradient] = addresses
        self.kept = gradients
        self.given[: len(self.keys)] = [read(self.bucket) for read in self.keys]
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
            found[here] = -value if name == "grad" and self.bucket.group.get("maximize") else value
        for here in routine.asks:
            found[here] = self.answers[here][place].view(list(sizes.values())).to(self.scratch_type)
        return found

    def column(self, name: str) -> Sequence[Tensor]:
        return self.kept if name == "grad" else self.columns.get(name) or self.scratch[name]

    def _group_number(self, here: Node) -> float:
        if here not in self.numbers:
            self.numbers[here] = _condition(here, self.compiled.schedule.program)
        return float(self.numbers[here](self.bucket))

    def keep(self) -> None:
        """Take over the new values of the numbers that the group shares, and let go of the gradients."""
        for place, name in self.shared:
            self.bucket.shared[name] = float(self.made[place])
        for state, value in self.later:
            state.view(value.shape).copy_(value)
        self.kept, self.later, self.answers = [], [], {}


def stored(param: str, columns: Mapping[str, Sequence[Tensor]], bucket: Bucket) -> tuple[tuple[str, str], ...]:
    """How each array of a bucket lies in memory, as `emit` takes it."""
    found = {name: KINDS[tensors[0].dtype] for name, tensors in columns.items() if name not in bucket.stored}
    return tuple(sorted((found | bucket.stored | {"grad": found[param]}).items()))


def same_size(program: Program, bucket: Bucket, sizes: Sequence[int]) -> None:
    """Raises RuntimeError if a state does not have the size of its parameter, so that no kernel leaves an array."""
    axes = program.params[0].type.axes
    for state in program.states:
        if state.type.axes == axes and not state.shared:
            for tensor, size in zip(bucket.states[state.name], sizes, strict=True):
                if tensor.numel() != size:
                    raise RuntimeError(
                        f"a parameter has {size} entries and its `{state.key}` {tensor.numel()}: it was resized after "
                        "its first step; remove it from the optimizer and add it again"
                    )


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


def _condition(condition: Node, program: Program) -> Callable[[Bucket], bool]:
    """What decides `condition` for a step."""
    names = {TIME: "bucket.t"}  # `every C` reads it without an argument
    for here in order([condition]):
        match here.role:
            case "hyper":
                names[here] = f"bucket.hypers[{here.name!r}]"
            case "state":
                names[here] = f"bucket.shared[{here.name!r}]"
    writer = Scalars(names, {hyper.name: hyper for hyper in program.hypers}, lambda here: None)
    made: Callable[[Bucket], bool] = eval(
        f"lambda bucket: {writer.text(condition)}", {"scalars": scalars, "math": math}
    )
    return made


def _entry(text: str) -> Callable[[int, int], None]:
    run = build.load(text).dotopt_run
    run.argtypes = (ctypes.c_void_p, ctypes.c_int64)
    run.restype = None
    return run


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
