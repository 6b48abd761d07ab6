"""The table of adjoints: (operation, its adjoint, position of an argument) -> the adjoint of that argument."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from dotopt.compiler import rewrite
from dotopt.compiler.calculus.shapes import NotDifferentiable, ones, spread, times, zeros
from dotopt.compiler.ir import Node, node, number, sentence
from dotopt.compiler.ops import OPERATIONS, Absent
from dotopt.compiler.ops.types import REST

Adjoint = Callable[[Node, Node, int], Node]


def slope(here: Node, position: int) -> Node:
    """The derivative of an entrywise operation in one argument, from its row; raises `NotDifferentiable`."""
    stated = OPERATIONS[here.op].derivative
    if isinstance(stated, Absent) or len(stated) <= position:
        raise NotDifferentiable(here, f"{here.op} has no derivative here: give its gradient by `∇… =`")
    return sentence(stated[position], *here.args)


def _quotient(here: Node, bar: Node, position: int) -> Node:
    b = here.args[1]
    if position == 0:
        inside = bar.op == "select" or bar.value == 1
        return times(bar, node("div", number(1), b)) if inside else node("div", bar, b)
    return times(bar, slope(here, position))


def _power(here: Node, bar: Node, position: int) -> Node:
    a, b = here.args
    if position == 0 and b.value is not None:
        return times(bar, sentence("z*x^y" if b.value >= 1 else "0 if z == 0 else z*x^y", a, number(b.value - 1), b))
    return times(bar, slope(here, position))


def _unless(condition: Node, value: Node) -> Node:
    return node("select", condition, number(0), value)


def _choice(here: Node, bar: Node, position: int) -> Node:
    condition, nothing = here.args[0], number(0)
    return node("select", condition, bar, nothing) if position == 1 else node("select", condition, nothing, bar)


def _sum(here: Node, bar: Node, position: int) -> Node:
    return spread(here, _own(here, bar))


def _mean(here: Node, bar: Node, position: int) -> Node:
    return spread(here, node("div", _own(here, bar), node("size", here.args[0], attrs=here.attrs.reduced)))


def _own(here: Node, bar: Node) -> Node:
    """The adjoint of a reduction; over the whole model it may be known only if nothing per tensor is left of it."""
    if here.attrs.model and not bar.type.scalar:
        raise NotDifferentiable(here, "a reduction over=model inside something per tensor has no gradient per tensor")
    return bar


def _extreme(here: Node, bar: Node, position: int) -> Node:
    x = here.args[0]
    attained = node("eq", x, here)
    count = node("sum", attained, attrs=here.attrs.reduced)
    return times(node("div", bar, count), attained)


def _deviation(here: Node, bar: Node, position: int) -> Node:
    x, attrs = here.args[0], here.attrs.reduced
    centred = node("sub", x, node("mean", x, attrs=attrs))
    freedom = node("sub", node("size", x, attrs=attrs), number(1))
    slope = node("div", centred, node("mul", freedom, here))
    return times(bar, _unless(node("eq", here, number(0)), slope))


def _norm(here: Node, bar: Node, position: int) -> Node:
    x, (axes, model, order) = here.args[0], here.attrs
    if order is None:
        attained = node("eq", node("abs", x), here)
        count = node("sum", attained, attrs=(axes, model))
        return node("mul", node("div", bar, count), node("mul", attained, node("sign", x)))
    if order == 1:
        return times(bar, node("sign", x))
    if order == 2:
        return times(bar, _unless(node("eq", here, number(0)), node("div", x, here)))
    less = number(Fraction(order) - 1)
    slope = node("mul", node("sign", x), node("pow", node("div", node("abs", x), here), less))
    return times(bar, _unless(node("eq", here, number(0)), slope))


def _unit(here: Node, bar: Node, position: int) -> Node:
    x = here.args[0]
    axes = x.type.axes
    length = node("norm", x, attrs=(axes, False, 2))
    along = node("sum", node("mul", bar, here), attrs=(axes, False))
    return _unless(node("eq", length, number(0)), node("div", node("sub", bar, node("mul", along, here)), length))


def _matmul(here: Node, bar: Node, position: int) -> Node:
    a, b = here.args
    left, right = (_rank(arg) for arg in here.args)
    if (left, right) == (1, 1):
        return node("mul", bar, b if position == 0 else a)
    if position == 0:
        return (
            node("outer", bar, b)
            if right == 1
            else node("matmul", bar, node("transpose", b))
            if left == 2
            else node("matmul", b, bar)
        )
    return node("outer", a, bar) if left == 1 else node("matmul", node("transpose", a), bar)


def _outer(here: Node, bar: Node, position: int) -> Node:
    a, b = here.args
    if _rank(a) > 1 or _rank(b) > 1:
        raise NotDifferentiable(here, "outer has a derivative here only for two vectors")
    if _rank(a) == 0 or _rank(b) == 0:
        return node("mul", bar, here.args[1 - position])
    return node("matmul", bar, b) if position == 0 else node("matmul", node("transpose", bar), a)


def _rank(arg: Node) -> int:
    return len([axis for axis in arg.type.axes if axis != REST])


def _trace(here: Node, bar: Node, position: int) -> Node:
    return node("mul", bar, node("eye", attrs=(here.args[0].type.axes[-1],)))


def _diagonal(here: Node, bar: Node, position: int) -> Node:
    return node("mul", node("outer", bar, ones(here)), node("eye", attrs=(here.type.axes[-1],)))


def _inverse_matrix(here: Node, bar: Node, position: int) -> Node:
    back = node("transpose", here)
    return node("neg", node("matmul", node("matmul", back, bar), back))


def _solve(here: Node, bar: Node, position: int) -> Node:
    back = node("solve", node("transpose", here.args[0]), bar)
    if position == 1:
        return back
    return node("neg", node("outer", back, here) if _rank(here) == 1 else node("matmul", back, node("transpose", here)))


def _svdvals(here: Node, bar: Node, position: int) -> Node:
    scale = rewrite.simplify(bar)
    if scale.op == "ones":
        return node("polar", here.args[0])
    if scale.op == "mul" and scale.args[0].op == "ones" and scale.args[1].type.scalar:
        return node("mul", scale.args[1], node("polar", here.args[0]))
    if scale.op == "mul" and scale.args[1].op == "ones" and scale.args[0].type.scalar:
        return node("mul", scale.args[0], node("polar", here.args[0]))
    raise NotDifferentiable(here, "of the singular values only their sum has a derivative here: it is polar(X)")


def _spectral_norm(here: Node, bar: Node, position: int) -> Node:
    x = here.args[0]
    right = node("top_eigenvector", node("matmul", node("transpose", x), x))
    return node("mul", bar, node("outer", node("div", node("matmul", x, right), here), right))


def _kept(here: Node, bar: Node, position: int) -> Node:
    if position == 1:
        return number(0)
    return node("select", node("ne", here, number(0)), bar, number(0))


def _cumulative(here: Node, bar: Node, position: int) -> Node:
    if _rank(here) != 1:
        raise NotDifferentiable(here, "cumsum has a derivative here only for vectors")
    return node("add", node("sub", node("sum", bar, attrs=(here.type.axes[-1:], False)), node("cumsum", bar)), bar)


def _window(here: Node, bar: Node, position: int) -> Node:
    raise NotDifferentiable(here, "what was seen in earlier steps has no derivative in this one")


ADJOINT: dict[str, Adjoint] = {
    "add": lambda here, bar, position: bar,
    "sub": lambda here, bar, position: bar if position == 0 else node("neg", bar),
    "div": _quotient,
    "pow": _power,
    "select": _choice,
    "sum": _sum,
    "mean": _mean,
    "amax": _extreme,
    "amin": _extreme,
    "std": _deviation,
    "norm": _norm,
    "unit": _unit,
    "matmul": _matmul,
    "outer": _outer,
    "transpose": lambda here, bar, position: node("transpose", bar),
    "trace": _trace,
    "diagonal": _diagonal,
    "tril": lambda here, bar, position: node("tril", bar),
    "inverse": _inverse_matrix,
    "solve": _solve,
    "svdvals": _svdvals,
    "spectral_norm": _spectral_norm,
    "keep_largest": _kept,
    "cumsum": _cumulative,
    "window": _window,
}


def adjoint_of(here: Node, bar: Node, position: int) -> Node:
    """The adjoint of argument `position` of `here`, whose own is `bar`; raises `NotDifferentiable`."""
    if here.op in ADJOINT:
        return ADJOINT[here.op](here, bar, position)
    factor = slope(here, position)
    return zeros(here.args[position]) if factor.value == 0 else times(bar, factor)
