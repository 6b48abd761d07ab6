"""Reductions in the three forms that a pass can accumulate (sum, largest, smallest), with what is fixed taken out.

    mean(x) = sum(x)/size(x)      ‖x‖ = √sum(x²)      ‖x‖[1] = sum(|x|)      ‖x‖[∞] = max(|x|)
    std(x)  = √((sum((x - m)²) - sum(x - m)²/n)/(n - 1)), m = mean(x)
    sum(a*b) = a*sum(b)           for a that does not vary along the axes summed away

The last law saves passes: in `dot(w/(‖w‖ + ε), p)` the norm needs a pass of its own unless it is taken out of the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.ops.attributes import Reduced
from dotopt.compiler.schedule.places import order


def primitive(roots: Iterable[Node]) -> dict[Node, Node]:
    """For every node under `roots`: the same value, with all reductions in primitive form."""
    roots = list(roots)
    table = _mapped(roots, _primitive)
    sums = {(here.args[0], here.attrs.axes) for here in order(table.values()) if here.op == "sum" and here.type.axes}
    again = _mapped(table.values(), lambda here: _by_rows(here, sums))
    return {here: again[made] for here, made in table.items()}


def _mapped(roots: Iterable[Node], change: Callable[[Node], Node]) -> dict[Node, Node]:
    done: dict[Node, Node] = {}
    for here in order(roots):
        args = tuple(done[arg] for arg in here.args)
        same = all(a is b for a, b in zip(args, here.args, strict=True))
        done[here] = change(here if same else node(here.op, *args, attrs=here.attrs, span=here.span))
    return done


def _by_rows(here: Node, sums: set[tuple[Node, tuple[str, ...]]]) -> Node:
    """A sum over a tensor as the sum of its row sums, where these are made anyway."""
    if here.op != "sum" or here.attrs.model or here.type.axes:
        return here
    for axes in (here.attrs.axes[start:] for start in range(1, len(here.attrs.axes))):
        if (here.args[0], axes) in sums:
            rows = node("sum", here.args[0], attrs=(axes, False))
            return node("sum", rows, attrs=(rows.type.axes, False))
    return here


def _primitive(here: Node) -> Node:
    match here.op:
        case "sum":
            return _sum(here.args[0], here.attrs)
        case "mean":
            return node("div", _sum(here.args[0], here.attrs), _size(here.args[0], here.attrs))
        case "norm":
            return _norm(here)
        case "std":
            return _std(here.args[0], here.attrs)
        case "mul" if here.args[0] is here.args[1] and here.args[0].op == "sqrt" and _is_sum(here.args[0].args[0]):
            return here.args[0].args[0]  # ‖x‖² needs no root
        case _:
            return here


def _is_sum(here: Node) -> bool:
    return here.op == "sum"


def _size(operand: Node, attrs: Reduced) -> Node:
    return node("size", operand, attrs=attrs)


def _norm(here: Node) -> Node:
    operand, attrs, degree = here.args[0], here.attrs.reduced, here.attrs.order
    match degree:
        case None:
            return node("amax", node("abs", operand), attrs=attrs)
        case 1:
            return _sum(node("abs", operand), attrs)
        case 2:
            return node("sqrt", _sum(node("mul", operand, operand), attrs))
        case _:
            power = _sum(node("pow", node("abs", operand), number(degree)), attrs)
            return node("pow", power, node("div", number(1), number(degree)))


def _std(operand: Node, attrs: Reduced) -> Node:
    """From the mean, in a pass of its own: without it everything is lost where the mean is large beside the deviation.

    The second sum takes out what rounding left in the mean.
    """
    size = _size(operand, attrs)
    off = node("sub", operand, node("div", _sum(operand, attrs), size))
    squares, rest = _sum(node("mul", off, off), attrs), _sum(off, attrs)
    spread = node("sub", squares, node("div", node("mul", rest, rest), size))
    return node("sqrt", node("div", node("max", spread, number(0)), node("sub", size, number(1))))


def _sum(operand: Node, attrs: Reduced) -> Node:
    """`sum(operand)` with the factors that do not vary along the summed axes in front."""
    axes = attrs.axes
    above, below = _factors(operand)
    fixed_above, above = _split(above, axes)
    fixed_below, below = _split(below, axes)
    if attrs.model:  # over the model: what is fixed in one tensor may differ between tensors
        fixed_above, above = _numbers(fixed_above, above)
        fixed_below, below = _numbers(fixed_below, below)
    if not fixed_above and not fixed_below:
        return node("sum", operand, attrs=attrs)
    inner = _quotient(_product(above), below)
    if inner.type.axes != operand.type.axes:
        return node("sum", operand, attrs=attrs)
    return _quotient(_product([*fixed_above, node("sum", inner, attrs=attrs)]), fixed_below)


def _factors(operand: Node) -> tuple[list[Node], list[Node]]:
    match operand.op:
        case "mul":
            (above, below), (more_above, more_below) = map(_factors, operand.args)
            return above + more_above, below + more_below
        case "div":
            (above, below), (more_below, more_above) = map(_factors, operand.args)
            return above + more_above, below + more_below
        case _:
            return [operand], []


def _split(factors: list[Node], axes: tuple[str, ...]) -> tuple[list[Node], list[Node]]:
    """Those that do not have any of `axes`, and the others."""
    fixed = [factor for factor in factors if not set(factor.type.axes) & set(axes)]
    return fixed, [factor for factor in factors if set(factor.type.axes) & set(axes)]


def _numbers(fixed: list[Node], rest: list[Node]) -> tuple[list[Node], list[Node]]:
    """Those of `fixed` that are the same for all tensors; the others join `rest`."""
    common = [factor for factor in fixed if all(_common(here) for here in order([factor]))]
    return common, rest + [factor for factor in fixed if factor not in common]


def _common(here: Node) -> bool:
    return (
        here.role in ("hyper", "time")
        if here.op == "leaf"
        else here.op not in ("sum", "amax", "amin", "size", "native")
    )


def _product(factors: list[Node]) -> Node:
    if not factors:
        return number(1)
    result = factors[0]
    for factor in factors[1:]:
        result = node("mul", result, factor)
    return result


def _quotient(above: Node, below: list[Node]) -> Node:
    return node("div", above, _product(below)) if below else above
