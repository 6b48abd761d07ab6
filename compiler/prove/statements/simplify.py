"""Small simplifications of nodes: numbers are computed, decided branches taken, `I` takes its size.

The premises of a claim fix names; what they fix is folded away before any procedure sees the node.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import reduce
from itertools import product
from math import floor

from dotopt.compiler.ir import TIME, Fold, Loop, Node, boolean, instance, leaf, node, number, rebuild, substitute
from dotopt.compiler.prove.forms.domain import conditions, never_negative
from dotopt.compiler.prove.fuel import spend

NODE = 3  # work for a node that is looked at
MOST_TERMS = 12  # of a reduction that is written out
REDUCTIONS = {"sum": "add", "mean": "add", "max": "max", "min": "min"}


def fold(root: Node) -> Node:
    """Numbers computed, branches of decided conditions taken, short loops written out."""
    return rebuild(root, _fold_one)


def _fold_one(here: Node) -> Node:
    spend(NODE)
    args = here.args
    match here.op:
        case "lt" | "le" | "gt" | "ge" | "eq" | "ne" if all(a.value is not None for a in args):
            x, y = args[0].value, args[1].value
            assert x is not None and y is not None
            return boolean({"lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y, "eq": x == y, "ne": x != y}[here.op])
        case "lt" if _zero(args[1]) and never_negative(args[0]):
            return boolean(False)
        case "select" if args[0].op == "bool":
            chosen = args[1] if args[0].attrs[0] else args[2]
            return chosen if chosen.type == here.type or not here.type.axes else here
        case "not" if args[0].op == "bool":
            return boolean(not args[0].attrs[0])
        case "and" | "or" if any(a.op == "bool" for a in args):
            decisive = here.op == "or"
            if any(a.op == "bool" and bool(a.attrs[0]) == decisive for a in args):
                return boolean(decisive)
            rest = [a for a in args if a.op != "bool"]
            return rest[0] if rest else boolean(not decisive)
        case "add" | "sub" | "mul" if all(a.value is not None for a in args):
            x, y = args[0].value, args[1].value
            assert x is not None and y is not None
            return number({"add": x + y, "sub": x - y, "mul": x * y}[here.op])
        case "mod" if all(a.value is not None for a in args) and args[1].value != 0:
            x, y = args[0].value, args[1].value
            assert x is not None and y is not None
            return number(x - y * floor(x / y))
        case "mod" if args[1].value == 1 and args[0].type.kind == "int":
            return number(0)
        case "ge" if (
            args[0].op == "sub" and args[0].args[0] is TIME and args[0].args[1].value == 1 and args[1].value == 0
        ):
            return boolean(True)
        case "mul" if any(a.value == 0 for a in args) and not here.type.axes and not conditions(args):
            return number(0)  # a factor that may have no value stays, and is asked about
        case "pow" if args[1].value == 1:
            return args[0]
        case "add" | "sub" if any(_identity_of(a) is not None for a in args):
            sized = [_sized(a, b) for a, b in ((args[0], args[1]), (args[1], args[0]))]
            return node(here.op, *sized)
        case "fold" if (terms := _terms(here)) is not None:
            return _written_out(here.attrs[0].kind, terms)
        case "matmul" if _second_derivative(args[0]):
            return _hessian_vector(args[0], args[1])
        case "window" if args[1].value == 1:  # over the last step alone
            return args[0]
        case "loop":
            return _renamed(here)
        case "transpose" if args[0].op == "window" and _symmetric(args[0].args[0]):
            return args[0]
    return here


def _zero(here: Node) -> bool:
    """Whether a value is zero by its form, wherever it has one."""
    return here.value == 0 or (here.op in ("mul", "div") and _zero(here.args[0]))


def clocked(root: Node) -> Node:
    """`every C from s` as a condition on t, so that one step is not taken for the next."""
    return rebuild(root, lambda here: fires(here.args[0], here.args[1], TIME) if here.op == "fires" else here)


def fires(period: Node, start: Node, time: Node) -> Node:
    """Whether `every period from start` fires at this time."""
    since = node("sub", time, start)
    return node("and", node("ge", since, number(0)), node("eq", node("mod", since, period), number(0)))


def _renamed(here: Node) -> Node:
    """The loop with plain names for its variables, so that one formula used twice is one node."""
    body: Loop = here.attrs[0]
    inside = {x for root in body.nodes for x in root.walk() if x.role == "loop"} - set(body.variables)
    plain = {v: leaf("loop", re.sub(r"_\d+$", "", v.name), v.type, *v.args) for v in body.variables}
    if len(set(plain.values())) < len(plain) or inside & set(plain.values()) or any(v.args for v in plain):
        return here  # a name would be caught
    renamed = replace(
        body,
        variables=tuple(plain.values()),
        nexts=tuple(substitute(x, plain) for x in body.nexts),
        until=None if body.until is None else substitute(body.until, plain),
        equations=(),
    )
    return node("loop", *here.args, attrs=(renamed, *here.attrs[1:]), span=here.span)


def _symmetric(here: Node) -> bool:
    """Whether a matrix is its own transpose by its form: a vector with itself, times numbers."""
    match here.op, here.args:
        case "outer", (a, b):
            return a is b
        case "mul", (a, b) if a.type.scalar or b.type.scalar:
            return _symmetric(b if a.type.scalar else a)
        case (("add" | "sub"), (a, b)):
            return _symmetric(a) and _symmetric(b)
    return False


def _identity_of(here: Node) -> Node | None:
    """The `I` without a size in `α*I`."""
    if here.role == "identity":
        return here
    if here.op in ("mul", "div", "neg") and here.type.any:
        return next((i for a in here.args if (i := _identity_of(a)) is not None), None)
    return None


def _sized(here: Node, other: Node) -> Node:
    """`α*I` beside a matrix takes its size."""
    identity = _identity_of(here)
    if identity is None or len(other.type.axes) < 2:
        return here
    return substitute(here, {identity: node("eye", attrs=(other.type.axes[-1],))})


def _second_derivative(here: Node) -> bool:
    """Whether a matrix is a product of Hessians and scalars."""
    match here.op:
        case "oracle":
            return bool(here.attrs[1] == "hessian")
        case "mul" | "div":
            return any(
                _second_derivative(a) and b.type.scalar
                for a, b in (here.args, here.args[::-1])[: 2 if here.op == "mul" else 1]
            )
        case "matmul":
            return all(_second_derivative(a) for a in here.args)
    return False


def _hessian_vector(matrix: Node, v: Node) -> Node:
    """∇²f(y) @ v as one oracle, linear in v."""
    if v.type.axes and len(v.type.axes) != 1:
        return node("matmul", matrix, v)
    match matrix.op:
        case "oracle":
            attrs = (matrix.attrs[0], "hessian_vector", *matrix.attrs[2:-1], v.type)
            return node("oracle", *matrix.args, v, attrs=attrs)
        case "matmul":
            return _hessian_vector(matrix.args[0], _hessian_vector(matrix.args[1], v))
        case _:
            x, y = matrix.args
            if matrix.op == "mul" and x.type.scalar:
                x, y = y, x
            return node(matrix.op, _hessian_vector(x, v), y)


def _terms(here: Node) -> list[Node] | None:
    """The terms of a sum, mean, maximum or minimum over a few numbers that are all known: `for k in 1..3`."""
    body = here.attrs[0]
    if not isinstance(body, Fold) or body.kind not in REDUCTIONS or body.condition is not None or len(here.args) != 1:
        return None
    domain = here.args[0]
    if domain.op != "range" or any(end.value is None or end.value.denominator != 1 for end in domain.args):
        return None
    first, last = (int(end.value or 0) for end in domain.args)
    if not 0 < (last - first + 1) ** len(body.indices) <= MOST_TERMS:
        return None
    places = product(range(first, last + 1), repeat=len(body.indices))
    return [fold(instance(body.body, dict(zip(body.indices, map(number, p), strict=True)))) for p in places]


def _written_out(kind: str, terms: list[Node]) -> Node:
    total = fold(reduce(lambda x, y: node(REDUCTIONS[kind], x, y), terms))
    return node("div", total, number(len(terms))) if kind == "mean" else total


__all__ = ["clocked", "fires", "fold"]
