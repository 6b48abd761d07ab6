"""The program of a file: everything lowered, then only what is live, in order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dotopt.compiler import ir
from dotopt.compiler.ir import Node, Program
from dotopt.compiler.ir.nodes import note, placed
from dotopt.compiler.ir.wellformed import after
from dotopt.compiler.lower.compose import clashes, prefix_of
from dotopt.compiler.lower.context import Context, Static
from dotopt.compiler.lower.declare import open_file, type_of
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.kind import kind_of
from dotopt.compiler.lower.live import live, shared_states
from dotopt.compiler.lower.names import named
from dotopt.compiler.lower.scope import Choice, Family, Lazy, Leaf, Passes, Scope
from dotopt.compiler.ops.types import REAL, REST, Mismatch, Type
from dotopt.compiler.resolve.python import state_key
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError, Report, fail
from dotopt.compiler.text.library import Library
from dotopt.grammar.spelling import ascii


@after
def lower(file: s.File, static: Static = Static(), library: Library | None = None) -> Program:  # noqa: B008 - frozen
    """The program of `file` for one choice of options and rank; raises `OptError` with up to 10 diagnostics.

    A composition is lowered from the inside out; its parts are found in `library`.
    """
    return context_of(file, static, library or Library())[0]


def context_of(file: s.File, static: Static, library: Library) -> tuple[Program, Context]:
    """The program, and the context with the scopes in which claims are read."""
    try:
        if file.head.word != "composition":
            return _lower(file, static, library, None, None)
        assert file.head.value is not None
        program, context = _composition(file.head.value, static, library, None)
    except RecursionError:  # thousands of definitions that each need the next
        raise fail("E113", file.head.span, limit="a few hundred") from None
    named = replace(program, name=file.head.name, docstring=file.docstring, source=_source(file))
    return named, context


def _composed(expression: s.Expression, static: Static, library: Library, type: Type | None) -> Program:
    return _composition(expression, static, library, type)[0]


def _composition(
    expression: s.Expression, static: Static, library: Library, type: Type | None
) -> tuple[Program, Context]:
    keywords: tuple[s.Keyword, ...] = ()
    inner: s.Expression | None = None
    match expression:
        case s.Name(span, name):
            pass
        case s.Call(span, s.Name(_, name), (inner,), _, keywords):
            pass
        case s.Call(span, s.Name(_, name), (), _, keywords):
            pass
        case _:
            raise fail("E316", expression.span, found="this", expected="a composition such as `A(B)`")
    file = library.file(name)
    if file is None:
        raise fail("E222", span, name=name)
    if file.head.word == "composition" and file.head.value is not None:
        program, context = _composition(file.head.value, static, library, type)
        return replace(program, name=file.head.name), context
    base = None
    if inner is not None:
        if file.head.word != "transform":
            raise fail("E505", span)
        base = _composed(inner, static, library, _own_type(file) or type)
    program, context = _lower(file, static, library, base, type)
    defaults = {k.name: k.value for k in keywords}
    return (_with_defaults(program, defaults) if defaults else program), context


def _with_defaults(program: Program, defaults: dict[str, s.Expression]) -> Program:
    from dotopt.grammar.spelling import canonical

    names = {canonical(h.keyword): h.name for h in program.hypers} | {h.name: h.name for h in program.hypers}
    for keyword, expression in defaults.items():
        if keyword not in names:
            raise fail("E315", expression.span, name=program.name, keyword=keyword)
        if not isinstance(expression, s.Number | s.Infinity):
            raise fail("E316", expression.span, found="this", expected="a number")
    given = {names[k]: ir.number(e.value) if isinstance(e, s.Number) else ir.node("inf") for k, e in defaults.items()}
    return replace(program, hypers=tuple(replace(h, default=given.get(h.name, h.default)) for h in program.hypers))


def _own_type(file: s.File) -> Type | None:
    """The declared type of the parameter, where it names axes."""
    for d in file.statements:
        if isinstance(d, s.Declaration) and d.word == "param" and isinstance(d.type, s.Array):
            axes = tuple(axis.name for axis in d.type.axes)
            return None if axes in ((), (REST,)) else Type(d.type.kind, axes)
    return None


def _lower(
    file: s.File, static: Static, library: Library, base: Program | None, type: Type | None
) -> tuple[Program, Context]:
    if base is not None and base.params:
        type = base.params[0].type
    if type is not None and type.axes == (REST,):
        type = None
    context = Context(file, static, library, param_type=type, base=base)
    if base is not None:
        context.prefix = clashes(file, base)
    context.axes.update(axis for axis in (type.axes if type else ()) if axis != REST)
    places = dict(base.places) if base is not None else {}
    with placed(places):
        scope = open_file(context)
        builder = _Builder(context, scope, Report())
        builder.everything()
        program = builder.program(base)
    note(places)
    return replace(program, places=places), context


@dataclass(eq=False)
class _Builder:
    context: Context
    scope: Scope
    report: Report

    def attempt(self, action: object, *args: object) -> Node | None:
        """Runs one lowering; an error is kept, and the rest goes on."""
        try:
            return action(*args)  # type: ignore[operator, no-any-return]
        except OptError as error:
            self.report.extend(error)
        except Mismatch as error:  # of a part that was put in the place of another, which has no place of its own
            self.report.extend(fail("E301", self.context.file.head.span, left=error.left, right=error.right))
        return None

    def everything(self) -> None:
        """Lowers every definition, so that mistakes are found in dead ones too."""
        self._names(self.scope)
        for role in self.context.roles.values():
            self._names(role)
        for later in self.context.later:
            self.attempt(later)
        head = self.context.file.head
        if head.word == "formula":
            assert head.value is not None
            self.result = self.attempt(value, self.context, head.value, self.scope)
        self.report.finish()

    result: Node | None = None

    def _names(self, scope: Scope) -> None:
        for primed, table in ((False, scope.names), (True, scope.nexts)):
            for name, entry in tuple(table.items()):
                if isinstance(entry, Lazy | Family | Passes | Choice):
                    home = getattr(entry, "home", None)
                    if home is None or home is scope:
                        self.attempt(named, self.context, name, primed, scope, self.context.file.head.span)

    # ---- the parts of the program ----

    def program(self, base: Program | None) -> Program:
        file = self.context.file
        statements = tuple(file.statements)
        declared = tuple(_declarations(self.context, statements))
        params = tuple(self._param(d, base) for d in declared if d.word == "param")
        states = tuple(self._state(d, role) for d, role in _with_roles(self.context, statements) if d.word == "state")
        hypers = tuple(self._hyper(d) for d in declared if d.word == "hyper")
        options = tuple(o for d in declared if (o := self._option(d)) is not None)
        inputs = tuple(self._input(d) for d in declared if d.word == "input")
        functions = (d for d in declared if d.word in ("objective", "operator", "function"))
        callables = tuple(_callable(d) for d in functions if not _chosen(d))
        kind, decided_by = kind_of(file)
        if kind == "host" and self.scope.nexts.keys() & {d.name for d in declared if d.word == "param"}:
            raise fail("E312", decided_by, name=decided_by.text.split("(")[0])
        outputs = {d.name: self._named(d.name) for d in declared if d.word == "output" and d.name in self.scope.names}
        evaluation = {
            x.name: node for x in statements if isinstance(x, s.Evaluation)
            if (node := self.attempt(value, self.context, x.value, self.scope)) is not None
        }
        roles = tuple(self._role(x) for x in statements if isinstance(x, s.Role))
        self.report.finish()
        randoms = tuple(self.context.randoms)
        program = Program(
            name=file.head.name, kind=kind, decided_by=decided_by, docstring=file.docstring, source=_source(file),
            params=params, hypers=hypers, options=options, inputs=inputs, states=states, randoms=randoms,
            callables=callables, equations=tuple(self.scope.equations or ()), next=self._next(params), outputs=outputs,
            evaluation={self._param_name(n): v for n, v in evaluation.items()}, roles=roles, result=self.result,
        )
        if base is not None:
            program = self._with_base(program)
        return shared_states(live(program, self.context.static.kept))

    def _with_base(self, program: Program) -> Program:
        applied = self.context.applied
        if applied is None:
            raise fail("E506", self.context.file.head.span, times="nowhere")
        base = applied.program
        (mine,) = program.params
        own = {p.name: mine.name for p in base.params}
        evaluation = program.evaluation or {own.get(n, n): v for n, v in base.evaluation.items()}
        known = {c.name for c in program.callables}
        extra = tuple(c for c in base.callables if c.name not in known and not (known and c.word == "objective"))
        return replace(
            program, kind=base.kind, decided_by=base.decided_by,
            hypers=(*base.hypers, *program.hypers), options=(*base.options, *program.options),
            states=(*base.states, *program.states), randoms=(*base.randoms, *program.randoms),
            callables=(*program.callables, *extra), outputs={**base.outputs, **program.outputs}, evaluation=evaluation,
        )

    def _named(self, name: str, primed: bool = False) -> Node:
        node = self.attempt(named, self.context, name, primed, self.scope, self.context.file.head.span)
        return node if node is not None else ir.number(0)

    def _param_name(self, name: str) -> str:
        return self.context.prefix.get(name, name)

    def _next(self, params: tuple[ir.Param, ...]) -> dict[str, Node]:
        return {p.name: self._named(p.name, True) for p in params if p.name in self.scope.nexts}

    def _param(self, d: s.Declaration, base: Program | None) -> ir.Param:
        entry = self.scope.names[d.name]
        assert isinstance(entry, Leaf)
        axes = d.type.axes if isinstance(d.type, s.Array) else ()
        merged = any(axis.merged for axis in axes)
        if base is not None and base.params:
            merged = merged or base.params[0].merged
        elif self.context.param_type is not None and not merged and any(a.name == REST for a in axes):
            merged = REST not in self.context.param_type.axes  # a pluggable function of matrices
        ranks = d.ranks or (base.params[0].ranks if base is not None and base.params else ())
        return ir.Param(d.name, entry.type, merged, _indices(d.indices), ranks)

    def _state(self, d: s.Declaration, role: str | None) -> ir.State:
        scope = self.scope if role is None else self.context.roles[role]
        entry = scope.names[d.name]
        assert isinstance(entry, Leaf)
        start = ir.number(0)
        if d.value is not None:
            found = self.attempt(value, self.context, d.value, scope, entry.type) if d.value_kind != "draw" else None
            start = found if found is not None else start
        if d.value_kind == "draw" and d.value is not None:
            start = self._drawn_start(d, entry.type, scope)
        next = None
        if d.name in scope.nexts:
            next = self.attempt(named, self.context, d.name, True, scope, d.span)
        key = d.alias or state_key(d.name)
        if entry.name != d.name:  # renamed, since the base rule has a state of this name
            key = state_key(entry.name)
        like = d.type.name if isinstance(d.type, s.Like) else None
        return ir.State(
            entry.name, key, entry.type, start, d.value_kind, next, False, like, _indices(d.indices), role
        )

    def _drawn_start(self, d: s.Declaration, type: Type, scope: Scope) -> Node:
        law = d.value
        name = f"{d.name} at the start"
        arguments = law.arguments if isinstance(law, s.Call) else ()
        function = law.function if isinstance(law, s.Call) else law
        nodes = tuple(n for a in arguments if (n := self.attempt(value, self.context, a, scope)) is not None)
        spelled = function.name if isinstance(function, s.Name) else ""
        self.context.randoms.append(ir.Random(name, type, spelled, nodes, len(self.context.randoms)))
        return ir.leaf("draw", name, type)

    def _end(self, end: s.Expression) -> Node:
        """An end of a range; E316 unless it is a number, or a tensor of numbers."""
        found = value(self.context, end, self.scope)
        if found.type.kind not in ("real", "int", "any"):
            raise fail("E316", end.span, found=f"`{end.span.text}`", expected="a number as the end of a range")
        return found

    def _interval(self, bounds: s.Bounds | s.Choices | None) -> ir.Interval:
        if not isinstance(bounds, s.Bounds):
            return ir.Interval()
        low, high = (
            self.attempt(self._end, end) if end is not None else None for end in (bounds.low, bounds.high)
        )
        return ir.Interval(low, high, bounds.open_low, bounds.open_high, bounds.span.text.strip())

    def _hyper(self, d: s.Declaration) -> ir.Hyper:
        entry = self.scope.names[d.name]
        assert isinstance(entry, Leaf)
        default = self.attempt(value, self.context, d.value, self.scope) if d.value is not None else None
        keyword = d.alias or ascii(d.name)
        base = self.context.base
        if base is not None and keyword in ({x.keyword for x in base.hypers} | {x.keyword for x in base.options}):
            keyword = f"{prefix_of(self.context.file)}_{keyword}"
        interval, indices = self._interval(d.bounds), _indices(d.indices)
        return ir.Hyper(entry.name, keyword, d.alias_index, entry.type, interval, default, indices, d.span)

    def _option(self, d: s.Declaration) -> ir.Option | None:
        name = self.context.prefix.get(d.name, d.name)
        keyword = d.alias or ascii(d.name)
        if name != d.name:
            keyword = f"{ascii(name[: -len(d.name)].rstrip('_'))}_{keyword}"
        if d.word == "function" and isinstance(d.value, s.Name):
            used = [i.name for x in self.context.file.statements if isinstance(x, s.Use) for i in x.names]
            formulas = tuple(dict.fromkeys((d.value.name, *used)))
            for formula in formulas:
                self._has_properties(d, formula)
            return ir.Option(name, keyword, formulas, d.value.name)
        if d.word != "option":
            return None
        if isinstance(d.bounds, s.Choices):
            values = tuple(v.name for v in d.bounds.values if isinstance(v, s.Name))
            if not isinstance(d.value, s.Name) or d.value.name not in values:
                raise fail("E215", d.value.span if d.value else d.span, value=d.value.span.text if d.value else "",
                           option=d.name, values=", ".join(values))
            return ir.Option(name, keyword, values, d.value.name)
        if not isinstance(d.value, s.Boolean):
            raise fail("E316", d.value.span if d.value else d.span, found="this", expected="`true` or `false`")
        return ir.Option(name, keyword, (False, True), d.value.value)

    def _has_properties(self, d: s.Declaration, formula: str) -> None:
        """E503 if a formula does not state a property that the function asks for."""
        file = self.context.library.file(formula)
        stated = {p.name for p in file.head.properties} if file is not None and file.head.word == "formula" else None
        for wanted in d.properties:
            if stated is not None and wanted.name not in stated:
                raise fail("E503", d.span, name=formula, property=wanted.name)

    def _input(self, d: s.Declaration) -> ir.Input:
        type = type_of(self.context, self.scope, d.type) if d.type else REAL
        start: Node | ir.Random | None = None
        if d.value is not None and kind_of(self.context.file)[0] != "module":
            raise fail("E601", d.span, construct=f"the input `{d.name}` with a start, outside rules over sequences,")
        if d.value is not None and d.value_kind == "draw":
            self._drawn_start(d, type, self.scope)
            start = self.context.randoms.pop()
        elif d.value is not None:
            start = self.attempt(value, self.context, d.value, self.scope, type)
        return ir.Input(d.name, type, self._interval(d.bounds), _indices(d.indices), d.alias or "", start)

    def _role(self, x: s.Role) -> ir.RoleProgram:
        scope = self.context.roles[x.name]
        condition = self.attempt(value, self.context, x.condition, scope) if x.condition is not None else None
        sent = tuple(
            (m.word, m.name, node) for m in x.body if isinstance(m, s.Message)
            if (node := self.attempt(named, self.context, m.name, False, scope, m.span)) is not None
        )
        return ir.RoleProgram(x.name, _indices(x.indices), condition, tuple(scope.equations or ()), sent)


def _declarations(context: Context, statements: tuple[s.Statement, ...]) -> list[s.Declaration]:
    """All declarations, those of the branches that were taken and of roles included."""
    found: list[s.Declaration] = []
    for statement in statements:
        if isinstance(statement, s.Declaration):
            found.append(statement)
        elif isinstance(statement, s.When):
            inner = _declarations(context, (*statement.body, *statement.otherwise))
            found.extend(d for d in inner if context.scope.find(d.name) is not None)
    seen: set[str] = set()
    return [d for d in found if not (d.name in seen or seen.add(d.name))]  # type: ignore[func-returns-value]


def _with_roles(context: Context, statements: tuple[s.Statement, ...]) -> list[tuple[s.Declaration, str | None]]:
    pairs: list[tuple[s.Declaration, str | None]] = [(d, None) for d in _declarations(context, statements)]
    for statement in statements:
        if isinstance(statement, s.Role):
            pairs += [(d, statement.name) for d in statement.body if isinstance(d, s.Declaration)]
    return pairs


def _chosen(d: s.Declaration) -> bool:
    return d.word == "function" and isinstance(d.value, s.Name)


def _callable(d: s.Declaration) -> ir.Callable_:
    properties = tuple(p.span.text for p in d.properties)
    return ir.Callable_(d.word, d.name, d.arguments, d.samples, properties, None, _indices(d.indices))


def _indices(indices: tuple[s.IndexName, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((i.name, i.domain.span.text if i.domain is not None else "") for i in indices)


def _source(file: s.File) -> str | None:
    return next((x.reference for x in file.statements if isinstance(x, s.SourceNote)), None)



