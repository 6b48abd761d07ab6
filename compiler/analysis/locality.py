"""What every value of a step needs of the other processes, where each holds a part of the parameter.

    known = locality(program, cut={"rows"})     `cut`: the axes of the parameter that are spread over processes
    known[node].need                            number | entry | axis sum | tensor sum | model sum | whole matrix

A value is *local* if each process computes its part of it from its parts of other values. Sums along a cut axis need a
message; so does what reads whole matrices, which one process, the owner, computes from all parts. `level` counts the
messages on the way to a value: (sums over the model, other messages since the last of them). The domain is one more
interpretation on `analysis/interpretation.py`; what an operation reads is the column `reach` of its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from dotopt.compiler.analysis.interpretation import Interpretation
from dotopt.compiler.ir import Node, Program, State, leaf, node, number, rebuild
from dotopt.compiler.ir.loops import below, moving
from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.ops.types import REST

Need = Literal["number", "entry", "axis sum", "tensor sum", "model sum", "whole matrix"]
Level = tuple[int, int]
SUMS = ("sum", "amax")  # what `spelled_out` leaves of the reductions that need a message
CONSTANTS = ("const", "bool", "inf", "pi", "eye", "zeros", "ones", "arange")  # made where they are read
NUMBERS = ("hyper", "time", "axis", "option", "rank")


@dataclass(frozen=True)
class Locality:
    """What a value needs; `level` is when it is there, at the owner of the matrix if it is `owned`."""

    need: Need
    level: Level = (0, 0)
    owned: bool = False

    @property
    def everywhere(self) -> Level:
        """When the value is where its parts belong."""
        return (self.level[0], self.level[1] + 1) if self.owned else self.level


class Elsewhere(Exception):
    """A program that asks for something which no message brings; `reason` is a sentence for the user."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# ---- reductions that need a message, in sums ----


def spelled_out(here: Node, cut: frozenset[str]) -> Node:
    """The value with means, norms and deviations that need a message as sums and largest entries."""
    if here.op == "unit" and _cut(here.args[0], cut):
        (x,) = here.args
        length = spelled_out(node("norm", x, attrs=(x.type.axes, False, 2)), cut)
        return node("select", node("eq", length, number(0)), node("mul", number(0), x), node("div", x, length))
    if here.op not in ("mean", "norm", "std", "amin") or not _reduces(here, cut):
        return here
    (x,), along = here.args, tuple(here.attrs.reduced)

    def total(value: Node) -> Node:
        return node("sum", value, attrs=along)

    count = node("size", x, attrs=along)
    match here.op:
        case "mean":
            return node("div", total(x), count)
        case "amin":
            return node("neg", node("amax", node("neg", x), attrs=along))
        case "std":
            apart = node("sub", x, node("div", total(x), count))
            return node("sqrt", node("div", total(node("pow", apart, number(2))), node("sub", count, number(1))))
    order, size = here.attrs.order, node("abs", x)
    if order is None:
        return node("amax", size, attrs=along)
    if order == 2:
        return node("sqrt", total(node("pow", x, number(2))))
    if order == 1:
        return total(size)
    return node("pow", total(node("pow", size, number(order))), number(1 / order))


def _reduces(here: Node, cut: frozenset[str]) -> bool:
    return bool(here.attrs.model) or not cut.isdisjoint(here.attrs.axes)


def _cut(here: Node, cut: frozenset[str]) -> bool:
    return not cut.isdisjoint(here.type.axes)


# ---- what an operation needs by itself ----


def need(here: Node, cut: frozenset[str], like: tuple[str, ...]) -> Need:
    """What this operation needs, its arguments being there; `like` are the axes of the parameter."""
    axes = here.type.axes
    if any(axes.count(axis) > 1 for axis in cut):
        return "whole matrix"
    match here.op:
        case "leaf":
            if here.role == "draw" and axes != like and _cut(here, cut):
                return "whole matrix"
            return "number" if here.role in NUMBERS or (here.role == "draw" and not axes) else "entry"
        case "eye" | "arange":
            return "whole matrix" if here.attrs.axis in cut else "entry"
        case "size":
            return "number"
        case "oracle":
            return "entry"
        case "loop":
            needs = {need(inner, cut, like) for inner in moving(here.attrs.body)}
            if "model sum" in needs:
                raise Elsewhere("it sums over the model in a loop")
            return "whole matrix" if needs - {"number", "entry"} else "entry"
    match OPERATIONS[here.op].reads:
        case "axes" if here.op != "native" and here.attrs.model:
            return "model sum"
        case "axes" if not cut.isdisjoint(here.attrs.axes):
            return "tensor sum" if set(here.attrs.axes) == set(here.args[0].type.axes) else "axis sum"
        case "row" | "matrix" | "tensor" as reach if any(_within(arg, reach, cut) for arg in here.args):
            return "whole matrix"
    return "entry"


def _within(arg: Node, reach: str, cut: frozenset[str]) -> bool:
    """Whether an operation of this reach looks along a cut axis of its argument."""
    count = {"row": 1, "matrix": 2, "tensor": len(arg.type.axes)}[reach]
    named = [axis for axis in arg.type.axes if axis != REST]
    seen = arg.type.axes[-count:] if len(named) < count else named[len(named) - count :]
    return not cut.isdisjoint(seen)


# ---- the interpretation ----


@dataclass(frozen=True)
class _Domain:
    """The transfer function: `wanted` is what whole matrices are made of, `owned` the states that only owners need."""

    cut: frozenset[str]
    like: tuple[str, ...]
    states: Mapping[str, State]
    wanted: frozenset[Node]
    owned: frozenset[str]

    def transfer(self, here: Node, args: Sequence[Locality], known: Interpretation[Locality]) -> Locality:
        if here.role == "state":
            return self._state(self.states[here.name], known)
        if here.op == "oracle":
            return self._oracle(here)
        if here.op == "loop":
            args = [*args, *(known.of(outside) for outside in below(here) if outside not in here.args)]
        own = need(here, self.cut, self.like)
        if own == "model sum":
            stage, _ = max((arg.everywhere for arg in args), default=(0, 0))
            return Locality("model sum", (stage + 1, 0))
        reduces = own in ("axis sum", "tensor sum")
        wanted = here in self.wanted or here.op == "item"  # a result of a loop is where the loop is
        owner = any(arg.owned for arg in args)
        if here.op == "select" and all(arg.owned for arg in args[1:]) and args[0].need in ("number", "model sum"):
            wanted = True  # so that one of the two is sent
        if own == "whole matrix" or (wanted and (reduces or owner)):
            return Locality("whole matrix", max((arg.level for arg in args), default=(0, 0)), True)
        stage, depth = max((arg.everywhere for arg in args), default=(0, 0))
        if reduces:
            return Locality(own, (stage, depth + 1))
        numeric = own == "number" or (bool(args) and all(arg.need in ("number", "model sum") for arg in args))
        return Locality("number" if numeric or here.op in CONSTANTS else "entry", (stage, depth))

    def _state(self, state: State, known: Interpretation[Locality]) -> Locality:
        level = known.of(state.start).everywhere if state.starts_late and state.name not in self.owned else (0, 0)
        return Locality("number" if state.shared else "entry", level, state.name in self.owned)

    def _oracle(self, here: Node) -> Locality:
        if here.attrs.what in ("gradient", "field") and here.args and here.args[0].role == "param":
            return Locality("entry")
        raise Elsewhere("it asks the closure for more than the gradient at the parameters")


def locality(program: Program, cut: Iterable[str]) -> dict[Node, Locality]:
    """What each value of `program` needs, its reductions being spelled out; raises `Elsewhere`."""
    cut, (param,) = frozenset(cut), program.params
    wholes = [here for here in _values(program) if need(here, cut, param.type.axes) == "whole matrix"]
    owned = _owned(program, cut, set(wholes))
    roots = [root for s in program.states if s.name in owned for root in (s.start, s.next) if root is not None]
    wanted = frozenset(_below_all([*wholes, *roots]) | set(roots))
    domain = _Domain(cut, param.type.axes, {s.name: s for s in program.states}, wanted, owned)
    found = Interpretation(domain.transfer, {})
    for root in (*program.roots, *(state.start for state in program.states)):
        found.of(root)
    for name in owned:
        found.of(next(leaf("state", s.name, s.type) for s in program.states if s.name == name))
    return found.known


def owned_states(program: Program, cut: frozenset[str]) -> frozenset[str]:
    """The states that only the owner of a matrix reads and writes."""
    (param,) = program.params
    wholes = {here for here in _values(program) if need(here, cut, param.type.axes) == "whole matrix"}
    return _owned(program, cut, wholes)


def _owned(program: Program, cut: frozenset[str], wholes: set[Node]) -> frozenset[str]:
    (param,) = program.params

    def of_matrices(state: State) -> bool:
        axes = state.type.axes
        if not axes or axes == param.type.axes or state.shared:
            return False
        values = [root for root in (state.start, state.next) if root is not None]
        return any(axes.count(axis) > 1 for axis in cut) or any(x in wholes for root in values for x in root.walk())

    return frozenset(state.name for state in program.states if of_matrices(state))


def _values(program: Program) -> Iterator[Node]:
    roots = (*program.roots, *(state.start for state in program.states))
    yield from dict.fromkeys(here for root in roots for here in root.walk())


def _below_all(roots: Iterable[Node]) -> set[Node]:
    """What `roots` are made of, without what sums over the model are made of."""
    found: set[Node] = set()
    stack = [inner for root in roots for inner in below(root)]
    while stack:
        here = stack.pop()
        if here not in found:
            found.add(here)
            if not (here.op in SUMS and here.attrs.model):
                stack.extend(below(here))
    return found


def without_means(program: Program, cut: frozenset[str]) -> Program:
    """The program in which only sums and largest entries need messages."""
    changed = program.mapped(lambda root: rebuild(root, lambda here: spelled_out(here, cut)))
    return replace(changed, evaluation=program.evaluation)
