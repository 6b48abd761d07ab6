"""What a vector of the rule is as a series of elementary differentials: sums, multiples, gradients near the point."""

from __future__ import annotations

from itertools import product

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.forms.polynomial import ONE, inverse
from dotopt.compiler.prove.procedures.trees import LEAF, POINT, Context, Series, add, scale, shifted
from dotopt.compiler.prove.statements.statement import Unreadable


def series_of(here: Node, c: Context, known: dict[Node, Series]) -> Series:
    """The series of a vector-valued node; `known` gives those of leaves."""
    if here in known:
        return known[here]
    if here.value == 0:
        return {}
    match here.op:
        case "add" | "sub":
            left, right = (series_of(a, c, known) for a in here.args)
            return add(left, right if here.op == "add" else scale(right, -ONE))
        case "neg":
            return scale(series_of(here.args[0], c, known), -ONE)
        case "mul":
            for x, y in (here.args, here.args[::-1]):
                if x.type.scalar:
                    return scale(series_of(y, c, known), c.normal(x))
        case "div" if here.args[1].type.scalar:
            return scale(series_of(here.args[0], c, known), inverse(c.normal(here.args[1])))
        case "oracle" if here.attrs[0] == c.objective:
            return _differential(here, c, known)
        case "matmul" if here.args[0].op == "oracle" and here.args[0].attrs[1] == "hessian":
            return _applied((series_of(here.args[1], c, known),), _at(here.args[0].args[0], c, known), c)
        case "matmul" if here.args[0].op in ("mul", "div") and any(a.type.scalar for a in here.args[0].args):
            x, y = here.args[0].args
            if x.type.scalar and here.args[0].op == "mul":
                x, y = y, x
            moved = node("matmul", x, here.args[1])
            return series_of(node(here.args[0].op, moved, y), c, known)
        case "matmul" if here.args[0].op == "matmul":
            a, b = here.args[0].args
            return series_of(node("matmul", a, node("matmul", b, here.args[1])), c, known)
    raise Unreadable(f"`{here!r}` as a series of elementary differentials"[:200])


def _at(point: Node, c: Context, known: dict[Node, Series]) -> Series:
    """point - θ, for a point that is θ plus terms of order h: Taylor's formula needs them small."""
    step = from_point(series_of(point, c, known))
    if not small(step, c):
        raise Unreadable(f"the gradient at `{point!r}`, which is not {c.point!r} plus terms of order h"[:200])
    return step


def from_point(series: Series) -> Series:
    """The series minus θ."""
    rest = add(series, {POINT: -ONE})
    return {tree: p for tree, p in rest.items() if not p.zero}


def small(step: Series, c: Context) -> bool:
    return all(dict(monomial).get(c.h, 0) >= 1 for p in step.values() for monomial, _ in p.terms)


def _differential(here: Node, c: Context, known: dict[Node, Series]) -> Series:
    what, split = here.attrs[1], here.attrs[3]
    if split[0] or len(here.args) < 1:
        raise Unreadable("an indexed objective in a series")
    step = _at(here.args[0], c, known)
    match what:
        case "gradient":
            return shifted(LEAF, step, c)
        case "hessian_vector" | "third":
            return _applied(tuple(series_of(a, c, known) for a in here.args[1:]), step, c)
    raise Unreadable(f"the {what} of the objective in a series")


def _applied(directions: tuple[Series, ...], step: Series, c: Context) -> Series:
    total: Series = {}
    for choice in product(*(d.items() for d in directions)):
        coefficient = ONE
        for _, p in choice:
            coefficient = coefficient * p
        tree = tuple(sorted(t for t, _ in choice))
        if step:
            raise Unreadable("second derivatives at another point in a series")
        total = add(total, {tree: coefficient})
    return c.cut(total)


__all__ = ["from_point", "series_of", "small"]
