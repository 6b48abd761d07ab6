"""Triton for the passes of a schedule: one kernel a pass, over all tensors of a group, however many there are.

    pass_k      pass k, a program a piece: load, compute in registers, store, add up
    finish_k    a program a tensor: its sums, from those of its pieces in their order
    model_k     one program: the sums over all tensors, likewise
    host_k      one program: the numbers of the group that only these sums make known
    close       a program a tensor: the new values of states that are one number

A piece that is full and whose arrays all begin on 16 bytes takes the first branch: no mask, so that loads and stores
are 128 bits wide. Tails and views take the second. Addresses, lengths and numbers come from tables in device memory, so
a launch needs nothing from the host but the tables, and a graph that was captured sees what changes in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dotopt.compiler.emit import triton_expression
from dotopt.compiler.emit.kernel_facts import Facts
from dotopt.compiler.emit.kernel_scope import HostSlots, Scope
from dotopt.compiler.ir import Node, leaf
from dotopt.compiler.places import REDUCE, Place, Unsupported
from dotopt.compiler.schedule import Buffer, Pass, Schedule
from dotopt.grammar import spelling

Key = tuple[str, object]

TYPES = {"fp32": "tl.float32", "fp64": "tl.float64", "bf16": "tl.bfloat16", "fp16": "tl.float16"}
LANES = 256  # how many partial sums a finish adds at a time

# what every kernel takes: addresses [array][tensor], extents, pieces, numbers, partial and whole sums
ARGUMENTS = "data, shape, piece_tensor, piece_start, piece_full, first, given, host, sums, totals, tensors"


@dataclass(frozen=True)
class Module:
    """The text of a module and what its tables mean; see `dotopt.compiler.emit.cpu.Module`."""

    text: str
    arrays: tuple[str, ...]
    given: tuple[Key, ...]
    shape: tuple[Key, ...]
    host: tuple[Node, ...]  # the number in each slot
    late: tuple[Node, ...]  # those of them that are made on the device
    sums: int
    totals: int
    model: tuple[tuple[int, ...], ...]  # by stage: the sums over the model made there
    closes: bool
    stages: int


def emit(schedule: Schedule, stored: Mapping[str, str], title: str = "") -> Module:
    """The Triton module of `schedule`; `stored` says how each array lies in memory, by name.

    Raises `Unsupported` for rows, for largest values, and for what Triton has no function for.
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
        self.host = HostSlots("tl.load(host + {})")
        self.slot(("size", self.places.axes))
        if self.facts.kept:
            raise Unsupported("it sums along rows")
        if any(total.op != "sum" for total in self.facts.totals):
            raise Unsupported("it looks for a largest or smallest entry")
        for state in self.schedule.program.states:
            if state.shared and state.next is not None and self.places.stage(state.next) > 0:
                raise Unsupported(f"the shared {state.name} follows from sums over the model")

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
                return self._group_number(here)
            case "leaf", Place.TENSOR if here.role == "axis":
                return self._extent(("size", (here.name,)))
            case "leaf", Place.TENSOR if here.role == "state":
                return f"tl.load({self._pointer(here.name)}).to(tl.float64)"
            case "size", Place.HOST:
                return self.number(("count", here.attrs[0]))
            case "size", _:
                return self._extent(("size", here.attrs[0]))
            case "native", _:
                return self._extent(("native", here.attrs[0]))
            case op, Place.HOST if op in REDUCE:
                return self.number(("model", self.facts.models[here]))
            case op, Place.TENSOR if op in REDUCE:
                return f"tl.load(totals + tensor * {len(self.facts.totals)} + {self.facts.totals[here]})"
            case "fires", _:
                period, start = (scope.number(arg)[0] for arg in here.args)
                since = f"({self.number(('time', 't'))} - ({start}))"
                return f"({since} >= 0) & ({since} - tl.floor({since} / ({period})) * ({period}) == 0)"
            case _:
                return None

    def _group_number(self, here: Node) -> str:
        if here.args:
            raise Unsupported(f"{here!r} is one of a family")
        match here.role:
            case "hyper" | "const":
                return self.number(("hyper", here.name))
            case "time":
                return self.number(("time", "t"))
            case "state":
                return self.number(("shared", here.name))
            case role:
                raise Unsupported(f"the {role} {here.name} was not resolved")

    def _extent(self, key: Key) -> str:
        column = self.slot(key)
        return f"tl.load(shape + tensor * DIMENSIONS + {column}).to(tl.float64)"

    def _pointer(self, array: str) -> str:
        place = self.facts.arrays.index(array)
        return f"tl.load(data + {place} * tensors + tensor).to(tl.pointer_type({TYPES[self.stored[array]]}))"

    # ---- kernels ----

    def module(self, title: str) -> Module:
        """All of it."""
        stages = len(self.schedule.passes)
        kernels = [self._pass(index, one) for index, one in enumerate(self.schedule.passes)]
        kernels += [self._finish(index) for index in range(stages) if self.schedule.passes[index].sums]
        model = tuple(self._model_sums(index) for index in range(stages))
        kernels += [self._model(index, which) for index, which in enumerate(model) if which]
        close = self._close()
        kernels += [close] if close else []
        kernels += [self._host(index) for index in range(stages)]
        for state in self.schedule.program.states:  # computed by the host: what they read must be given
            if state.shared and state.next is not None:
                self._scope(Place.HOST, "double", None).number(state.next)
        text = "\n\n\n".join([f'"""{title}"""\n\nimport triton\nimport triton.language as tl', *kernels]) + "\n"
        text = text.replace("DIMENSIONS", str(len(self.shape)))
        late = tuple(here for here in self.host.slots if self.places.stage(here) > 0)
        return Module(
            text,
            tuple(self.facts.arrays),
            tuple(self.given),
            tuple(self.shape),
            tuple(self.host.slots),
            late,
            len(self.facts.sums),
            len(self.facts.totals),
            model,
            bool(close),
            stages,
        )

    def _scope(self, place: Place, real: str, outer: Scope | HostSlots | None) -> Scope:
        taken = outer.taken if isinstance(outer, Scope) else set()
        return Scope(triton_expression, self.facts, self.source, place, real, outer, taken)

    def _pass(self, index: int, one: Pass) -> str:
        lines = [
            "piece = tl.program_id(0)",
            "tensor = tl.load(piece_tensor + piece)",
            "start = tl.multiple_of(tl.load(piece_start + piece), 16)",
        ]
        touched = dict.fromkeys([*(b.name for b in one.loads), *(b.name for b, _ in one.stores)])
        lines += [f"{_at(name)} = {self._pointer(name)}" for name in touched]
        full, fixed = self._loop(one, masked=False)
        tail, again = self._loop(one, masked=True)
        assert fixed == again  # what does not vary is the same in both loops
        lines += fixed
        slots = [self.facts.sums[total] for total in one.sums]
        kind = triton_expression.DTYPES[self.real]
        lines += [f"s{slot} = tl.zeros([BLOCK], {kind})" for slot in slots]
        lines += ["if tl.load(piece_full + piece) != 0:"]
        lines += [f"    {_at(name)} = tl.multiple_of({_at(name)}, 16)" for name in touched]
        lines += ["    for block in range(0, PIECE, BLOCK):", "        i = start + block + tl.arange(0, BLOCK)"]
        lines += ["        " + line for line in full]
        lines += ["else:", f"    size = tl.load(shape + tensor * DIMENSIONS + {self.slot(('size', self.places.axes))})"]
        lines += ["    for block in range(0, PIECE, BLOCK):", "        i = start + block + tl.arange(0, BLOCK)"]
        lines += ["        inside = i < size", *("        " + line for line in tail)]
        lines += [
            f"tl.store(sums + piece * {len(self.facts.sums)} + {slot}, tl.sum(s{slot}).to(tl.float64))"
            for slot in slots
        ]
        return _kernel(f"pass_{index}({ARGUMENTS}, PIECE: tl.constexpr, BLOCK: tl.constexpr)", lines)

    def _loop(self, one: Pass, masked: bool) -> tuple[list[str], list[str]]:
        """The statements for a block of entries, and those before the loop."""
        tensor = self._scope(Place.TENSOR, "double", self.host)
        entry = self._scope(Place.ELEMENT, self.real, tensor)
        entry.taken.update(_at(name) for name in self.facts.arrays)
        if any(buffer.kind == "gradient" for buffer in one.loads):
            tensor.lines.append(f"scale = {self.number(('scale', 'grad'))}.to({triton_expression.DTYPES[self.real]})")
        held = dict(one.held)
        taken = {buffer.name for buffer in held.values()}
        held |= {buffer.node: buffer for buffer in one.loads if buffer.name not in taken}
        entry.held = {value: self._loaded(buffer, masked) for value, buffer in held.items()}
        mask = ", mask=inside" if masked else ""
        ends = [f"tl.store({_at(buffer.name)} + i, {entry.number(value)[0]}{mask})" for buffer, value in one.stores]
        for total in one.sums:
            name, value = f"s{self.facts.sums[total]}", entry.number(total.args[0])[0]
            ends.append(f"{name} += tl.where(inside, {value}, 0.0)" if masked else f"{name} += {value}")
        return entry.lines + ends, tensor.lines

    def _loaded(self, buffer: Buffer, masked: bool) -> str:
        mask = ", mask=inside, other=0.0" if masked else ""
        text = f"tl.load({_at(buffer.name)} + i{mask}).to({triton_expression.DTYPES[self.real]})"
        return f"scale * {text}" if buffer.kind == "gradient" else text

    def _finish(self, index: int) -> str:
        lines = ["tensor = tl.program_id(0)", "begin = tl.load(first + tensor)", "end = tl.load(first + tensor + 1)"]
        for total in self.schedule.passes[index].sums:
            lines += _added(f"sums + p * {len(self.facts.sums)} + {self.facts.sums[total]}", "begin", "end")
            lines.append(
                f"tl.store(totals + tensor * {len(self.facts.totals)} + {self.facts.totals[total]}, tl.sum(y))"
            )
        return _kernel(f"finish_{index}({ARGUMENTS})", lines)

    def _model_sums(self, index: int) -> tuple[int, ...]:
        found = []
        for total, slot in self.facts.models.items():
            if self.places.stage(total) == index + 1:
                if self.places(total.args[0]) is not Place.ELEMENT:
                    raise Unsupported(f"{total!r} adds what is known of tensors")
                self.given.setdefault(("model", slot), len(self.given))
                found.append(slot)
        return tuple(found)

    def _model(self, index: int, which: tuple[int, ...]) -> str:
        lines = []
        for total, slot in self.facts.models.items():
            if slot in which:
                lines += _added(f"totals + p * {len(self.facts.totals)} + {self.facts.totals[total]}", "0", "tensors")
                lines.append(f"tl.store(given + {self.given[('model', slot)]}, tl.sum(y))")
        return _kernel(f"model_{index}({ARGUMENTS})", lines)

    def _host(self, index: int) -> str:
        """Numbers of the group first known before pass `index`; those of pass 0 only when a graph is captured."""
        host = self._scope(Place.HOST, "double", None)
        ends = [
            f"tl.store(host + {slot}, {host.number(here)[0]})"
            for here, slot in list(self.host.slots.items())
            if self.places.stage(here) == index
        ]
        return _kernel(f"host_{index}({ARGUMENTS})", [*host.lines, *ends] or ["pass"])

    def _close(self) -> str:
        tensor = self._scope(Place.TENSOR, "double", self.host)
        ends = []
        for state in self.facts.small:
            if state.next is None or state.next is leaf("state", state.name, state.type):
                continue
            if state.type.axes:
                raise Unsupported(f"the state {state.name} is kept along other axes than the parameter's")
            ends.append(f"tl.store({self._pointer(state.name)}, {tensor.number(state.next)[0]})")
        return _kernel(f"close({ARGUMENTS})", ["tensor = tl.program_id(0)", *tensor.lines, *ends]) if ends else ""


def _added(pointer: str, begin: str, end: str) -> list[str]:
    """`y` = lanes of sums of what stands at `pointer` for p from begin to end, in an order that is always the same."""
    return [
        f"y = tl.zeros([{LANES}], tl.float64)",
        f"for block in range({begin}, {end}, {LANES}):",
        f"    p = block + tl.arange(0, {LANES})",
        f"    y += tl.load({pointer}, mask=p < {end}, other=0.0)",
    ]


def _at(array: str) -> str:
    return spelling.ascii(array) + "_at"


def _kernel(head: str, lines: Iterable[str]) -> str:
    return "\n".join(["@triton.jit", f"def {head}:", *("    " + line for line in lines)])
