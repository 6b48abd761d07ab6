"""Inner problems: `argmin`, `root`, `prox`, `cg`, `jvp` of functions whose inside is known."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from dotopt.compiler import ir
from dotopt.compiler.analysis.proximal import shrunk
from dotopt.compiler.analysis.quadratic import minimiser
from dotopt.compiler.calculus import NotDifferentiable, gradient, jacobian_vector
from dotopt.compiler.ir import Lambda, Node, node
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.expression import build, value
from dotopt.compiler.lower.formulas import is_function
from dotopt.compiler.lower.functions import function_of
from dotopt.compiler.lower.scope import Scope
from dotopt.compiler.ops import OPERATIONS, named
from dotopt.compiler.ops.types import ANY, Mismatch, Type
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail


def _options(context: Context, e: s.Call, scope: Scope) -> tuple[tuple[str, ...], tuple[Node, ...], str | None]:
    method = next((k.value.name for k in e.keywords if k.name == "by" and isinstance(k.value, s.Name)), None)
    rest = [k for k in e.keywords if k.name != "by"]
    return tuple(k.name for k in rest), tuple(value(context, k.value, scope) for k in rest), method

BENT = frozenset(
    op for op in (*named("number"), "select", "amax", "amin") if OPERATIONS[op].smooth in ("kinks", "steps")
)


def _inner(op: str) -> Callable[[Context, s.Call, Scope, Type | None], Node]:
    def row(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
        function = function_of(context, e.arguments[0], scope)
        names, nodes, method = _options(context, e, scope)
        start = nodes[names.index("from")].type if "from" in names else None
        type = start or expected or _compared(function.at((context.fresh("free", function.arguments[0], ANY),)))
        variable = context.fresh("free", function.arguments[0], type)
        body = Lambda((variable,), function.at((variable,)))
        if op == "argmin" and body.body.type.axes and body.body.type.kind in ("real", "row"):
            raise fail("E319", e.arguments[0].span, name=function.name, found=str(body.body.type), what="`argmin`")
        alone = op == "argmin" and not names and method is None
        closed = (minimiser(body) or shrunk(body)) if alone else None
        if alone and closed is None and not _quadratic(body):
            raise fail("E309", e.span)
        if alone and scope.in_claim:
            context.minimised.append(body)
        return closed or node(op, *nodes, attrs=(body, method, names, type), span=e.span)

    return row


def _compared(body: Node) -> Type:
    """The type of a variable without one: of the largest value that it is added to, or stands in `dot` with."""
    pairs = [here.args for here in body.walk() if here.op in ("add", "sub")]
    pairs += [here.args[0].args for here in body.walk() if here.op == "sum" and here.args[0].op == "mul"]
    types = [
        other.type
        for pair in pairs
        for variable, other in (pair, pair[::-1])
        if variable.role == "free" and variable.type.any and other.type.kind == "real"
    ]
    return max(types, key=lambda type: len(type.axes), default=ANY)


def _affine(root: Node, variables: tuple[Node, ...]) -> bool:
    """Whether the derivative of `root` in the variables is the same everywhere; true where it cannot be told."""
    parts = root.args if root.op == "tuple" else (root,)
    bent = (here for here in root.walk() if here.op in BENT)
    if any(not set(variables).isdisjoint(here.walk()) for here in bent):
        return False  # the slope of |x| is the same on either side, but not across
    for part in parts:
        for variable in variables:
            direction = ir.leaf("free", f"along {variable.name}", variable.type)
            try:
                slope = jacobian_vector(part, variable, direction)
            except (NotDifferentiable, Mismatch):
                return True
            if not set(variables).isdisjoint(slope.walk()):
                return False
    return True


def _quadratic(function: Lambda) -> bool:
    (variable,) = function.variables
    if variable.type.any:
        return True
    try:
        return _affine(gradient(function.body, variable), function.variables)
    except (NotDifferentiable, Mismatch):
        return False


def _prox(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`prox(h, s, x)` minimises `s*h(u) + ½‖u - x‖²`."""
    function = function_of(context, e.arguments[0], scope)
    weight, point = (value(context, a, scope) for a in e.arguments[1:])
    variable = context.fresh("free", "u", point.type)
    gap = build("sub", variable, point, span=e.span)
    square = build("mul", gap, gap, span=e.span)
    total = node("sum", square, attrs=(square.type.axes, False)) if square.type.axes else square
    half = build("mul", ir.number(Fraction(1, 2)), total, span=e.span)
    body = build("add", build("mul", weight, function.at((variable,)), span=e.span), half, span=e.span)
    function_ = Lambda((variable,), body)
    closed = minimiser(function_) or shrunk(function_)
    if scope.in_claim:
        context.minimised.append(function_)
    return closed or node("argmin", attrs=(function_, "prox", (), point.type), span=e.span)


def _cg(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`cg(H, b)`: conjugate gradients for a linear function H, or a matrix."""
    right = value(context, e.arguments[1], scope)
    names, nodes, _ = _options(context, e, scope)
    if not is_function(context, e.arguments[0], scope):
        matrix = value(context, e.arguments[0], scope)
        variable = context.fresh("free", "x", right.type)
        body = Lambda((variable,), build("matmul", matrix, variable, span=e.span))
        return node("cg", right, *nodes, attrs=(body, names, right.type), span=e.span)
    function = function_of(context, e.arguments[0], scope)
    types = right.type.items if right.type.kind == "tuple" else (right.type,)
    variables = tuple(
        context.fresh("free", name, type) for name, type in zip(function.arguments, types, strict=False)
    )
    body = Lambda(variables, function.at(variables))
    if not _affine(body.body, variables):
        raise fail("E311", e.arguments[0].span, name=function.name)
    return node("cg", right, *nodes, attrs=(body, names, right.type), span=e.span)


def _jvp(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`jvp(F, x, v)`: the derivative of F at x along v."""
    function = function_of(context, e.arguments[0], scope)
    point, direction = (value(context, a, scope) for a in e.arguments[1:])
    leaf = context.fresh("free", function.arguments[0], point.type)
    derived = jacobian_vector(function.at((leaf,)), leaf, direction)
    return ir.substitute(derived, {leaf: point})


INNER: dict[str, Callable[[Context, s.Call, Scope, Type | None], Node]] = {
    "argmin": _inner("argmin"),
    "root": _inner("root"),
    "prox": _prox,
    "cg": _cg,
    "jvp": _jvp,
}
