"""The derivative of each function of one number; and what has none anywhere, since it is constant in steps."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from dotopt.compiler.ir import COMPARISONS, Node, node, number


def half(sign: int = 1) -> Node:
    return number(Fraction(sign, 2))


def square(x: Node) -> Node:
    return node("pow", x, number(2))


def one_minus(x: Node) -> Node:
    return node("sub", number(1), x)


def inverse(x: Node) -> Node:
    return node("div", number(1), x)


def _gelu_slope(here: Node) -> Node:
    x = here.args[0]
    root2 = node("sqrt", number(2))
    cdf = node("mul", half(), node("add", number(1), node("erf", node("div", x, root2))))
    density = node(
        "div", node("exp", node("mul", half(-1), square(x))), node("sqrt", node("mul", number(2), node("pi")))
    )
    return node("add", cdf, node("mul", x, density))


DERIVATIVE: dict[str, Callable[[Node], Node]] = {
    "neg": lambda y: number(-1),
    "abs": lambda y: node("sign", y.args[0]),
    "sqrt": lambda y: node("div", half(), y),
    "exp": lambda y: y,
    "log": lambda y: inverse(y.args[0]),
    "sin": lambda y: node("cos", y.args[0]),
    "cos": lambda y: node("neg", node("sin", y.args[0])),
    "tan": lambda y: node("add", number(1), square(y)),
    "tanh": lambda y: one_minus(square(y)),
    "acos": lambda y: node("neg", inverse(node("sqrt", one_minus(square(y.args[0]))))),
    "atanh": lambda y: inverse(one_minus(square(y.args[0]))),
    "erf": lambda y: node(
        "div", node("mul", number(2), node("exp", node("neg", square(y.args[0])))), node("sqrt", node("pi"))
    ),
    "sigmoid": lambda y: node("mul", y, one_minus(y)),
    "relu": lambda y: node("gt", y.args[0], number(0)),
    "gelu": _gelu_slope,
    "cast": lambda y: number(1),
}

ZERO = frozenset(
    {*COMPARISONS, "and", "or", "not", "contains", "fires", "positive_definite", "indicator", "zeros", "ones", "eye"}
    | {"sign", "floor", "ceil", "size", "native", "argmax", "argsort", "rank_of"}
)
