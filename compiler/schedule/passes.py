"""The passes over memory that compute a step of a rule: what each reads, writes and sums, and how many bytes that is.

    schedule(program).passes     one kernel each, for all tensors at once
    schedule(program).bytes()    read and written, per entry of the parameter
    schedule(program).floor()    the same if each input were read once and each output written once

Everything entrywise fuses. A sum over entries ends a pass, since its result is needed before the next can begin; so
does a routine of the library. Within a pass values live in registers, and what a later pass needs again it computes
again from what it loads. The one freedom left is when each new state is written: early, so that later passes read it in
place of what it was made from, or late, while its old value is still needed. All choices are priced, the cheapest is
taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dotopt.compiler.ir import Node, Program, leaf
from dotopt.compiler.ir.print import infix
from dotopt.compiler.schedule.places import REDUCE, Place, Places, Unsupported, order
from dotopt.compiler.schedule.reductions import primitive
from dotopt.compiler.schedule.routines import Buffer, Routine, routines

__all__ = ["Buffer", "Pass", "Routine", "Schedule", "Unsupported", "schedule"]


@dataclass(frozen=True)
class Pass:
    """One run over memory. `held` are values that lie in a buffer by now and are loaded in place of being computed."""

    loads: tuple[Buffer, ...]
    stores: tuple[tuple[Buffer, Node], ...]
    sums: tuple[Node, ...]
    held: Mapping[Node, Buffer]

    def __bool__(self) -> bool:
        """Whether there is anything to do: between two routines there may be nothing."""
        return bool(self.stores or self.sums)

    @property
    def words(self) -> tuple[int, int]:
        """How many buffers are read and written."""
        return len(self.loads), len(self.stores)


@dataclass(frozen=True)
class Schedule:
    """How one program runs. `program` has its reductions in primitive form.

    `labels` are the user's names of values (`m'`), `texts` the equations that define them (`m' = β1*m + (1 - β1)*g`).
    """

    program: Program
    places: Places
    passes: tuple[Pass, ...]
    routines: tuple[Routine, ...]
    buffers: tuple[Buffer, ...]
    labels: Mapping[Node, str]
    texts: Mapping[Node, str]

    def bytes(self, sizes: Mapping[str, float] | None = None) -> tuple[float, float]:
        """Bytes read and written per entry; `sizes` gives the bytes of a buffer by name, 4 where it does not.

        The work of the library routines between the passes is not counted.
        """
        read = [buffer for one in self.passes for buffer in one.loads]
        written = [buffer for one in self.passes for buffer, _ in one.stores]
        return _bytes(read, sizes), _bytes(written, sizes)

    def floor(self, sizes: Mapping[str, float] | None = None) -> tuple[float, float]:
        """Bytes if each input were read once and each output written once."""
        inputs = {buffer for one in self.passes for buffer in one.loads if buffer.kind != "scratch"}
        inputs |= {buffer for one in self.routines for buffer in one.inputs.values() if buffer.kind != "scratch"}
        outputs = {buffer for one in self.passes for buffer, _ in one.stores if buffer.kind != "scratch"}
        return _bytes(inputs, sizes), _bytes(outputs, sizes)

    @property
    def gradient(self) -> str | None:
        """The name of the gradient among the buffers, if it is one."""
        return next((buffer.name for buffer in self.buffers if buffer.kind == "gradient"), None)

    @property
    def launches(self) -> int:
        """Kernels a step: a pass each, and one between two passes that puts the partial sums together."""
        finishes = sum(1 for one in self.passes if one.sums)
        return sum(map(bool, self.passes)) + finishes


def _bytes(buffers: Iterable[Buffer], sizes: Mapping[str, float] | None) -> float:
    return sum((sizes or {}).get(buffer.name, 4) for buffer in buffers)


def schedule(program: Program, narrow: frozenset[str] = frozenset()) -> Schedule:
    """The cheapest schedule of `program`, an optimizer with its options resolved and its conditions decided.

    Arrays whose names are in `narrow` hold less than what was computed: a later pass does not take it from there.

    Raises `Unsupported` for what cannot run over many tensors at once: the torch backend takes such a rule.
    """
    if set(program.next) != {param.name for param in program.params}:
        raise Unsupported("it gives back a value and moves nothing")
    program, labels, texts = _in_primitive_form(program)
    roots = _roots(program)
    places = Places(program, list(roots.values()))
    if places.mixed:
        places = Places(program, list(roots.values()), rows=False)
    buffers = _buffers(program, places)
    stores = {buffers[node_]: roots[node_] for node_ in roots if node_ in buffers and roots[node_] is not node_}
    matrix_work = routines(places, roots, unused("scratch", program))
    sums = [here for here in order(roots.values()) if here.op in REDUCE and places(here) is not Place.LIBRARY]
    sums = [here for here in sums if places(here.args[0]) is Place.ELEMENT]
    passes, matrix_work = _Planner(places, buffers, stores, matrix_work, sums, narrow).cheapest()
    return Schedule(program, places, passes, matrix_work, _in_order(passes, matrix_work), labels, texts)


def _in_primitive_form(program: Program) -> tuple[Program, dict[Node, str], dict[Node, str]]:
    table = primitive([*_roots(program).values(), *(equation.node for equation in program.equations)])
    labels: dict[Node, str] = {}
    texts: dict[Node, str] = {}
    names = program.names
    for equation in program.equations:
        here = table[equation.node]
        if here not in labels:
            others = {other: name for other, name in names.items() if other is not equation.node}
            labels[here], texts[here] = equation.label, f"{equation.label} = {infix(equation.node, others)}"
    states = tuple(replace(state, next=None if state.next is None else table[state.next]) for state in program.states)
    following = {name: table[root] for name, root in program.next.items()}
    return replace(program, states=states, next=following), labels, texts


def _roots(program: Program) -> dict[Node, Node]:
    """What must be computed in a step, by the leaf that holds the old value."""
    table = {leaf("param", param.name, param.type): program.next[param.name] for param in program.params}
    for state in program.states:
        if state.next is not None:
            table[leaf("state", state.name, state.type)] = state.next
    return table


def _buffers(program: Program, places: Places) -> dict[Node, Buffer]:
    """The arrays in memory, by the leaf that stands for what they hold before the step."""
    table: dict[Node, Buffer] = {}
    for param in program.params:
        here = leaf("param", param.name, param.type)
        table[here] = Buffer("param", param.name, here)
    for state in program.states:
        if state.type.axes == places.axes:
            here = leaf("state", state.name, state.type)
            table[here] = Buffer("state", state.name, here)
    for root in _roots(program).values():
        for here in root.walk():
            if here.op == "oracle":
                table[here] = Buffer("gradient", unused("grad", program), here)
    return table


def unused(word: str, program: Program) -> str:
    """A word with which no name of the user begins: `word`, or that with something behind it."""
    names = [param.name for param in program.params] + [state.name for state in program.states]
    while any(name.startswith(word) for name in names):
        word += "_"
    return word


def _in_order(passes: Sequence[Pass], routines: Sequence[Routine]) -> tuple[Buffer, ...]:
    """Every buffer in use: the parameter, the gradient, the states, scratch."""
    used = {buffer for one in passes for buffer in (*one.loads, *(buffer for buffer, _ in one.stores))}
    used |= {buffer for one in routines for buffer in (*one.inputs.values(), *(buffer for buffer, _ in one.results))}
    rank = ("param", "gradient", "state", "scratch").index
    return tuple(sorted(used, key=lambda buffer: (rank(buffer.kind), buffer.name)))


Plan = tuple[tuple[Pass, ...], tuple[Routine, ...]]


@dataclass
class _Planner:
    """The search over the passes in which the new values are written."""

    places: Places
    buffers: Mapping[Node, Buffer]
    stores: Mapping[Buffer, Node]
    routines: tuple[Routine, ...]
    sums: Sequence[Node]
    narrow: frozenset[str] = frozenset()

    def cheapest(self) -> Plan:
        """The plan that moves the fewest words; among equals, the one that writes soonest."""
        last = max(
            [self.places.stage(value) for value in self.stores.values()]
            + [self.places.stage(total.args[0]) for total in self.sums]
            + [routine.after for routine in self.routines],
            default=0,
        )
        choices = [range(self.places.stage(value), last + 1) for value in self.stores.values()]
        whens = itertools.islice(itertools.product(*choices), 4096)
        plans = (self._plan(dict(zip(self.stores, when, strict=True)), last) for when in whens)
        legal = [plan for plan in plans if plan is not None]
        if not legal:
            raise Unsupported("an old value is needed after the new one has taken its place")
        return min(legal, key=lambda plan: sum(sum(one.words) for one in plan[0]))

    def _plan(self, when: Mapping[Buffer, int], last: int) -> Plan | None:
        """The plan if each buffer is written in the pass that `when` says; None if an old value would be gone."""
        passes: list[Pass] = []
        routines: list[Routine] = []
        held: dict[Node, Buffer] = {}
        gone: set[Node] = set()
        for index in range(last + 1):
            stores = [(buffer, value) for buffer, value in self.stores.items() if when[buffer] == index]
            written = {value: buffer for buffer, value in stores}
            plain = {value for buffer, value in stores if buffer.name not in self.narrow}
            plain |= {value for value, buffer in self.buffers.items() if buffer.name not in self.narrow}
            now = [routine for routine in self.routines if routine.after == index]
            feeds = [
                (buffer, value)
                for routine in now
                for value, buffer in routine.inputs.items()
                if value not in held and value not in plain
            ]
            sums = [total for total in self.sums if self.places.stage(total.args[0]) == index]
            needed = [*written, *(value for _, value in feeds), *(total.args[0] for total in sums)]
            loads = list(self._loads(needed, held))
            if any(here in gone for here in loads):
                return None
            passes.append(
                Pass(
                    tuple(held[here] if here in held else self.buffers[here] for here in loads),
                    tuple(stores + feeds),
                    tuple(sums),
                    {value: buffer for value, buffer in held.items() if value in loads},
                )
            )
            for buffer, value in stores + feeds:
                if buffer.name not in self.narrow:
                    held[value] = buffer
                if buffer.kind != "scratch":
                    gone.add(buffer.node)
                    held.pop(buffer.node, None)
            for routine in now:
                if any(value in gone and value not in held for value in routine.inputs):
                    return None
                inputs = {value: held.get(value) or self.buffers[value] for value in routine.inputs}
                routines.append(replace(routine, inputs=inputs))
                held |= {value: buffer for buffer, value in routine.results}
        return tuple(passes), tuple(routines)

    def _loads(self, values: Sequence[Node], held: Mapping[Node, Buffer]) -> Iterator[Node]:
        """The values that a pass reads from memory to compute `values`."""
        seen: set[Node] = set()
        stack = list(reversed(values))
        while stack:
            here = stack.pop()
            if here in seen or (self.places(here) is not Place.ELEMENT and here not in held):
                continue
            seen.add(here)
            if here in held or here in self.buffers:
                yield here
            else:
                stack.extend(reversed(here.args))
