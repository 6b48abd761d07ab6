"""Adjoints have the axes of what they belong to: what broadcasting copied is summed, what a sum took away is copied."""

from __future__ import annotations

from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.ops.types import Type


class NotDifferentiable(Exception):
    """An operation that has no derivative here; `why` is a sentence in the words of the language."""

    def __init__(self, here: Node, why: str) -> None:
        super().__init__(why)
        self.node = here
        self.why = why


def ones(like: Node) -> Node:
    """Ones in the shape of `like`."""
    return node("ones", like, attrs=(Type("real", like.type.axes),)) if like.type.axes else number(1)


def zeros(like: Node) -> Node:
    """Zeros in the shape of `like`."""
    return node("zeros", like, attrs=(Type("real", like.type.axes),)) if like.type.axes else number(0)


def with_axes_of(bar: Node, arg: Node) -> Node:
    """`bar` with the axes of `arg`: summed over the axes that broadcasting added, copied over those that it lacks."""
    if bar.type.any or arg.type.any or bar.type.axes == arg.type.axes:
        return bar
    added = tuple(axis for axis in bar.type.axes if axis not in arg.type.axes)
    if added:
        bar = node("sum", bar, attrs=(added, False))
    if bar.type.axes == arg.type.axes:
        return bar
    if len(bar.type.axes) == 2 and bar.type.axes == arg.type.axes[::-1]:
        return node("transpose", bar)
    return node("mul", ones(arg), bar)


def times(bar: Node, factor: Node) -> Node:
    """`bar*factor`, inside the branch if `bar` is zero outside one."""
    if bar.op == "select":
        condition, then, otherwise = bar.args
        if otherwise.value == 0:
            return node("select", condition, times(then, factor), otherwise)
        if then.value == 0:
            return node("select", condition, then, times(otherwise, factor))
    return node("mul", bar, factor)


def spread(here: Node, value: Node) -> Node:
    """What a reduction gave back, copied along the axes that it took away."""
    return node("mul", ones(here.args[0]), value)
