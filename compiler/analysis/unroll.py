"""Loops over a known number of passes, written out: so that a few inner steps of a memory are one affine step.

    iterate S from α*M repeat 2: S' = S - β*outer(S @ k - v, k)        a step of rank 2, as in DeltaProduct
"""

from __future__ import annotations

from dotopt.compiler.ir import Loop, Node, Program, node, number, rebuild, substitute

MOST = 8  # passes of a loop that are written out


def unrolled(program: Program) -> Program:
    """The program without the loops of a known number of passes that read a state, or run over a range of numbers."""
    return program.mapped(lambda root: rebuild(root, _written_out))


def over_range(here: Node) -> bool:
    """Whether a loop runs over a range of numbers that is known."""
    body: Loop = here.attrs.body
    return body.index is not None and _indices(here) is not None


def _written_out(here: Node) -> Node:
    match here:
        case Node(op="item", args=(Node(op="tuple", args=values),)):
            found: Node = values[here.attrs.position]
            return found
        case Node(op="loop"):
            return _passes(here)
    return here


def _indices(here: Node) -> list[int] | None:
    """The values of the index at each pass, or the numbers of the passes; None if they are not known, or many."""
    body: Loop = here.attrs.body
    domain = here.args[0]
    if body.index is None:
        last = domain.value
        first = None if last is None else last - last + 1
    else:
        ends = [x.value for x in domain.args] if domain.op == "range" else []
        first, last = ends if len(ends) == 2 else (None, None)
    if body.until is not None or first is None or last is None or last - first >= MOST:
        return None
    return list(range(int(first), int(last) + 1))


def _passes(here: Node) -> Node:
    body: Loop = here.attrs.body
    indices = _indices(here)
    reads = any(x.role == "state" for root in (*here.args, *body.nodes) for x in root.walk())
    if indices is None or (body.index is None and not reads):
        return here
    values = list(here.args[1:])
    for at in indices:
        table = dict(zip(body.variables, values, strict=True))
        if body.index is not None:
            table[body.index] = number(at)
        values = [substitute(n, table) for n in body.nexts]
    return node("tuple", *values)
