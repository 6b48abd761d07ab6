"""Scaled values: a list taken apart into a number and the list that it multiplies."""

from __future__ import annotations

from collections.abc import Mapping

from dotopt.compiler.emit.torch.places import Places
from dotopt.compiler.ir import Node, node, number

ONE = number(1)


def times(left: Node, right: Node) -> Node:
    """The product of two numbers, without factors 1."""
    if left is ONE:
        return right
    if right.op == "div" and right.args[0] is ONE:
        return over(left, right.args[1])
    return left if right is ONE else node("mul", left, right)


def over(left: Node, right: Node) -> Node:
    """The quotient of two numbers."""
    return left if right is ONE else node("div", left, right)


def negative(scale: Node) -> Node:
    """The negative of a number."""
    if scale.value is not None:
        return number(-scale.value)
    if scale.op == "neg":
        return scale.args[0]
    if scale.op in ("mul", "div"):
        return node(scale.op, negative(scale.args[0]), scale.args[1])
    return node("neg", scale)


class Products:
    """Takes a list apart into a number and the list that it multiplies."""

    def __init__(self, places: Places, names: Mapping[Node, str]) -> None:
        self.scalar = places.scalar
        self.names = names

    def split(self, here: Node) -> tuple[Node, Node]:
        """`(number, list)` whose product is `here`."""
        if here in self.names:
            return ONE, here
        match here.op, here.args:
            case "neg", (a,):
                scale, base = self.split(a)
                return negative(scale), base
            case "mul", (a, b) if self.scalar(a):
                scale, base = self.split(b)
                return times(a, scale), base
            case "mul", (a, b) if self.scalar(b):
                scale, base = self.split(a)
                return times(scale, b), base
            case "div", (a, b) if self.scalar(b):
                scale, base = self.split(a)
                return over(scale, b), base
            case "div", (a, b) if self.scalar(a):
                scale, base = self.split(b)
                return over(a, scale), node("div", ONE, base)
            case "mul", (a, b):
                (s, x), (r, y) = self.split(a), self.split(b)
                return times(s, r), node("mul", x, y)
            case "div", (a, b):
                (s, x), (r, y) = self.split(a), self.split(b)
                return over(s, r), node("div", x, y)
        return ONE, here
