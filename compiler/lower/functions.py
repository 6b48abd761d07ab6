"""Functions whose inside is known: local ones are inlined where they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dotopt.compiler.ir import Node
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.scope import Argument, Imported, Local, Scope, User, Value
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Span

MOST_NESTED = 100  # calls of one local function inside each other


@dataclass(frozen=True)
class Function:
    """A function that the compiler knows the inside of: argument names, and the value at given nodes."""

    name: str
    arguments: tuple[str, ...]
    at: Callable[[tuple[Node, ...]], Node]
    stated: Callable[[tuple[Node, ...]], Node] | None = None  # its stated gradient


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
        return builtin_function(context, name, function.span, scope)
    entry, owner = found
    match entry:
        case Argument(expression, outer):
            return function_of(context, expression, outer)
        case Local(definition, _, arguments, home):

            def at(nodes: tuple[Node, ...]) -> Node:
                return inline_nodes(context, entry, home or owner, nodes, indices, scope, definition.span)

            stated = scope.gradient(name)
            return Function(name, arguments, at, stated_gradient(context, stated) if stated else None)
        case Imported(real_name):
            from dotopt.compiler.lower.formulas import formula_function

            return formula_function(context, real_name, function.span)
        case User():
            from dotopt.compiler.lower.oracle import ask_nodes

            def ask(nodes: tuple[Node, ...]) -> Node:
                return ask_nodes(context, entry, nodes, (), (), "", None, function.span)

            return Function(name, entry.declaration.arguments or ("x",), ask)
    raise fail("E316", function.span, found=f"`{name}`", expected="a function")


def stated_gradient(context: Context, stated: tuple[s.Definition, Scope]) -> Callable[[tuple[Node, ...]], Node]:
    definition, owner = stated
    (target,) = definition.targets
    assert isinstance(target, s.Call)
    names = tuple(a.name for a in target.arguments if isinstance(a, s.Name))

    def at(nodes: tuple[Node, ...]) -> Node:
        inner = Scope(owner, names={n: Value(v) for n, v in zip(names, nodes, strict=False)})
        return body_of(context, definition, inner)

    return at


def body_of(context: Context, definition: s.Definition, inner: Scope) -> Node:
    """The value of a local function's definition, its `where` lines included."""
    from dotopt.compiler.lower.declare import declare

    if definition.where:
        declare(context, inner, definition.where)
    return value(context, definition.value, inner)


def builtin_function(context: Context, name: str, span: Span, scope: Scope) -> Function:
    from dotopt.compiler.lower.builtins import TABLE

    if name in TABLE:

        def at(nodes: tuple[Node, ...]) -> Node:
            inner = Scope(scope, names={f"·{i}": Value(v) for i, v in enumerate(nodes)})
            arguments = tuple(s.Name(span, f"·{i}") for i in range(len(nodes)))
            return TABLE[name](context, s.Call(span, s.Name(span, name), arguments), inner, None)

        return Function(name, ("x",), at)
    if context.library.find(name) is not None:
        from dotopt.compiler.lower.formulas import formula_function

        return formula_function(context, name, span)
    raise fail("E201", span, name=name)


def inline(
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


def inline_nodes(
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
    if active > MOST_NESTED:  # in its own argument, itself or by names; what calls itself was refused before
        raise fail("E218", entry.definition.span, name=name)
    context.pending.append((inner, f"{name}(…)", False))
    try:
        return body_of(context, entry.definition, inner)
    finally:
        context.pending.pop()
