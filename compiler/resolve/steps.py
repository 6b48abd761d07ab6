"""Resolving the statements of a step: each becomes an equation that says what it defines and what it reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from dotopt.compiler.resolve.builtins import PROPERTIES
from dotopt.compiler.resolve.claims import Claims, bind_left, law_of
from dotopt.compiler.resolve.declare import Branch, Declarer, Target, target
from dotopt.compiler.resolve.expressions import Expressions, bound
from dotopt.compiler.resolve.names import KINDS, MOVING, Binding, Scope, after_word, name_span
from dotopt.compiler.resolve.order import Dependency, Reads, circles, reached
from dotopt.compiler.resolve.suggest import closest
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Edit, Label, Report, diagnostic
from dotopt.compiler.text.source import Span


@dataclass(slots=True)
class Steps:
    """Walks statements; `equations` grows by one for each, `waiting` holds the claims for later."""

    report: Report
    scope: Scope
    theorem: bool
    declarer: Declarer
    expressions: Expressions
    claims: Claims
    equations: list[Dependency] = field(default_factory=list)
    waiting: list[tuple[s.Claim, Scope]] = field(default_factory=list)
    in_loops: list[tuple[Scope, set[Binding]]] = field(default_factory=list)  # what is needed inside each loop

    def block(self, statements: tuple[s.Statement, ...], scope: Scope, branch: Branch = ()) -> None:
        """Resolve statements in turn."""
        for statement in statements:
            self.statement(statement, scope, branch)

    def statement(self, node: s.Statement, scope: Scope, branch: Branch) -> None:
        """Resolve one statement."""
        match node:
            case s.Declaration():
                self.declaration(node, scope, branch)
            case s.Definition():
                self.definition(node, scope, branch)
            case s.Draw():
                self.draw(node, scope, branch)
            case s.Evaluation():
                self.evaluation(node, scope)
            case s.Message(name=name, value=value):
                known = scope.find(name)
                defines = [(known, False)] if known is not None else []
                self._equation(defines, self._read(scope, value), node.span, scope, branch, root=True)
            case s.ForAll(names=names):
                for quantified in names:
                    self._quantified(quantified, scope)
            case s.Given(condition=condition):
                self.expressions.walk(condition, scope, self.claims.reads)
            case s.When(condition=condition, body=body, otherwise=otherwise):
                self._equation([], self._read(scope, condition), node.span, scope, (), root=True)
                self.block(body, scope, (*branch, (id(node), True)))
                self.block(otherwise, scope, (*branch, (id(node), False)))
            case s.Iterate():
                self.loop(node, scope, branch)
            case s.Role(condition=condition, body=body):
                inner = self.declarer.scopes[id(node)]
                self._equation([], self._read(inner, condition), node.span, inner, (), root=True)
                self.block(body, inner, branch)
            case s.Claim():
                self.waiting.append((node, scope))

    def _read(self, scope: Scope, *nodes: s.Syntax | None) -> Reads:
        reads = Reads()
        self.expressions.each(nodes, scope, reads)
        return reads

    def _equation(
        self, defines: list[tuple[Binding, bool]], reads: Reads, span: Span, scope: Scope, branch: Branch,
        root: bool = False, start: bool = False,
    ) -> None:  # fmt: skip
        self.equations.append(Dependency(tuple(defines), reads, span, scope, root, start, branch))

    # ---- declarations ----

    def declaration(self, node: s.Declaration, scope: Scope, branch: Branch) -> None:
        """A declaration: what its value, type and bounds read."""
        inner = bound(scope, [index.name for index in node.indices], node.span)
        bounds = None if isinstance(node.bounds, s.Choices) else node.bounds
        own = isinstance(node.type, s.Like) and node.type.name in (node.arguments or ())  # like its own argument
        reads = self._read(inner, None if own else node.type, bounds, *(index.domain for index in node.indices))
        self.properties(node.properties)
        if node.word == "option":
            self._option(node)
        elif node.value_kind == "draw" and node.value is not None:
            law_of(self.expressions, node.value, inner, reads)
        else:
            self.expressions.walk(node.value, inner, reads)
        binding = scope.names.get(node.name)
        if binding is not None:
            start = node.value_kind == "first"
            self._equation([(binding, False)], reads, node.name_span, scope, branch, start=start)

    def _option(self, node: s.Declaration) -> None:
        value = node.value
        if isinstance(node.bounds, s.Choices):
            if value is not None:
                self.expressions.option_value(value, node, node.bounds)
        elif value is not None and not isinstance(value, s.Boolean):
            text = value.span.text
            help = f"list its values: `option {node.name} in {{{text}, …}} = {text}`"
            values = "`true` and `false`"
            self.report.add(diagnostic("E215", value.span, value=text, option=node.name, values=values, help=help))

    def properties(self, properties: tuple[s.Property, ...]) -> None:
        """E230 for a property that the checker does not know, E313 for one without its constant or with too many."""
        for written in properties:
            self._read(self.scope, *written.arguments)
            if written.name not in PROPERTIES:
                suggestion = closest(written.name, PROPERTIES)
                help = f"did you mean `{suggestion}`?" if suggestion else "known: " + ", ".join(sorted(PROPERTIES))
                place = name_span(written.span, written.name)
                edit = Edit(place, suggestion) if suggestion else None
                self.report.add(diagnostic("E230", place, name=written.name, help=help, edit=edit))
            elif len(written.arguments) not in PROPERTIES[written.name]:
                counts = sorted(PROPERTIES[written.name])
                expected, plural = " or ".join(map(str, counts)), "" if counts[-1] == 1 else "s"
                found = str(len(written.arguments))
                place, name = written.span, written.name
                self.report.add(
                    diagnostic("E313", place, name=name, expected=expected, found=found, plural=plural)
                )

    def _quantified(self, node: s.Quantified, scope: Scope) -> None:
        inner = bound(scope, [index.name for index in node.indices], node.span)
        self.expressions.each((index.domain for index in node.indices), scope, self.claims.reads)
        self.expressions.each((node.type, node.bounds), inner, self.claims.reads)
        self.claims.quantified(node, scope)

    # ---- equations ----

    def definition(self, node: s.Definition, scope: Scope, branch: Branch) -> None:
        """`targets = value`, with `every`, a family and `where` lines."""
        inner = bound(scope, (), node.span)
        lefts = [found for left in node.targets if (found := self._left(left, inner)) is not None]
        defines = [
            (known, left.primed) for left in lefts
            if left.of is None and (known := self._defined(left, scope, branch)) is not None
        ]  # fmt: skip
        if node.family is not None:
            inner.names[node.family.name] = Binding(node.family.name, "bound", node.family.span, inner)
            self._read(scope, node.family.domain)
        self._where(node, inner, scope, branch)
        self.expressions.function = any(left.is_function for left in lefts)
        reads = self._read(inner, node.type, node.value)
        self.expressions.function = False
        if node.phase is not None:
            self.expressions.each((node.phase.period, node.phase.start, node.phase.otherwise), inner, reads)
            if not all(left.primed for left in lefts):
                place = node.targets[0].span
                edit = None
                if lefts and (known := scope.find(lefts[0].name)) is not None and known.kind in MOVING:
                    edit = Edit(Span(place.source, lefts[0].span.end, lefts[0].span.end), "'")
                self.report.add(diagnostic("E220", place, name=lefts[0].name if lefts else place.text, edit=edit))
        root = any(left.of is not None or left.primed for left in lefts)
        root = root or any(known.kind == "output" for known, _ in defines)
        self._equation(defines, reads, node.targets[0].span, scope, branch, root=root)

    def _left(self, left: s.Expression, inner: Scope) -> Target | None:
        """The left side, its parameters and indices bound in `inner`; E117 if it is none."""
        found = target(left)
        if found is None:
            help = None
            if isinstance(left, s.Sequence) and left.kind == "tuple":
                help = f"write the names without parentheses: `{left.span.text[1:-1]} = …`"
            self.report.add(diagnostic("E117", left.span, help=help))
            return None
        bind_left(inner, found.parameters, found.indices)
        self._read(inner, *found.indices)
        if found.of is not None:
            self._read(inner, found.of)
        return found

    def _defined(self, left: Target, scope: Scope, branch: Branch) -> Binding | None:
        """The binding of a left side; complains if it may not stand there."""
        known = scope.find(left.name)
        if not left.primed:
            return None if known is not None and known.kind in MOVING else known  # that was E204
        if self.theorem:
            self.report.add(diagnostic("E211", left.span, name=left.name))
        elif known is None:
            self._no_state(left, scope)
        elif known.kind == "parameter":
            self.report.add(diagnostic("E212", left.span, name=left.name))
        elif known.kind not in MOVING:
            label = Label(known.span, f"this makes it {KINDS[known.kind]}")
            edit = Edit(left.span, left.span.text.rstrip("'′")) if known.kind == "output" else None
            help = f"write `{left.name} = …`" if edit else f"declare it as a state: `state {left.name} : …`"
            kind = KINDS[known.kind]
            self.report.add(
                diagnostic("E203", left.span, name=left.name, kind=kind, labels=(label,), help=help, edit=edit)
            )
        else:
            self.declarer.next_value(known, left.span, branch)
            return known
        return None

    def _no_state(self, left: Target, scope: Scope) -> None:
        name = left.name
        every = [binding for around in scope.chain() for binding in around.names.values()]
        suggestion = closest(name, [binding.name for binding in every if binding.kind in MOVING])
        self.expressions.unknown.add(name)
        meant = scope.find(suggestion) if suggestion is not None else None
        if meant is not None:
            label = Label(meant.span, "did you mean this one?")
            edit = Edit(left.span, f"{suggestion}'")
            help = f"write `{suggestion}' = …`"
            self.report.add(diagnostic("E224", left.span, name=name, labels=(label,), help=help, edit=edit))
            return
        param = next((binding.name for binding in self.scope.names.values() if binding.kind == "param"), None)
        line = f"state {name} : " + (f"like {param} = 0" if param is not None else "real = 0")
        start = left.span.source.line_starts[left.span.line - 1]
        edit_or_none = Edit(Span(left.span.source, start, start), line + "\n") if scope is self.scope else None
        self.report.add(diagnostic("E224", left.span, name=name, help=f"declare it: `{line}`", edit=edit_or_none))

    def _where(self, node: s.Definition, inner: Scope, scope: Scope, branch: Branch) -> None:
        """The `where` lines: names of this equation only, so none of them may hide anything."""
        added: list[tuple[Binding, s.Definition, Target]] = []
        for written in node.where:
            for left in written.targets:
                found = target(left)
                if found is None or found.primed:
                    self.report.add(diagnostic("E117", left.span))
                    continue
                known = inner.find(found.name)
                if known is not None and known.kind not in ("head", "index"):
                    label = Label(known.span, "first definition")
                    self.report.add(diagnostic("E204", found.span, name=found.name, labels=(label,)))
                    continue
                inner.names[found.name] = Binding(found.name, "where", found.span, inner, written)
                added.append((inner.names[found.name], written, found))
        for binding, written, found in added:
            own = bound(inner, (), written.span)
            bind_left(own, found.parameters, found.indices)
            self._equation([(binding, False)], self._read(own, written.value), written.span, scope, branch)

    def draw(self, node: s.Draw, scope: Scope, branch: Branch) -> None:
        """`x : type ~ law`."""
        reads = self._read(scope, node.type)
        law_of(self.expressions, node.law, scope, reads)
        defines: list[tuple[Binding, bool]] = []
        for left in node.targets:
            found = target(left)
            if found is None or found.primed or found.is_function:
                self.report.add(diagnostic("E221" if found and found.is_function else "E117", left.span, name="law"))
            elif (known := scope.names.get(found.name)) is not None:
                defines.append((known, False))
        self._equation(defines, reads, node.span, scope, branch)

    def evaluation(self, node: s.Evaluation, scope: Scope) -> None:
        """`eval θ = e`."""
        reads = self._read(scope, node.value)
        place = name_span(after_word(node.span), node.name)
        known = scope.find(node.name)
        if known is None:
            self.expressions.not_known(node.name, place, scope)
        elif known.kind != "param":
            self.report.add(diagnostic("E234", place, name=node.name, kind=KINDS[known.kind]))
        for (binding, primed), places in reads.places.items():
            if primed:
                edit = Edit(places[0], places[0].text.rstrip("'′"))
                self.report.add(diagnostic("E216", places[0], name=binding.name, edit=edit))
        self._equation([], reads, node.span, scope, (), root=True)

    # ---- loops ----

    def loop(self, node: s.Iterate, scope: Scope, branch: Branch) -> None:
        """`iterate`: to the outside one equation, which defines its variables and reads what the body reads."""
        inner = self.declarer.scopes[id(node)]
        reads = self._read(scope, node.count, node.most, node.index.domain if node.index is not None else None)
        for variable in node.variables:
            starts = bound(scope, [index.name for index in variable.indices], variable.span)
            self.expressions.each((variable.type, variable.start), starts, reads)
        self.expressions.walk(node.until, inner, reads)
        before = len(self.equations)
        self.block(node.body, inner, branch)
        body = self.equations[before:]
        del self.equations[before:]
        moved = [value for equation in body for value in equation.defines if value[1]]
        for variable in node.variables:
            known = inner.names.get(variable.name)
            if known is not None and known.kind == "loop" and (known, True) not in moved:
                self.report.add(diagnostic("E235", known.span, name=variable.name))
        for found in circles([equation for equation in body if equation.scope is inner]):
            self.report.add(found)
        roots = [value for equation in body if equation.root for value in equation.reads.places]
        self.in_loops.append((inner, reached(body, [*reads.places, *moved, *roots])))
        for equation in body:
            for value, places in equation.reads.places.items():
                reads.places.setdefault(value, []).extend(places)
        outside = {value: places for value, places in reads.places.items() if not value[0].scope.inside(inner)}
        results = [(scope.names[variable.name], False) for variable in node.variables if variable.name in scope.names]
        self._equation(results, Reads(outside), node.span, scope, branch)
