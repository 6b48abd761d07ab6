"""Triton for the passes of a schedule: one kernel a pass, over all tensors of a group, however many there are.

    pass_k      pass k, a program a piece: load, compute in registers, store, add up
    finish_k    a program a tensor: its totals, from those of its pieces or rows in their order
    model_k     one program: the totals over all tensors, likewise
    host_k      one program: the numbers of the group that are first known before pass k
    close       a program a tensor: the new values of states that are one number for a tensor, or one for a row
    share       one program: the new values of states that are one number for the group

A piece that is full and whose arrays all begin on 16 bytes takes the first branch: no mask, so that loads and stores
are 128 bits wide. Tails and views take the second. Addresses, lengths and numbers come from tables in device memory, so
a launch needs nothing from the host but the tables, and a graph that was captured sees what changes in them. A step
that is to be skipped, since a gradient is not finite, writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dotopt.compiler.emit.kernels.shared.facts import Facts
from dotopt.compiler.emit.kernels.shared.scope import ATOM, HostSlots, Scope, group_key
from dotopt.compiler.emit.kernels.triton import expression as triton_expression
from dotopt.compiler.emit.kernels.triton import powers
from dotopt.compiler.emit.kernels.triton.loops import (
    LANES,
    Reduction,
    by_blocks,
    by_rows,
    indented,
    kernel,
    over_parts,
    over_rows,
)
from dotopt.compiler.emit.kernels.triton.precision import NarrowTile, by_tiles
from dotopt.compiler.ir import Node, leaf
from dotopt.compiler.schedule.passes import Buffer, Pass, Schedule
from dotopt.compiler.schedule.places import REDUCE, Place, Unsupported
from dotopt.compiler.schedule.storage import BLOCK

Key = tuple[str, object]

START = "start = tl.multiple_of(tl.load(piece_start + piece), 16)"


@dataclass(frozen=True)
class Module:
    """The text of a module and what its tables mean; see `dotopt.compiler.emit.kernels.c.passes.Module`.

    `given` may also hold ("skip", "step"): not 0 if the step writes nothing.
    """

    text: str
    kernels: frozenset[str]
    arrays: tuple[str, ...]
    given: tuple[Key, ...]
    shape: tuple[Key, ...]
    host: tuple[Node, ...]  # the number in each slot
    late: tuple[Node, ...]  # those of them that are known only after a pass
    sums: int
    totals: int
    rows: int
    by_rows: bool
    in_blocks: bool  # some states are kept in blocks
    model: tuple[tuple[int, ...], ...]  # by stage: the totals over the model made there
    shared: tuple[str, ...]  # the states of the group that change
    stages: int


def emit(schedule: Schedule, stored: Mapping[str, str], title: str = "") -> Module:
    """The Triton module of `schedule`; `stored` says how each array lies in memory, by name.

    Arithmetic is double where the parameter is fp64, else float. Raises `Unsupported` for what has no form in Triton.
    """
    return _Writer(Facts(schedule), stored).module(title)


@dataclass
class _Writer:
    facts: Facts
    stored: Mapping[str, str]
    given: dict[Key, int] = field(default_factory=dict)
    shape: dict[Key, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.schedule, self.places = self.facts.schedule, self.facts.places
        self.real = "double" if self.stored[self.facts.param] == "fp64" else "float"
        self.kind = triton_expression.DTYPES[self.real]
        self.narrow = NarrowTile(self.stored, self.facts.param, self.kind)
        if self.facts.kept and self.narrow.blocks(self.facts.arrays):
            raise Unsupported("blocks of states do not end where rows do")
        self.facts.arrays = self.narrow.parts(self.facts.arrays)
        self.host = HostSlots("tl.load(host + {})")
        self.slot(("size", self.places.axes))
        self.slot(("size", self.facts.along))

    def slot(self, key: Key) -> int:
        """The column of an extent in the table of shapes."""
        return self.shape.setdefault(key, len(self.shape))

    def number(self, key: Key) -> str:
        """Where a number of the group stands."""
        return f"tl.load(given + {self.given.setdefault(key, len(self.given))})"

    def source(self, here: Node, scope: Scope) -> str | None:
        """The text of a value that is given or was made before; None for one that is to be computed."""
        match here.op, scope.place:
            case "leaf", Place.HOST:
                return self.number(group_key(here))
            case "leaf", Place.TENSOR if here.role == "axis":
                return self._extent(("size", (here.name,))) + ".to(tl.float64)"
            case "leaf", Place.TENSOR if here.role == "state":
                return f"tl.load({self._pointer(here.name)}).to(tl.float64)"
            case "leaf", Place.ROW if here.role == "state":
                real = triton_expression.DTYPES[scope.real]
                return f"tl.load({self._pointer(here.name)} + r, mask=there, other=0.0).to({real})"
            case "size", Place.HOST if here.attrs.axes == self.places.axes:
                return self.number(("count", here.attrs.axes))
            case "size", Place.HOST:
                raise Unsupported(f"{here!r} counts something else than entries over the whole model")
            case "size", _:
                return self._extent(("size", here.attrs.axes)) + ".to(tl.float64)"
            case "native", _:
                return self._extent(("native", here.attrs.axis)) + ".to(tl.float64)"
            case op, Place.HOST if op in REDUCE:
                return self.number(("model", self.facts.models[here]))
            case op, Place.TENSOR if op in REDUCE:
                return f"tl.load({self._total(here)})"
            case op, Place.ROW if op in REDUCE:
                real = triton_expression.DTYPES[scope.real]
                return f"tl.load({self._row_total(here)}, mask=there, other=0.0).to({real})"
            case "fires", _:
                period, start = (scope.number(arg)[0] for arg in here.args)
                since = f"({self.number(('time', 't'))} - ({start}))"
                return f"({since} >= 0) & ({since} - tl.floor({since} / ({period})) * ({period}) == 0)"
            case _:
                return None

    def _extent(self, key: Key) -> str:
        return f"tl.load(shape + tensor * DIMENSIONS + {self.slot(key)})"

    def _pointer(self, array: str) -> str:
        place = self.facts.arrays.index(array)
        return f"tl.load(data + {place} * tensors + tensor).to(tl.pointer_type({self.narrow.type(array)}))"

    def _sum(self, total: Node, piece: str = "piece") -> str:
        return f"sums + {piece} * {len(self.facts.sums)} + {self.facts.sums[total]}"

    def _total(self, total: Node, tensor: str = "tensor") -> str:
        return f"totals + {tensor} * {len(self.facts.totals)} + {self.facts.totals[total]}"

    def _row_total(self, total: Node) -> str:
        return f"rows + (tl.load(first_row + tensor) + r) * {len(self.facts.rows)} + {self.facts.rows[total]}"

    # ---- kernels ----

    def module(self, title: str) -> Module:
        """All of it."""
        stages = len(self.schedule.passes)
        if any(buffer.kind == "gradient" for routine in self.schedule.routines for buffer in routine.inputs.values()):
            self.number(("scale", "grad"))
        kernels = {f"pass_{index}": self._pass(one) for index, one in enumerate(self.schedule.passes)}
        kernels |= {f"finish_{index}": self._finish(index) for index in range(stages)}
        model = tuple(self._known_after(index) for index in range(stages))
        kernels |= {f"model_{index}": self._model(which) for index, which in enumerate(model)}
        kernels |= {"close": self._close(), "share": self._share()}
        kernels |= {f"host_{index}": self._host(index) for index in range(stages)}
        if any(self.places.stage(here) >= stages for here in self.host.slots):
            raise Unsupported("a number of the group is known only after the last pass")
        texts = {name: kernel(name, lines) for name, lines in kernels.items() if lines}
        head = f'"""{title}"""\n\nimport triton\nimport triton.language as tl'
        written = "\n".join(texts.values())
        functions = [*self.narrow.functions, *powers.functions(written), *triton_expression.functions(written)]
        text = "\n\n\n".join([head, *functions, *texts.values()]) + "\n"
        return Module(
            text=text.replace("DIMENSIONS", str(len(self.shape))),
            kernels=frozenset(texts),
            arrays=tuple(self.facts.arrays),
            given=tuple(self.given),
            shape=tuple(self.shape),
            host=tuple(self.host.slots),
            late=tuple(here for here in self.host.slots if self.places.stage(here) > 0),
            sums=len(self.facts.sums),
            totals=len(self.facts.totals),
            rows=len(self.facts.rows),
            by_rows=bool(self.facts.kept),
            in_blocks=bool(self.narrow.blocks(buffer.name for buffer in self.schedule.buffers)),
            model=tuple(tuple(self.facts.models[total] for total in some) for some in model),
            shared=tuple(
                state.name for state in self.schedule.program.states if state.shared and state.next is not None
            ),
            stages=stages,
        )

    def _scope(self, place: Place, real: str, outer: Scope | HostSlots | None) -> Scope:
        taken = outer.taken if isinstance(outer, Scope) else set()
        return Scope(triton_expression, self.facts, self.source, place, real, outer, taken)

    def _skip(self) -> list[str]:
        return [f"if {self.number(('skip', 'step'))} != 0:", "    return"]

    def _pass(self, one: Pass) -> list[str]:
        if not one:
            return []
        full, fixed = self._branch(one, masked=False)
        tail, again = self._branch(one, masked=True)
        assert fixed == again  # what does not vary is the same in both branches
        wide = [(self._reduction(total), self._sum(total)) for total in one.sums if total in self.facts.sums]
        tile = "[HEIGHT, WIDTH]" if self.facts.kept else "[BLOCK]"
        if self._tiled(one):
            tile = f"[BLOCK // {BLOCK}, {BLOCK}]"
        return [
            *self._skip(),
            *(["HEIGHT: tl.constexpr = BLOCK // WIDTH"] if self.facts.kept else []),
            "piece = offset + tl.program_id(0)",
            "tensor = tl.load(piece_tensor + piece)",
            "start = tl.load(piece_start + piece)" if self.facts.kept else START,
            *fixed,
            *(reduction.lanes(tile) for reduction, _ in wide),
            "if tl.load(piece_full + piece) != 0:",
            *indented(full),
            "else:",
            *indented(tail),
            *(line for reduction, pointer in wide for line in _stored(reduction, pointer)),
        ]

    def _tiled(self, one: Pass) -> bool:
        """Whether a pass goes block by block, since it touches states that are kept in blocks."""
        return bool(self.narrow.blocks([*(b.name for b in one.loads), *(b.name for b, _ in one.stores)]))

    def _reduction(self, total: Node) -> Reduction:
        name = f"s{self.facts.sums[total]}" if total in self.facts.sums else f"q{self.facts.rows[total]}"
        return Reduction(total.op, name, self.kind)

    def _branch(self, one: Pass, masked: bool) -> tuple[list[str], list[str]]:
        """The loop over the entries of a piece, and the statements before it that both branches share."""
        tensor = self._scope(Place.TENSOR, "double", self.host)
        row = self._scope(Place.ROW, self.real, tensor) if self.facts.kept else tensor
        entry = self._scope(Place.ELEMENT, self.real, row)
        touched = dict.fromkeys([*(b.name for b in one.loads), *(b.name for b, _ in one.stores)])
        reductions = {total: self._reduction(total) for total in one.sums}
        arrays = self.narrow.parts(touched)
        entry.taken.update(self.narrow.at(name) for name in arrays)
        entry.taken.update(f"{self.narrow.base(name)}_{word}" for name in touched for word in ("codes", "scale", "key"))
        entry.taken |= {"whole", "high", "low"}
        entry.taken.update(name for reduction in reductions.values() for name in (reduction.name, reduction.result))
        if any(buffer.kind == "gradient" for buffer in one.loads):
            tensor.lines.append(f"scale = {self.number(('scale', 'grad'))}.to({self.kind})")
        held = dict(one.held)
        taken = {buffer.name for buffer in held.values()}
        held |= {buffer.node: buffer for buffer in one.loads if buffer.name not in taken}
        entry.held = {value: self._loaded(buffer, masked) for value, buffer in held.items()}
        stores = [(buffer.name, entry.number(value)[0]) for buffer, value in one.stores]
        ends = [line for name, text in stores for line in self.narrow.written(name, text, masked)]
        inside = "inside" if masked else None
        ends += [reduction.take(entry.number(total.args[0])[0], inside) for total, reduction in reductions.items()]
        pointers = {self.narrow.at(name): self._pointer(name) for name in arrays}
        if any(name == self.facts.param for name, _ in stores) and self.narrow.rounding == "stochastic":
            entry.lines[:0] = self.narrow.begin(self.number(("time", "t")))
        if self._tiled(one):
            size = self._extent(("size", self.places.axes))
            return by_tiles(pointers.items(), size, entry.lines + ends, masked), tensor.lines
        if not self.facts.kept:
            size = self._extent(("size", self.places.axes))
            return by_blocks(pointers, size, entry.lines + ends, masked), tensor.lines
        narrow = [(reductions[total], self._row_total(total)) for total in one.sums if total in self.facts.rows]
        extents = self._extent(("size", self.places.axes)), self._extent(("size", self.facts.along))
        return by_rows(pointers, extents, row.lines, entry.lines + ends, narrow, masked), tensor.lines

    def _loaded(self, buffer: Buffer, masked: bool) -> str:
        text = self.narrow.tile(buffer.name, masked)
        return f"scale * {text}" if buffer.kind == "gradient" else text

    def _finish(self, index: int) -> list[str]:
        """Totals of one tensor after pass `index`. A later one may read an earlier one, in the register it is in."""
        tensor = self._scope(Place.TENSOR, "double", self.host)
        lines = ["tensor = tl.program_id(0)", "begin = tl.load(first + tensor)", "end = tl.load(first + tensor + 1)"]
        before = len(lines)
        for total, slot in self.facts.totals.items():
            if self.places.stage(total) != index + 1:
                continue
            reduction = Reduction(total.op, f"s{slot}", "tl.float64")
            tensor.taken |= {reduction.name, reduction.result}
            match self.places(total.args[0]):
                case Place.ELEMENT:
                    lines += over_parts(reduction, self._sum(total, "p"), "begin", "end")
                case Place.ROW:
                    row = self._scope(Place.ROW, "double", tensor)
                    take = reduction.take(row.number(total.args[0])[0], "there")
                    lines += [*tensor.lines, reduction.lanes(f"[{LANES}]")]
                    tensor.lines.clear()
                    lines += over_rows(self._extent(("size", self.facts.kept)), row.lines, [take])
                    lines += reduction.join()
                case _:
                    continue
            lines.append(f"tl.store({self._total(total)}, {reduction.result})")
            tensor.names[total] = reduction.result, ATOM
        return lines if len(lines) > before else []

    def _known_after(self, index: int) -> tuple[Node, ...]:
        found = tuple(total for total in self.facts.models if self.places.stage(total) == index + 1)
        for total in found:
            if self.places(total.args[0]) is not Place.ELEMENT or total.op != "sum":
                raise Unsupported(f"{total!r} joins what is known of tensors")
            self.number(("model", self.facts.models[total]))
        return found

    def _model(self, totals: tuple[Node, ...]) -> list[str]:
        lines: list[str] = []
        for total in totals:
            slot = self.facts.models[total]
            reduction = Reduction(total.op, f"s{slot}", "tl.float64")
            lines += over_parts(reduction, self._total(total, "p"), "0", "tensors")
            lines.append(f"tl.store(given + {self.given[('model', slot)]}, {reduction.result})")
        return lines

    def _host(self, index: int) -> list[str]:
        """Numbers of the group first known before pass `index`; those of pass 0 if the host does not compute them."""
        host = self._scope(Place.HOST, "double", None)
        ends = [
            f"tl.store(host + {slot}, {host.number(here)[0]})"
            for here, slot in list(self.host.slots.items())
            if self.places.stage(here) == index
        ]
        return [*host.lines, *ends] if ends else []

    def _close(self) -> list[str]:
        tensor = self._scope(Place.TENSOR, "double", self.host)
        row = self._scope(Place.ROW, "double", tensor)
        ends: list[str] = []
        row_ends: list[str] = []
        for state in self.facts.small:
            if state.next is None or state.next is leaf("state", state.name, state.type):
                continue
            if not state.type.axes:
                ends.append(f"tl.store({self._pointer(state.name)}, {tensor.number(state.next)[0]})")
            elif state.type.axes == self.facts.kept:
                pointer = self._pointer(state.name)
                row_ends.append(f"tl.store({pointer} + r, {row.number(state.next)[0]}, mask=there)")
            else:
                raise Unsupported(f"the state {state.name} is kept along other axes than the rows")
        if not ends and not row_ends:
            return []
        rows = over_rows(self._extent(("size", self.facts.kept)), row.lines, row_ends) if row_ends else []
        return [*self._skip(), "tensor = tl.program_id(0)", *tensor.lines, *rows, *ends]

    def _share(self) -> list[str]:
        host = self._scope(Place.HOST, "double", None)
        ends = []
        for state in self.schedule.program.states:
            if state.shared and state.next is not None:
                place = self.number(("shared", state.name)).removeprefix("tl.load(").removesuffix(")")
                ends.append(f"tl.store({place}, {host.number(state.next)[0]})")
        return [*self._skip(), *host.lines, *ends] if ends else []


def _stored(reduction: Reduction, pointer: str) -> list[str]:
    return [*reduction.join(), f"tl.store({pointer}, {reduction.result}.to(tl.float64))"]
