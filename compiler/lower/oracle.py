"""What the user gives: values and gradients of objectives, operators, functions; and derived gradients."""

from __future__ import annotations

from dotopt.compiler import ir
from dotopt.compiler.ir import Node, node
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.functions import Function, function_of
from dotopt.compiler.lower.scope import Imported, Local, Scope, User
from dotopt.compiler.ops.types import ANY, REAL, REST, Type
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Span


def ask(
    context: Context, user: User, e: s.Call, indices: tuple[s.Expression, ...], scope: Scope, expected: Type | None
) -> Node:
    points = tuple(value(context, a, scope) for a in e.arguments)
    samples = tuple(value(context, a, scope) for a in e.samples)
    given = tuple(value(context, i, scope) for i in indices)
    per = next((k.value.name for k in e.keywords if k.name == "per" and isinstance(k.value, s.Name)), "")
    return ask_nodes(context, user, points, samples, given, per, expected, e.span)


def ask_nodes(
    context: Context, user: User, points: tuple[Node, ...], samples: tuple[Node, ...], indices: tuple[Node, ...],
    per: str, expected: Type | None, span: Span,
) -> Node:
    d = user.declaration
    own = indices or (tuple(map(context.index, user.indices)) if user.indices else ())
    split = (len(own), len(points))
    args = (*own, *points, *samples)
    _check_points(d.name, len(d.arguments or ("x",)), points, span)
    match d.word:
        case "objective":
            type = Type("real", (per,)) if per else REAL
            return node("oracle", *args, attrs=(d.name, "value", f"per {per}" if per else None, split, type), span=span)
        case "operator":
            return node("oracle", *args, attrs=(d.name, "field", None, split, points[0].type), span=span)
        case _:
            return node("apply", *args, attrs=(d.name, 0, None, split, _result_type(d, points, expected)), span=span)


def _check_points(name: str, expected: int, points: tuple[Node, ...], span: Span) -> None:
    """E313 unless a function, an objective or an operator is given as many arguments as it takes, E316 for a truth."""
    if len(points) != expected:
        raise fail("E313", span, name=name, expected=expected, plural="" if expected == 1 else "s", found=len(points))
    if any(point.type.kind == "bool" for point in points):
        raise fail("E316", span, found="a condition", expected="a point")


def _result_type(d: s.Declaration, points: tuple[Node, ...], expected: Type | None) -> Type:
    match d.type:
        case s.Like(_, name) if d.arguments and name in d.arguments:
            return points[d.arguments.index(name)].type
        case s.Array(_, kind, axes):
            return Type(kind, tuple(a.name for a in axes))
    if any(p.name in ("convex", "strongly_convex", "smooth") for p in d.properties):
        return REAL
    return expected or ANY


def gradient_call(context: Context, e: s.Call, g: s.Gradient, scope: Scope, expected: Type | None) -> Node:
    if isinstance(g.function, s.Conjugate):
        return conjugate(context, e, g.function.function, g.order, scope)
    base = g.function.base if isinstance(g.function, s.Index) else g.function
    found = scope.find(base.name) if isinstance(base, s.Name) else None
    if found is not None and isinstance(found[0], User):
        return ask_gradient(context, found[0], e, g, scope, expected)
    function = function_of(context, g.function, scope)
    points = tuple(value(context, a, scope) for a in (*e.arguments, *e.samples))
    return gradient_of(context, function, points, g, len(e.arguments))


def gradient_of(context: Context, function: Function, points: tuple[Node, ...], g: s.Gradient, count: int) -> Node:
    """The gradient of a known function at `points`: the stated one, or derived by reverse mode."""
    if g.order > 1:
        raise fail("E504", g.span, name=function.name)
    expected, local = len(function.arguments), function.stated is None and _local(context, function.name)
    if len(points) > expected or (local and len(points) < expected):
        plural = "" if expected == 1 else "s"
        raise fail("E313", g.span, name=f"∇{function.name}", expected=expected, plural=plural, found=len(points))
    position = _position(function.name, function.arguments[:count] if count else function.arguments, g)
    if function.stated is not None and position == 0:
        return function.stated(points)
    leaves = tuple(
        context.fresh("free", name, point.type) for name, point in zip(function.arguments, points, strict=False)
    )
    body = function.at(leaves)
    if body.type.axes and body.type.kind in ("real", "row"):
        raise fail("E319", g.span, name=function.name, found=str(body.type), what="a gradient")
    derived = derive(context, body, leaves[position], g.span)
    return ir.substitute(derived, dict(zip(leaves, points, strict=True)))


def _local(context: Context, name: str) -> bool:
    found = context.scope.find(name)
    return found is not None and isinstance(found[0], Local)


def derive(context: Context, body: Node, variable: Node, span: Span) -> Node:
    """The gradient of `body`; E317 where it has none."""
    from dotopt.compiler.calculus import NotDifferentiable, gradient

    names = {
        d.name: d.arguments
        for d in context.file.statements
        if isinstance(d, s.Declaration) and d.arguments is not None
    }
    try:
        return gradient(body, variable, names)
    except NotDifferentiable as error:
        raise fail("E317", span, why=error.why) from None


def _position(name: str, arguments: tuple[str, ...], g: s.Gradient) -> int:
    if g.argument is not None:
        if g.argument not in arguments:
            raise fail("E201", g.span, name=g.argument, help=f"the arguments of `{name}` are {', '.join(arguments)}")
        return arguments.index(g.argument)
    if len(arguments) > 1:
        raise fail("E501", g.span, name=name, argument=arguments[0])
    return 0


def ask_gradient(
    context: Context, user: User, e: s.Call, g: s.Gradient, scope: Scope, expected: Type | None
) -> Node:
    d = user.declaration
    if d.word == "operator":
        raise fail("E502", g.span, name=d.name)
    arguments = d.arguments or ("x",)
    position = _position(d.name, arguments, g)
    points = tuple(value(context, a, scope) for a in e.arguments)
    _check_points(f"∇{d.name}", len(arguments), points, e.span)
    samples = tuple(value(context, a, scope) for a in e.samples)
    written = g.function.indices if isinstance(g.function, s.Index) else ()
    indices = tuple(value(context, i, scope) for i in written) or tuple(map(context.index, user.indices))
    split = (len(indices), len(points))
    type = points[position].type
    if type.any and expected is not None:
        type = expected
    argument = arguments[position] if len(arguments) > 1 else None
    args = (*indices, *points, *samples)
    if d.word == "function":
        return node("apply", *args, attrs=(d.name, g.order, argument, split, type), span=e.span)
    if g.order == 2:
        if not context.theorem and not _in_claim(scope, context):
            raise fail("E504", g.span, name=d.name)
        square = Type("real", type.axes * 2)
        return node("oracle", *args, attrs=(d.name, "hessian", argument, split, square), span=e.span)
    return node("oracle", *args, attrs=(d.name, "gradient", argument, split, type), span=e.span)


def _in_claim(scope: Scope, context: Context) -> bool:
    here: Scope | None = scope
    while here is not None:
        if here.claim:
            return True
        here = here.parent
    return False


def hessian_product(context: Context, e: s.Binary, scope: Scope) -> Node | None:
    """`∇²f(y) @ v`, if that is what the product is; in sentences about vectors ∇²f(y) is a matrix of its own."""
    if not (isinstance(e.left, s.Call) and isinstance(e.left.function, s.Gradient) and e.left.function.order == 2):
        return None
    if context.theorem or _in_claim(scope, context):
        axes = [value(context, a, scope).type.axes for a in e.left.arguments]
        if all(len(names) <= 1 and REST not in names for names in axes):
            return None
    g = e.left.function
    direction = value(context, e.right, scope)
    base = g.function.base if isinstance(g.function, s.Index) else g.function
    found = scope.find(base.name) if isinstance(base, s.Name) else None
    if found is not None and isinstance(found[0], User):
        once = s.Call(e.left.span, s.Gradient(g.span, g.function, g.argument, 1), e.left.arguments, e.left.samples)
        first = ask_gradient(context, found[0], once, s.Gradient(g.span, g.function, g.argument, 1), scope, None)
        name, _, argument, split, type = first.attrs
        attrs = (name, "hessian_vector", argument, split, type)
        return node("oracle", *first.args, direction, attrs=attrs, span=e.span)
    function = function_of(context, g.function, scope)
    points = tuple(value(context, a, scope) for a in e.left.arguments)
    _check_points(f"∇²{function.name}", len(function.arguments), points, e.left.span)
    place = _position(function.name, function.arguments, g)
    leaf = context.fresh("free", function.arguments[place], points[place].type)
    first = derive(context, function.at((*points[:place], leaf, *points[place + 1 :])), leaf, e.span)
    product = node("mul", first, direction)
    inner = node("sum", product, attrs=(product.type.axes, False)) if product.type.axes else product
    return ir.substitute(derive(context, inner, leaf, e.span), {leaf: points[place]})


def conjugate(context: Context, e: s.Call, function: s.Expression, order: int, scope: Scope) -> Node:
    name = function.name if isinstance(function, s.Name) else function.span.text
    found = scope.find(name)
    if found is not None and isinstance(found[0], Imported):
        name = found[0].name
    points = tuple(value(context, a, scope) for a in e.arguments)
    type = points[0].type if order and points else REAL
    return node("conjugate", *points, attrs=(name, order, type), span=e.span)
