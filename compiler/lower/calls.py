"""Calls: local functions inlined, formulas of the library inlined, user functions asked, gradients taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dotopt.compiler import ir
from dotopt.compiler import syntax as s
from dotopt.compiler.errors import OptError, fail
from dotopt.compiler.ir import Lambda, Node, node
from dotopt.compiler.lower.context import Context, Static
from dotopt.compiler.lower.expression import build, value
from dotopt.compiler.lower.scope import Argument, Base, Imported, Leaf, Local, Scope, User, Value
from dotopt.compiler.source import Span
from dotopt.compiler.types import ANY, REAL, REST, Type


@dataclass(frozen=True)
class Function:
    """A function that the compiler knows the inside of: argument names, and the value at given nodes."""

    name: str
    arguments: tuple[str, ...]
    at: Callable[[tuple[Node, ...]], Node]
    stated: Callable[[tuple[Node, ...]], Node] | None = None  # its stated gradient


def call(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    """The value of a call."""
    from dotopt.compiler.lower.builtins import TABLE

    match e.function:
        case s.Gradient():
            return _gradient_call(context, e, e.function, scope, expected)
        case s.Call(_, s.Gradient(_, function, _, order), points, samples) if order > 2:
            name = function.name if isinstance(function, s.Name) else "f"
            nodes = tuple(value(context, x, scope) for x in (*points, *samples, *e.arguments))
            return node("oracle", *nodes, attrs=(name, "third", None, (0, len(points)), nodes[0].type), span=e.span)
        case s.Conjugate(_, function):
            return _conjugate(context, e, function, 0, scope)
        case s.Name(_, name) | s.Index(_, s.Name(_, name)):
            pass
        case _:
            raise fail("E316", e.function.span, found="this", expected="a function")
    indices = e.function.indices if isinstance(e.function, s.Index) else ()
    found = scope.find(name)
    if found is not None:
        entry, owner = found
        match entry:
            case Argument(expression, outer):
                return call(context, s.Call(e.span, expression, e.arguments, e.samples, e.keywords), outer, expected) if (
                    outer is scope
                ) else _passed(context, e, expression, outer, scope, expected)
            case Local():
                return _inline(context, entry, owner, e, indices, scope)
            case User():
                return _ask(context, entry, e, indices, scope, expected)
            case Imported(real_name):
                return _imported(context, real_name, e, scope, expected)
            case Base(base):
                from dotopt.compiler.lower.compose import apply

                return apply(context, base, e, scope)
            case Leaf(_, _, type):  # x(h): the value after time h of a flow
                nodes = (value(context, e.function, scope), *argument_nodes(context, e, scope))
                return node("claim", *nodes, attrs=("after", type), span=e.span)
            case _:
                raise fail("E316", e.function.span, found=f"`{name}`", expected="a function")
    special = SPECIAL.get(name)
    if special is not None:
        return special(context, e, scope, expected)
    row = TABLE.get(name)
    if row is not None:
        return row(context, e, scope, expected)
    if context.library.find(name) is not None:
        return _imported(context, name, e, scope, expected)
    raise fail("E201", e.function.span, name=name)


def _passed(
    context: Context, e: s.Call, function: s.Expression, outer: Scope, scope: Scope, expected: Type | None
) -> Node:
    """A call of a function that was itself an argument: the function is read outside, its arguments here."""
    known = function_of(context, function, outer)
    return known.at(tuple(value(context, argument, scope) for argument in e.arguments))


def argument_nodes(context: Context, e: s.Call, scope: Scope) -> tuple[Node, ...]:
    """The arguments of a word of claims; the name of a function stands for itself."""
    nodes = []
    for argument in (*e.arguments, *e.samples, *(k.value for k in e.keywords)):
        try:
            nodes.append(value(context, argument, scope))
        except OptError:
            if not isinstance(argument, s.Name):
                raise
            nodes.append(ir.leaf("function", argument.name, ANY))
    return tuple(nodes)


# ---- functions whose inside is known -----------------------------------------------------------------------------


def function_of(context: Context, function: s.Expression, scope: Scope) -> Function:
    """The function that an expression names, for gradients and inner problems."""
    name = function.name if isinstance(function, s.Name) else None
    indices: tuple[s.Expression, ...] = ()
    if isinstance(function, s.Index) and isinstance(function.base, s.Name):
        name, indices = function.base.name, function.indices
    found = scope.find(name) if name else None
    if name is None:
        raise fail("E316", function.span, found="this", expected="a function")
    if found is None:
        return _builtin_function(context, name, function.span, scope)
    entry, owner = found
    match entry:
        case Argument(expression, outer):
            return function_of(context, expression, outer)
        case Local(definition, _, arguments, home):

            def at(nodes: tuple[Node, ...]) -> Node:
                return _inline_nodes(context, entry, home or owner, nodes, indices, scope, definition.span)

            stated = scope.gradient(name)
            return Function(name, arguments, at, _stated(context, stated) if stated else None)
        case Imported(real_name):
            return _formula_function(context, real_name, function.span)
        case User():

            def ask(nodes: tuple[Node, ...]) -> Node:
                return _ask_nodes(context, entry, nodes, (), (), "", None, function.span)

            return Function(name, entry.declaration.arguments or ("x",), ask)
    raise fail("E316", function.span, found=f"`{name}`", expected="a function")


def _stated(context: Context, stated: tuple[s.Definition, Scope]) -> Callable[[tuple[Node, ...]], Node]:
    definition, owner = stated
    (target,) = definition.targets
    assert isinstance(target, s.Call)
    names = tuple(a.name for a in target.arguments if isinstance(a, s.Name))

    def at(nodes: tuple[Node, ...]) -> Node:
        inner = Scope(owner, names={n: Value(v) for n, v in zip(names, nodes, strict=False)})
        return _body(context, definition, inner)

    return at


def _body(context: Context, definition: s.Definition, inner: Scope) -> Node:
    """The value of a local function's definition, its `where` lines included."""
    from dotopt.compiler.lower.declare import declare

    if definition.where:
        declare(context, inner, definition.where)
    return value(context, definition.value, inner)


def _builtin_function(context: Context, name: str, span: Span, scope: Scope) -> Function:
    from dotopt.compiler.lower.builtins import TABLE

    if name in TABLE:

        def at(nodes: tuple[Node, ...]) -> Node:
            inner = Scope(scope, names={f"·{i}": Value(v) for i, v in enumerate(nodes)})
            arguments = tuple(s.Name(span, f"·{i}") for i in range(len(nodes)))
            return TABLE[name](context, s.Call(span, s.Name(span, name), arguments), inner, None)

        return Function(name, ("x",), at)
    if context.library.find(name) is not None:
        return _formula_function(context, name, span)
    raise fail("E201", span, name=name)


def _inline(
    context: Context, entry: Local, owner: Scope, e: s.Call, indices: tuple[s.Expression, ...], scope: Scope
) -> Node:
    given = (*e.arguments, *e.samples)
    if len(given) != len(entry.arguments):
        raise fail(
            "E313", e.span, name=e.function.span.text, expected=len(entry.arguments),
            plural="" if len(entry.arguments) == 1 else "s", found=len(given),
        )
    home = entry.home or owner
    inner = Scope(home)
    for name, argument in zip(entry.arguments, given, strict=True):
        inner.names[name] = Argument(argument, scope)
    for parameter, index in zip(entry.indices, indices, strict=False):
        if isinstance(parameter, s.Name):
            inner.names[parameter.name] = Argument(index, scope)
    return _guarded(context, entry, inner)


def _inline_nodes(
    context: Context, entry: Local, home: Scope, nodes: tuple[Node, ...], indices: tuple[s.Expression, ...],
    scope: Scope, span: Span,
) -> Node:
    inner = Scope(home)
    for name, given in zip(entry.arguments, nodes, strict=False):
        inner.names[name] = Value(given)
    for parameter, index in zip(entry.indices, indices, strict=False):
        if isinstance(parameter, s.Name):
            inner.names[parameter.name] = Argument(index, scope)
    return _guarded(context, entry, inner)


def _guarded(context: Context, entry: Local, inner: Scope) -> Node:
    name = entry.definition.targets[0].span.text.split("(")[0]
    active = [n for _, n, _ in context.pending].count(f"{name}(…)")
    if active > 8:  # a local function may be nested in its own argument, but not call itself
        raise fail("E218", entry.definition.span, name=name)
    context.pending.append((inner, f"{name}(…)", False))
    try:
        return _body(context, entry.definition, inner)
    finally:
        context.pending.pop()


# ---- formulas of the library -----------------------------------------------------------------------------------------


def _imported(context: Context, name: str, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    from dotopt.compiler.lower.builtins import TABLE

    replaced = context.static.functions.get(name, name)
    if replaced != name and replaced in TABLE:
        return TABLE[replaced](context, s.Call(e.span, s.Name(e.span, replaced), e.arguments[:1]), scope, expected)
    if name in SPECIAL and context.library.find(replaced) is None:
        return SPECIAL[name](context, e, scope, expected)
    file = context.library.file(replaced)
    if file is None:
        raise fail("E222", e.span, name=name)
    if file.head.word in ("rule", "composition", "transform"):
        nodes = argument_nodes(context, e, scope)
        words = " ".join(("step", replaced, *(k.name for k in e.keywords)))
        return node("claim", *nodes, attrs=(words, nodes[0].type if nodes else ANY), span=e.span)
    if name in SPECIAL and any(_is_function(context, a, scope) for a in e.arguments):
        return SPECIAL[name](context, e, scope, expected)
    positional = tuple(value(context, a, scope) for a in (*e.arguments, *e.samples))
    keywords = {k.name: value(context, k.value, scope) for k in e.keywords}
    return _formula(context, file, positional, keywords, e.span)


def _is_function(context: Context, argument: s.Expression, scope: Scope) -> bool:
    found = scope.find(argument.name) if isinstance(argument, s.Name) else None
    return found is not None and isinstance(found[0], Local | User)


def _open_formula(
    context: Context, file: s.File, positional: tuple[Node, ...], keywords: dict[str, Node], span: Span
) -> tuple[Context, Scope]:
    """The scope of a formula with its parameters bound; axes are those of the arguments."""
    from dotopt.compiler.lower.declare import declare, type_of

    names = [p.name for p in file.head.parameters]
    if len(positional) > len(names):
        raise fail(
            "E313", span, name=file.head.name, expected=len(names), plural="" if len(names) == 1 else "s",
            found=len(positional),
        )
    inside = Context(
        file, Static(functions=context.static.functions), context.library,
        randoms=context.randoms, loops=context.loops, later=context.later, pending=context.pending,
    )
    scope = inside.scope
    for name in keywords:
        if name not in names:
            raise fail("E315", span, name=file.head.name, keyword=name)
    given = dict(zip(names, positional, strict=False)) | keywords
    for parameter in file.head.parameters:
        if parameter.name in given:
            bound = given[parameter.name]
            if parameter.type is not None:
                declared = type_of(inside, scope, parameter.type)
                _alias(inside, declared, bound, parameter.name, span)
        elif parameter.default is not None:
            bound = value(inside, parameter.default, scope)
        else:
            raise fail("E313", span, name=file.head.name, expected=len(names), plural="s", found=len(given))
        scope.names[parameter.name] = Value(bound)
    declare(inside, scope, file.statements)
    return inside, scope


def _alias(inside: Context, declared: Type, bound: Node, name: str, span: Span) -> None:
    if bound.type.any or not declared.axes or REST in declared.axes:
        return
    actual = tuple(axis for axis in bound.type.axes if axis != REST)
    if len(actual) != len(declared.axes):
        raise fail("E301", span, left=f"{name} : {declared}", right=str(bound.type))
    for mine, theirs in zip(declared.axes, actual, strict=True):
        inside.axis_alias[mine] = theirs
        inside.axes.add(mine)


def _formula(
    context: Context, file: s.File, positional: tuple[Node, ...], keywords: dict[str, Node], span: Span
) -> Node:
    if file.head.name in [n for _, n, _ in context.pending]:
        raise fail("E218", span, name=file.head.name)
    inside, scope = _open_formula(context, file, positional, keywords, span)
    context.pending.append((scope, file.head.name, False))
    try:
        assert file.head.value is not None
        return value(inside, file.head.value, scope)
    finally:
        context.pending.pop()


def _formula_function(context: Context, name: str, span: Span) -> Function:
    name = context.static.functions.get(name, name)
    file = context.library.file(name)
    if file is None:
        return _builtin_function(context, name, span, context.scope)
    names = tuple(p.name for p in file.head.parameters)

    def at(nodes: tuple[Node, ...]) -> Node:
        return _formula(context, file, nodes, {}, span)

    stated_here = any(
        isinstance(d, s.Definition) and isinstance(d.targets[0], s.Call) and isinstance(d.targets[0].function, s.Gradient)
        for d in file.statements
    )

    def stated(nodes: tuple[Node, ...]) -> Node:
        inside, scope = _open_formula(context, file, nodes, {}, span)
        found = scope.gradient(file.head.name)
        assert found is not None
        return _stated(inside, found)(nodes)

    return Function(name, names, at, stated if stated_here else None)


# ---- what the user gives ---------------------------------------------------------------------------------------------


def _ask(
    context: Context, user: User, e: s.Call, indices: tuple[s.Expression, ...], scope: Scope, expected: Type | None
) -> Node:
    points = tuple(value(context, a, scope) for a in e.arguments)
    samples = tuple(value(context, a, scope) for a in e.samples)
    given = tuple(value(context, i, scope) for i in indices)
    per = next((k.value.name for k in e.keywords if k.name == "per" and isinstance(k.value, s.Name)), "")
    return _ask_nodes(context, user, points, samples, given, per, expected, e.span)


def _ask_nodes(
    context: Context, user: User, points: tuple[Node, ...], samples: tuple[Node, ...], indices: tuple[Node, ...],
    per: str, expected: Type | None, span: Span,
) -> Node:
    d = user.declaration
    own = indices or (tuple(map(context.index, user.indices)) if user.indices else ())
    split = (len(own), len(points))
    args = (*own, *points, *samples)
    if d.arguments is not None and len(points) != len(d.arguments):
        raise fail(
            "E313", span, name=d.name, expected=len(d.arguments), plural="" if len(d.arguments) == 1 else "s",
            found=len(points),
        )
    match d.word:
        case "objective":
            type = Type("real", (per,)) if per else REAL
            return node("oracle", *args, attrs=(d.name, "value", f"per {per}" if per else None, split, type), span=span)
        case "operator":
            return node("oracle", *args, attrs=(d.name, "field", None, split, points[0].type), span=span)
        case _:
            return node("apply", *args, attrs=(d.name, 0, None, split, _result_type(d, points, expected)), span=span)


def _result_type(d: s.Declaration, points: tuple[Node, ...], expected: Type | None) -> Type:
    match d.type:
        case s.Like(_, name) if d.arguments and name in d.arguments:
            return points[d.arguments.index(name)].type
        case s.Array(_, kind, axes):
            return Type(kind, tuple(a.name for a in axes))
    if any(p.name in ("convex", "strongly_convex", "smooth") for p in d.properties):
        return REAL
    return expected or ANY


# ---- gradients -------------------------------------------------------------------------------------------------------


def _gradient_call(context: Context, e: s.Call, g: s.Gradient, scope: Scope, expected: Type | None) -> Node:
    if isinstance(g.function, s.Conjugate):
        return _conjugate(context, e, g.function.function, g.order, scope)
    base = g.function.base if isinstance(g.function, s.Index) else g.function
    found = scope.find(base.name) if isinstance(base, s.Name) else None
    if found is not None and isinstance(found[0], User):
        return _ask_gradient(context, found[0], e, g, scope, expected)
    function = function_of(context, g.function, scope)
    points = tuple(value(context, a, scope) for a in (*e.arguments, *e.samples))
    return gradient_of(context, function, points, g, len(e.arguments))


def gradient_of(context: Context, function: Function, points: tuple[Node, ...], g: s.Gradient, count: int) -> Node:
    """The gradient of a known function at `points`: the stated one, or derived by reverse mode."""
    if g.order > 1:
        raise fail("E504", g.span, name=function.name)
    position = _position(function.name, function.arguments[:count] if count else function.arguments, g)
    if function.stated is not None and position == 0:
        return function.stated(points)
    leaves = tuple(
        context.fresh("free", name, point.type) for name, point in zip(function.arguments, points, strict=False)
    )
    derived = derive(context, function.at(leaves), leaves[position], g.span)
    return ir.substitute(derived, dict(zip(leaves, points, strict=True)))


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


def _ask_gradient(
    context: Context, user: User, e: s.Call, g: s.Gradient, scope: Scope, expected: Type | None
) -> Node:
    d = user.declaration
    if d.word == "operator":
        raise fail("E502", g.span, name=d.name)
    arguments = d.arguments or ("x",)
    position = _position(d.name, arguments, g)
    points = tuple(value(context, a, scope) for a in e.arguments)
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
        return node("oracle", *args, attrs=(d.name, "hessian", argument, split, Type("real", type.axes * 2)), span=e.span)
    return node("oracle", *args, attrs=(d.name, "gradient", argument, split, type), span=e.span)


def _in_claim(scope: Scope, context: Context) -> bool:
    here: Scope | None = scope
    while here is not None:
        if here.claim:
            return True
        here = here.parent
    return False


def hessian_product(context: Context, e: s.Binary, scope: Scope) -> Node | None:
    """`∇²f(y) @ v`, if that is what the product is."""
    if not (isinstance(e.left, s.Call) and isinstance(e.left.function, s.Gradient) and e.left.function.order == 2):
        return None
    if context.theorem or _in_claim(scope, context):
        return None
    g = e.left.function
    direction = value(context, e.right, scope)
    base = g.function.base if isinstance(g.function, s.Index) else g.function
    found = scope.find(base.name) if isinstance(base, s.Name) else None
    if found is not None and isinstance(found[0], User):
        once = s.Call(e.left.span, s.Gradient(g.span, g.function, g.argument, 1), e.left.arguments, e.left.samples)
        first = _ask_gradient(context, found[0], once, s.Gradient(g.span, g.function, g.argument, 1), scope, None)
        name, _, argument, split, type = first.attrs
        attrs = (name, "hessian_vector", argument, split, type)
        return node("oracle", *first.args, direction, attrs=attrs, span=e.span)
    function = function_of(context, g.function, scope)
    points = tuple(value(context, a, scope) for a in e.left.arguments)
    leaf = context.fresh("free", function.arguments[0], points[0].type)
    first = derive(context, function.at((leaf, *points[1:])), leaf, e.span)
    product = node("mul", first, direction)
    inner = node("sum", product, attrs=(product.type.axes, False)) if product.type.axes else product
    return ir.substitute(derive(context, inner, leaf, e.span), {leaf: points[0]})


def _conjugate(context: Context, e: s.Call, function: s.Expression, order: int, scope: Scope) -> Node:
    name = function.name if isinstance(function, s.Name) else function.span.text
    found = scope.find(name)
    if found is not None and isinstance(found[0], Imported):
        name = found[0].name
    points = tuple(value(context, a, scope) for a in e.arguments)
    type = points[0].type if order and points else REAL
    return node("conjugate", *points, attrs=(name, order, type), span=e.span)


# ---- inner problems --------------------------------------------------------------------------------------------------


def _options(context: Context, e: s.Call, scope: Scope) -> tuple[tuple[str, ...], tuple[Node, ...], str | None]:
    method = next((k.value.name for k in e.keywords if k.name == "by" and isinstance(k.value, s.Name)), None)
    rest = [k for k in e.keywords if k.name != "by"]
    return tuple(k.name for k in rest), tuple(value(context, k.value, scope) for k in rest), method


def _inner(op: str) -> Callable[[Context, s.Call, Scope, Type | None], Node]:
    def row(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
        function = function_of(context, e.arguments[0], scope)
        names, nodes, method = _options(context, e, scope)
        start = nodes[names.index("from")].type if "from" in names else None
        type = start or expected or ANY
        variable = context.fresh("free", function.arguments[0], type)
        body = function.at((variable,))
        attrs = (Lambda((variable,), body), method, names, type)
        return node(op, *nodes, attrs=attrs, span=e.span)

    return row


def _prox(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`prox(h, s, x)` minimises `s*h(u) + ½‖u - x‖²`."""
    from fractions import Fraction

    function = function_of(context, e.arguments[0], scope)
    weight, point = (value(context, a, scope) for a in e.arguments[1:])
    variable = context.fresh("free", "u", point.type)
    gap = build("sub", variable, point, span=e.span)
    square = build("mul", gap, gap, span=e.span)
    total = node("sum", square, attrs=(square.type.axes, False)) if square.type.axes else square
    half = build("mul", ir.number(Fraction(1, 2)), total, span=e.span)
    body = build("add", build("mul", weight, function.at((variable,)), span=e.span), half, span=e.span)
    return node("argmin", attrs=(Lambda((variable,), body), "prox", (), point.type), span=e.span)


def _cg(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`cg(H, b)`: conjugate gradients for a linear function H, or a matrix."""
    right = value(context, e.arguments[1], scope)
    names, nodes, _ = _options(context, e, scope)
    if not _is_function(context, e.arguments[0], scope):
        matrix = value(context, e.arguments[0], scope)
        variable = context.fresh("free", "x", right.type)
        body = Lambda((variable,), build("matmul", matrix, variable, span=e.span))
        return node("cg", right, *nodes, attrs=(body, names, right.type), span=e.span)
    function = function_of(context, e.arguments[0], scope)
    types = right.type.items if right.type.kind == "tuple" else (right.type,)
    variables = tuple(
        context.fresh("free", name, type) for name, type in zip(function.arguments, types, strict=False)
    )
    return node("cg", right, *nodes, attrs=(Lambda(variables, function.at(variables)), names, right.type), span=e.span)


def _jvp(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`jvp(F, x, v)`: the derivative of F at x along v."""
    from dotopt.compiler.calculus import jacobian_vector

    function = function_of(context, e.arguments[0], scope)
    point, direction = (value(context, a, scope) for a in e.arguments[1:])
    leaf = context.fresh("free", function.arguments[0], point.type)
    derived = jacobian_vector(function.at((leaf,)), leaf, direction)
    return ir.substitute(derived, {leaf: point})


SPECIAL: dict[str, Callable[[Context, s.Call, Scope, Type | None], Node]] = {
    "argmin": _inner("argmin"),
    "root": _inner("root"),
    "prox": _prox,
    "cg": _cg,
    "jvp": _jvp,
}
