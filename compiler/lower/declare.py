"""Statements to scopes: what each name of a block stands for, and the types of what is declared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dotopt.compiler import ir
from dotopt.compiler.lower.context import Context
from dotopt.compiler.lower.scope import (
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
from dotopt.compiler.ops.types import REAL, REST, SAMPLE, Type
from dotopt.compiler.resolve.history import without_time_indices
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Report, fail

LEAVES = {"param", "state", "input"}


def open_file(context: Context) -> Scope:
    """Fills the outermost scope of the file; returns it."""
    report = Report()
    context.file = without_time_indices(context.file, report)
    report.finish()
    scope = context.scope
    if context.file.head.word != "formula":
        scope.equations = []
    for parameter in context.file.head.parameters:
        if parameter.type is not None:
            _axes(context, scope, parameter.type)
        type = type_of(context, scope, parameter.type) if parameter.type else REAL
        scope.names.setdefault(parameter.name, Leaf("free", parameter.name, type))
    declare(context, scope, context.file.statements)
    return scope


def declare(context: Context, scope: Scope, statements: Iterable[s.Statement], role: tuple[str, ...] = ()) -> None:
    """Adds the names of `statements` to `scope`; `role` are the indices of the role around them."""
    statements = tuple(statements)
    for statement in statements:  # what others refer to by type or import, first
        if isinstance(statement, s.Use):
            for imported in statement.names:
                scope.names[imported.local] = Imported(imported.name)
        elif isinstance(statement, s.Declaration):
            _index_sets(context, scope, statement.indices)
            if statement.type is not None:
                _axes(context, scope, statement.type)
        elif isinstance(statement, s.Role):
            _index_sets(context, scope, statement.indices)
        elif isinstance(statement, s.ForAll):
            for name in statement.names:
                _index_sets(context, scope, name.indices)
                if name.type is not None:
                    _axes(context, scope, name.type)
        elif isinstance(statement, s.Definition | s.Draw | s.When) and statement.type is not None:
            _axes(context, scope, statement.type)
    for statement in statements:
        if isinstance(statement, s.When) and statement.type is not None and _matches(context, statement.type):
            _view(context, scope, statement)
    if scope is context.scope:
        view_of_functions(context, scope)
    for statement in statements:
        if isinstance(statement, s.Declaration) and statement.word == "param":
            _declaration(context, scope, statement, role)
    for statement in statements:
        _statement(context, scope, statement, role)
    close_sets(context)


def _statement(context: Context, scope: Scope, statement: s.Statement, role: tuple[str, ...]) -> None:
    match statement:
        case s.Declaration():
            if statement.word != "param":
                _declaration(context, scope, statement, role)
        case s.Definition():
            _definition(context, scope, statement, role)
        case s.Draw():
            _draw(context, scope, statement, role)
        case s.ForAll():
            for name in statement.names:
                _quantified(context, scope, name)
        case s.When():
            _when(context, scope, statement, role)
        case s.Iterate():
            for position, variable in enumerate(statement.variables):
                indices = (*(i.name for i in variable.indices), *role)
                scope.names[variable.name] = Passes(statement, position, indices, role)
        case s.Role():
            _role(context, scope, statement)
        case s.Message():
            body = s.Definition(statement.span, (s.Name(statement.span, statement.name),), statement.value)
            scope.names[statement.name] = Family(body, role, role) if role else Lazy(body)
        case _:  # use, source, given, claims, eval: nothing that others refer to by name
            pass


def _index_sets(context: Context, scope: Scope, indices: tuple[s.IndexName, ...]) -> None:
    for index in indices:
        if index.domain is None:
            continue
        if isinstance(index.domain, s.Name) and scope.find(index.domain.name) is None:
            scope.names[index.domain.name] = IndexSet(index.domain.name)
            context.index_sets[index.name] = ir.leaf("set", index.domain.name, Type("set"))
        elif index.name not in context.index_sets:
            context.open_sets.append((index.name, index.domain, scope))


def close_sets(context: Context) -> None:
    """Lowers the sets that are computed (`i in 1..n`), once the names they use are there."""
    from dotopt.compiler.lower.expression import value

    while context.open_sets:
        name, domain, scope = context.open_sets.pop()
        context.index_sets.setdefault(name, value(context, domain, scope))


def _axes(context: Context, scope: Scope, type: s.TypeSyntax) -> None:
    if isinstance(type, s.Array):
        for axis in type.axes:
            if axis.name != REST and not axis.name.isdigit():
                context.axes.add(axis.name)


def type_of(context: Context, scope: Scope, type: s.TypeSyntax) -> Type:
    """The meaning of a written type: in a formula, its axes are those of what it was called with.

    Raises E201 for `like` of an unknown name.
    """
    written = written_type(context, scope, type)
    if not isinstance(type, s.Array):
        return written
    return Type(written.kind, tuple(context.axis_alias.get(axis, axis) for axis in written.axes), written.items)


def written_type(context: Context, scope: Scope, type: s.TypeSyntax) -> Type:
    """The type as written; raises E201 for `like` of an unknown name."""
    match type:
        case s.Array(_, kind, axes):
            return Type(kind, tuple(axis.name for axis in axes))
        case s.ListOf(_, kind):
            return Type("list")
        case s.Like(span, name):
            found = scope.find(name)
            if found is None:
                raise fail("E201", span, name=name)
            entry, _ = found
            if isinstance(entry, Leaf):
                return entry.type
            from dotopt.compiler.lower.expression import value

            return value(context, s.Name(span, name), scope).type
    raise AssertionError(type)


def _declaration(context: Context, scope: Scope, d: s.Declaration, role: tuple[str, ...]) -> None:
    indices = (*(i.name for i in d.indices), *role)
    name = context.prefix.get(d.name, d.name)
    match d.word:
        case "param":
            type = context.param_type or type_of(context, scope, d.type or s.Array(d.span, "real", ()))
            scope.names[d.name] = Leaf("param", name, type, indices)
        case "state":
            type = type_of(context, scope, d.type) if d.type else REAL
            scope.names[d.name] = Leaf("state", name, type, indices, len(role))
        case "input":
            scope.names[d.name] = Leaf("input", name, type_of(context, scope, d.type) if d.type else REAL, indices)
        case "hyper":
            type = type_of(context, scope, d.type) if d.type else REAL
            scope.names[d.name] = Leaf("hyper", name, type, indices)
        case "const":
            assert d.value is not None
            body = s.Definition(d.span, (s.Name(d.name_span, d.name),), d.value)
            scope.names[d.name] = Lazy(body)
        case "option":
            scope.names[d.name] = OptionName(d)
        case "function" if d.value is not None and isinstance(d.value, s.Name):
            chosen = context.static.options.get(name, d.value.name)
            scope.names[d.name] = Imported(str(chosen))
        case "objective" | "operator" | "function":
            scope.names[d.name] = User(d, indices)
        case "base":
            scope.names[d.name] = Base(d.name)
        case "output":
            pass  # its equation defines the name


def left_side(target: s.Expression) -> tuple[str, bool, tuple[s.Expression, ...]] | None:
    """Name, prime and indices of a left side `x`, `x'`, `x[i]`; None for anything else."""
    match target:
        case s.Name(_, name, primed):
            return name, primed, ()
        case s.Index(_, s.Name(_, name, primed), indices):
            return name, primed, indices
    return None


def _definition(context: Context, scope: Scope, d: s.Definition, role: tuple[str, ...]) -> None:
    if d.family is not None and d.family.domain is not None:
        _index_sets(context, scope, (d.family,))
    for position, target in enumerate(d.targets):
        match target:
            case s.Call(_, s.Gradient(_, s.Name(_, name)), _):
                scope.gradients[name] = d
                continue
            case s.Call(_, s.Name(_, name), arguments, samples):
                scope.names[name] = Local(d, (), _bound_names((*arguments, *samples)))
                continue
            case s.Call(_, s.Index(_, s.Name(_, name), indices), arguments, samples):
                scope.names[name] = Local(d, indices, _bound_names((*arguments, *samples)))
                continue
        left = left_side(target)
        if left is None:
            raise fail("E117", target.span)
        name, primed, written = left
        known = scope.find(name)
        if known is not None and isinstance(known[0], Leaf) and known[0].indices == ("t",):
            continue  # a recurrence of a sequence says what holds of it
        table = scope.nexts if primed else scope.names
        bound = _bound_names(written)
        if bound or role:
            table[name] = Family(d, (*bound, *role), role)
        else:
            table[name] = Lazy(d, position if len(d.targets) > 1 else None)


def _bound_names(expressions: Iterable[s.Expression]) -> tuple[str, ...]:
    return tuple(expression.name for expression in expressions if isinstance(expression, s.Name))


def _draw(context: Context, scope: Scope, d: s.Draw, role: tuple[str, ...]) -> None:
    from dotopt.compiler.lower.expression import value

    law, arguments, keywords = _law(d.law)
    position = len(context.randoms)
    for target in d.targets:
        left = left_side(target)
        if left is None:
            raise fail("E117", target.span)
        name = context.prefix.get(left[0], left[0])
        type = type_of(context, scope, d.type) if d.type else _drawn_type(law)
        if context.site:
            _draw_of_formula(context, scope, left[0], type, law, (arguments, keywords))
            continue
        passes = [e for e in scope.names.values() if isinstance(e, Leaf) and e.role == "loop" and not e.indices]
        if passes:  # inside a loop: another draw in every pass, so it hangs on a variable of the loop
            variable = ir.leaf("loop", passes[0].name, passes[0].type)
            scope.names[left[0]] = Value(ir.leaf("draw", name, type, *map(context.index, role), variable))
        else:
            scope.names[left[0]] = Leaf("draw", name, type, role, len(role))
        context.randoms.append(ir.Random(name, type, law, (), position))

    if context.site:
        return

    def finish() -> None:  # the parameters of a law may be defined further down
        nodes = tuple(value(context, argument, scope) for argument in (*arguments, *(k.value for k in keywords)))
        context.randoms[position : position + len(d.targets)] = [
            replace(random, args=nodes) for random in context.randoms[position : position + len(d.targets)]
        ]

    context.later.append(finish)


def _draw_of_formula(
    context: Context, scope: Scope, name: str, type: Type, law: str,
    given: tuple[tuple[s.Expression, ...], tuple[s.Keyword, ...]],
) -> None:  # fmt: skip
    """A draw inside a formula: its own for each call in the text, and for each index and pass around the call."""
    from dotopt.compiler.lower.expression import value

    key = (context.site, name)
    if key not in context.drawn:
        taken = {random.name for random in context.randoms}
        names = (name, *(f"{name}_{k}" for k in range(2, len(taken) + 3)))
        context.drawn[key] = unique = next(x for x in names if x not in taken)
        position = len(context.randoms)
        context.randoms.append(ir.Random(unique, type, law, (), position))

        def finish() -> None:
            arguments, keywords = given
            nodes = tuple(value(context, a, scope) for a in (*arguments, *(k.value for k in keywords)))
            context.randoms[position] = replace(context.randoms[position], args=nodes)

        context.later.append(finish)
    scope.names[name] = Value(ir.leaf("draw", context.drawn[key], type, *dict.fromkeys(context.around)))


def _law(law: s.Expression) -> tuple[str, tuple[s.Expression, ...], tuple[s.Keyword, ...]]:
    match law:
        case s.Name(_, name):
            return name, (), ()
        case s.Call(_, s.Name(_, name), arguments, _, keywords):
            return name, arguments, keywords
    raise fail("E316", law.span, found="this", expected="a law such as `normal(0, 1)`")


def _drawn_type(law: str) -> Type:
    match law:
        case "choose" | "permutation":
            return Type("set")
        case "batch":
            return SAMPLE
        case "bernoulli":
            return Type("bool")
        case "categorical":
            return Type("int")
        case _:
            return REAL


def _quantified(context: Context, scope: Scope, q: s.Quantified) -> None:
    type = type_of(context, scope, q.type) if q.type else REAL
    indices = tuple(i.name for i in q.indices)
    scope.names[q.name] = Leaf("free", q.name, type, indices)


# ---- when, roles -----------------------------------------------------------------------------------------------------


def _matches(context: Context, type: s.TypeSyntax) -> bool:
    """Whether a tensor of the chosen rank has the shape of the pattern; without a rank, the pattern is taken."""
    if not isinstance(type, s.Array) or context.static.rank is None:
        return True
    named = sum(axis.name != REST for axis in type.axes)
    rank = max(context.static.rank, 1)
    open_ended = any(axis.name == REST or axis.merged for axis in type.axes)
    return rank >= named if open_ended else rank == named


def view_of_functions(context: Context, scope: Scope) -> None:
    """A pluggable function of matrices (`K = nuclear`) makes the parameter a matrix."""
    for d in context.file.statements:
        if not (isinstance(d, s.Declaration) and d.word == "function" and isinstance(d.value, s.Name)):
            continue
        chosen = context.library.file(str(context.static.options.get(d.name, d.value.name)))
        if chosen is not None and chosen.head.parameters and isinstance(chosen.head.parameters[0].type, s.Array):
            type = type_of(context, scope, chosen.head.parameters[0].type)
            if type.axes and REST not in type.axes and context.param_type is None:
                context.param_type = type
                context.axes.update(type.axes)


def _view(context: Context, scope: Scope, statement: s.When) -> None:
    """Inside the branch that was taken, the parameter has the shape of the pattern."""
    if isinstance(statement.condition, s.Name) and statement.type is not None and context.param_type is None:
        context.param_type = type_of(context, scope, statement.type)


def _when(context: Context, scope: Scope, statement: s.When, role: tuple[str, ...]) -> None:
    from dotopt.compiler.lower.expression import value

    if statement.type is not None:
        chosen = statement.body if _matches(context, statement.type) else statement.otherwise
        declare(context, scope, chosen, role)
        return
    condition = value(context, statement.condition, scope)
    if condition.op == "bool":
        declare(context, scope, statement.body if condition.attrs.value else statement.otherwise, role)
        return
    if any(leaf.role not in ("option", "rank", "axis", "hyper") for leaf in condition.walk() if leaf.op == "leaf"):
        raise fail("E307", statement.condition.span)
    then, otherwise = Scope(scope), Scope(scope)
    declare(context, then, statement.body, role)
    declare(context, otherwise, statement.otherwise, role)
    for mine, theirs, table in (
        (then.names, otherwise.names, scope.names),
        (then.nexts, otherwise.nexts, scope.nexts),
    ):
        for name in (*mine, *(n for n in theirs if n not in mine)):
            a, b = mine.get(name), theirs.get(name)
            entry: Entry = a if a is not None else b  # type: ignore[assignment]
            both = isinstance(entry, Lazy | Family | Value)
            table[name] = Choice(statement.condition, a, b, then, otherwise) if both else entry


def _role(context: Context, scope: Scope, statement: s.Role) -> None:
    inner = Scope(scope, equations=[])
    indices = tuple(i.name for i in statement.indices)
    declare(context, inner, statement.body, indices)
    context.roles[statement.name] = inner
    for table, outer in ((inner.names, scope.names), (inner.nexts, scope.nexts)):
        for name, entry in table.items():
            outer.setdefault(name, seen_from_outside(entry, inner))


def seen_from_outside(entry: Entry, role: Scope) -> Entry:
    """The meaning of a name of a role, outside it."""
    return replace(entry, home=role) if isinstance(entry, Lazy | Family | Local | Passes) else entry
