"""Minimisers of a quadratic plus a norm, in closed form.

    ½a*S² + b*S + Σ c*|S|         sign(z)*max(|z| - c/a, 0)         z = -b/a; soft thresholding, entry by entry
    ½a*S² + b*S + c*‖S‖           max(1 - c/(a*‖z‖), 0)*z           shrinking as a whole; a is one number
    ½a*S² + b*S + c*Σ ‖S[i, :]‖   the same for each group

The quadratic is taken to be convex, and c not to be negative, as for `prox`.
"""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.analysis.quadratic import NotQuadratic, Reader, divided, spread, times, total
from dotopt.compiler.calculus import NotDifferentiable, gradient
from dotopt.compiler.ir import Lambda, Node, node, number
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.rewrite import simplify

ONE = number(1)


def shrunk(function: Lambda) -> Node | None:
    """The node where `function` of one tensor is smallest; None if it is not of one of these forms.

    >>> from dotopt.compiler.ir import leaf
    >>> from dotopt.compiler.ops.types import Type
    >>> S, x = leaf("free", "S", Type("real", ("n",))), leaf("input", "x", Type("real", ("n",)))
    >>> gap = node("sub", S, x)
    >>> half = node("mul", node("div", ONE, number(2)), node("sum", node("mul", gap, gap), attrs=(("n",), False)))
    >>> length = node("norm", S, attrs=(("n",), False, 2))
    >>> shrunk(Lambda((S,), node("add", half, length)))
    max(1 - 1/‖x‖, 0)*x if ‖x‖ > 0 else 0
    """
    (variable,) = function.variables
    quadratic, bent = parted(function)
    if len(bent) != 1 or quadratic is None or variable.type.kind != "real":
        return None
    try:
        form = Reader(variable).read(gradient(quadratic, variable))
    except (NotQuadratic, NotDifferentiable, Mismatch):
        return None
    scale = total(t.coefficient for t in form.terms)
    if not form.plain or scale is None or not form.rest:
        return None
    ((axes, weight),) = bent
    z = simplify(spread(divided(form.rest, scale), variable.type))
    least = simplify(node("div", weight, scale))
    if not axes:
        left = node("max", node("sub", node("abs", z), least), number(0))
        return simplify(node("mul", node("sign", z), left))
    if scale.type.axes:
        return None
    length = node("norm", z, attrs=(axes, False, 2))
    kept = node("max", node("sub", ONE, node("div", least, length)), number(0))
    return simplify(node("select", node("gt", length, number(0)), node("mul", kept, z), number(0)))


def parted(function: Lambda) -> tuple[Node | None, list[tuple[tuple[str, ...], Node]]]:
    """The sum of the terms that are no norms, and the axes and weights of the norms."""
    (variable,) = function.variables
    smooth: list[Node] = []
    bent: list[tuple[tuple[str, ...], Node]] = []
    for sign, term in _terms(function.body, ONE):
        found = _norm(term, variable)
        if found is None:
            smooth.append(times(sign, term))
        else:
            bent.append((found[0], times(sign, found[1])))
    return total(smooth), bent


def _terms(here: Node, sign: Node) -> Iterator[tuple[Node, Node]]:
    match here.op, here.args:
        case "add", (a, b):
            yield from _terms(a, sign)
            yield from _terms(b, sign)
        case "sub", (a, b):
            yield from _terms(a, sign)
            yield from _terms(b, times(number(-1), sign))
        case _:
            yield sign, here


def _norm(here: Node, variable: Node) -> tuple[tuple[str, ...], Node] | None:
    """The axes of the groups whose lengths a term adds up, and what it is multiplied by; entries have no axes."""
    axes = variable.type.axes
    match here.op, here.args:
        case "mul", (a, b) if variable not in set(a.walk()):
            found = _norm(b, variable)
            return None if found is None else (found[0], times(a, found[1]))
        case "mul", (a, b) if variable not in set(b.walk()):
            found = _norm(a, variable)
            return None if found is None else (found[0], times(found[1], b))
        case "div", (a, b) if variable not in set(b.walk()):
            found = _norm(a, variable)
            return None if found is None else (found[0], node("div", found[1], b))
        case "norm", (x,) if x is variable and here.attrs == (axes, False, 2):
            return axes, ONE
        case "norm", (x,) if x is variable and here.attrs == (axes, False, 1):
            return (), ONE
        case "sum", (Node(op="norm", args=(x,), attrs=(along, False, 2)),) if x is variable:
            return along, ONE
        case "sum", (x,) if here.attrs == (axes, False):
            match x.op, x.args:
                case "abs", (y,) if y is variable:
                    return (), ONE
                case "mul", (a, Node(op="abs", args=(y,))) if y is variable and variable not in set(a.walk()):
                    return (), a
    return None
