"""Derivatives on the intermediate representation, by the reverse mode: a table of adjoints, one row an operation.

    gradient(e, x)            the transposed derivative of e, applied to ones (of a scalar e: its gradient)
    jacobian_vector(e, x, v)  the derivative of e along v: the reverse mode, applied to its own result

The adjoint of a value has the axes of the value: what broadcasting copied is summed. Where a function has no
derivative the choice is that of torch.autograd: sign(0) = 0 for |x| and norms, at a tie `max(a, b)` gives half to
each, a maximum over entries is shared evenly among those that attain it, and relu' (0) = 0. The adjoint of a branch
stays inside the branch, so that a value that was not taken cannot reach the result, not even as 0*∞.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from dotopt.compiler import rewrite
from dotopt.compiler.ir import COMPARISONS, Fold, Lambda, Loop, Node, leaf, node, number, rebuild, substitute
from dotopt.compiler.types import REST, Type
from dotopt.compiler.wellformed import after

UNROLLED = 256  # passes of a loop that are differentiated by writing them out

Adjoint = Callable[[Node, Node, int], Node]


class NotDifferentiable(Exception):
    """An operation that has no derivative here; `why` is a sentence in the words of the language."""

    def __init__(self, here: Node, why: str) -> None:
        super().__init__(why)
        self.node = here
        self.why = why


def gradient(expression: Node, variable: Node, arguments: Mapping[str, tuple[str, ...]] | None = None) -> Node:
    """The gradient of a scalar `expression` in `variable`, with the type of `variable`; of a tensor, that of its sum.

    `arguments` names the arguments of objectives and functions that have several. Raises `NotDifferentiable`.

    >>> from dotopt.compiler.ir import leaf
    >>> S, k = leaf("state", "S", Type("real", ("n", "d"))), leaf("input", "k", Type("real", ("d",)))
    >>> error = node("sub", node("matmul", S, k), leaf("input", "v", Type("real", ("n",))))
    >>> square = node("pow", node("norm", error, attrs=(("n",), False, 2)), number(2))
    >>> gradient(node("mul", number(Fraction(1, 2)), square), S)
    outer(S @ k - v, k)
    """
    seed = number(1) if expression.type.scalar or expression.type.any else _ones(expression)
    return rewrite.simplify(pullback(expression, variable, seed, arguments))


def jacobian_vector(expression: Node, variable: Node, direction: Node) -> Node:
    """The derivative of `expression` in `variable` along `direction`, with the type of `expression`.

    The pullback is linear in its seed, and its transpose is the derivative. Raises `NotDifferentiable`.

    >>> from dotopt.compiler.ir import leaf
    >>> x, v = leaf("free", "x", Type("real", ("n",))), leaf("free", "v", Type("real", ("n",)))
    >>> jacobian_vector(node("pow", x, number(2)), x, v)
    2*(v*x)
    """
    seed = leaf("free", "seed of the pullback", Type("real", expression.type.axes))
    back = _times(pullback(expression, variable, seed), direction)
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
                    else _adjoint(here, bar, position)
                )
                _accumulate(adjoint, arg, _like(given, arg))
    found = adjoint.get(variable)
    return _zeros(variable) if found is None else _like(found, variable)


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
        if here.op == "pow" and here.args[0].op == "norm" and here.args[0].attrs[2] == 2 and here.args[1].value == 2:
            norm = here.args[0]
            return node("sum", node("pow", norm.args[0], number(2)), attrs=norm.attrs[:2])
        if here.op == "item" and here.args[0].op == "tuple":
            member: Node = here.args[0].args[here.attrs[0]]
            return member
        if here.op == "loop" and any(variable in child.walk() for child in here.children):
            return unroll(here)
        if here.op == "matrix_power" and here.args[1].value is not None and variable in here.walk():
            return _matrix_product(here)
        return here

    return rebuild(expression, change)


def unroll(loop: Node) -> Node:
    """The results of a `repeat` loop with a fixed number of passes, written out, as a tuple."""
    body: Loop = loop.attrs[0]
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


# ---- shapes ------------------------------------------------------------------------------------------------------


def _ones(like: Node) -> Node:
    return node("ones", like, attrs=(Type("real", like.type.axes),)) if like.type.axes else number(1)


def _zeros(like: Node) -> Node:
    return node("zeros", like, attrs=(Type("real", like.type.axes),)) if like.type.axes else number(0)


def _like(bar: Node, arg: Node) -> Node:
    """`bar` with the axes of `arg`: summed over the axes that broadcasting added, copied over those that it lacks."""
    if bar.type.any or arg.type.any or bar.type.axes == arg.type.axes:
        return bar
    added = tuple(axis for axis in bar.type.axes if axis not in arg.type.axes)
    if added:
        bar = node("sum", bar, attrs=(added, False))
    if bar.type.axes == arg.type.axes:
        return bar
    if len(bar.type.axes) == 2 and bar.type.axes == arg.type.axes[::-1]:
        return node("transpose", bar)
    return node("mul", _ones(arg), bar)


def _times(bar: Node, factor: Node) -> Node:
    """`bar*factor`, inside the branch if `bar` is zero outside one."""
    if bar.op == "select":
        condition, then, otherwise = bar.args
        if otherwise.value == 0:
            return node("select", condition, _times(then, factor), otherwise)
        if then.value == 0:
            return node("select", condition, then, _times(otherwise, factor))
    return node("mul", bar, factor)


def _spread(here: Node, value: Node) -> Node:
    """What a reduction gave back, copied along the axes that it took away."""
    return node("mul", _ones(here.args[0]), value)


# ---- one argument, entry by entry: the derivative ----------------------------------------------------------------


def _half(sign: int = 1) -> Node:
    return number(Fraction(sign, 2))


def _square(x: Node) -> Node:
    return node("pow", x, number(2))


def _one_minus(x: Node) -> Node:
    return node("sub", number(1), x)


def _inverse(x: Node) -> Node:
    return node("div", number(1), x)


def _gelu_slope(here: Node) -> Node:
    x = here.args[0]
    cdf = node("select", node("eq", x, number(0)), _half(), node("div", here, x))
    density = node(
        "div", node("exp", node("mul", _half(-1), _square(x))), node("sqrt", node("mul", number(2), node("pi")))
    )
    return node("add", cdf, node("mul", x, density))


DERIVATIVE: dict[str, Callable[[Node], Node]] = {
    "neg": lambda y: number(-1),
    "abs": lambda y: node("sign", y.args[0]),
    "sqrt": lambda y: node("div", _half(), y),
    "exp": lambda y: y,
    "log": lambda y: _inverse(y.args[0]),
    "sin": lambda y: node("cos", y.args[0]),
    "cos": lambda y: node("neg", node("sin", y.args[0])),
    "tan": lambda y: node("add", number(1), _square(y)),
    "tanh": lambda y: _one_minus(_square(y)),
    "acos": lambda y: node("neg", _inverse(node("sqrt", _one_minus(_square(y.args[0]))))),
    "atanh": lambda y: _inverse(_one_minus(_square(y.args[0]))),
    "sigmoid": lambda y: node("mul", y, _one_minus(y)),
    "relu": lambda y: node("gt", y.args[0], number(0)),
    "gelu": _gelu_slope,
    "cast": lambda y: number(1),
}

ZERO = frozenset(
    {*COMPARISONS, "and", "or", "not", "contains", "fires", "positive_definite", "indicator", "zeros", "ones", "eye"}
    | {"sign", "floor", "ceil", "size", "native", "argmax", "argsort", "rank_of"}
)


# ---- the table of adjoints: (operation, its adjoint, position) -> the adjoint of that argument -------------------


def _product(here: Node, bar: Node, position: int) -> Node:
    return _times(bar, here.args[1 - position])


def _quotient(here: Node, bar: Node, position: int) -> Node:
    a, b = here.args
    if position == 0:
        return _times(bar, _inverse(b)) if bar.op == "select" or bar.value == 1 else node("div", bar, b)
    return _times(bar, node("neg", node("div", a, _square(b))))


def _power(here: Node, bar: Node, position: int) -> Node:
    a, b = here.args
    if position == 0:
        less = node("sub", b, number(1)) if b.value is None else number(b.value - 1)
        slope = node("mul", b, node("pow", a, less))
        return _times(bar, slope if b.value is not None and b.value >= 1 else _unless(node("eq", b, number(0)), slope))
    still = node("and", node("eq", a, number(0)), node("ge", b, number(0)))
    return _times(bar, _unless(still, node("mul", here, node("log", a))))


def _unless(condition: Node, value: Node) -> Node:
    return node("select", condition, number(0), value)


def _larger(here: Node, bar: Node, position: int) -> Node:
    mine, other = here.args[position], here.args[1 - position]
    wins = node("gt" if here.op == "max" else "lt", mine, other)
    tie = node("select", node("eq", mine, other), _half(), number(0))
    return _times(bar, node("select", wins, number(1), tie))


def _remainder(here: Node, bar: Node, position: int) -> Node:
    a, b = here.args
    return bar if position == 0 else _times(bar, node("neg", node("floor", node("div", a, b))))


def _choice(here: Node, bar: Node, position: int) -> Node:
    condition, nothing = here.args[0], number(0)
    return node("select", condition, bar, nothing) if position == 1 else node("select", condition, nothing, bar)


def _sum(here: Node, bar: Node, position: int) -> Node:
    return _spread(here, _own(here, bar))


def _mean(here: Node, bar: Node, position: int) -> Node:
    return _spread(here, node("div", _own(here, bar), node("size", here.args[0], attrs=here.attrs[:2])))


def _own(here: Node, bar: Node) -> Node:
    """The adjoint of a reduction; over the whole model it may be known only if nothing per tensor is left of it."""
    if here.attrs[1] and not bar.type.scalar:
        raise NotDifferentiable(here, "a reduction over=model inside something per tensor has no gradient per tensor")
    return bar


def _extreme(here: Node, bar: Node, position: int) -> Node:
    x = here.args[0]
    attained = node("eq", x, here)
    count = node("sum", attained, attrs=here.attrs[:2])
    return _times(node("div", bar, count), attained)


def _deviation(here: Node, bar: Node, position: int) -> Node:
    x, attrs = here.args[0], here.attrs[:2]
    centred = node("sub", x, node("mean", x, attrs=attrs))
    freedom = node("sub", node("size", x, attrs=attrs), number(1))
    return _times(bar, node("div", centred, node("mul", freedom, here)))


def _norm(here: Node, bar: Node, position: int) -> Node:
    x, (axes, model, order) = here.args[0], here.attrs
    if order is None:
        attained = node("eq", node("abs", x), here)
        count = node("sum", attained, attrs=(axes, model))
        return node("mul", node("div", bar, count), node("mul", attained, node("sign", x)))
    if order == 1:
        return _times(bar, node("sign", x))
    if order == 2:
        return _times(bar, _unless(node("eq", here, number(0)), node("div", x, here)))
    less = number(Fraction(order) - 1)
    slope = node("mul", node("sign", x), node("pow", node("div", node("abs", x), here), less))
    return _times(bar, _unless(node("eq", here, number(0)), slope))


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
    return node("mul", node("outer", bar, _ones(here)), node("eye", attrs=(here.type.axes[-1],)))


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
    "mul": _product,
    "div": _quotient,
    "pow": _power,
    "max": _larger,
    "min": _larger,
    "mod": _remainder,
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


def _adjoint(here: Node, bar: Node, position: int) -> Node:
    if here.op in ADJOINT:
        return ADJOINT[here.op](here, bar, position)
    if here.op in DERIVATIVE:
        return _times(bar, DERIVATIVE[here.op](here))
    if here.op in ZERO:
        return _zeros(here.args[position])
    raise NotDifferentiable(here, f"{here.op} has no derivative here: give its gradient by `∇… =`")


def _user(here: Node, bar: Node, position: int, names: Mapping[str, tuple[str, ...]]) -> Node:
    """The adjoint of what the user gives: gradients of values, Hessian-vector products of gradients."""
    arg = here.args[position]
    name, what, argument, split = here.attrs[:4]
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
    body: Fold = here.attrs[0]
    if body.kind not in ("sum", "mean"):
        raise NotDifferentiable(here, f"{body.kind} over an index has no derivative here")
    inner = pullback(body.body, variable, bar)
    return node("fold", *here.args, attrs=(Fold(body.kind, body.indices, inner, body.condition),))
