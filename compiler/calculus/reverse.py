"""The reverse mode: from the value back to the variable, one adjoint a node."""

from __future__ import annotations

from collections.abc import Mapping

from dotopt.compiler import rewrite
from dotopt.compiler.calculus.adjoints import adjoint_of
from dotopt.compiler.calculus.shapes import NotDifferentiable, ones, times, with_axes_of, zeros
from dotopt.compiler.ir import Fold, Lambda, Loop, Node, leaf, node, number, rebuild, substitute
from dotopt.compiler.ir.wellformed import after
from dotopt.compiler.ops.types import Type

UNROLLED = 256  # passes of a loop that are differentiated by writing them out


def gradient(expression: Node, variable: Node, arguments: Mapping[str, tuple[str, ...]] | None = None) -> Node:
    """The gradient of a scalar `expression` in `variable`, with the type of `variable`; of a tensor, that of its sum.

    `arguments` names the arguments of objectives and functions that have several. Raises `NotDifferentiable`.

    >>> from fractions import Fraction
    >>> S, k = leaf("state", "S", Type("real", ("n", "d"))), leaf("input", "k", Type("real", ("d",)))
    >>> error = node("sub", node("matmul", S, k), leaf("input", "v", Type("real", ("n",))))
    >>> square = node("pow", node("norm", error, attrs=(("n",), False, 2)), number(2))
    >>> gradient(node("mul", number(Fraction(1, 2)), square), S)
    outer(S @ k - v, k)
    """
    if expression.op == "select" and expression.args[0].type.scalar:  # a choice of formulas: each by itself
        condition, *branches = expression.args
        chosen = node("select", condition, *(gradient(branch, variable, arguments) for branch in branches))
        return rewrite.simplify(chosen, rewrite.EXACT)
    seed = number(1) if expression.type.scalar or expression.type.any else ones(expression)
    return rewrite.simplify(pullback(expression, variable, seed, arguments))


def jacobian_vector(expression: Node, variable: Node, direction: Node) -> Node:
    """The derivative of `expression` in `variable` along `direction`, with the type of `expression`.

    The pullback is linear in its seed, and its transpose is the derivative. Raises `NotDifferentiable`.

    >>> x, v = leaf("free", "x", Type("real", ("n",))), leaf("free", "v", Type("real", ("n",)))
    >>> jacobian_vector(node("pow", x, number(2)), x, v)
    2*(v*x)
    """
    seed = leaf("free", "seed of the pullback", Type("real", expression.type.axes))
    back = times(pullback(expression, variable, seed), direction)
    along = node("sum", back, attrs=(back.type.axes, False)) if back.type.axes else back
    result = rewrite.simplify(pullback(along, seed, number(1)))
    return substitute(result, {seed: expression})  # nothing is left of it but its shape


@after
def pullback(
    expression: Node, variable: Node, seed: Node, arguments: Mapping[str, tuple[str, ...]] | None = None
) -> Node:
    """The adjoint of `variable` when that of `expression` is `seed`; nothing is simplified."""
    if variable.op != "leaf":
        inner = leaf("free", "the variable", variable.type)
        return substitute(
            pullback(substitute(expression, {variable: inner}), inner, seed, arguments), {inner: variable}
        )
    expression = _prepared(expression, variable)
    names = arguments or {}
    order = _outside_bodies(expression)
    active = {variable}
    for here in order:
        depends = any(arg in active for arg in here.args) or _body_depends(here, variable)
        if depends and here.op != "stop":
            active.add(here)
    adjoint: dict[Node, Node] = {expression: seed}
    for here in reversed(order):
        bar = adjoint.get(here)
        if bar is None or here is variable or here not in active:
            continue
        if here.op == "fold":
            _accumulate(adjoint, variable, _through_fold(here, bar, variable))
        elif _body_depends(here, variable):
            raise NotDifferentiable(here, f"{here.op} has no derivative here in what its function contains")
        for position, arg in enumerate(here.args):
            if arg in active:
                given = (
                    _user(here, bar, position, names)
                    if here.op in ("oracle", "apply")
                    else adjoint_of(here, bar, position)
                )
                _accumulate(adjoint, arg, with_axes_of(given, arg))
    found = adjoint.get(variable)
    return zeros(variable) if found is None else with_axes_of(found, variable)


def _accumulate(adjoint: dict[Node, Node], arg: Node, given: Node) -> None:
    adjoint[arg] = node("add", adjoint[arg], given) if arg in adjoint else given


def _outside_bodies(root: Node) -> list[Node]:
    """The nodes below `root`, arguments first, without those inside bodies."""
    order: dict[Node, None] = {}
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        here, done = stack.pop()
        if done:
            order[here] = None
        elif here not in order:
            stack.append((here, True))
            stack.extend((arg, False) for arg in reversed(here.args) if arg not in order)
    return list(order)


def _body_depends(here: Node, variable: Node) -> bool:
    bodies = [attr for attr in here.attrs if isinstance(attr, Loop | Fold | Lambda)]
    return any(variable in inner.walk() for body in bodies for inner in body.nodes)


def _prepared(expression: Node, variable: Node) -> Node:
    """Squares of norms as sums of squares, whose derivative has no quotient; loops and matrix powers written out."""

    def change(here: Node) -> Node:
        if here.op == "pow" and here.args[0].op == "norm" and here.args[0].attrs.order == 2 and here.args[1].value == 2:
            norm = here.args[0]
            return node("sum", node("pow", norm.args[0], number(2)), attrs=norm.attrs.reduced)
        if here.op == "item" and here.args[0].op == "tuple":
            member: Node = here.args[0].args[here.attrs.position]
            return member
        if here.op == "loop" and any(variable in child.walk() for child in here.children):
            return unroll(here)
        if here.op == "matrix_power" and here.args[1].value is not None and variable in here.walk():
            return _matrix_product(here)
        return here

    return rebuild(expression, change)


def unroll(loop: Node) -> Node:
    """The results of a `repeat` loop with a fixed number of passes, written out, as a tuple."""
    body: Loop = loop.attrs.body
    if body.until is not None or body.index is not None:
        raise NotDifferentiable(
            loop, "a loop with `until` or `for` has no derivative here: give its gradient by `∇… =`"
        )
    count = loop.args[0].value
    if count is None or count > UNROLLED:
        raise NotDifferentiable(
            loop, f"only loops with a fixed number of passes, at most {UNROLLED}, are differentiated"
        )
    values = loop.args[1:]
    for _ in range(int(count)):
        table = dict(zip(body.variables, values, strict=True))
        values = tuple(substitute(next, table) for next in body.nexts)
    return node("tuple", *values)


def _matrix_product(here: Node) -> Node:
    power = here.args[1].value
    if power is None or power.denominator != 1 or not 1 <= power <= UNROLLED:
        raise NotDifferentiable(here, "matrix_power has a derivative here only for whole exponents from 1 on")
    product = here.args[0]
    for _ in range(int(power) - 1):
        product = node("matmul", product, here.args[0])
    return product


def _user(here: Node, bar: Node, position: int, names: Mapping[str, tuple[str, ...]]) -> Node:
    """The adjoint of what the user gives: gradients of values, Hessian-vector products of gradients."""
    arg = here.args[position]
    name, what, argument, split, _ = here.attrs
    several = names.get(name, ())
    point = position - split[0]
    if not 0 <= point < split[1]:
        if what == "hessian_vector" and position == len(here.args) - 1:  # symmetric
            return node("oracle", *here.args[:-1], bar, attrs=(name, what, argument, split, arg.type))
        raise NotDifferentiable(here, f"{name} has no derivative in an index or a sample")
    if split[1] > 1 and len(several) != split[1]:
        raise NotDifferentiable(here, f"{name} has several arguments: their names are needed for a derivative")
    asked = several[point] if split[1] > 1 else None
    match here.op, what:
        case "oracle", "value":
            return node("mul", bar, node("oracle", *here.args, attrs=(name, "gradient", asked, split, arg.type)))
        case "oracle", "gradient" if split[1] == 1:
            return node("oracle", *here.args, bar, attrs=(name, "hessian_vector", argument, split, arg.type))
        case "apply", 0 if here.type.scalar or (here.type.any and bar.type.scalar):
            return node("mul", bar, node("apply", *here.args, attrs=(name, 1, asked, split, arg.type)))
        case "apply", 0:  # of a tensor: the gradient of dot(bar, F(…)), with `bar` as the last argument
            return node("apply", *here.args, bar, attrs=(name, 1, asked, split, arg.type))
    raise NotDifferentiable(here, f"no oracle of {name} gives this derivative")


def _through_fold(here: Node, bar: Node, variable: Node) -> Node:
    """A sum over an index: the sum of the adjoints, all that the body has of `variable` included."""
    body: Fold = here.attrs.body
    if body.kind not in ("sum", "mean"):
        raise NotDifferentiable(here, f"{body.kind} over an index has no derivative here")
    inner = pullback(body.body, variable, bar)
    return node("fold", *here.args, attrs=(Fold(body.kind, body.indices, inner, body.condition),))
