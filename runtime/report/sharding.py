"""What a step sends where the parameter is spread over processes, from the program alone: `dotopt explain --ranks`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dotopt.compiler.ir import ENTRYWISE, Node, Program
from dotopt.compiler.ir.loops import moving
from dotopt.compiler.schedule.phases import Phases, phases
from dotopt.runtime.backends.layout import axis_sizes
from dotopt.runtime.rule import Pattern
from dotopt.runtime.shards.layout import names

CUBES = {"eigenvectors": 9, "top_eigenvector": 9, "matrix_power": 9, "svdvals": 20, "polar": 20, "qr": 4, "inverse": 2}


@dataclass(frozen=True)
class Message:
    """One message of a step: what it is called, what it carries, and how many numbers.

    Of an all-reduce the numbers that each process gives; of an all-to-all those that all of them give together.
    """

    call: str
    carries: str
    numbers: int


@dataclass(frozen=True)
class Sharding:
    """What a step needs for one parameter; `flops` of one process for its part, `owner` for a matrix that it owns."""

    messages: tuple[Message, ...]
    flops: int
    owner: int

    @property
    def sentence(self) -> str:
        """`1 all-reduce, 2 all-to-all`, or that nothing is sent."""
        calls = [message.call for message in self.messages]
        found = [f"{calls.count(call)} {call}" for call in dict.fromkeys(calls)]
        return ", ".join(found) or "no message: each process steps what it holds by itself"


def sharding(program: Program, shape: Sequence[int], shard: int, ranks: int) -> Sharding:
    """The messages of a step of one parameter of this shape, cut along its axis `shard` over so many processes.

    Raises `Elsewhere` for a rule that asks the closure for more than the gradient.
    """
    (param,) = program.params
    named = names(Pattern(param.name, param.type.axes, param.merged), len(shape))
    sizes = axis_sizes(param, shape)
    found = phases(program, {named[shard]} if ranks > 1 else ())
    local = [phase.program for phase in found.phases if phase.program is not None]
    flops = sum(_flops(piece, sizes) for piece in (*local, found.last))
    owner = sum(_flops(phase.owned.program, sizes) for phase in found.phases if phase.owned is not None)
    return Sharding(tuple(_messages(found, sizes, named[shard], ranks)), flops // ranks, owner)


def _messages(found: Phases, sizes: Mapping[str, int], cut: str, ranks: int) -> Iterator[Message]:
    if found.phases:
        yield Message("all-reduce", "whether every process has the gradient: 2 numbers a tensor, 1 more", 3)
    types = {state.name: state.type for state in found.temporaries}
    for place, phase in enumerate(found.phases):
        closing = all(later.level[0] != phase.level[0] for later in found.phases[place + 1 :])
        stage = [earlier for earlier in found.phases if earlier.level[0] == phase.level[0]]
        for how in ("sum", "amax"):
            alone = [types[s.name].axes for s in phase.sums if s.how == how and not s.model]
            model = [s for x in stage for s in x.sums if s.how == how and s.model] if closing else []
            numbers = sum(math.prod(_held(axis, sizes, cut, ranks) for axis in axes) for axes in alone)
            words = {f"{_numbers(alone.count(()))} a tensor": alone.count(())}
            words[f"{_numbers(len(model))} for the model"] = len(model)
            words |= {"a vector along " + " ".join(axes): 1 for axes in alone if axes}
            if numbers or model:
                of = "sums" if how == "sum" else "largest entries"
                carried = ", ".join(word for word, count in words.items() if count)
                yield Message("all-reduce", f"{of}: {carried}", numbers + len(model))
        if phase.owned is not None:
            states = {state.name: state.type.axes for state in phase.owned.program.states}
            both = (("to the owners", phase.owned.inputs), ("from the owners", phase.owned.outputs))
            for way, those in both:
                every = (*those, *phase.owned.kept)
                numbers = sum(math.prod(sizes.get(axis, 1) for axis in states[name]) for name in every)
                kept = f", and the states {', '.join(phase.owned.kept)}" if phase.owned.kept else ""
                yield Message("all-to-all", f"{way}: {_numbers(len(those))} an entry{kept}", numbers)


def _numbers(count: int) -> str:
    return "1 number" if count == 1 else f"{count} numbers"


def _held(axis: str, sizes: Mapping[str, int], cut: str, ranks: int) -> int:
    """How many places along an axis the process has that has most."""
    return -(-sizes[axis] // ranks) if axis == cut else sizes[axis]


def _flops(program: Program, sizes: Mapping[str, int]) -> int:
    roots = [root for state in program.states if state.next is not None for root in (state.next,)]
    every = dict.fromkeys(x for root in (*roots, *program.next.values()) for x in root.walk())
    inside = {x for here in every if here.op == "loop" for x in moving(here.attrs.body)}
    hypers = {hyper.name: hyper.default for hyper in program.hypers}
    total = 0
    for here in every:
        if here.op == "loop":
            passes = here.args[0]
            value = passes.value if passes.op == "const" else getattr(hypers.get(passes.name), "value", None)
            total += int(value or 1) * sum(_work(x, sizes) for x in moving(here.attrs.body))
        elif here not in inside:
            total += _work(here, sizes)
    return total


def _work(here: Node, sizes: Mapping[str, int]) -> int:
    """The operations on numbers of one operation."""
    entries = math.prod(sizes.get(axis, 1) for axis in here.type.axes)
    match here.op:
        case "matmul":
            return 2 * entries * sizes.get(here.args[0].type.axes[-1], 1)
        case op if op in CUBES:
            edges = sorted(sizes.get(axis, 1) for axis in here.args[0].type.axes)
            return CUBES[op] * math.prod(edges) * edges[0]
        case "sum" | "mean" | "norm" | "amax" | "amin":
            return math.prod(sizes.get(axis, 1) for axis in here.args[0].type.axes)
        case op if op in ENTRYWISE:
            return entries
    return 0
