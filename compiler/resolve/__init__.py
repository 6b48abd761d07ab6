"""Names, time and scope: every name means one thing, every state moves once, and nothing goes in a circle.

    history      m[t] = … m[t-1]  becomes  m' = … m
    declare      every name gets its binding in its scope
    steps        every statement becomes an equation; expressions finds the names in it
    composition  base rules, and what transforms ask of them
    claims       their names, and the rules that they name
    order        circles, and what reaches nothing

Shapes, types and ranges come later; they are not needed to say what a name stands for.
"""

from __future__ import annotations

from dataclasses import dataclass

from dotopt.compiler.resolve.claims import Claims, declarations, parts, rules_in
from dotopt.compiler.resolve.composition import check_base, check_composition
from dotopt.compiler.resolve.declare import Declarer, target
from dotopt.compiler.resolve.expressions import Expressions
from dotopt.compiler.resolve.history import without_time_indices
from dotopt.compiler.resolve.imports import Lookup, beside, circle, rule_like
from dotopt.compiler.resolve.names import Binding, Scope, after_word, name_span
from dotopt.compiler.resolve.order import Dependency, Reads, circles, reached
from dotopt.compiler.resolve.python import spelled
from dotopt.compiler.resolve.readings import misreadings
from dotopt.compiler.resolve.steps import Steps
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Diagnostic, Edit, Label, Report, diagnostic
from dotopt.compiler.text.source import Span

# What W205 speaks of when nothing needs it; an unread state or parameter still moves, an unread input is E209.
NEEDED = frozenset(
    {"hyper", "option", "const", "function", "objective", "operator", "definition", "local function", "draw"}
)


@dataclass(frozen=True, slots=True)
class Symbols:
    """What the names of a file stand for.

    `file` is the tree with time indices written as primes: read that one. `declarations` and `definitions` hold the
    first of each name, wherever in the step it stands (a next value under `x'`); `axes` the names of all axes that no
    integer names; `imports` the name behind each local one; `scope` every binding.
    """

    file: s.File
    declarations: dict[str, s.Declaration]
    definitions: dict[str, s.Definition]
    imports: dict[str, str]
    axes: frozenset[str]
    scope: Scope
    warnings: tuple[Diagnostic, ...] = ()


def resolve(file: s.File, lookup: Lookup | None = None) -> Symbols:
    """The names of `file`; raises `OptError` with up to 10 diagnostics.

    `lookup` finds the file of a name after `use`; by default in the folder of the file, then in the library.

    >>> from dotopt.compiler.parse import parse
    >>> from dotopt.compiler.text.source import Source
    >>> text = "rule A\\nparam x : real[...]\\nobjective f\\nhyper lr = 0.1\\nx' = x - lr*∇f(x)\\n"
    >>> sorted(resolve(parse(Source("a.opt", text))).declarations)
    ['f', 'lr', 'x']
    """
    report = Report()
    resolver = _Resolver(file, report, lookup or beside(file.span.source.path))
    resolver.run()
    report.diagnostics.sort(key=lambda found: found.span.start if found.span is not None else 0)
    report.finish()
    return resolver.symbols()


class _Resolver:
    """One run over one file."""

    def __init__(self, file: s.File, report: Report, lookup: Lookup) -> None:
        self.report = report
        self.lookup = lookup
        self.file = without_time_indices(file, report)
        self.scope = Scope("file")
        theorem = file.head.word == "theorem"
        self.declarer = Declarer(report, self.scope)
        self.expressions = Expressions(report, self.scope, theorem)
        self.claims = Claims(report, self.declarer, self.expressions, lookup, Reads())
        self.steps = Steps(report, self.scope, theorem, self.declarer, self.expressions, self.claims)

    def run(self) -> None:
        """Every check, in the order of the module's docstring."""
        if self.report.errors:
            return  # without one reading of time nothing else can be judged
        for found in misreadings(self.file):
            self.report.add(found)
        self.head_names(self.file.head)
        self.declarer.block(self.file.statements, self.scope)
        self.declarer.axes(self.file.statements, self.scope)
        self.uses()
        self.head(self.file.head)
        self.steps.block(self.file.statements, self.scope)
        self.complete()
        check_base(self.file, self.report)
        check_composition(self.file, self.report, self.lookup)
        self.all_claims()
        for found in circles(self.steps.equations):
            self.report.add(found)
        if not self.report.errors:
            self.unused()

    def symbols(self) -> Symbols:
        """The result, once there are no errors."""
        declared: dict[str, s.Declaration] = {}
        defined: dict[str, s.Definition] = {}
        imports: dict[str, str] = {}
        for node in _statements(self.file.statements):
            match node:
                case s.Declaration():
                    declared.setdefault(node.name, node)
                case s.Definition(targets=targets):
                    for left in map(target, targets):
                        if left is not None and left.of is None:
                            defined.setdefault(left.name + ("'" if left.primed else ""), node)
                case s.Use(names=names):
                    imports |= {imported.local: imported.name for imported in names}
        axes = frozenset(name for name, binding in self.scope.names.items() if binding.kind == "axis")
        return Symbols(self.file, declared, defined, imports, axes, self.scope, tuple(self.report.warnings))

    # ---- head and imports ----

    def head_names(self, head: s.Head) -> None:
        """Bind the parameters of a formula, the name of the file, and in a composition the names of its parts."""
        for parameter in head.parameters:
            place = name_span(parameter.span, parameter.name)
            self.declarer.add(self.scope, parameter.name, "parameter", place, parameter)
        typed = tuple(s.Quantified(parameter.span, "", (), parameter.type) for parameter in head.parameters)
        self.declarer.axes((s.ForAll(head.span, typed),), self.scope)
        place = name_span(after_word(head.span), head.name)
        self.scope.names.setdefault(head.name, Binding(head.name, "head", place, self.scope, head))
        for part in parts(self.file, self.lookup)[1:]:  # outermost first: its names are those that claims speak of
            for node in declarations(part):
                made = Binding(node.name, node.word, node.name_span, self.scope, node)
                self.scope.names.setdefault(node.name, made)

    def head(self, head: s.Head) -> None:
        """Resolve what the head line reads."""
        reads = Reads()
        for parameter in head.parameters:
            self.expressions.each((parameter.type, parameter.bounds, parameter.default), self.scope, Reads())
        self.steps.properties(head.properties)
        if head.word != "composition":
            self.expressions.walk(head.value, self.scope, reads)
        else:
            for rule in rules_in(head.value) if head.value is not None else ():
                if self.lookup(rule.name) is None and self.scope.find(rule.name) is None:
                    self.no_such_rule(rule.name, rule.span)
        self.steps.equations.append(Dependency((), reads, head.span, self.scope, root=True))

    def uses(self) -> None:
        """Every name after `use` has a file, and none leads back here."""
        for statement in self.file.statements:
            for imported in statement.names if isinstance(statement, s.Use) else ():
                if self.lookup(imported.name) is None:
                    self.no_such_rule(imported.name, name_span(imported.span, imported.name))
                    continue
                way = circle(imported.name, self.file.head.name, self.lookup)
                if way is not None:
                    cycle = " -> ".join(f"`{name}`" for name in way)
                    self.report.add(diagnostic("E214", imported.span, cycle=cycle))

    def no_such_rule(self, name: str, span: Span) -> None:
        """E222, with the name that was probably meant."""
        suggestion = rule_like(name, span.source.path, self.lookup)
        help = f"did you mean `{suggestion}`?" if suggestion else None
        edit = Edit(span, suggestion) if suggestion else None
        self.report.add(diagnostic("E222", span, name=name, help=help, edit=edit))

    # ---- the file as a whole ----

    def all_claims(self) -> None:
        """Resolve the claims; two of one name are E204."""
        places: dict[str, Span] = {}
        for claim, scope in self.steps.waiting:
            place = name_span(after_word(claim.span), claim.name)
            if claim.name in places:
                label = Label(places[claim.name], "first claim of that name")
                self.report.add(diagnostic("E204", place, name=claim.name, labels=(label,)))
            places.setdefault(claim.name, place)
            self.claims.claim(claim, scope)

    def complete(self) -> None:
        """Every state and parameter moves, every output has an equation, every input is read."""
        moved = {binding for binding, primed in self.declarer.next_values if primed}
        given = {binding for equation in self.steps.equations for binding, _ in equation.defines if equation.root}
        read = {binding for equation in self.steps.equations for binding, _ in equation.reads.places}
        declared = [
            (binding, binding.node)
            for scope in _scopes(self.scope)
            for binding in scope.names.values()
            if isinstance(binding.node, s.Declaration)
        ]
        own = [(binding, node) for binding, node in declared if node.span.source is self.file.span.source]
        parts = [(binding, node) for binding, node in declared if node.span.source is not self.file.span.source]
        must_move = self.file.head.word in ("rule", "transform") and not any(n.word == "output" for _, n in own)
        of_parts = [found for found in spelled(self.file, parts) if found.code == "E238"]  # they share the one class
        for found in (*spelled(self.file, own), *of_parts):
            self.report.add(found)
        for binding, node in own:
            name, remark = node.name, f"no equation `{node.name}' = …`"
            match node.word:
                case "state" if binding not in moved and node.value_kind != "first":
                    self.report.add(diagnostic("E205", binding.span, name=name, remark=remark))
                case "param" if binding not in moved and must_move:
                    self.report.add(diagnostic("E208", binding.span, name=name, remark=remark))
                case "output" if binding not in given:
                    self.report.add(diagnostic("E202", binding.span, name=name))
                case "input" if binding not in read:
                    self.report.add(diagnostic("E209", binding.span, name=name))

    def unused(self) -> None:
        """W205 for what no state, parameter, output, sent value or claim needs."""
        needed = reached(self.steps.equations, self.claims.reads.places)
        in_loops = dict(self.steps.in_loops)
        for scope in _scopes(self.scope):
            used = needed | in_loops.get(scope, set())
            for binding in scope.names.values():
                own = binding.node is not None and binding.node.span.source is self.file.span.source
                if own and binding.kind in NEEDED and binding not in used:
                    self.report.add(diagnostic("W205", binding.span, name=binding.name))


def _scopes(scope: Scope) -> list[Scope]:
    """This scope and all those inside it but the claims."""
    found = [scope]
    for inner in scope.inner:
        if inner.kind != "claim":
            found += _scopes(inner)
    return found


def _statements(statements: tuple[s.Statement, ...]) -> list[s.Statement]:
    """All statements of the step, those in blocks included."""
    found: list[s.Statement] = []
    for statement in statements:
        match statement:
            case s.When(body=body, otherwise=otherwise):
                found += [statement, *_statements((*body, *otherwise))]
            case s.Iterate(body=body) | s.Role(body=body):
                found += [statement, *_statements(body)]
            case s.Claim():
                pass
            case _:
                found.append(statement)
    return found
