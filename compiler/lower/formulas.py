"""Formulas of the library: inlined with their parameters bound, their axes those of the arguments."""

from __future__ import annotations

from dotopt.compiler.ir import Node, leaf, node
from dotopt.compiler.lower.context import Context, Static
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.functions import Function, builtin_function, stated_gradient
from dotopt.compiler.lower.scope import Leaf, Local, Scope, User, Value
from dotopt.compiler.ops.types import ANY, REST, Type
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Span


def imported(context: Context, name: str, e: s.Call, scope: Scope, expected: Type | None) -> Node:
    from dotopt.compiler.lower.builtins import TABLE
    from dotopt.compiler.lower.calls import argument_nodes
    from dotopt.compiler.lower.inner import INNER

    replaced = context.static.functions.get(name, name)
    if replaced != name and replaced in TABLE:
        return TABLE[replaced](context, s.Call(e.span, s.Name(e.span, replaced), e.arguments[:1]), scope, expected)
    if name in INNER and context.library.find(replaced) is None:
        return INNER[name](context, e, scope, expected)
    file = context.library.file(replaced)
    if file is None:
        raise fail("E222", e.span, name=name)
    if file.head.word in ("rule", "composition", "transform"):
        nodes = argument_nodes(context, e, scope)
        words = " ".join(("step", replaced, *(k.name for k in e.keywords)))
        return node("claim", *nodes, attrs=(words, nodes[0].type if nodes else ANY), span=e.span)
    if name in INNER and any(is_function(context, a, scope) for a in e.arguments):
        return INNER[name](context, e, scope, expected)
    positional = tuple(value(context, a, scope) for a in (*e.arguments, *e.samples))
    keywords = {k.name: value(context, k.value, scope) for k in e.keywords}
    return _formula(context, file, positional, keywords, e.span, _around(context, scope))


def _around(context: Context, scope: Scope) -> tuple[Node, ...]:
    """What tells one evaluation of a call from another: the indices and the variables of loops around it."""
    loops: dict[Node, None] = {}
    here: Scope | None = scope
    while here is not None:
        for entry in here.names.values():
            if isinstance(entry, Leaf) and entry.role == "loop" and not entry.indices:
                loops[leaf("loop", entry.name, entry.type)] = None
                break
        here = here.parent
    return (*context.around, *map(context.index, context.bound), *loops)


def is_function(context: Context, argument: s.Expression, scope: Scope) -> bool:
    found = scope.find(argument.name) if isinstance(argument, s.Name) else None
    return found is not None and isinstance(found[0], Local | User)


def _open_formula(
    context: Context,
    file: s.File,
    positional: tuple[Node, ...],
    keywords: dict[str, Node],
    span: Span,
    around: tuple[Node, ...] = (),
) -> tuple[Context, Scope]:
    """The scope of a formula with its parameters bound; axes are those of the arguments."""
    from dotopt.compiler.lower.declare import declare, written_type

    names = [p.name for p in file.head.parameters]
    if len(positional) > len(names):
        raise fail(
            "E313", span, name=file.head.name, expected=len(names), plural="" if len(names) == 1 else "s",
            found=len(positional),
        )
    own = context.file.head.name == file.head.name  # its own claims speak of its own draws
    inside = Context(
        file, Static(functions=context.static.functions), context.library,
        randoms=context.randoms, loops=context.loops, later=context.later, pending=context.pending,
        site=() if own else (*context.site, (span.source.path, span.start)), around=around, drawn=context.drawn,
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
                declared = written_type(inside, scope, parameter.type)
                _alias(inside, declared, bound, parameter.name, span)
        elif positional and context.file.head.name == file.head.name and context.scope.find(parameter.name):
            bound = value(context, s.Name(span, parameter.name), context.scope)  # its own claims keep its parameters
        elif parameter.default is not None:
            bound = value(inside, parameter.default, scope)
        else:
            raise fail("E313", span, name=file.head.name, expected=len(names), plural="s", found=len(given))
        scope.names[parameter.name] = Value(bound)
    declare(inside, scope, file.statements)
    return inside, scope


def _alias(inside: Context, declared: Type, bound: Node, name: str, span: Span) -> None:
    named = tuple(axis for axis in declared.axes if axis != REST)
    if bound.type.any or not named:
        return
    actual = tuple(axis for axis in bound.type.axes if axis != REST)
    if REST in declared.axes and len(actual) > len(named):  # `real[..., d]`: the last ones
        actual = actual[-len(named) :]
    if len(actual) != len(named):
        raise fail("E301", span, left=f"{name} : {declared}", right=str(bound.type))
    for mine, theirs in zip(named, actual, strict=True):
        inside.axis_alias[mine] = theirs
        inside.axes.add(mine)


def _formula(
    context: Context,
    file: s.File,
    positional: tuple[Node, ...],
    keywords: dict[str, Node],
    span: Span,
    around: tuple[Node, ...] = (),
) -> Node:
    if file.head.name in [n for _, n, _ in context.pending]:
        raise fail("E218", span, name=file.head.name)
    inside, scope = _open_formula(context, file, positional, keywords, span, around)
    context.pending.append((scope, file.head.name, False))
    try:
        assert file.head.value is not None
        return value(inside, file.head.value, scope)
    finally:
        context.pending.pop()


def formula_function(context: Context, name: str, span: Span) -> Function:
    name = context.static.functions.get(name, name)
    file = context.library.file(name)
    if file is None:
        return builtin_function(context, name, span, context.scope)
    names = tuple(p.name for p in file.head.parameters)

    def at(nodes: tuple[Node, ...]) -> Node:
        return _formula(context, file, nodes, {}, span)

    targets = [d.targets[0] for d in file.statements if isinstance(d, s.Definition)]
    stated_here = any(isinstance(x, s.Call) and isinstance(x.function, s.Gradient) for x in targets)

    def stated(nodes: tuple[Node, ...]) -> Node:
        inside, scope = _open_formula(context, file, nodes, {}, span)
        found = scope.gradient(file.head.name)
        assert found is not None
        return stated_gradient(inside, found)(nodes)

    return Function(name, names, at, stated if stated_here else None)
