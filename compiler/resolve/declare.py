"""First half of resolving: every name of the file gets its binding in its scope, and none gets two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dotopt.compiler.resolve.builtins import BUILTINS, QUIETLY_HIDDEN, RESERVED
from dotopt.compiler.resolve.names import MOVING, Binding, Scope, after_word, name_span
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Edit, Label, Report, diagnostic
from dotopt.compiler.text.source import Span

Branch = tuple[tuple[int, bool], ...]
HEADED = frozenset({"hyper", "const", "quantified", "parameter"})  # integers that may also be the length of an axis

DEFINED = frozenset({"definition", "local function", "draw", "result", "message"})


@dataclass(frozen=True, slots=True)
class Target:
    """A left side taken apart: `J[e](w)` has the name `J`, the index `e` and the parameter `w`."""

    name: str
    span: Span
    primed: bool = False
    indices: tuple[s.Expression, ...] = ()
    parameters: tuple[s.Name, ...] = ()
    is_function: bool = False
    of: s.Gradient | None = None  # `∇K(M) = …` states the gradient of K


def target(expression: s.Expression) -> Target | None:
    """The left side, or `None` if the expression cannot be one."""
    match expression:
        case s.Name(name=name, primed=primed):
            return Target(name, expression.span, primed)
        case s.Index(base=s.Name(name=name, primed=primed) as base, indices=indices):
            return Target(name, base.span, primed, indices)
        case s.Call(function=function, arguments=arguments, samples=samples, keywords=()):
            bound = tuple(argument for argument in (*arguments, *samples) if isinstance(argument, s.Name))
            if len(bound) < len(arguments) + len(samples) or any(name.primed for name in bound):
                return None
            match function:
                case s.Name(name=name, primed=False):
                    return Target(name, function.span, parameters=bound, is_function=True)
                case s.Index(base=s.Name(name=name, primed=False) as base, indices=indices):
                    return Target(name, base.span, False, indices, bound, True)
                case s.Gradient(function=s.Name(name=name) as base):
                    return Target(name, base.span, parameters=bound, is_function=True, of=function)
    return None


@dataclass(slots=True)
class Declarer:
    """Fills the scopes; `scopes` finds the one that a loop, role or claim opened, by the identity of its node."""

    report: Report
    file: Scope
    scopes: dict[int, Scope] = field(default_factory=dict)
    next_values: dict[tuple[Binding, bool], list[tuple[Span, Branch]]] = field(default_factory=dict)

    # ---- one name ----

    def add(
        self, scope: Scope, name: str, kind: str, span: Span, node: s.Syntax | None = None, branch: Branch = ()
    ) -> Binding:
        """Bind `name`, unless it is taken (E204) or reserved (E223); W201 if it hides a built-in."""
        known = scope.names.get(name) or self._outer(scope, name, kind)
        made = Binding(name, kind, span, scope, node, branch)
        if name in RESERVED and kind != "parameter":  # a formula has no step, so `t` may be one of its parameters
            self.report.add(diagnostic("E223", span, name=name))
        elif known is not None:
            if not self._may_repeat(known, made):
                self._twice(known, made)
            return known
        elif name in BUILTINS - QUIETLY_HIDDEN and scope.kind != "where":
            self.report.add(diagnostic("W201", span, name=name))
        scope.names[name] = made
        return made

    def _outer(self, scope: Scope, name: str, kind: str) -> Binding | None:
        """What an inner name must not hide: everything around it, but for the loop variables and bound names."""
        if scope.parent is None or kind in ("loop", "bound", "index"):
            return None
        found = scope.parent.find(name)
        if found is None or found.kind in ("index", "head", "axis", "bound"):
            return None
        # `for all c` of a claim may reuse the name of something defined in the step, not of something declared.
        return None if kind == "quantified" and found.kind in DEFINED else found

    def _may_repeat(self, known: Binding, made: Binding) -> bool:
        if known.exclusive(made.branch) or made.kind in ("index", "set", "axis"):
            return True
        if known.kind in ("state", "param") and made.kind == "quantified":
            return True  # that is E217
        if known.kind == "output" and made.kind == "definition":
            return not self._defined_before(known, False, made.span, made.branch)
        if known.kind == "quantified" and made.kind == "definition":  # a sequence, defined by a recurrence
            return isinstance(known.node, s.Quantified) and bool(known.node.indices)
        return known.kind in ("index", "head")

    def _defined_before(self, binding: Binding, primed: bool, span: Span, branch: Branch) -> bool:
        places = self.next_values.setdefault((binding, primed), [])
        clash = any(not Binding("", "", span, binding.scope, None, other).exclusive(branch) for _, other in places)
        places.append((span, branch))
        return clash

    def _twice(self, known: Binding, made: Binding) -> None:
        first = Label(known.span, "first definition")
        if known.kind in MOVING and made.kind == "definition":
            self.next_values.setdefault((known, True), []).append((made.span, made.branch))  # it does move
            self.report.add(
                diagnostic(
                    "E204", made.span, name=made.name, labels=(Label(known.span, "declared here"),),
                    remark="without a prime this is the value before the step",
                    help=f"for the value after the step write `{made.name}' = …`",
                    edit=Edit(Span(made.span.source, made.span.end, made.span.end), "'"),
                )
            )  # fmt: skip
            return
        remark = "a file holds equations, so each name has one"
        self.report.add(diagnostic("E204", made.span, name=made.name, labels=(first,), remark=remark))

    def next_value(self, binding: Binding, span: Span, branch: Branch) -> None:
        """Note the equation of `x'`; E204 if there is one already."""
        if self._defined_before(binding, True, span, branch):
            places = self.next_values[(binding, True)]
            first = Label(places[0][0], "first definition")
            remark = "a file holds equations, so each name has one"
            help = "give the intermediate value its own name, e.g. `d = …`"
            name = binding.name + "'"
            self.report.add(diagnostic("E204", span, name=name, labels=(first,), remark=remark, help=help))

    # ---- statements ----

    def block(self, statements: Iterable[s.Statement], scope: Scope, branch: Branch = ()) -> None:
        """Declare what the statements introduce; inner blocks come after all names around them."""
        inner: list[tuple[s.Iterate | s.Role, Branch]] = []
        for statement in statements:
            self._statement(statement, scope, branch, inner)
        for node, place in inner:
            match node:
                case s.Iterate():
                    self._loop(node, scope, place)
                case s.Role():
                    made = scope.child("role", node.name)
                    self.scopes[id(node)] = made
                    for index in node.indices:
                        made.names[index.name] = Binding(index.name, "bound", index.span, made)
                    self.block(node.body, made, place)

    def _statement(
        self, statement: s.Statement, scope: Scope, branch: Branch, inner: list[tuple[s.Iterate | s.Role, Branch]]
    ) -> None:
        match statement:
            case s.Declaration(word=word, name=name):
                self.add(scope, name, word, statement.name_span, statement, branch)
                self.indices(statement.indices, scope)
            case s.Use(names=names):
                for imported in names:
                    self.add(scope, imported.local, "imported", imported.span, imported)
            case s.Definition(targets=targets):
                named = (item for left in targets for item in (left.items if isinstance(left, s.Sequence) else (left,)))
                for left in map(target, named):  # names in parentheses are E117, but known
                    if left is not None and not left.primed and left.of is None and left.name != "ddt":
                        kind = "local function" if left.is_function else "definition"
                        self.add(scope, left.name, kind, left.span, statement, branch)
                if statement.family is not None:
                    self.indices((statement.family,), scope)
            case s.Draw(targets=targets):
                for left in map(target, targets):
                    if left is not None and not left.primed:
                        self.add(scope, left.name, "draw", left.span, statement, branch)
            case s.ForAll(names=names):
                for quantified in names:
                    place = name_span(quantified.span, quantified.name)
                    self.add(scope, quantified.name, "quantified", place, quantified)
                    self.indices(quantified.indices, scope)
            case s.When(body=body, otherwise=otherwise):
                self.block(body, scope, (*branch, (id(statement), True)))
                self.block(otherwise, scope, (*branch, (id(statement), False)))
            case s.Iterate():
                for variable in statement.variables:
                    place = name_span(variable.span, variable.name)
                    self.add(scope, variable.name, "result", place, statement, branch)
                    self.indices(variable.indices, scope)
                inner.append((statement, branch))
            case s.Role(body=body):
                self.indices(statement.indices, scope)
                for message in _messages(body):
                    place = name_span(after_word(message.span), message.name)
                    self.add(scope, message.name, "message", place, message, branch)
                inner.append((statement, branch))
            case s.Derive(names=names):
                for name in names:
                    self.add(scope, name, "unknown", name_span(after_word(statement.span), name), statement)

    def _loop(self, node: s.Iterate, scope: Scope, branch: Branch) -> None:
        made = scope.child("loop")
        self.scopes[id(node)] = made
        for variable in node.variables:
            place = name_span(variable.span, variable.name)
            made.names[variable.name] = Binding(variable.name, "loop", place, made, node)
            for index in variable.indices:
                made.names[index.name] = Binding(index.name, "bound", index.span, made)
        if node.index is not None:
            made.names[node.index.name] = Binding(node.index.name, "bound", node.index.span, made)
        self.block(node.body, made, branch)

    def indices(self, indices: Iterable[s.IndexName], scope: Scope) -> None:
        """Bind `i in tasks`: the index, and the set if it is new."""
        for index in indices:
            if index.name not in scope.names and index.name not in RESERVED:
                scope.names[index.name] = Binding(index.name, "index", index.span, scope, index)
            match index.domain:
                case s.Name(name=name) if scope.find(name) is None:
                    self.file.names[name] = Binding(name, "set", index.domain.span, self.file, index)

    def axes(self, statements: Iterable[s.Statement], scope: Scope) -> None:
        """Bind the axis names of all types in the statements, where no integer has that name."""
        for type in _types(statements):
            for axis in type.axes:
                if axis.name == "…" or axis.name.isdigit():
                    continue
                known = scope.find(axis.name)
                if known is None:
                    scope.names[axis.name] = Binding(axis.name, "axis", axis.span, scope)
                elif known.kind not in HEADED and known.kind != "axis":
                    first = Label(known.span, "this is a value")
                    remark = "here it is the name of an axis"
                    self.report.add(diagnostic("E204", axis.span, name=axis.name, labels=(first,), remark=remark))


def _types(statements: Iterable[s.Statement]) -> Iterator[s.Array]:
    for statement in statements:
        match statement:
            case s.Claim():
                pass  # a claim has its own axes
            case s.Role(body=body) | s.Iterate(body=body):
                yield from _types(body)
                if isinstance(statement, s.Iterate):
                    yield from (v.type for v in statement.variables if isinstance(v.type, s.Array))
            case s.When(type=type, body=body, otherwise=otherwise):
                if isinstance(type, s.Array):
                    yield type
                yield from _types((*body, *otherwise))
            case s.Declaration(type=s.Array() as type) | s.Definition(type=s.Array() as type):
                yield type
            case s.Draw(type=s.Array() as type):
                yield type
            case s.ForAll(names=names):
                yield from (quantified.type for quantified in names if isinstance(quantified.type, s.Array))


def _messages(statements: Iterable[s.Statement]) -> Iterator[s.Message]:
    for statement in statements:
        match statement:
            case s.Message():
                yield statement
            case s.When(body=body, otherwise=otherwise):
                yield from _messages((*body, *otherwise))
