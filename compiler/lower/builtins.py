"""One row for each built-in function: how a call of it becomes a node."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from dotopt.compiler import ir
from dotopt.compiler.ir import Node, node
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.expression import build, value
from dotopt.compiler.lower.layers import read_of_layer
from dotopt.compiler.lower.scope import Argument, Scope
from dotopt.compiler.ops import OPERATIONS, having
from dotopt.compiler.ops.attributes import Nothing
from dotopt.compiler.ops.row import Call
from dotopt.compiler.ops.types import ANY, INT, REST, Type, broadcast
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail

Row = Callable[[Context, s.Call, Scope, Type | None], Node]

REDUCTIONS = {"sum": "sum", "mean": "mean", "std": "std"}
# whose call is a node of its own: by the number of arguments
PLAIN = {
    arity: {
        spelled.name: op
        for op, spelled in having(lambda row: row.opt).items()
        if isinstance(spelled, Call) and OPERATIONS[op].arity == arity and OPERATIONS[op].attributes is Nothing
    }
    for arity in (1, 2)
}


def _arguments(context: Context, call: s.Call, scope: Scope, expected: Type | None = None) -> tuple[Node, ...]:
    return tuple(value(context, argument, scope, expected) for argument in call.arguments)


def _count(call: s.Call, count: int) -> None:
    if len(call.arguments) != count:
        assert isinstance(call.function, s.Name)
        raise fail(
            "E313", call.span, name=call.function.name, expected=count, plural="" if count == 1 else "s",
            found=len(call.arguments),
        )


def entrywise(op: str) -> Row:
    """A function of one argument that is a node of its own."""

    def row(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
        _count(call, 1)
        return build(op, *_arguments(context, call, scope), span=call.span)

    return row


def pair(op: str) -> Row:
    """A function of two arguments that is a node of its own."""

    def row(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
        _count(call, 2)
        return build(op, *_arguments(context, call, scope), span=call.span)

    return row


# ---- reductions ------------------------------------------------------------------------------------------------------


def reduced_axes(context: Context, call: s.Call, operand: Type, scope: Scope) -> tuple[tuple[str, ...], bool]:
    """The axes that `over=` and `per=` sum away, and whether the sum runs over all tensors of the model."""
    over: tuple[str, ...] | None = None
    model = False
    for keyword in call.keywords:
        axis = axis_name(context, keyword.value, scope)
        if keyword.name == "over":
            if axis == "model":
                over, model = operand.axes, True
            elif axis == "tensor":
                over = operand.axes
            else:
                _has_axis(operand, axis, keyword)
                over = (axis,) if operand.any or axis in operand.axes else ()  # a number has nothing to sum away
        elif keyword.name == "per":
            if axis in ("tensor", "model"):
                over, model = operand.axes, axis == "model"
            else:
                _has_axis(operand, axis, keyword)
                over = tuple(a for a in operand.axes if a != axis)
        else:
            assert isinstance(call.function, s.Name)
            raise fail("E315", keyword.span, name=call.function.name, keyword=keyword.name)
    return (operand.axes if over is None else over), model


def _has_axis(operand: Type, axis: str, keyword: s.Keyword) -> None:
    if axis not in operand.axes and not operand.any and operand.axes:
        raise fail("E314", keyword.value.span, axis=axis, help=f"the value is {operand}")


def axis_name(context: Context, expression: s.Expression, scope: Scope) -> str:
    """The axis that an argument names, looked up through the parameters of local functions."""
    if not isinstance(expression, s.Name):
        raise fail("E316", expression.span, found="this", expected="the name of an axis")
    found = scope.find(expression.name)
    if found is not None and isinstance(found[0], Argument):
        return axis_name(context, found[0].expression, found[0].scope)
    return context.axis_alias.get(expression.name, expression.name)


def reduction(op: str) -> Row:
    """`sum`, `mean`, `std`, … with `over=` and `per=`; also over an index, and over the last steps."""

    def row(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
        _count(call, 1)
        (argument,) = call.arguments
        if isinstance(argument, s.Comprehension):
            from dotopt.compiler.lower.loops import fold

            return fold(context, op, argument, scope)
        if isinstance(argument, s.Window):
            body, length = value(context, argument.body, scope), value(context, argument.length, scope)
            return build("window", body, length, attrs=(op,), span=call.span)
        operand = value(context, argument, scope)
        return reduce(context, op, operand, call, scope)

    return row


def reduce(context: Context, op: str, operand: Node, call: s.Call, scope: Scope) -> Node:
    """The reduction of `operand` along the axes that the call names."""
    axes, model = reduced_axes(context, call, operand.type, scope)
    if not axes and not model and not operand.type.any and op != "std":
        return operand
    return build(op, operand, attrs=(axes, model), span=call.span)


def extreme(entrywise_op: str, reduction_op: str) -> Row:
    """`max` and `min`: with one argument a reduction, with more entrywise."""

    def row(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
        if len(call.arguments) == 1:
            if isinstance(call.arguments[0], s.Comprehension | s.Window):
                return reduction(entrywise_op)(context, call, scope, expected)
            return reduce(context, reduction_op, value(context, call.arguments[0], scope), call, scope)
        first, *rest = _arguments(context, call, scope)
        for other in rest:
            first = build(entrywise_op, first, other, span=call.span)
        return first

    return row


def norm_call(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`norm(x, over=, per=)`: the 2-norm; the order of others is an index, `‖x‖[1]`."""
    _count(call, 1)
    operand = value(context, call.arguments[0], scope)
    axes, model = reduced_axes(context, call, operand.type, scope)
    if not axes and not model and not operand.type.any:
        return build("abs", operand, span=call.span)
    return build("norm", operand, attrs=(axes, model, Fraction(2)), span=call.span)


def dot(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`dot(a, b)` is the sum of the entrywise product."""
    _count(call, 2)
    left, right = _arguments(context, call, scope)
    if "tuple" in (left.type.kind, right.type.kind):
        return node("claim", left, right, attrs=("dot", ANY), span=call.span)
    return reduce(context, "sum", build("mul", left, right, span=call.span), call, scope)


def rms(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """The root of the mean square."""
    _count(call, 1)
    operand = value(context, call.arguments[0], scope)
    square = build("mul", operand, operand, span=call.span)
    return build("sqrt", reduce(context, "mean", square, call, scope), span=call.span)


def size(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """How many entries; `per=` an axis: in one slice; of a set: its elements."""
    _count(call, 1)
    operand = value(context, call.arguments[0], scope)
    axes, model = reduced_axes(context, call, operand.type, scope)
    return build("size", operand, attrs=(axes, model), span=call.span)


def rank(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """The number of axes of the tensor as the user made it."""
    _count(call, 1)
    operand = value(context, call.arguments[0], scope)
    if operand.role == "param" or REST in operand.type.axes:
        if context.static.rank is not None:
            return ir.number(context.static.rank)
        return ir.leaf("rank", operand.name or "x", INT)
    return ir.number(len(operand.type.axes))


def clip(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`clip(x, a, b)` is `min(max(x, a), b)`."""
    _count(call, 3)
    operand, low, high = _arguments(context, call, scope)
    return build("min", build("max", operand, low, span=call.span), high, span=call.span)


def unit(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`x/‖x‖`."""
    _count(call, 1)
    operand = value(context, call.arguments[0], scope)
    axes, model = reduced_axes(context, call, operand.type, scope)
    length = build("norm", operand, attrs=(axes, model, Fraction(2)), span=call.span)
    return build("div", operand, length, span=call.span)


def filled(op: str) -> Row:
    """`ones(n)`, `zeros(n, m)`: sizes are axes."""

    def row(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
        if expected is not None and expected.axes:
            return node(op, attrs=(expected,))
        axes = tuple(
            a.name if isinstance(a, s.Name) else str(value(context, a, scope).value) for a in call.arguments
        )
        return node(op, attrs=(Type("real", axes),))

    return row


def argmax(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """The position of the largest entry, or the element of a set with the largest value."""
    _count(call, 1)
    if isinstance(call.arguments[0], s.Comprehension):
        from dotopt.compiler.lower.loops import fold

        return fold(context, "argmax", call.arguments[0], scope)
    return build("argmax", value(context, call.arguments[0], scope), span=call.span)


def indicator(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """The vector that is 1 on a set of positions."""
    _count(call, 1)
    return node("indicator", value(context, call.arguments[0], scope), attrs=(expected or Type("real", (REST,)),))


def native(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """The size of one axis of the tensor as the user made it, counted from the end when negative."""
    _count(call, 2)
    operand, axis = _arguments(context, call, scope)
    if axis.value is None:
        raise fail("E316", call.arguments[1].span, found="this", expected="the number of an axis")
    return node("native", operand, attrs=(int(axis.value),), span=call.span)


def host(name: str) -> Row:
    """Functions on lists, which run in Python."""

    def row(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
        type = {"occurs": Type("bool"), "top": Type("set")}.get(name, Type("list"))
        return node("host", *_arguments(context, call, scope), attrs=(name, type), span=call.span)

    return row


def given_by_layer(name: str) -> Row:
    """`input_of(W)` and `output_of(W)`: what the hooks of a linear layer saw."""

    def row(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
        _count(call, 1)
        operand = value(context, call.arguments[0], scope)
        return read_of_layer(context, name, operand, expected, call)

    return row


def attention(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """Causal softmax attention over the tokens so far: all or the last few, with or without the token itself."""
    _count(call, 3)
    q, k, v = _arguments(context, call, scope)
    found = {x.name: x.value for x in call.keywords}
    strict = found.pop("strict", None)
    if strict is not None and not isinstance(strict, s.Boolean):
        raise fail("E316", strict.span, found="this", expected="`true` or `false`")
    more = {name: value(context, x, scope) for name, x in found.items()}
    between = (more.get("bias", ir.number(0)), more.get("window", ir.number(0))) if more else ()
    attrs = (strict is not None and strict.value,)
    return node("attention", q, k, *between, v, attrs=attrs, span=call.span)


def word_of_claims(name: str, type: Type) -> Row:
    """What only claims know (`expect`, `ddt`, `O`, …): kept as it is for the prover."""

    def row(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
        from dotopt.compiler.lower.calls import argument_nodes

        nodes = argument_nodes(context, call, scope)
        kind = nodes[0].type if name in ("ddt", "expect") and nodes else type
        return node("claim", *nodes, attrs=(name, kind), span=call.span)

    return row


def run(context: Context, call: s.Call, scope: Scope, expected: Type | None) -> Node:
    """`run(R, f, start=x, steps=n)`, perhaps with `lr=η`: the last parameter of a run, kept for simulations."""
    _count(call, 2)
    given = {k.name: value(context, k.value, scope) for k in call.keywords}
    for needed in ("start", "steps"):
        if needed not in given:
            raise fail("E316", call.span, found="this", expected=f"`{needed}=…`")
    named = []
    for argument in call.arguments:
        if not isinstance(argument, s.Name):
            raise fail("E316", argument.span, found="this", expected="the name of a rule, then that of a function")
        named.append(ir.leaf("function", argument.name, ANY))
    rate = (given["lr"],) if "lr" in given else ()
    attrs = ("run", given["start"].type)
    return node("claim", *named, given["start"], given["steps"], *rate, attrs=attrs, span=call.span)


TABLE: dict[str, Row] = {
    **{name: entrywise(op) for name, op in PLAIN[1].items()},
    **{name: pair(op) for name, op in PLAIN[2].items()},
    **{name: reduction(op) for name, op in REDUCTIONS.items()},
    **{name: host(name) for name in ("append", "suffix", "occurs", "top")},
    **{name: word_of_claims(name, ANY) for name in ("ddt", "expect", "O", "jacobian", "divergence")},
    "run": run,
    "max": extreme("max", "amax"),
    "min": extreme("min", "amin"),
    "norm": norm_call,
    "dot": dot,
    "rms": rms,
    "size": size,
    "rank": rank,
    "clip": clip,
    "unit": unit,
    "ones": filled("ones"),
    "zeros": filled("zeros"),
    "argmax": argmax,
    "indicator": indicator,
    "native": native,
    "input_of": given_by_layer("input_of"),
    "output_of": given_by_layer("output_of"),
    "attention": attention,
}

__all__ = ["TABLE", "axis_name", "broadcast", "reduced_axes"]
