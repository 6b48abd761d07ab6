"""Resolving claims: their own names, the rules they name, and what they ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dotopt.compiler.resolve.builtins import FORMATS, LAWS, METHODS
from dotopt.compiler.resolve.declare import Declarer, target
from dotopt.compiler.resolve.expressions import Expressions, bound
from dotopt.compiler.resolve.imports import Lookup, rule_like, tree
from dotopt.compiler.resolve.names import KINDS, Binding, Scope, after_word, name_span
from dotopt.compiler.resolve.order import Reads
from dotopt.compiler.resolve.python import python_name
from dotopt.compiler.resolve.signatures import wrong_call
from dotopt.compiler.resolve.suggest import closest
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Edit, Label, Report, diagnostic
from dotopt.compiler.text.source import Span
from dotopt.grammar.spelling import canonical

SPELLED_OUT = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float64": "fp64"}


@dataclass(slots=True)
class Claims:
    """Walks the claims of a file after its statements have been resolved."""

    report: Report
    declarer: Declarer
    expressions: Expressions
    lookup: Lookup
    reads: Reads  # what any claim reads

    def claim(self, node: s.Claim, scope: Scope) -> None:
        """Resolve one claim."""
        inner = scope.child("claim")
        self._hides_state(node.body, inner)
        self.declarer.block(node.body, inner)
        self.declarer.axes(node.body, inner)
        reads = Reads()
        self.expressions.flow = any(isinstance(clause, s.Flow) for clause in node.body)
        for clause in node.body:
            self.clause(clause, inner, reads)
        self.expressions.flow = False
        if not any(isinstance(clause, s.Show) for clause in node.body):
            self.report.add(diagnostic("E410", name_span(after_word(node.span), node.name), name=node.name))
        used = {binding for binding, _ in reads.places}
        for binding in inner.names.values():
            if binding.kind == "unknown" and binding not in used:
                self.report.add(diagnostic("E408", binding.span, name=binding.name))
        for (binding, primed), places in reads.places.items():
            self.reads.places.setdefault((binding, primed), []).extend(places)

    def _hides_state(self, body: Iterable[s.Statement], inner: Scope) -> None:
        for clause in body:
            if isinstance(clause, s.ForAll):
                for quantified in clause.names:
                    self.quantified(quantified, inner)

    def quantified(self, node: s.Quantified, scope: Scope) -> None:
        """E217 if the name is a state or the parameter of the rule."""
        known = scope.parent.find(node.name) if scope.parent is not None else scope.names.get(node.name)
        if known is not None and known.kind in ("state", "param"):
            label = Label(known.span, f"{KINDS[known.kind]}: claims hold for all its values anyway")
            place = name_span(node.span, node.name)
            self.report.add(diagnostic("E217", place, name=node.name, labels=(label,)))
            scope.names.setdefault(node.name, known)

    # ---- clauses ----

    def clause(self, node: s.Statement, scope: Scope, reads: Reads) -> None:
        """Resolve one line of a claim."""
        walk = self.expressions.walk
        match node:
            case s.ForAll(names=names):
                for quantified in names:
                    inner = bound(scope, [index.name for index in quantified.indices], quantified.span)
                    self.expressions.each((index.domain for index in quantified.indices), scope, reads)
                    self.expressions.each((quantified.type, quantified.bounds), inner, reads)
            case s.Definition():
                self.definition(node, scope, reads)
            case s.Draw(law=law, type=type):
                walk(type, scope, reads)
                law_of(self.expressions, law, scope, reads)
            case s.Given(condition=condition):
                walk(condition, scope, reads)
            case s.Show(goal=goal):
                self.goal(goal, scope, reads)
            case s.By(methods=methods):
                for method in methods:
                    self.method(method, scope, reads)
            case s.Precision(name=name):
                if name not in FORMATS:
                    listed = ", ".join(f"`{known}`" for known in sorted(FORMATS))
                    place = name_span(after_word(node.span), name)
                    meant = SPELLED_OUT.get(name) or closest(name, FORMATS)
                    help = f"did you mean `{meant}`?" if meant else None
                    edit = Edit(place, meant) if meant else None
                    self.report.add(diagnostic("E411", place, name=name, formats=listed, help=help, edit=edit))
            case s.Iterate():
                self.loop(node, scope, reads)

    def definition(self, node: s.Definition, scope: Scope, reads: Reads) -> None:
        """A definition inside a claim: a value, a function, a recurrence, or `ddt(x) = …`."""
        inner = bound(scope, (), node.span)
        for left in node.targets:
            found = target(left)
            if found is None:
                self.report.add(diagnostic("E117", left.span))
            elif found.name == "ddt":
                if not self.expressions.flow:
                    start = left.span.source.line_starts[left.span.line - 1]
                    indent = " " * (left.span.start - start)
                    edit = Edit(Span(left.span.source, start, start), f"{indent}flow\n")
                    self.report.add(diagnostic("E412", left.span, edit=edit))
                self.expressions.each(found.parameters, scope, reads)
            else:
                bind_left(inner, found.parameters, found.indices)
                known = scope.find(found.name)
                if found.primed:
                    self.expressions.walk(left, scope, reads)
                    if known is not None and known.scope.kind != "loop":
                        self.report.add(diagnostic("E413", left.span, name=found.name))
                elif found.of is not None:
                    self.expressions.walk(found.of, scope, reads)
        if node.family is not None:
            inner.names[node.family.name] = Binding(node.family.name, "bound", node.family.span, inner)
            self.expressions.walk(node.family.domain, scope, reads)
        for where in node.where:
            for left in where.targets:
                if (found := target(left)) is not None:
                    inner.names[found.name] = Binding(found.name, "where", found.span, inner, where)
        for where in node.where:
            self.expressions.walk(where.value, inner, reads)
        self.expressions.each((node.type,), scope, reads)
        self.expressions.walk(node.value, inner, reads)

    def loop(self, node: s.Iterate, scope: Scope, reads: Reads) -> None:
        """A loop inside a claim."""
        inner = self.declarer.scopes[id(node)]
        for variable in node.variables:
            self.expressions.walk(variable.start, inner if variable.indices else scope, reads)
        self.expressions.each((node.count, node.most), scope, reads)
        self.expressions.walk(node.until, inner, reads)
        for clause in node.body:
            if isinstance(clause, s.Definition):
                self._pass(clause, inner, reads)
            else:
                self.clause(clause, inner, reads)

    def _pass(self, node: s.Definition, scope: Scope, reads: Reads) -> None:
        for left in node.targets:
            if (found := target(left)) is not None and found.primed:
                self.expressions.walk(left, scope, Reads())
        self.expressions.walk(node.value, scope, reads)

    def goal(self, goal: s.Goal, scope: Scope, reads: Reads) -> None:
        """What `show` or `refute` states."""
        walk = self.expressions.walk
        match goal:
            case s.Becomes(old=old, new=new, maps=maps):
                self.expressions.each((old, new), scope, reads)
                for moved in maps:
                    self.expressions.each((moved.old, moved.new), scope, reads)
            case s.Equivalent():
                self.equivalent(goal, scope, reads)
            case s.Stable(condition=condition) | s.Holds(condition=condition):
                walk(condition, scope, reads)

    def method(self, node: s.Expression, scope: Scope, reads: Reads) -> None:
        """`by M(…)`."""
        called = node.function if isinstance(node, s.Call) else node
        name = called.span.text
        if name not in METHODS:
            suggestion = closest(name, METHODS)
            listed = ", ".join(f"`{known}`" for known in sorted(METHODS))
            help = f"did you mean `{suggestion}`?" if suggestion else f"known methods: {listed}"
            edit = Edit(called.span, suggestion) if suggestion else None
            self.report.add(diagnostic("E409", called.span, name=name, help=help, edit=edit))
        elif isinstance(node, s.Call) and name != "lemma":
            self.expressions.each((*node.arguments, *(k.value for k in node.keywords)), scope, reads)

    # ---- other rules ----

    def equivalent(self, goal: s.Equivalent, scope: Scope, reads: Reads) -> None:
        """`equivalent to R with a = e matching m = e when c`."""
        self.expressions.walk(goal.condition, scope, reads)
        files = [found for name in rules_in(goal.rule) if (found := self._rule(name, scope)) is not None]
        known = {name for file in files for name in public_names(file, self.lookup)}
        for namings, kinds in ((goal.bindings, "hyper option function const"), (goal.matching, "state param")):
            for naming in namings:
                if files and naming.name not in known:
                    self._no_such(naming, goal.rule.span.text, files, kinds.split())
                values = {value for file in files for value in option_values(file, naming.name)}
                match naming.value:
                    case s.Name(name=name) if scope.find(name) is None and (name in values or self.lookup(name)):
                        pass  # a value of an option of the other rule, or a formula of the library
                    case _:
                        self.expressions.walk(naming.value, scope, reads)

    def _no_such(self, naming: s.Naming, rule: str, files: list[s.File], kinds: list[str]) -> None:
        place = name_span(naming.span, naming.name)
        known = [node for file in files for node in declarations(file) if node.word in kinds]
        offered = [node.name for node in known]
        suggestion = closest(naming.name, [*offered, *map(python_name, known)])
        listed = ", ".join(f"`{name}`" for name in offered) or "none"
        help = f"did you mean `{suggestion}`?" if suggestion else f"its names: {listed}"
        edit = Edit(place, suggestion) if suggestion else None
        self.report.add(diagnostic("E406", place, rule=rule, name=naming.name, help=help, edit=edit))

    def _rule(self, node: s.Name, scope: Scope) -> s.File | None:
        """The file of a rule that a claim names; W403 if there is none: the claim stays open."""
        binding = scope.find(node.name)
        if binding is not None and binding.kind in ("base", "head", "bound"):
            return None
        name = binding.node.name if binding is not None and isinstance(binding.node, s.Imported) else node.name
        if self.lookup(name) is None:
            if binding is None:  # an import that is missing was reported with the import
                suggestion = rule_like(name, node.span.source.path, self.lookup)
                help = f"did you mean `{suggestion}`?" if suggestion else None
                edit = Edit(node.span, suggestion) if suggestion else None
                self.report.add(diagnostic("W403", node.span, name=name, help=help, edit=edit))
            return None
        return tree(name, self.lookup)


def rules_in(node: s.Expression) -> Iterable[s.Name]:
    """The rules in `A(B(C))`."""
    match node:
        case s.Name():
            yield node
        case s.Call(function=function, arguments=arguments):
            yield from rules_in(function)
            for argument in arguments:
                yield from rules_in(argument)


def declarations(file: s.File) -> list[s.Declaration]:
    """All declarations of a file, those in branches and roles included."""
    return [node for node in file.walk() if isinstance(node, s.Declaration)]


def public_names(file: s.File, lookup: Lookup) -> set[str]:
    """Names of hyperparameters, options, functions and states, by symbol and by Python name."""
    found = {parameter.name for parameter in file.head.parameters}
    for part in parts(file, lookup):
        for node in declarations(part):
            found |= {node.name, python_name(node)}
    return found | {canonical(name) for name in found}


def parts(file: s.File, lookup: Lookup, depth: int = 8) -> list[s.File]:
    """The file itself, and those it is composed of, outermost first."""
    found = [file]
    if file.head.word == "composition" and file.head.value is not None and depth:
        for name in rules_in(file.head.value):
            inside = tree(name.name, lookup)
            found += parts(inside, lookup, depth - 1) if inside is not None else []
    return found


def option_values(file: s.File, name: str) -> set[str]:
    """The values of the option of that name."""
    return {
        value.name
        for node in declarations(file)
        if node.word == "option" and name in (node.name, node.alias) and isinstance(node.bounds, s.Choices)
        for value in node.bounds.values
        if isinstance(value, s.Name)
    }


def law_of(expressions: Expressions, law: s.Expression, scope: Scope, reads: Reads) -> None:
    """What stands after `~`: a law with its arguments, or E227."""
    called = law.function if isinstance(law, s.Call) else law
    if not isinstance(called, s.Name) or called.name not in LAWS:
        name = called.span.text
        suggestion = closest(name, LAWS) or {"gaussian": "normal", "randn": "normal", "rand": "uniform"}.get(name)
        listed = ", ".join(f"`{known}`" for known in sorted(LAWS))
        help = f"did you mean `{suggestion}`?" if suggestion else f"the laws are {listed}"
        edit = Edit(called.span, suggestion) if suggestion else None
        expressions.report.add(diagnostic("E227", called.span, name=name, help=help, edit=edit))
        return
    if isinstance(law, s.Call):
        for wrong in wrong_call(law, called.name, LAWS[called.name]):
            expressions.report.add(wrong)
        expressions.each((*law.arguments, *law.samples, *(k.value for k in law.keywords)), scope, reads)
    else:
        for wrong in wrong_call(s.Call(law.span, called, ()), called.name, LAWS[called.name]):
            expressions.report.add(wrong)


def bind_left(inner: Scope, parameters: Iterable[s.Name], indices: Iterable[s.Expression]) -> None:
    for name in (*parameters, *(index for index in indices if isinstance(index, s.Name))):
        known = inner.find(name.name)
        if name in parameters or known is None or known.kind in ("index", "bound"):
            inner.names[name.name] = Binding(name.name, "bound", name.span, inner)
