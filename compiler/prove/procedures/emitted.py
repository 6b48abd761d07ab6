"""What the code of a rule over sequences must give when it is run on symbols: its equations, token by token.

A `Call` is everything that a generated function is given: symbols for inputs and states, a place in time, whether the
sequence begins here, which tokens are there. `expected` writes the equations of the rule out for the same call; nothing
of how the code was made is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from dotopt.compiler.analysis.affine import key_of, low_rank
from dotopt.compiler.emit.sequence.token import first_states, own_leaf
from dotopt.compiler.ir import TIME, Node, Program, boolean, leaf, node, number, substitute
from dotopt.compiler.ops.types import Type

WINDOW = 2  # tokens of a window whose length is a knob
PERIOD = 4  # tokens between the firings of what fires at a pace that is a knob
Found = tuple[Mapping[str, tuple[Node, ...]], Mapping[str, Node]]  # outputs at each token, states after the last


@dataclass(frozen=True, slots=True)
class Situation:
    """A stretch of tokens, how many make a chunk, whether a state fires at its end, and where it stands."""

    tokens: int
    chunk: int
    first: bool = False  # whether the sequence begins with it
    keep: tuple[bool, ...] | None = None  # False where there is no token
    fires: bool = True

    @property
    def there(self) -> tuple[int, ...]:
        """The tokens that are there, from 0."""
        return tuple(t for t in range(self.tokens) if self.keep is None or self.keep[t])


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of a generated function; `state` has tuples for what is kept of tokens before the stretch."""

    function: str
    inputs: tuple[tuple[Node, ...], ...]
    functions: tuple[Callable[..., Node], ...]
    state: Mapping[str, Node | tuple[Node, ...]]
    hyper: Mapping[str, Node | int]
    begin: int
    first: bool
    chunk: int
    keep: tuple[bool, ...] | None
    ends: tuple[str, ...]


class Unrolled:
    """The equations of a program, written out for a situation."""

    def __init__(self, program: Program, situation: Situation) -> None:
        self.program, self.situation = program, situation
        self.numbers = dict(_whole_numbers(program))
        periods = sorted({p for p in map(self.period, _of(program, "fires")) if p is not None})
        tokens = situation.tokens
        if periods and periods[0] < tokens:
            raise NotImplementedError(f"a stretch of {tokens} tokens, of which {periods[0]} make a period")
        whole = math.lcm(*periods) if periods else 8
        self.begin = 0 if situation.first else whole * 2 - (tokens if situation.fires else whole)
        events = [*_of(program, "window"), *_of(program, "fires")]
        self.stands = {x: leaf("free", f"event {i}", x.type) for i, x in enumerate(events)}
        self.known = {leaf("hyper", h.name, h.type): number(n) for h in program.hypers
                      if (n := self.numbers.get(h.name)) is not None}  # fmt: skip

    def period(self, fires: Node) -> int | None:
        """The tokens between two firings, as a number."""
        return self.number(fires.args[0])

    def number(self, here: Node) -> int | None:
        if here.value is not None:
            return int(here.value)
        return self.numbers.get(here.name) if here.role == "hyper" else None

    def inputs(self, t: int) -> dict[Node, Node]:
        """The inputs of token t, counted from 0; negative ones came before the stretch."""
        return {leaf("input", x.name, x.type): leaf("input", f"{x.name}#{t + 1}", x.type) for x in self.program.inputs}

    def call(self, function: str) -> Call:
        """What the generated function is given."""
        tables = [self.inputs(t) for t in range(self.situation.tokens)]
        given = tuple(
            tuple(table[leaf("input", x.name, x.type)] for table in tables) for x in self.program.inputs
        )
        state: dict[str, Node | tuple[Node, ...]] = {x.name: own_leaf(x) for x in self.program.states}
        if not self.situation.first:
            state |= dict(self.past())
        hyper: dict[str, Node | int] = {
            h.name: self.numbers.get(h.name, leaf("hyper", h.name, h.type)) for h in self.program.hypers
        }
        asked = tuple(_answer(self.program, x.name) for x in self.program.callables)
        ends = tuple(x.name for x in self.program.states)
        situation = self.situation
        return Call(function, given, asked, state, hyper, self.begin, situation.first, situation.chunk,
                    situation.keep, ends)  # fmt: skip

    def past(self) -> Iterator[tuple[str, tuple[Node, ...]]]:
        """What windows kept of the tokens before the stretch, under the names that generated code has for it."""
        for window in _of(self.program, "window"):
            value, length = window.args
            many = self.number(length)
            found = low_rank(window)
            parts = [value] if found is None else [value, *(x.args[0] for term in found[1] for x in term[:3] if x)]
            for part in parts:
                if many is not None and many > 1:
                    kept = tuple(substitute(part, self.inputs(t)) for t in range(1 - many, 0))
                    yield key_of(part, length), kept

    def expected(self) -> Found:
        """The outputs at each token that is there, and the states after the last."""
        program, situation = self.program, self.situation
        state = {own_leaf(x): own_leaf(x) for x in program.states}
        outputs: dict[str, list[Node]] = {name: [] for name in program.outputs}
        if situation.first and situation.there:
            table = {**self.inputs(situation.there[0]), **self.known}
            for x in first_states(program):
                state[own_leaf(x)] = _like(substitute(x.start, {**table, **state}), x.type)
        for t in situation.there:
            table = {**state, **self.inputs(t), **self.known, TIME: number(self.begin + t + 1)}
            for event, stands in self.stands.items():
                table[stands] = self.windowed(event, t) if event.op == "window" else self.fired(event, t)

            def value(root: Node, table: Mapping[Node, Node] = table) -> Node:
                return substitute(substitute(root, self.stands), table)

            for name, root in program.outputs.items():
                outputs[name].append(value(root))
            state = {
                own_leaf(x): state[own_leaf(x)] if x.next is None else _like(value(x.next), x.type)
                for x in program.states
            }
        return {n: tuple(x) for n, x in outputs.items()}, {x.name: state[own_leaf(x)] for x in program.states}

    def fired(self, fires: Node, t: int) -> Node:
        """Whether it fires at token t."""
        period, start = map(self.number, fires.args)
        if period is None or start is None:
            raise NotImplementedError("a period that is no number")
        now = self.begin + t + 1
        return boolean(now >= start and (now - start) % period == 0)

    def starts(self) -> set[Node]:
        """What the states of a sequence that begins here are made from."""
        if not self.situation.first or not self.situation.there:
            return set()
        table = self.inputs(self.situation.there[0])
        return {table[x] for state in self.program.states if state.kind == "first" for x in state.start.walk()
                if x in table}  # fmt: skip

    def windowed(self, window: Node, t: int) -> Node:
        """A sum over the last tokens, written out."""
        value, length = window.args
        many = self.number(length)
        if many is None or any(x.role == "state" or x is TIME for x in value.walk()) or window.attrs[0] != "sum":
            raise NotImplementedError("a window that is not a sum over what is given")
        least = 0 if self.situation.first else t - many + 1
        values = [substitute(value, {**self.inputs(s), **self.known}) for s in range(max(least, t - many + 1), t + 1)]
        total = values[0]
        for x in values[1:]:
            total = node("add", total, x)
        return total


def _like(value: Node, type: Type) -> Node:
    """A number that fills a tensor, as that tensor."""
    if value.type.axes == type.axes:
        return value
    return node("mul", value, node("ones", attrs=(type,)))


def _of(program: Program, op: str) -> list[Node]:
    return list(dict.fromkeys(x for root in program.roots for x in root.walk() if x.op == op))


def _whole_numbers(program: Program) -> Iterator[tuple[str, int]]:
    """Knobs that must be numbers before the code runs: lengths of windows, periods, counts of passes."""
    for op, place, least in (("window", 1, WINDOW), ("fires", 0, PERIOD), ("loop", 0, 2)):
        for here in _of(program, op):
            if len(here.args) > place and here.args[place].role == "hyper":
                yield here.args[place].name, least


def _answer(program: Program, name: str) -> Callable[..., Node]:
    """A function of the user, as the program asks for it."""
    asked = next((x for x in _of(program, "apply") if x.attrs[0] == name), None)

    def ask(*points: Node) -> Node:
        if asked is None or asked.args[: asked.attrs[3][0]]:
            raise NotImplementedError(f"a family of functions `{name}`")
        return node("apply", *points, attrs=asked.attrs)

    return ask
