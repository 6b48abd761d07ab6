"""What of a loop changes from pass to pass, and what it reads from outside."""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.ir.nodes import Loop, Node


def moving(body: Loop) -> set[Node]:
    """The nodes of a body that change from pass to pass, without its variables; those of loops inside it are among
    them.
    """
    found = set(body.variables)
    for root in body.nodes:
        found.update(*(here.attrs.body.variables for here in root.walk() if here.op == "loop"))
    for root in body.nodes:
        for here in root.walk():
            if any(child in found for child in here.children):
                found.add(here)
    return found - set(body.variables)


def below(here: Node) -> Iterator[Node]:
    """The arguments, and what a loop reads from outside its body."""
    yield from here.args
    if here.op == "loop":
        body: Loop = here.attrs.body
        inside = moving(body) | set(body.variables)
        for inner in inside:
            yield from (child for child in inner.children if child not in inside)
        yield from (root for root in body.nodes if root not in inside)
