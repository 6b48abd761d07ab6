"""The program of one rule: what it declares, what it keeps, and its equations in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from dotopt.compiler.ir.nodes import Equation, Node, Places, placed
from dotopt.compiler.ops.types import Type
from dotopt.compiler.text.source import Span


@dataclass(frozen=True, slots=True)
class Interval:
    """The legal values of a hyperparameter; None is unbounded. The ends may use other hyperparameters."""

    low: Node | None = None
    high: Node | None = None
    open_low: bool = False
    open_high: bool = False
    text: str = ""  # in the words of the file


@dataclass(frozen=True, slots=True)
class Hyper:
    """A scalar hyperparameter; `keyword` and `position` are its place in the Python signature (`betas`, 0)."""

    name: str
    keyword: str
    position: int | None
    type: Type
    interval: Interval
    default: Node | None
    indices: tuple[tuple[str, str], ...] = ()  # (index, set) of a family
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Option:
    """A static choice; a boolean has the values False and True."""

    name: str
    keyword: str
    values: tuple[bool | str, ...]
    default: bool | str


@dataclass(frozen=True, slots=True)
class Param:
    """What the rule moves; `merged` says that the last named axis holds all that follow.

    `ranks` are the numbers of axes that it may have, where the file leaves some out.
    """

    name: str
    type: Type
    merged: bool = False
    indices: tuple[tuple[str, str], ...] = ()
    ranks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What is kept between steps. `start` is the value before step 1; with kind `first` it is computed in step 1.

    `next` is None for a state that never changes. `shared`: the same number for all tensors of a group, since it
    depends on nothing but hyperparameters, t, and sums over the model.
    """

    name: str
    key: str
    type: Type
    start: Node
    kind: str
    next: Node | None
    shared: bool
    like: str | None = None  # the name after `like`
    indices: tuple[tuple[str, str], ...] = ()
    role: str | None = None

    @property
    def starts_late(self) -> bool:
        """Whether step 1 computes the value that the state has before it, since it is no plain number."""
        return self.kind == "first" or (self.start.value is None and self.start.op != "bool")


@dataclass(frozen=True, slots=True)
class Input:
    """Given at every step. One with a `start`, a value or a law, is a weight that the module holds and learns."""

    name: str
    type: Type
    interval: Interval
    indices: tuple[tuple[str, str], ...] = ()
    keyword: str = ""  # the name in Python, where the file says one
    start: Node | Random | None = None


@dataclass(frozen=True, slots=True)
class Random:
    """A draw: its law (`normal`, …), the arguments, and its position in the file, which seeds it."""

    name: str
    type: Type
    law: str
    args: tuple[Node, ...]
    position: int


@dataclass(frozen=True, slots=True)
class Callable_:
    """An objective, operator or function of the user: argument names, sample names, properties."""

    word: str
    name: str
    arguments: tuple[str, ...] | None
    samples: tuple[str, ...]
    properties: tuple[str, ...]
    default: str | None = None
    indices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RoleProgram:
    """The part of a protocol that one party runs."""

    name: str
    indices: tuple[tuple[str, str], ...]
    condition: Node | None
    equations: tuple[Equation, ...]
    sent: tuple[tuple[str, str, Node], ...]  # (send | broadcast, name, value)


@dataclass(frozen=True)
class Program:
    """One rule, lowered for one choice of options and rank."""

    name: str
    kind: str  # optimizer | module | aggregator | protocol | minimize | solver | host | formula | transform | theorem
    decided_by: Span | None
    docstring: str | None
    source: str | None
    params: tuple[Param, ...]
    hypers: tuple[Hyper, ...]
    options: tuple[Option, ...]
    inputs: tuple[Input, ...]
    states: tuple[State, ...]
    randoms: tuple[Random, ...]
    callables: tuple[Callable_, ...]
    equations: tuple[Equation, ...]
    next: Mapping[str, Node]  # of params
    outputs: Mapping[str, Node]
    evaluation: Mapping[str, Node]  # `eval θ = e`
    roles: tuple[RoleProgram, ...] = ()
    result: Node | None = None  # of a formula
    places: Places = field(default_factory=dict, compare=False, repr=False)  # where the file says what

    def mapped(self, change: Callable[[Node], Node]) -> Program:
        """The program with `change` applied to every value in it."""

        def table(old: Mapping[str, Node]) -> dict[str, Node]:
            return {name: change(root) for name, root in old.items()}

        def state(old: State) -> State:
            return replace(old, start=change(old.start), next=None if old.next is None else change(old.next))

        with placed(self.places):
            return replace(
                self,
                states=tuple(map(state, self.states)),
                randoms=tuple(replace(r, args=tuple(map(change, r.args))) for r in self.randoms),
                equations=tuple(replace(e, node=change(e.node)) for e in self.equations),
                next=table(self.next),
                outputs=table(self.outputs),
                evaluation=table(self.evaluation),
            )

    @property
    def roots(self) -> tuple[Node, ...]:
        """Everything that must be computed in a step."""
        states = tuple(state.next for state in self.states if state.next is not None)
        firsts = tuple(state.start for state in self.states if state.kind == "first")
        roles = tuple(value for role in self.roles for _, _, value in role.sent)
        last = (self.result,) if self.result is not None else ()
        return (*self.next.values(), *states, *self.outputs.values(), *firsts, *roles, *last)

    def of_group(self, name: str) -> bool:
        """Whether a shared state follows from sums over the model, so that its group holds it; else t tells it."""
        states = {state.name: state for state in self.states if state.shared}
        seen, waiting = set[str](), [name]
        while waiting:
            here = waiting.pop()
            if here in seen or here not in states:
                continue
            seen.add(here)
            for root in (states[here].start, states[here].next):
                for node in root.walk() if root is not None else ():
                    if (node.op in ("sum", "mean", "amax", "amin", "norm") and node.attrs.model) or node.op == "oracle":
                        return True
                    if node.role == "state":
                        waiting.append(node.name)
        return False

    @property
    def names(self) -> dict[Node, str]:
        """The user's name of each named node; the first name wins."""
        table: dict[Node, str] = {}
        for equation in self.equations:
            table.setdefault(equation.node, equation.label)
        return table

    @property
    def oracles(self) -> tuple[Node, ...]:
        """What the user's functions are asked in one step, each once."""
        found: dict[Node, None] = {}
        for root in self.roots:
            for here in root.walk():
                if here.op == "oracle":
                    found[here] = None
        return tuple(found)


P = ParamSpec("P")
R = TypeVar("R")


def at_its_places(function: Callable[Concatenate[Program, P], R]) -> Callable[Concatenate[Program, P], R]:
    """A function of a program in which every node has the place where the file of this program says it."""

    @wraps(function)
    def inside(program: Program, /, *args: P.args, **keywords: P.kwargs) -> R:
        with placed(program.places):
            return function(program, *args, **keywords)

    return inside
