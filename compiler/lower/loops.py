"""Loops and reductions over an index."""

from __future__ import annotations

from dotopt.compiler.ir import Fold, Loop, Node, node
from dotopt.compiler.lower.context import Context, LoopScope
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.names import named
from dotopt.compiler.lower.scope import Leaf, Scope, Value
from dotopt.compiler.ops.types import Mismatch, Type, broadcast
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail


def lower_loop(context: Context, loop: s.Iterate, scope: Scope) -> Node:
    """The loop as one node; its variables get the widest type that start and body need."""
    if id(loop) in scope.passes:
        return scope.passes[id(loop)]
    starts = tuple(value(context, variable.start, _indexed(context, variable, scope)) for variable in loop.variables)
    types = [_declared(context, scope, v) or start.type for v, start in zip(loop.variables, starts, strict=True)]
    for attempt in range(4):
        before = dict(context.loops)
        made = _passes(context, loop, scope, starts, types)
        wider = [_wider(t, n.type, v) for t, n, v in zip(types, made.attrs.body.nexts, loop.variables, strict=True)]
        if wider == types or attempt == 3:
            break
        types = wider
        context.loops.update(before)  # the narrower attempt leaves no trace in the names
        for name in set(context.loops) - set(before):
            del context.loops[name]
    scope.passes[id(loop)] = made
    return made


def _indexed(context: Context, variable: s.LoopVariable, scope: Scope) -> Scope:
    """Where the start of a family is read: its indices are known."""
    inner = Scope(scope)
    inner.names |= {i.name: Value(context.index(i.name)) for i in variable.indices if scope.find(i.name) is None}
    return inner


def _declared(context: Context, scope: Scope, variable: s.LoopVariable) -> Type | None:
    from dotopt.compiler.lower.declare import type_of

    return type_of(context, scope, variable.type) if variable.type else None


def _wider(start: Type, next: Type, variable: s.LoopVariable) -> Type:
    if start.any or next.any:
        return start if next.any else next
    try:
        return broadcast(start, next)
    except Mismatch as error:
        raise fail("E301", variable.span, left=error.left, right=error.right) from None


def _passes(context: Context, loop: s.Iterate, scope: Scope, starts: tuple[Node, ...], types: list[Type]) -> Node:
    from dotopt.compiler.lower.declare import declare

    inner = Scope(scope, equations=[])
    variables = []
    for variable, type in zip(loop.variables, types, strict=True):
        indices = tuple(i.name for i in variable.indices)
        leaf = context.fresh("loop", variable.name, type, *map(context.index, indices))
        variables.append(leaf)
        inner.names[variable.name] = Leaf("loop", leaf.name, type, indices)
    index = None
    if loop.index is not None:
        index = context.index(loop.index.name)
        inner.names[loop.index.name] = Value(index)
    declare(context, inner, loop.body)
    nexts = []
    for variable in loop.variables:
        if variable.name not in inner.nexts:
            raise fail("E205", variable.span, name=variable.name)
        nexts.append(named(context, variable.name, True, inner, variable.span))
    for name in tuple(inner.names):  # locals that only `until` or claims read are checked too
        if name not in {v.name for v in loop.variables} and not isinstance(inner.names[name], Value):
            _touch(context, inner, name, loop)
    until = value(context, loop.until, inner) if loop.until is not None else None
    bound = loop.count or loop.most or (loop.index.domain if loop.index else None)
    assert bound is not None
    first = value(context, bound, scope)
    context.passes[id(loop)] = LoopScope(inner, tuple(variables), index, first, until)
    body = Loop(tuple(variables), tuple(nexts), until, index, tuple(inner.equations or ()))
    return node("loop", first, *starts, attrs=(body,), span=loop.span)


def _touch(context: Context, inner: Scope, name: str, loop: s.Iterate) -> None:
    from dotopt.compiler.lower.scope import Family, Lazy, Passes

    if isinstance(inner.names[name], Lazy | Family | Passes):
        named(context, name, False, inner, loop.span)


def fold(context: Context, kind: str, e: s.Comprehension, scope: Scope) -> Node:
    """`sum(e for i in S if c)`."""
    inner = Scope(scope)
    domain = value(context, e.domain, scope) if e.domain is not None else _domain(context, e)
    with context.binding(e.names) as leaves:
        inner.names |= {name: Value(leaf) for name, leaf in zip(e.names, leaves, strict=True)}
        condition = value(context, e.condition, inner) if e.condition is not None else None
        body = value(context, e.body, inner)
    return node("fold", domain, attrs=(Fold(kind, leaves, body, condition),), span=e.span)


def _domain(context: Context, e: s.Comprehension) -> Node:
    for name in e.names:
        if name in context.index_sets:
            return context.index_sets[name]
    sets = set(context.index_sets.values())
    if len(sets) == 1:
        return sets.pop()
    raise fail("E219", e.span, name=e.names[0], help=f"say over what: `for {e.names[0]} in …`")



