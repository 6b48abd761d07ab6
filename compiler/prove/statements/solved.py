"""An equation among the premises, solved for something that it says once: `y == x - η*∇f(y)` is `x = y + η*∇f(y)`.

It is solved through sums and differences, and through products and quotients with numbers that are not zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dotopt.compiler.ir import Node, free_indices, node

Nonzero = Callable[[Node], bool]


def solutions(equation: Node, nonzero: Nonzero) -> Iterator[tuple[Node, Node]]:
    """Free names first, then gradients and fields: each with what it must be, in which it does not occur."""
    left, right = equation.args
    found = [*_solved(left, right, nonzero), *_solved(right, left, nonzero)]
    apart = [(x, body) for x, body in found if x not in set(body.walk()) and set(body.type.axes) <= set(x.type.axes)]
    apart = [(x, body) for x, body in apart if is_value_of(x, body)]
    yield from (pair for pair in apart if pair[0].op == "leaf")
    yield from (pair for pair in apart if pair[0].op != "leaf")


def is_value_of(name: Node, body: Node) -> bool:
    """Whether a name can be this: a whole number only a whole one, and a number nothing that hangs on an index."""
    return (name.type.kind != "int" or body.type.kind == "int") and free_indices(body) <= free_indices(name)


def is_answer(here: Node) -> bool:
    """Whether it is the gradient of a function at a point, or the field of an operator."""
    return here.op in ("oracle", "apply") and here.attrs[1] in ("gradient", "field", 1) and len(here.args) == 1


def _solved(side: Node, other: Node, nonzero: Nonzero) -> Iterator[tuple[Node, Node]]:
    if is_answer(side) or (side.op == "leaf" and side.role == "free" and not side.args):
        yield side, other
    match side.op, side.args:
        case "add", (a, b):
            yield from _solved(a, node("sub", other, b), nonzero)
            yield from _solved(b, node("sub", other, a), nonzero)
        case "sub", (a, b):
            yield from _solved(a, node("add", other, b), nonzero)
            yield from _solved(b, node("sub", a, other), nonzero)
        case "neg", (a,):
            yield from _solved(a, node("neg", other), nonzero)
        case "mul", (a, b):
            for x, factor in ((a, b), (b, a)):
                if factor.type.scalar and nonzero(factor):
                    yield from _solved(x, node("div", other, factor), nonzero)
        case "div", (a, b) if b.type.scalar and nonzero(b):
            yield from _solved(a, node("mul", other, b), nonzero)


__all__ = ["is_answer", "is_value_of", "solutions"]
