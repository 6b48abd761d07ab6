"""The first steps of a rule as expressions of where it starts: what a counterexample must be reachable by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from dotopt.compiler.ir import TIME, Node, Program, leaf, node, number, substitute
from dotopt.compiler.ops.types import Type

FRESH = ("input", "draw")  # leaves that get a new value in every step


def start(program: Program) -> dict[Node, Node]:
    """The values before step 1, and t = 1."""
    table: dict[Node, Node] = {TIME: number(1)}
    for state in program.states:
        if state.indices:
            continue
        begin = like(state.start, state.type)
        table[leaf("state", state.name, state.type)] = begin
    for _ in program.states:  # a `first` value may use other states at the start
        table = {key: substitute(value, table) if key is not TIME else value for key, value in table.items()}
    return table


def like(value: Node, type: Type) -> Node:
    """A scalar as a tensor of this type, so that products of matrices can read it."""
    if value.type.axes or not type.axes:
        return value
    if value.value == 0:
        return node("zeros", attrs=(type,))
    return node("mul", value, node("ones", attrs=(type,)))


def runs(program: Program) -> bool:
    """Whether the first steps can be written out: no families of states or parameters, no roles."""
    return not (any(x.indices for x in program.states) or any(x.indices for x in program.params) or program.roles)


def trajectory(program: Program, steps: int) -> Iterator[dict[Node, Node]]:
    """For t = 1, 2, …: what the leaves of parameters, states, inputs and t stand for in that step."""
    if not runs(program):
        return
    table = start(program)
    for t in range(1, steps + 1):
        table[TIME] = number(Fraction(t))
        yield dict(table)
        moved: dict[Node, Node] = {}
        for param in program.params:
            if not param.indices and param.name in program.next:
                moved[leaf("param", param.name, param.type)] = substitute(program.next[param.name], table)
        for state in program.states:
            if state.indices:
                continue
            here = leaf("state", state.name, state.type)
            moved[here] = substitute(state.next, table) if state.next is not None else table.get(here, here)
        moved[TIME] = number(t + 1)
        for here in _fresh(program):
            moved[here] = leaf(here.role, f"{here.name}#{t + 1}", here.type)
        table = moved


def after(program: Program) -> dict[Node, Node]:
    """What the leaves of states and parameters, and t, become in one step."""
    table: dict[Node, Node] = {TIME: node("add", TIME, number(1))}
    for param in program.params:
        if param.name in program.next and not param.indices:
            table[leaf("param", param.name, param.type)] = program.next[param.name]
    for state in program.states:
        if state.next is not None and not state.indices:
            table[leaf("state", state.name, state.type)] = state.next
    return table


def _fresh(program: Program) -> list[Node]:
    found = [leaf("input", i.name, i.type) for i in program.inputs if not i.indices]
    return found + [leaf("draw", r.name, r.type) for r in program.randoms]


def names_below(program: Program, roots: Iterable[Node]) -> set[str]:
    """The states and parameters that roots hang on, in this step or a later one."""
    nexts = {s.name: s.next for s in program.states if s.next is not None} | dict(program.next)
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        moving = {here.name for here in waiting.pop().walk() if here.role in ("state", "param")} - found
        found |= moving
        waiting += [nexts[name] for name in moving if name in nexts]
    return found


def state_leaves(nodes: list[Node]) -> set[Node]:
    """The states that these nodes read."""
    return {here for root in nodes for here in root.walk() if here.op == "leaf" and here.role == "state"}


__all__ = ["after", "like", "names_below", "runs", "start", "state_leaves", "trajectory"]
