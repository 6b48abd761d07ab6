"""A run of the rule: what the names of a claim stand for in each of its steps, in terms of where the run begins.

states, parameters   what the steps before made of them; a party that is absent keeps its own
inputs, draws        new in every step
oracles              of functions without properties: new in every step, since each step has its own sample
t, `every k`         the number of the step
all else             the same in every step
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from dotopt.compiler.ir import TIME, Node, Program, State, instance, leaf, node, number, rebuild, substitute
from dotopt.compiler.ops.types import INT
from dotopt.compiler.prove.statements.simplify import fires, fold
from dotopt.compiler.prove.statements.unroll import like

Place = tuple[str, str]  # the role and the name of a state or parameter, of a family or not
Value = tuple[tuple[Node, ...], Node]  # the indices of a family, and the value in terms of them
MOVING = ("param", "state", "input", "draw", "time")  # leaves that may be different in every step
ASKED = ("oracle", "apply", "base", "attention", "fires", "window")  # operations of which that is true
AT_START = " at the start"  # ends the name of a draw that is made once


def moves(here: Node) -> bool:
    """Whether a sentence speaks of what may be different in every step."""
    return any(part.role in MOVING or part.op in ASKED for part in here.walk())


def speaks_of_states(here: Node) -> bool:
    """Whether a sentence speaks of a state or the parameter itself, not only of what is asked there."""
    if here.role in ("param", "state"):
        return True
    return here.op not in ASKED and any(speaks_of_states(part) for part in here.children)


@dataclass(frozen=True)
class Moment:
    """One step of a run, `later` steps after the one in which names stand for themselves.

    `settle` makes nodes simpler, and may know constants that premises fix.
    """

    program: Program
    settle: Callable[[Node], Node]
    later: int
    values: Mapping[Place, Value]
    time: Node
    renewed: frozenset[str] = frozenset()  # the functions that answer anew in every step

    def read(self, sentence: Node) -> Node:
        """What a sentence about a step says about this one."""
        return self.settle(self.written(sentence))

    def written(self, sentence: Node) -> Node:
        """The same, with nothing computed."""
        return rebuild(sentence, self._change)

    def next(self) -> Moment:
        """The step after this one."""
        moved = {place: (indices, self.read(value)) for place, (indices, value) in _nexts(self.program).items()}
        kept = {place: value for place, value in self.values.items() if place not in moved}
        time = number(self.time.value + 1) if self.time.value is not None else node("add", TIME, number(self.later + 1))
        return replace(self, later=self.later + 1, values=kept | moved, time=time)

    def _change(self, here: Node) -> Node:
        match here.op:
            case "leaf" if here is TIME:
                return self.time
            case "leaf" if (here.role, here.name) in self.values:
                indices, value = self.values[here.role, here.name]
                return instance(value, dict(zip(indices, here.args, strict=True)))
            case "leaf" if here.role in ("input", "draw") and self.later and not here.name.endswith(AT_START):
                return leaf(here.role, self._new(here.name), here.type, *here.args)
            case "oracle" | "apply" | "base" if self.later and here.attrs[0] in self.renewed:
                return node(here.op, *here.args, attrs=(self._new(here.attrs[0]), *here.attrs[1:]), span=here.span)
            case "fires":
                return fires(here.args[0], here.args[1], self.time)
        return here

    def _new(self, name: object) -> str:
        return f"{name}#{self.later + 1}"


def any_step(program: Program, settle: Callable[[Node], Node] = fold, fixed: Collection[str] = ()) -> Moment:
    """A step from any state. Functions that are `fixed`, or have properties, answer the same in all steps."""
    same = {c.name for c in program.callables if c.properties or c.word == "function"} | set(fixed)
    asked = {c.name for c in program.callables} - same
    bases = {here.attrs[0] for root in program.roots for here in root.walk() if here.op == "base"}
    return Moment(program, settle, 0, {}, TIME, frozenset(asked | bases))


def first_step(program: Program, settle: Callable[[Node], Node] = fold) -> Moment:
    """The first step of a run. One function answers in all of it: such a run is one that a counterexample may take."""
    values: dict[Place, Value] = {}
    for state in program.states:
        indices = indices_of(program, state)
        values["state", state.name] = (indices, _start(state, indices))
    moment = Moment(program, settle, 0, values, number(1))
    for _ in program.states:  # a `first` value may use other states at the start
        read = {place: (indices, moment.read(value)) for place, (indices, value) in moment.values.items()}
        moment = replace(moment, values=read)
    return moment


class Step(Protocol):
    """A step of a run, or a time of sequences: what sentences say of it, and the one after it."""

    @property
    def later(self) -> int: ...
    def read(self, sentence: Node) -> Node: ...
    def written(self, sentence: Node) -> Node: ...
    def next(self) -> Step: ...


def steps(moment: Step, count: int) -> Iterator[Step]:
    """This step and those after it."""
    for later in range(count):
        if later:
            moment = moment.next()
        yield moment


def _nexts(program: Program) -> dict[Place, Value]:
    """What a step makes of states and parameters."""
    found: dict[Place, Value] = {}
    for param in program.params:
        if param.name in program.next:
            found["param", param.name] = (_leaves(param.indices), program.next[param.name])
    for state in program.states:
        if state.next is not None:
            indices = indices_of(program, state)
            found["state", state.name] = (indices, held(program, state, indices, state.next))
    return found


def held(program: Program, state: State, indices: tuple[Node, ...], value: Node) -> Node:
    """The next value of a state, where its party takes part; an absent one keeps what it has."""
    party = next((role for role in program.roles if role.name == state.role), None)
    if party is None or party.condition is None:
        return value
    return node("select", party.condition, value, leaf("state", state.name, state.type, *indices))


def indices_of(program: Program, state: State) -> tuple[Node, ...]:
    """The indices of a state: its own, and those of its party."""
    party = next((role for role in program.roles if role.name == state.role), None)
    return _leaves((*state.indices, *(party.indices if party is not None else ())))


def _leaves(indices: tuple[tuple[str, str], ...]) -> tuple[Node, ...]:
    return tuple(leaf("index", name, INT) for name, _ in indices)


def _start(state: State, indices: tuple[Node, ...]) -> Node:
    """What a state starts with; each member of a family that starts with a draw has its own."""
    begin = like(state.start, state.type)
    drawn = {here for here in begin.walk() if here.role == "draw" and here.name.endswith(AT_START) and not here.args}
    return substitute(begin, {here: leaf("draw", here.name, here.type, *indices) for here in drawn})


__all__ = [
    "ASKED",
    "MOVING",
    "Moment",
    "Step",
    "any_step",
    "first_step",
    "held",
    "indices_of",
    "moves",
    "speaks_of_states",
    "steps",
]
