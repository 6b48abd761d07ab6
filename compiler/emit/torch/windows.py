"""Sums over the last C steps, where they are read only once in C steps: then one accumulator is enough.

    s' = s + β*sum(g over last C) every C        a' = 0 when it fires, a + g otherwise; the sum is a + g
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dotopt.compiler.emit.names import Names
from dotopt.compiler.ir import Node, Program, State, leaf, node, number, substitute
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.text.errors import fail


@at_its_places
def accumulated(program: Program) -> Program:
    """The program with a state for each window; raises E601 for a window that is read between firings."""
    windows = list(dict.fromkeys(here for root in program.roots for here in root.walk() if here.op == "window"))
    if not windows:
        return program
    table: dict[Node, Node] = {}
    added: list[State] = []
    names = Names((state.name for state in program.states), (state.key for state in program.states))
    for count, here in enumerate(windows, start=1):
        value, length = here.args
        firing = node("fires", length, length)
        if here.attrs.kind not in ("sum", "mean") or any(_read_otherwise(here, firing, program)):
            raise fail("E601", here.span, construct=f"`{here!r}`, which needs a copy for each of the last steps,")
        name = names.new(f"window{count}")
        total = node("add", leaf("state", name, value.type), value)
        table[here] = total if here.attrs.kind == "sum" else node("div", total, length)
        after = node("select", firing, number(0), total)
        added.append(State(name, name, value.type, number(0), "constant", after, shared=False))

    def change(root: Node) -> Node:
        return substitute(root, table)

    return replace(
        program,
        states=tuple(
            replace(x, start=change(x.start), next=None if x.next is None else change(x.next))
            for x in (*program.states, *added)
        ),
        equations=tuple(replace(e, node=change(e.node)) for e in program.equations),
        next={name: change(root) for name, root in program.next.items()},
    )


def _read_otherwise(window: Node, firing: Node, program: Program) -> Iterator[bool]:
    """For each way from a root to the window: whether it passes no choice that is made when the window is full."""
    stack = list(program.roots)
    seen: set[Node] = set()
    while stack:
        here = stack.pop()
        if here is window:
            yield True
        if here not in seen:
            seen.add(here)
            guarded = here.op == "select" and here.args[0] is firing
            stack.extend((here.args[2],) if guarded else here.children)
