"""Sums over all tensors: what a run on two tensors adds up, as one reduction over the model.

A run has two tensors; leaves of the second end in `#2`. Where a sum has a term of the first and the same term of the
second, it is a sum over the model, since classes treat any number of tensors alike (a replay has three).
"""

from __future__ import annotations

from dotopt.compiler.ir import Node, leaf, node, number, rebuild
from dotopt.runtime.lift.numbers import simplified

SECOND = "#2"


def over_model(root: Node) -> Node:
    """The expression with its sums over both tensors as reductions over the model."""
    if not any(x.op == "leaf" and x.name.endswith(SECOND) for x in root.walk()):
        return root
    return rebuild(root, _folded)


def _folded(here: Node) -> Node:
    if here.op != "add":
        return here
    terms = _terms(here)
    for i, x in enumerate(terms):
        if _second(x) or not any(y.op == "leaf" for y in x.walk()):
            continue
        for j, y in enumerate(terms):
            if i != j and _second(y) and simplified(_first(y)) is simplified(x):
                whole = _whole(x)
                if whole is not None:
                    rest = [t for k, t in enumerate(terms) if k not in (i, j)]
                    for t in rest:
                        whole = node("add", whole, t)
                    return simplified(whole)
    return here


def _terms(here: Node) -> list[Node]:
    if here.op != "add":
        return [here]
    return [*_terms(here.args[0]), *_terms(here.args[1])]


def _second(x: Node) -> bool:
    return any(y.op == "leaf" and y.name.endswith(SECOND) for y in x.walk())


def _first(x: Node) -> Node:
    """The term of the second tensor, written for the first."""

    def change(here: Node) -> Node:
        if here.op == "leaf" and here.name.endswith(SECOND):
            return leaf(here.role, here.name.removesuffix(SECOND), here.type)
        return here

    return rebuild(x, change)


def _whole(x: Node) -> Node | None:
    """The sum of a term over the model: of numbers that are sums of entries, perhaps with a factor."""
    match x.op, x.args:
        case "sum", (inner,) if not x.type.axes:
            return node("sum", inner, attrs=(x.attrs.axes, True))
        case "pow", (Node(op="norm", args=(inner,)) as n, two) if two.value == 2 and n.attrs.order == 2:
            return node("sum", node("pow", inner, number(2)), attrs=(n.attrs.axes, True))
        case "mul", (a, b):
            for factor, rest in ((a, b), (b, a)):
                if not any(y.role in ("param", "free") or (y.role == "state" and y.type.axes) for y in factor.walk()):
                    whole = _whole(rest)
                    return None if whole is None else node("mul", factor, whole)
    return None
