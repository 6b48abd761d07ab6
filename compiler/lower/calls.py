"""Calls: which meaning a call has, by what its name stands for."""

from __future__ import annotations

from dotopt.compiler import ir
from dotopt.compiler.ir import Node, node
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.formulas import imported
from dotopt.compiler.lower.functions import function_of, inline
from dotopt.compiler.lower.inner import INNER
from dotopt.compiler.lower.oracle import ask, conjugate, gradient_call
from dotopt.compiler.lower.scope import Argument, Base, Imported, Leaf, Local, Scope, User
from dotopt.compiler.ops.types import ANY, Type
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError, fail


def call(context: Context, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    """The value of a call."""
    from dotopt.compiler.lower.builtins import TABLE

    match e.function:
        case s.Gradient():
            return gradient_call(context, e, e.function, scope, expected)
        case s.Call(_, s.Gradient(_, function, _, order), points, samples) if order > 2:
            name = function.name if isinstance(function, s.Name) else "f"
            nodes = tuple(value(context, x, scope) for x in (*points, *samples, *e.arguments))
            return node("oracle", *nodes, attrs=(name, "third", None, (0, len(points)), nodes[0].type), span=e.span)
        case s.Conjugate(_, function):
            return conjugate(context, e, function, 0, scope)
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
                return _passed(context, e, expression, outer, scope)
            case Local():
                return inline(context, entry, owner, e, indices, scope)
            case User():
                return ask(context, entry, e, indices, scope, expected)
            case Imported(real_name):
                return imported(context, real_name, e, scope, expected)
            case Base(base):
                from dotopt.compiler.lower.compose import apply

                return apply(context, base, e, scope)
            case Leaf(_, _, type):  # x(h): the value after time h of a flow
                nodes = (value(context, e.function, scope), *argument_nodes(context, e, scope))
                return node("claim", *nodes, attrs=("after", type), span=e.span)
            case _:
                raise fail("E316", e.function.span, found=f"`{name}`", expected="a function")
    special = INNER.get(name)
    if special is not None:
        return special(context, e, scope, expected)
    row = TABLE.get(name)
    if row is not None:
        return row(context, e, scope, expected)
    if context.library.find(name) is not None:
        return imported(context, name, e, scope, expected)
    raise fail("E201", e.function.span, name=name)


def _passed(context: Context, e: s.Call, function: s.Expression, outer: Scope, scope: Scope) -> Node:
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
