"""The device tables of one bucket on the Triton backend: addresses, extents, pieces, numbers, room for sums.

They are made once and rebuilt only when a parameter has moved. Each step brings the addresses of the gradients, if
these have changed, and the numbers.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dotopt.compiler.ir import TIME, Node, Program
from dotopt.compiler.schedule.passes import Routine
from dotopt.runtime import routines
from dotopt.runtime.backends import memory
from dotopt.runtime.backends.bucket import SCRATCH, Bucket, complete
from dotopt.runtime.backends.host_numbers import numbers
from dotopt.runtime.backends.layout import Changed, Pieces, apart, axis_sizes, cut, extent

if TYPE_CHECKING:
    from dotopt.runtime.backends.triton import Compiled

PIECE = 16384  # entries of a program
BLOCK = 1024  # entries of one turn of its loop: eight for each thread of four warps
WIDTHS = (1024, 256, 64)  # columns of a tile of BLOCK entries, where there are rows; a launch for each that occurs
WARPS = 4


def capturing() -> bool:
    """Whether a CUDA graph is being captured, so that nothing may wait for the device."""
    return torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing()


def turn(in_blocks: bool) -> int:
    """Entries of one turn of the loop: twice as many where there are codes of 8 bits, so that these are 16 bytes."""
    return 2 * BLOCK if in_blocks else BLOCK


def width(cols: int) -> int:
    """The widest tile that rows of `cols` entries fill; for odd lengths the narrowest that holds a row.

    >>> [width(cols) for cols in (4096, 768, 576, 27, 100, 5001)]
    [1024, 256, 64, 64, 256, 1024]
    """
    fitting = [one for one in WIDTHS if cols % one == 0]
    return fitting[0] if fitting else min((one for one in WIDTHS if one >= cols), default=WIDTHS[0])


class Table:
    """The tables of a bucket for one variant of its program."""

    def __init__(self, program: Program, compiled: Compiled, bucket: Bucket) -> None:
        self.program, self.compiled, self.bucket = program, compiled, bucket
        module = self.module = compiled.module
        self.routines = compiled.schedule.routines
        self.device = bucket.params[0].device
        complete(bucket)
        self.watch = memory.Watch([bucket.params, *bucket.states.values(), *bucket.beside.values()])
        apart(self.watch.tensors)
        self._sort(bucket)
        count = len(self.params)
        self.sizes = [p.numel() for p in self.params]
        self.entries = sum(self.sizes)
        self.axes = [axis_sizes(program.params[0], p.shape) for p in self.params]
        self.scratch = self._scratch()
        single = self.params[0].dtype != torch.float64
        self.low = torch.bfloat16 if single and self.device.type == "cuda" else None  # what matrices are multiplied in
        self.symmetric: Any = None
        if self.low is not None and self.routines:
            from dotopt.runtime.backends.triton_symmetric import symmetric_product

            self.symmetric = symmetric_product
        extents = [
            [extent(key, sizes, p.shape) for key in module.shape]
            for sizes, p in zip(self.axes, self.params, strict=True)
        ]
        shape = np.array(extents, dtype=np.int64).reshape(count, len(module.shape))
        self.cols = shape[:, 1] if module.by_rows else shape[:, 0]  # entries of a row
        tiles = list(self.cols * (BLOCK // np.array(self.widths))) if module.by_rows else None  # entries under a tile
        self.pieces: Pieces = cut(self.sizes, tiles, PIECE, PIECE)
        self.whole = self._whole()
        addresses = np.zeros((len(module.arrays), count), dtype=np.int64)
        for place, name in enumerate(module.arrays):
            if name != compiled.schedule.gradient:
                addresses[place] = [tensor.data_ptr() for tensor in self.column(name)]
        self.aligned = (addresses % 16 == 0).all(axis=0)
        self.gradient = (
            module.arrays.index(compiled.schedule.gradient) if compiled.schedule.gradient in module.arrays else None
        )
        self.data, self.shape = self._table(addresses), self._table(shape)
        self.tensor, self.start = self._table(self.pieces.tensor), self._table(self.pieces.start)
        self.first = self._table(self.pieces.first)
        rows = shape[:, 0] // np.maximum(self.cols, 1) if module.by_rows else np.zeros(count, dtype=np.int64)
        self.first_row = self._table(np.concatenate([[0], np.cumsum(rows)]).astype(np.int64))
        self.full = torch.zeros(len(self.pieces.tensor), dtype=torch.int32, device=self.device)
        given = len(module.given) + len(module.given) % 2  # so that what follows lies on 16 bytes too
        self.numbers = self._room(given + len(module.host))
        self.given, self.host = self.numbers[:given], self.numbers[given:] if module.host else self.numbers
        self.sums = self._room(len(self.full) * module.sums)
        self.totals = self._room(count * module.totals)
        self.rows = self._room(int(rows.sum()) * module.rows)
        self.launches = self._launches()
        self.early = [k for k, here in enumerate(module.host) if here not in module.late]
        self.count = self.entries
        self.gradients: list[int] = []
        self.kept: list[Tensor] = []
        self.known: dict[int, float] = {}
        self.answers: dict[Node, list[Tensor]] = {}  # gradients elsewhere
        self.later: list[tuple[Tensor, Tensor, str, list[int]]] = []  # states of other shapes, what they will be
        self.spare: list[Tensor] = []  # memory that a graph may copy from, set aside before it is captured
        self.captured: list[Tensor] = []

    # ---- made once ----

    def _sort(self, bucket: Bucket) -> None:
        """Tensors whose rows are as wide go together, so that each width is one launch."""
        order = list(range(len(bucket.params)))
        if self.module.by_rows:
            key = self.module.shape[1]
            sizes = [extent(key, axis_sizes(self.program.params[0], p.shape), p.shape) for p in bucket.params]
            self.widths = [width(cols) for cols in sizes]
            order.sort(key=lambda place: self.widths[place])
            self.widths.sort()
        self.params = [bucket.params[place] for place in order]
        columns = {**bucket.states, **bucket.beside}
        self.states = {name: [tensors[place] for place in order] for name, tensors in columns.items()}

    def _scratch(self) -> dict[str, list[Tensor]]:
        """Room for what goes into routines and comes out; that of equal shapes lies side by side, as one stack."""
        self.stacks: dict[tuple[int, ...], list[int]] = {}
        for place, sizes in enumerate(self.axes):
            self.stacks.setdefault(tuple(sizes.values()), []).append(place)
        dtype = SCRATCH.get(self.params[0].dtype, self.params[0].dtype)
        made: dict[str, list[Any]] = {}
        self.stacked: dict[tuple[str, tuple[int, ...]], Tensor] = {}
        for buffer in self.compiled.schedule.buffers:
            if buffer.kind == "scratch":
                column = made[buffer.name] = [None] * len(self.params)
                for shape, places in self.stacks.items():
                    stack = torch.empty((len(places), *shape), dtype=dtype, device=self.device)
                    self.stacked[buffer.name, shape] = stack
                    for place, one in zip(places, stack, strict=True):
                        column[place] = one
        return made

    def _whole(self) -> Any:
        """Which pieces need no mask, if their arrays are aligned."""
        length = self.pieces.stop - self.pieces.start
        if not self.module.by_rows:
            return length == PIECE
        cols, wide = self.cols[self.pieces.tensor], np.array(self.widths)[self.pieces.tensor]
        fits = (cols % np.maximum(wide, 16) == 0) & (cols > 0)
        return fits & (length // np.maximum(cols, 1) % np.maximum(BLOCK // wide, 1) == 0)

    def _launches(self) -> list[tuple[int, int, int]]:
        """Width, first piece and number of pieces of each launch of a pass."""
        if not self.module.by_rows:
            return [(0, 0, len(self.full))] if len(self.full) else []
        wide = np.array(self.widths)[self.pieces.tensor]
        found = [(one, np.flatnonzero(wide == one)) for one in WIDTHS]
        return [(one, int(where[0]), len(where)) for one, where in found if len(where)]

    def _table(self, values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _room(self, count: int) -> Tensor:
        return torch.zeros(max(count, 1), dtype=torch.float64, device=self.device)

    def column(self, name: str) -> list[Tensor]:
        if name == self.compiled.schedule.gradient:
            return self.kept
        if name == self.program.params[0].name:
            return self.params
        return self.scratch[name] if name in self.scratch else self.states[name]

    def stale(self) -> bool:
        """Whether a parameter or a state has been given other memory, or another shape, since the table was made."""
        return self.watch.changed()

    # ---- each step ----

    def take_gradients(self) -> None:
        """Take in the gradients of this step; raises before anything is touched if one does not fit."""
        gradients: list[Any] = [p.grad for p in self.params]
        if any(gradient is None for gradient in gradients):
            raise Changed
        dtype = self.params[0].dtype
        if {gradient.dtype for gradient in gradients} != {dtype}:
            found = next(gradient.dtype for gradient in gradients if gradient.dtype != dtype)
            raise TypeError(f"a gradient is {found}, its parameter {dtype}: convert it before the step")
        gradients = [gradient.contiguous() for gradient in gradients]
        addresses = list(map(Tensor.data_ptr, gradients))
        self.kept = gradients
        self._set_aside()
        if addresses == self.gradients:
            return
        if [gradient.numel() for gradient in gradients] != self.sizes:
            raise RuntimeError("a parameter or its gradient was resized since the last step")
        self.gradients = addresses
        row = np.array(addresses, dtype=np.int64)
        aligned = self.aligned & (row % 16 == 0)
        if self.gradient is not None:
            self._send(row, self.data[self.gradient])
        self._send((aligned[self.pieces.tensor] & self.whole).astype(np.int32), self.full)

    def _send(self, values: Any, target: Tensor) -> None:
        """Copy to the device without waiting for it."""
        source = torch.from_numpy(values)
        if capturing():
            spare = next((one for one in self.spare if one.shape == source.shape and one.dtype == source.dtype), None)
            if spare is None:
                raise RuntimeError("take a step outside of a graph before capturing the next one")
            self.spare = [one for one in self.spare if one is not spare]
            self.captured.append(spare)
            source = spare.copy_(source)
        target.copy_(source, non_blocking=True)

    def _set_aside(self) -> None:
        """What a graph copies from must stay as it is, and cannot be allocated while it is captured."""
        if self.bucket.group.get("capturable") and not self.spare and self.device.type == "cuda" and not capturing():
            self.spare = [
                torch.empty(len(self.params), dtype=torch.int64, pin_memory=True),
                torch.empty(len(self.full), dtype=torch.int32, pin_memory=True),
            ]

    def take_numbers(self) -> None:
        """Take in the numbers of this step."""
        values = [self._number(key) for key in self.module.given]
        if self._on_device(values):
            for place, value in enumerate(values):
                if isinstance(value, Tensor):
                    self.known.pop(place, None)
                    self.given[place].copy_(value.reshape(()))
                elif self.known.get(place) != value:
                    self.known[place] = value
                    self.given[place].fill_(value)
            self._launch("host_0", 1)
            return
        self.known.clear()
        sent = np.zeros(len(self.numbers))
        sent[: len(values)] = values
        sent[len(self.given) :][self.early] = self.compiled.host(self.bucket)
        self.numbers.copy_(torch.from_numpy(sent), non_blocking=True)

    def _on_device(self, values: list[Any]) -> bool:
        return bool(self.bucket.group.get("capturable")) or any(isinstance(value, Tensor) for value in values)

    def _number(self, key: tuple[str, object]) -> Any:
        bucket = self.bucket
        match key:
            case "hyper", str(name):
                return bucket.hypers[name]
            case "shared", str(name):
                return bucket.shared[name]
            case "time", _:
                return bucket.clocks[0] + 1 if bucket.group.get("capturable") else float(bucket.t)
            case "scale", _:
                sign = -1.0 if bucket.group.get("maximize") else 1.0
                return sign if bucket.scale is None else sign / bucket.scale
            case "skip", _:
                return 0.0 if bucket.skip is None else bucket.skip
            case "count", _:
                return float(self.count)
            case _:  # made during the step
                return 0.0

    def begin(self, entries: int) -> None:
        """Before the first pass: how many entries all tables of the step have together."""
        if entries != self.count and ("count", self.module.shape[0][1]) in self.module.given:
            self.count = entries
            self.given[self.module.given.index(("count", self.module.shape[0][1]))].fill_(float(entries))

    def launch(self, stage: int) -> None:
        """The kernels of stage `stage`."""
        if stage > 0:
            self._launch(f"host_{stage}", 1)
        for wide, offset, count in self.launches:
            constants = {"PIECE": PIECE, "BLOCK": turn(self.module.in_blocks), "WIDTH": wide, "num_warps": WARPS}
            self._launch(f"pass_{stage}", count, offset, **constants)
        self._launch(f"finish_{stage}", len(self.params))
        self._launch(f"model_{stage}", 1)

    def _launch(self, name: str, programs: int, offset: int = 0, **constants: int) -> None:
        if name not in self.module.kernels:
            return
        with self._device():
            getattr(self.compiled.kernels, name)[(programs,)](
                self.data,
                self.shape,
                self.tensor,
                self.start,
                self.full,
                self.first,
                self.first_row,
                self.given,
                self.host,
                self.sums,
                self.totals,
                self.rows,
                len(self.params),
                offset,
                **constants,
            )

    def _device(self) -> AbstractContextManager[Any]:
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def between(self, stage: int) -> None:
        """The matrix work after pass `stage`, one stack of equal shapes after the other."""
        for routine in self.routines:
            if routine.after != stage:
                continue
            for shape, places in self.stacks.items():
                sizes = self.axes[places[0]]
                given = self._inputs(routine, shape)
                with self._device():
                    made = routines.run(routine, given, self._group_number, sizes, self.low, self.symmetric)
                for (buffer, _), result in zip(routine.results, made, strict=False):
                    self.stacked[buffer.name, shape].copy_(result)
                for (name, here), result in zip(routine.kept, made[len(routine.results) :], strict=True):
                    state = self._stack(name, tuple(sizes[axis] for axis in here.type.axes), places)
                    self.later.append((state, result, name, places))

    def _inputs(self, routine: Routine, shape: tuple[int, ...]) -> dict[Node, Tensor]:
        """What a routine is given for a stack of tensors of this shape, in the type of the arithmetic."""
        places = self.stacks[shape]
        given = {**{here: buffer.name for here, buffer in routine.inputs.items()}, **routine.states}
        found = {}
        for here, name in given.items():
            value = self._stack(name, tuple(self.axes[places[0]][axis] for axis in here.type.axes), places)
            value = value.to(SCRATCH.get(value.dtype, value.dtype))
            found[here] = value * self._scale(value) if name == self.compiled.schedule.gradient else value
        for here in routine.asks:
            answers = [self.answers[here][place].view(shape) for place in places]
            found[here] = torch.stack(answers).to(SCRATCH.get(answers[0].dtype, answers[0].dtype))
        return found

    def _scale(self, like: Tensor) -> Tensor:
        """What gradients are multiplied by."""
        return self.given[self.module.given.index(("scale", "grad"))].to(like.dtype)

    def _stack(self, name: str, shape: tuple[int, ...], places: list[int]) -> Tensor:
        if (name, shape) in self.stacked:
            return self.stacked[name, shape]
        column = self.column(name)
        if len(places) == 1:
            return column[places[0]].view(1, *shape)
        return torch.stack([column[place].view(shape) for place in places])

    def _group_number(self, here: Node) -> Any:
        if here is TIME:
            return self._number(("time", "t"))
        return numbers([here], self.compiled.schedule.program)(self.bucket)[0]

    def model_places(self, stage: int) -> list[int]:
        """Where the sums over the model of this stage stand among the numbers."""
        return [self.module.given.index(("model", slot)) for slot in self.module.model[stage]]

    def end(self) -> None:
        """After the last pass: numbers that are kept from step to step; the gradients are let go of."""
        self._launch("close", len(self.params))
        self._launch_shared()
        for state, value, name, places in self.later:
            skip = self.bucket.skip
            value = value.to(state.dtype) if skip is None else torch.where(skip.reshape(()) != 0, state, value)
            for place, one in zip(places, value.expand(state.shape), strict=True):
                column = self.states[name][place]
                column.copy_(one.view(column.shape))
        self.kept, self.later, self.answers = [], [], {}

    def _launch_shared(self) -> None:
        compute = self.compiled.shared
        if compute is None or self.bucket.group.get("capturable"):
            self._launch("share", 1)
            for name in self.module.shared:
                self.bucket.shared[name] = self.given[self.module.given.index(("shared", name))]
        else:
            self.bucket.shared.update(zip(self.module.shared, compute(self.bucket), strict=True))
