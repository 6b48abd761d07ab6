"""Expressions to nodes, with the rules of types. `value` is the one entry."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from dotopt.compiler import ir
from dotopt.compiler.ir import Node, node
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.scope import (
    OptionName,
    Scope,
)
from dotopt.compiler.ops.types import ANY, BOOL, Mismatch, Type
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Label, fail
from dotopt.compiler.text.source import Span

OPERATORS = {"+": "add", "-": "sub", "*": "mul", "/": "div", "^": "pow", "@": "matmul"}
RELATIONS = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}


def build(op: str, *args: Node, span: Span | None, attrs: tuple[object, ...] = ()) -> Node:
    """The node, or E301 at `span` if the types do not fit."""
    try:
        return node(op, *args, attrs=attrs, span=span)
    except Mismatch as error:
        notes = tuple(f"{arg!r} : {arg.type}" for arg in args if arg.op not in ("const", "bool"))
        raise fail("E301", span, left=error.left, right=error.right, notes=notes) from None


def value(context: Context, expression: s.Expression, scope: Scope, expected: Type | None = None) -> Node:
    """The node of `expression` as read in `scope`; `expected` is the declared type, for what has none of its own.

    Raises `OptError` with E2xx for names and E3xx for types.
    """
    match expression:
        case s.Number(_, number):
            return ir.number(number)
        case s.Infinity():
            return node("inf")
        case s.Boolean(_, truth):
            return ir.boolean(truth)
        case s.Name(_, name, primed):
            from dotopt.compiler.lower.names import whole

            found = whole(context, name, primed, scope, expression.span)
            if found.role == "identity" and expected is not None and expected.axes[-2:-1] == expected.axes[-1:] != ():
                return node("eye", attrs=(expected.axes[-1],))
            return found
        case s.Index():
            from dotopt.compiler.lower.names import indexed

            return indexed(context, expression, scope)
        case s.Member(span, s.Name(_, base), name):
            from dotopt.compiler.lower.compose import member

            return member(context, base, name, span)
        case s.Call():
            from dotopt.compiler.lower.calls import call

            return call(context, expression, scope, expected)
        case s.Transpose(span, operand):
            return build("transpose", value(context, operand, scope), span=span)
        case s.Unary():
            return _unary(context, expression, scope)
        case s.Norm(span, operand):
            return norm(value(context, operand, scope), Fraction(2), span)
        case s.Binary():
            return _binary(context, expression, scope, expected)
        case s.Compare():
            return _compare(context, expression, scope)
        case s.Conditional(span, condition, then, otherwise):
            return _select(context, span, [(condition, then), (None, otherwise)], scope, expected)
        case s.Cases(span, cases):
            return _select(context, span, [(c.condition, c.value) for c in cases], scope, expected)
        case s.Range(span, first, last):
            return build("range", value(context, first, scope), value(context, last, scope), span=span)
        case s.Sequence(span, kind, items):
            nodes = tuple(value(context, item, scope) for item in items)
            return build("set" if kind == "set" else "tuple", *nodes, span=span)
        case s.Gradient() | s.Conjugate():
            raise fail("E316", expression.span, found="a function", expected="its value at a point")
        case s.Comprehension() | s.Window():
            raise fail("E316", expression.span, found="a range of values", expected="a reduction such as `sum(…)`")
    raise AssertionError(expression)


def norm(operand: Node, order: Fraction | None, span: Span | None) -> Node:
    """The norm of all entries; order None is the largest absolute value."""
    if operand.type.scalar:
        return build("abs", operand, span=span)
    axes = operand.type.axes
    return build("norm", operand, attrs=(axes, False, order), span=span)


def _unary(context: Context, expression: s.Unary, scope: Scope) -> Node:
    span = expression.span
    operand = value(context, expression.operand, scope)
    match expression.operator:
        case "-":
            if operand.value is not None:
                return ir.number(-operand.value)
            return build("neg", operand, span=span)
        case "√":
            return build("sqrt", operand, span=span)
        case "|":
            return build("abs", operand, span=span)
        case _:
            if operand.op == "bool":
                return ir.boolean(not operand.attrs.value)
            return build("not", operand, span=span)


def _binary(context: Context, e: s.Binary, scope: Scope, expected: Type | None) -> Node:
    if e.operator in ("and", "or"):
        left = value(context, e.left, scope)
        if left.op == "bool":  # decided already: the other operand may not even make sense
            return left if left.attrs.value == (e.operator == "or") else value(context, e.right, scope)
        right = value(context, e.right, scope)
        if right.op == "bool":
            return right if right.attrs.value == (e.operator == "or") else left
        return build(e.operator, left, right, span=e.span)
    if e.operator == "@":
        from dotopt.compiler.lower.oracle import hessian_product

        product = hessian_product(context, e, scope)
        if product is not None:
            return product
    left = value(context, e.left, scope, expected)
    right = value(context, e.right, scope, expected)
    if left.value is not None and right.value is not None:
        folded = _fold_numbers(e.operator, left.value, right.value)
        if folded is not None:
            return ir.number(folded)
    if left.type.any or right.type.any:
        left, right = _identity(left, right, expected)
    return build(OPERATORS[e.operator], left, right, span=e.span)


def _identity(left: Node, right: Node, expected: Type | None) -> tuple[Node, Node]:
    """`I` and multiples of it take their size from their neighbour; beside a number, from what is declared."""

    def sized(operand: Node, neighbour: Node, leading: bool) -> Node:
        unknown = [here for here in operand.walk() if here.role == "identity"] if operand.type.any else []
        axes = tuple(axis for axis in neighbour.type.axes if axis != "…")
        if not axes and expected is not None and expected.axes[-2:-1] == expected.axes[-1:] != ():
            axes = expected.axes
        if not unknown or not axes:
            return operand
        return ir.substitute(operand, {unknown[0]: node("eye", attrs=(axes[0] if leading else axes[-1],))})

    return sized(left, right, True), sized(right, left, False)


def _fold_numbers(operator: str, left: Fraction, right: Fraction) -> Fraction | None:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" if right != 0:
            return left / right
        case "^" if right.denominator == 1 and abs(right) <= 64 and (left != 0 or right > 0):
            return left ** int(right)
    return None


def _compare(context: Context, e: s.Compare, scope: Scope) -> Node:
    option = _option_comparison(context, e, scope)
    if option is not None:
        return option
    operands: list[Node] = []
    for operand in e.operands:
        known = next((o.type for o in operands if not o.type.any and o.type.axes), None)
        operands.append(value(context, operand, scope, known))
    result: Node | None = None
    for operator, left, right in zip(e.operators, operands, operands[1:], strict=False):
        part = _relation(operator, left, right, e.span)
        if part.op == "bool" and not part.attrs.value:
            return part
        if result is None or result.op == "bool":
            result = part
        elif part.op != "bool":
            result = build("and", result, part, span=e.span)
    assert result is not None
    return result


def _relation(operator: str, left: Node, right: Node, span: Span) -> Node:
    if operator in ("in", "not in"):
        inside = build("contains", right, left, span=span)
        return inside if operator == "in" else build("not", inside, span=span)
    if left.value is not None and right.value is not None:
        return ir.boolean(COMPARE[operator](left.value, right.value))
    if left.role == "identity" or right.role == "identity":
        matrix = right if left.role == "identity" else left
        eye = node("eye", attrs=(matrix.type.axes[-1],)) if matrix.type.axes else ir.leaf("identity", "I", ANY)
        left, right = (eye, right) if left.role == "identity" else (left, eye)
    return build(RELATIONS[operator], left, right, span=span)


COMPARE: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def _option_comparison(context: Context, e: s.Compare, scope: Scope) -> Node | None:
    """`form == proximal`, where `form` is an option: decided, or a leaf of its own."""
    if len(e.operands) != 2 or e.operators[0] not in ("==", "!="):
        return None
    for option, other in (e.operands, e.operands[::-1]):
        if not (isinstance(option, s.Name) and isinstance(other, s.Name)):
            continue
        found = scope.find(option.name)
        if found is None or not isinstance(found[0], OptionName):
            continue
        declaration = found[0].declaration
        if not isinstance(declaration.bounds, s.Choices):
            continue
        values = [v.name for v in declaration.bounds.values if isinstance(v, s.Name)]
        if other.name not in values:
            raise fail("E215", other.span, value=other.name, option=option.name, values=", ".join(values))
        spelled = context.prefix.get(option.name, option.name)
        chosen = context.static.options.get(spelled)
        if chosen is not None:
            return ir.boolean((chosen == other.name) == (e.operators[0] == "=="))
        is_value = ir.leaf("option", f"{spelled} == {other.name}", BOOL)
        return is_value if e.operators[0] == "==" else node("not", is_value)
    return None


Branch = tuple[s.Expression | None, s.Expression]


def _select(context: Context, span: Span, branches: list[Branch], scope: Scope, expected: Type | None) -> Node:
    """The first branch whose condition holds; branches that cannot be reached are not even looked at."""
    (condition, then), *rest = branches
    if condition is None:
        return value(context, then, scope, expected)
    chosen = value(context, condition, scope)
    if chosen.op == "bool":
        if chosen.attrs.value:
            return value(context, then, scope, expected)
        if not rest:
            raise fail("E308", span)
        return _select(context, span, rest, scope, expected)
    if not chosen.type.any and chosen.type.kind not in ("bool", "int"):
        assert condition is not None
        raise fail("E316", condition.span, found=str(chosen.type), expected="a condition")
    if not rest:
        raise fail("E308", span)
    yes = value(context, then, scope, expected)
    no = _select(context, span, rest, scope, expected)
    if yes is no:
        return yes
    try:
        return node("select", chosen, yes, no, span=span)
    except Mismatch as error:
        labels = (Label(then.span, str(yes.type)),)
        raise fail("E301", span, left=error.left, right=error.right, labels=labels) from None
