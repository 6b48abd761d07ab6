"""Replacements that a pattern cannot say: functions of the node and of what the variables stand for."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from dotopt.compiler.ir import Node, boolean, node, number
from dotopt.compiler.ops import types as ty
from dotopt.compiler.rewrite.law import Binding

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "min": min,
    "max": max,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}


def fold(here: Node, found: Binding) -> Node | None:
    """The value of an operation on two numbers, exactly."""
    x, y = found["x"].value, found["y"].value
    if x is None or y is None or (here.op == "div" and y == 0):
        return None
    value = ARITHMETIC[here.op](x, y)
    return boolean(value) if isinstance(value, bool) else number(value)


def fold_rounded(here: Node, found: Binding) -> Node | None:
    """The same, where rounding the numbers first gives the same float."""
    made = fold(here, found)
    x, y = found["x"].value, found["y"].value
    if made is None or x is None or y is None:
        return None
    try:
        value = ARITHMETIC[here.op](float(x), float(y))
        same = value == (made.attrs.value if made.op == "bool" else float(made.attrs.value))
        same = same and math.copysign(1.0, value) > 0 if value == 0 and made.op == "const" else same  # -1*0 is -0
    except (OverflowError, ZeroDivisionError):
        return None
    return made if same else None


def fold_power(here: Node, found: Binding) -> Node | None:
    x, y = found["x"].value, found["y"].value
    if x is None or y is None or y.denominator != 1 or abs(y) > 64 or (x == 0 and y < 0):
        return None
    return number(x ** int(y))


def negate(here: Node, found: Binding) -> Node | None:
    value = found["x"].value
    return None if not value else number(-value)


def constant_first(here: Node, found: Binding) -> Node | None:
    x, y = here.args
    return node("mul", y, x) if y.value is not None and x.value is None else None


def collect(here: Node, found: Binding) -> Node | None:
    """a*(b*x) = (a b)*x for numbers a, b."""
    a, b = found["a"].value, found["b"].value
    return None if a is None or b is None else node("mul", number(a * b), found["x"])


def number_out(here: Node, found: Binding) -> Node | None:
    """x*(a*y) = a*(x*y) for a number a."""
    if found["a"].value is None or found["x"].value is not None:
        return None
    return node("mul", found["a"], node("mul", found["x"], found["y"]))


def quotient_out(here: Node, found: Binding) -> Node | None:
    """(a*x)/y = a*(x/y) for a number a that is not 1."""
    if found["a"].value is None:
        return None
    return node("mul", found["a"], node("div", found["x"], found["y"]))


def divide_by_number(here: Node, found: Binding) -> Node | None:
    """(a*x)/b = (a/b)*x for numbers a, b."""
    a, b = found["a"].value, found["b"].value
    return None if a is None or not b else node("mul", number(a / b), found["x"])


def negative_number_out(here: Node, found: Binding) -> Node | None:
    value = found["a"].value
    if value is None or value >= 0:
        return None
    return node("neg", found["x"] if value == -1 else node("mul", number(-value), found["x"]))


def add_alike(here: Node, found: Binding) -> Node | None:
    a, b = found["a"].value, found["b"].value
    return None if a is None or b is None else node("mul", number(a + b), found["x"])


def add_one_more(here: Node, found: Binding) -> Node | None:
    a = found["a"].value
    return None if a is None else node("mul", number(a + 1), found["x"])


def add_powers(here: Node, found: Binding) -> Node | None:
    a, b = found["a"].value, found["b"].value
    return None if a is None or b is None or a <= 0 or b <= 0 else node("pow", found["x"], number(a + b))


def next_power(here: Node, found: Binding) -> Node | None:
    a = found["a"].value
    return None if a is None or a.denominator != 1 or a < 1 else node("pow", found["x"], number(a + 1))


def lower_power(here: Node, found: Binding) -> Node | None:
    a = found["a"].value
    return None if a is None or a.denominator != 1 or a < 2 else node("pow", found["x"], number(a - 1))


def power_of_power(here: Node, found: Binding) -> Node | None:
    a, b = found["a"].value, found["b"].value
    whole = a is not None and b is not None and a.denominator == b.denominator == 1
    return node("pow", found["x"], number(a * b)) if whole and a is not None and b is not None else None


def without_ones(here: Node, found: Binding) -> Node | None:
    ones, x = (here.args[0], here.args[1]) if here.args[0].op == "ones" else (here.args[1], here.args[0])
    return x if ones.op == "ones" and x.type.axes == here.type.axes else None


def without_ones_inside(here: Node, found: Binding) -> Node | None:
    """A number spread by ones, where the other side has all the axes: the number alone."""
    for spread, x in (here.args, here.args[::-1]):
        if spread.op == "mul" and x.type.axes == here.type.axes != ():
            for ones, factor in (spread.args, spread.args[::-1]):
                if ones.op == "ones" and ones.type.axes == spread.type.axes:
                    return node(here.op, factor, x) if spread is here.args[0] else node(here.op, x, factor)
    return None


def without_inner_ones(here: Node, found: Binding) -> Node | None:
    """(1*x)*y = x*y for a tensor of ones, where y has its axes already."""
    x, y = found["x"], found["y"]
    return node("mul", x, y) if found["a"].op == "ones" and y.type.axes == here.type.axes else None


def square_of_norm(here: Node, found: Binding) -> Node | None:
    norm = here.args[0]
    if norm.op != "norm" or norm.attrs.order != 2 or here.args[1].value != 2:
        return None
    return node("sum", node("pow", norm.args[0], number(2)), attrs=norm.attrs.reduced)


def norm_of_squares(here: Node, found: Binding) -> Node | None:
    total = here.args[0]
    return node("norm", found["x"], attrs=(*total.attrs.reduced, 2))


def factor_out(here: Node, found: Binding) -> Node | None:
    """sum(a*x) = a*sum(x) where a is constant along the axes."""
    a, x = found["a"], found["x"]
    if not a.type.scalar or x.type.axes != here.args[0].type.axes:
        return None
    return node("mul", a, node(here.op, x, attrs=here.attrs))


def count(here: Node, found: Binding) -> Node | None:
    """The sum of ones over axes is their size."""
    if here.args[0].op != "ones" or here.type.axes or not here.args[0].args:
        return None
    return node("size", here.args[0].args[0], attrs=here.attrs)


def sum_of_nothing(here: Node, found: Binding) -> Node | None:
    return found["x"] if not here.attrs.axes and not here.attrs.model else None


def bring_in(op: str) -> Callable[[Node, Binding], Node | None]:
    """A number factor is pulled out of a product of matrices."""

    def law(here: Node, found: Binding) -> Node | None:
        if not found["a"].type.scalar:
            return None
        return node("mul", found["a"], node(op, found["x"], found["y"]))

    return law


def transposed_product(here: Node, found: Binding) -> Node | None:
    if len(here.type.axes) < 2:
        return None
    return node("matmul", node("transpose", found["y"]), node("transpose", found["x"]))


def transposed_outer(here: Node, found: Binding) -> Node | None:
    vectors = all(len(x.type.axes) == 1 and x.type.axes != (ty.REST,) for x in (found["x"], found["y"]))
    return node("outer", found["y"], found["x"]) if vectors else None


def transposed_vector(here: Node, found: Binding) -> Node | None:
    x = here.args[0]
    return x if not x.type.any and ty.transpose(x.type) == x.type and len(x.type.axes) < 2 else None


def branch(position: int) -> Callable[[Node, Binding], Node | None]:
    return lambda here, found: here.args[position] if here.args[position].type.axes == here.type.axes else None
