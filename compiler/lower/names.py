"""Names to nodes: what a name stands for, lowered once; definitions with their phases and declared types."""

from __future__ import annotations

from dotopt.compiler import ir
from dotopt.compiler.ir import Node, node
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.expression import build, norm, value
from dotopt.compiler.lower.scope import (
    Argument,
    Axis,
    Base,
    Choice,
    Entry,
    Family,
    Imported,
    IndexSet,
    Lazy,
    Leaf,
    Local,
    OptionName,
    Passes,
    Scope,
    User,
    Value,
)
from dotopt.compiler.ops.types import ANY, BOOL, INT, REST, Mismatch, Type
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Span

ORDER = "for an order that is a hyperparameter: `norm_p(x, p)`, with `use norm_p`"


def named(context: Context, name: str, primed: bool, scope: Scope, span: Span) -> Node:
    """The value of a name; each definition is lowered once, where it stands."""
    found = scope.find(name, primed)
    if found is None:
        return _unknown(context, name, primed, scope, span)
    entry, owner = found
    key = (name, primed)
    if key in owner.values:
        return owner.values[key]
    result = entry_value(context, entry, owner, name, primed, span)
    if isinstance(entry, Lazy | Choice | Passes | Argument | Family):
        owner.values[key] = result
    return result


def whole(context: Context, name: str, primed: bool, scope: Scope, span: Span) -> Node:
    """The value of a bare name; a family over a range of numbers is then a vector."""
    body = named(context, name, primed, scope, span)
    found = scope.find(name, primed)
    match found:
        case (Family(s.Definition(family=s.IndexName(_, index, s.Range())), (only,), ()), _) if only == index:
            if index in scope.names or context.index(index) not in set(body.walk()):
                return body
            domain = context.index_sets[index]
            axis, start = _axis_of(domain), domain.args[0].value
            if axis is None or start is None:
                return body
            try:
                return ir.substitute(body, {context.index(index): node("arange", attrs=(axis, int(start)))})
            except Mismatch as error:  # what is a number for one member may be no vector for all
                raise fail("E301", span, left=error.left, right=error.right) from None
    return body


def _axis_of(domain: Node) -> str | None:
    """The axis d that `0..d - 1` or `1..d` runs along."""
    first, last = domain.args
    match last:
        case Node(op="leaf") if last.role == "axis" and first.value == 1:
            return last.name
        case Node(op="sub", args=(axis, one)) if axis.role == "axis" and one.value == 1 and first.value == 0:
            return axis.name
    return None


def entry_value(context: Context, entry: Entry, owner: Scope, name: str, primed: bool, span: Span) -> Node:
    """The value of what a name stands for."""
    match entry:
        case Value(known):
            return known
        case Leaf(role, spelled, type, indices, implicit):
            own = tuple(context.index(i) for i in indices) if implicit == len(indices) else ()
            return ir.leaf(role, spelled, type, *own)
        case Lazy(definition, position, home):
            return define(context, definition, home or owner, name, primed, position)
        case Family(definition, indices, _, home):
            following = define(context, definition, home or owner, name, primed, None, indices)
            return held(context, home, name, following) if primed and home is not None else following
        case Passes(loop, position, indices, implicit, home):
            from dotopt.compiler.lower.loops import lower_loop

            written = indices[: len(indices) - len(implicit)]
            own = tuple(context.index(i) for i in written)
            return node("item", lower_loop(context, loop, home or owner), *own, attrs=(position,), span=span)
        case Argument(expression, outer):
            return value(context, expression, outer)
        case Axis(axis):
            return ir.leaf("axis", axis, INT)
        case IndexSet(set_name):
            return ir.leaf("set", set_name, Type("set"))
        case OptionName(declaration):
            option = context.prefix.get(declaration.name, declaration.name)
            chosen = context.static.options.get(option)
            if isinstance(chosen, bool):
                return ir.boolean(chosen)
            return ir.leaf("option", option, BOOL)
        case Choice():
            return _choice(context, entry, owner, name, primed, span)
        case Imported() | Local() | User() | Base():
            raise fail("E316", span, found=f"the function `{name}`", expected="its value at a point")
    raise AssertionError(entry)


def held(context: Context, home: Scope, name: str, following: Node) -> Node:
    """What a state of a party is after the step, seen from outside: an absent party keeps what it has."""
    party = next((x for x in context.file.statements if isinstance(x, s.Role) and context.roles[x.name] is home), None)
    found = home.find(name)
    if party is None or party.condition is None or found is None or not isinstance(found[0], Leaf):
        return following
    present = value(context, party.condition, home)
    before = entry_value(context, found[0], home, name, False, party.span)
    return build("select", present, following, before, span=party.span)


def _choice(context: Context, entry: Choice, owner: Scope, name: str, primed: bool, span: Span) -> Node:
    condition = value(context, entry.condition, owner)
    branches = []
    for branch, inside in ((entry.then, entry.then_scope), (entry.otherwise, entry.otherwise_scope)):
        if branch is not None:
            branches.append(entry_value(context, branch, inside, name, primed, span))
        elif primed:  # a state without an equation in this branch is held
            branches.append(named(context, name, False, owner, span))
        else:
            raise fail("E201", span, name=name, help="it is defined in one branch of `when` only")
    return build("select", condition, *branches, span=span)


def _unknown(context: Context, name: str, primed: bool, scope: Scope, span: Span) -> Node:
    if primed:
        if context.file.head.word == "formula" or scope.find(name) is None:
            raise fail("E201", span, name=f"{name}'")
        entry = scope.find(name)
        if entry is not None and isinstance(entry[0], Leaf) and entry[0].role in ("state", "param"):
            return entry_value(context, entry[0], entry[1], name, False, span)  # nothing moves it: held
        raise fail("E203", span, name=name, kind="not a state")
    match name:
        case "t":
            return ir.TIME
        case "π" | "pi":
            return node("pi")
        case "I":
            return ir.leaf("identity", "I", ANY)
    if name in context.axes:
        return ir.leaf("axis", context.axis_alias.get(name, name), INT)
    if name in context.index_sets:
        return context.index(name)
    raise fail("E201", span, name=name)


def define(
    context: Context, definition: s.Definition, scope: Scope, name: str, primed: bool, position: int | None,
    indices: tuple[str, ...] = (),
) -> Node:
    """Lowers a definition in its scope and records it as an equation of the program."""
    if (scope, name, primed) in context.pending:
        start = context.pending.index((scope, name, primed))
        cycle = [n + ("'" if p else "") for _, n, p in context.pending[start:]]
        sequence = f"introduce the sequence: `for all {name}[t]`" if indices == ("t",) else None
        raise fail("E206", definition.span, cycle=" needs ".join(f"`{c}`" for c in (*cycle, cycle[0])), help=sequence)
    inner = scope
    if definition.where or indices:
        from dotopt.compiler.lower.declare import declare

        inner = Scope(scope, equations=scope.equations)
        for index in indices:
            inner.names[index] = Value(context.index(index))
        declare(context, inner, definition.where)
    expected = _declared(context, definition, scope, name, primed)
    context.pending.append((scope, name, primed))
    before = len(context.bound)
    context.bound += indices
    try:
        result = value(context, definition.value, inner, expected)
    finally:
        context.pending.pop()
        del context.bound[before:]
    if expected is not None and definition.type is not None:
        result = annotated(result, expected, definition.span)
    if position is not None:
        result = pick(result, position, definition.span)
    if definition.phase is not None:
        result = _phased(context, definition, result, scope, name)
    if primed:
        _check_next(context, scope, name, result, definition)
    if scope.equations is not None:
        renamed = context.prefix.get(name, name)
        scope.equations.append(ir.Equation(renamed, result, definition.span, primed))
    return result


def pick(result: Node, position: int, span: Span) -> Node:
    """One part of a tuple."""
    if result.op == "tuple":
        return result.args[position]
    return node("item", result, attrs=(position,), span=span)


def annotated(result: Node, type: Type, span: Span) -> Node:
    """`result`, seen as of the declared type; E301 if it is not."""
    if result.type.any or result.type == type:
        return result
    if result.type.axes != type.axes and not (result.type.scalar and type.axes):
        raise fail("E301", span, left=str(result.type), right=f"the declared {type}")
    return result


def _declared(context: Context, definition: s.Definition, scope: Scope, name: str, primed: bool) -> Type | None:
    if definition.type is not None:
        from dotopt.compiler.lower.declare import type_of

        return type_of(context, scope, definition.type)
    if primed:
        found = scope.find(name)
        if found is not None and isinstance(found[0], Leaf):
            return found[0].type
    elif scope is context.scope:
        for d in context.file.statements:
            if isinstance(d, s.Declaration) and d.word == "output" and d.name == name and d.type is not None:
                from dotopt.compiler.lower.declare import type_of

                return type_of(context, scope, d.type)
    return None


def _check_next(context: Context, scope: Scope, name: str, result: Node, definition: s.Definition) -> None:
    found = scope.find(name)
    if found is None or not isinstance(found[0], Leaf) or found[0].role == "loop":
        return  # the variables of a loop are as wide as their values
    if result.type.any or found[0].type.any:
        return
    declared = found[0].type
    if result.type.kind in ("real", "int", "bool") and not set(result.type.axes) <= set(declared.axes):
        raise fail(
            "E301", definition.value.span, left=f"{name}' : {result.type}", right=f"{name} : {declared}",
            help=f"declare `{name}` with these axes, or reduce the value",
        )
    if result.type.kind == "complex" and declared.kind != "complex":
        raise fail("E316", definition.value.span, found="a complex value", expected=f"{declared}")


def _phased(context: Context, d: s.Definition, result: Node, scope: Scope, name: str) -> Node:
    assert d.phase is not None
    period = value(context, d.phase.period, scope)
    start = value(context, d.phase.start, scope) if d.phase.start else period
    held = named(context, name, False, scope, d.span)
    otherwise = value(context, d.phase.otherwise, scope) if d.phase.otherwise else held
    fires = node("fires", period, start, span=d.phase.span)
    return build("select", fires, result, otherwise, span=d.span)


def indexed(context: Context, expression: s.Index, scope: Scope) -> Node:
    span = expression.span
    if isinstance(expression.base, s.Norm):
        (order,) = expression.indices
        if isinstance(order, s.Infinity):
            return norm(value(context, expression.base.operand, scope), None, span)
        number = value(context, order, scope)
        if number.value is None:
            raise fail("E316", order.span, found="this", expected="a number as the order of the norm", help=ORDER)
        return norm(value(context, expression.base.operand, scope), number.value, span)
    indices = tuple(value(context, index, scope) for index in expression.indices)
    if isinstance(expression.base, s.Name):
        name, primed = expression.base.name, expression.base.primed
        found = scope.find(name, primed)
        if found is not None:
            entry, _owner = found
            match entry:
                case Leaf(role, spelled, type, names):
                    if names or context.theorem:
                        return ir.leaf(role, spelled, type, *indices, span=span)
                case Family(_, names, _) | Passes(_, _, names, _, _) if names:
                    whole = named(context, name, primed, scope, span)
                    return ir.instance(whole, dict(zip(map(context.index, names), indices, strict=False)))
                case _:
                    pass
    base = value(context, expression.base, scope)
    if base.type.any or base.op in ("oracle", "apply"):
        return node("item", base, *indices, attrs=(0,), span=span)
    _check_entry(base, indices, expression)
    return build("element", base, indices[0], span=span)


def _check_entry(base: Node, indices: tuple[Node, ...], expression: s.Index) -> None:
    """E320 unless one entry of a vector or a list is asked for, E321 where it has no such entry."""
    type = base.type
    if type.kind not in ("list", "tuple", "set") and (len(type.axes) != 1 or type.axes == (REST,)):
        raise fail("E320", expression.base.span, name=expression.base.span.text, found=str(type))
    if len(indices) != 1:
        raise fail("E320", expression.span, name=expression.base.span.text, found=str(type))
    size = next((int(axis) for axis in type.axes if axis.isdecimal()), None)
    (index,) = indices
    negated = index.op == "neg"
    number = index.args[0].value if negated else index.value
    if number is None or size is None:
        return
    position = -number if negated else number
    if position.denominator != 1:
        where = expression.indices[0].span
        raise fail("E316", where, found=f"`{where.text}`", expected="a whole number as the index")
    if not -size <= position < size:
        plural = "y" if size == 1 else "ies"
        raise fail("E321", expression.span, name=expression.base.span.text, size=size, plural=plural, last=size - 1)
