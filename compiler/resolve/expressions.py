"""Second half of resolving, below the statements: every name in an expression is found, and used as what it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from dotopt.compiler.resolve.builtins import AXES, BUILTINS, CONSTANTS, FUNCTIONS, LAWS, SLICES, SOLVERS
from dotopt.compiler.resolve.names import CALLABLE, KINDS, MOVING, NUMBERS, Binding, Scope, after_word, name_span
from dotopt.compiler.resolve.order import Reads
from dotopt.compiler.resolve.signatures import parameters_of, sample_names, wrong_arguments, wrong_call
from dotopt.compiler.resolve.suggest import closest, look_alikes
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import MOST_ERRORS, Diagnostic, Edit, Label, Report, diagnostic
from dotopt.compiler.text.source import Span
from dotopt.grammar.files import catalogue, file_name

FUNCTIONLIKE = frozenset(
    {"objective", "operator", "function", "local function", "base", "imported", "builtin", "slice", "head"}
)
TYPED = frozenset({"param", "state", "input", "output", "quantified", "parameter", "loop", "result", "draw", "bound"})
NO_AXIS = frozenset({"param", "state", "output", "draw", "loop", "result", "message"}) | FUNCTIONLIKE


@dataclass(slots=True)
class Expressions:
    """Walks expressions; complaints go to `report`, what is read to the `Reads` that is passed along."""

    report: Report
    file: Scope
    theorem: bool = False
    unknown: set[str] = field(default_factory=set)  # names already complained of
    flow: bool = False  # inside a claim in continuous time
    function: bool = False  # inside the body of a local function
    multiplied: set[int] = field(default_factory=set)  # Hessians that stand beside an `@`

    # ---- walking ----

    def walk(self, node: s.Syntax | None, scope: Scope, reads: Reads) -> None:
        """Resolve everything in `node`."""
        match node:
            case None | s.Number() | s.Infinity() | s.Boolean():
                pass
            case s.Name():
                self.name(node, scope, reads)
            case s.Call():
                self.call(node, scope, reads)
            case s.Gradient():
                self.gradient(node, scope, reads)
            case s.Member(base=base, name=name):
                self.member(base, name, node.span, scope, reads)
            case s.Comprehension(body=body, names=names, domain=domain, condition=condition):
                self.walk(domain, scope, reads)
                inner = bound(scope, names, node.span)
                self.walk(body, inner, reads)
                self.walk(condition, inner, reads)
            case s.Compare(operators=operators, operands=operands):
                values = self.option_values(operators, operands, scope, reads)
                for operand in operands:
                    if id(operand) not in values:
                        self.walk(operand, scope, reads)
            case s.Binary(operator=operator, left=left, right=right):
                if operator == "@":
                    self.multiplied |= {id(left), id(right)}
                self.operands(operator, (left, right), scope, reads)
            case s.Unary(operator=operator, operand=operand):
                self.operands(operator, (operand,), scope, reads)
            case s.Norm(operand=operand) | s.Transpose(operand=operand):
                self.operands("", (operand,), scope, reads)
            case s.Like(name=name, indices=indices):
                self.like(name, node.span, scope)
                self.each(indices, scope, reads)
            case s.Array(axes=axes):
                for axis in axes:  # the declarer bound those that no integer names
                    known = scope.find(axis.name)
                    if known is not None:
                        reads.add(known, False, axis.span)
            case _:
                self.each(node.children(), scope, reads)

    def each(self, nodes: Iterable[s.Syntax | None], scope: Scope, reads: Reads) -> None:
        """Resolve several nodes."""
        for node in nodes:
            self.walk(node, scope, reads)

    def _all(self, found: Iterable[Diagnostic]) -> None:
        for one in found:
            self.report.add(one)

    def operands(self, operator: str, nodes: Iterable[s.Expression], scope: Scope, reads: Reads) -> None:
        """Resolve what is computed with: not a function without its arguments (E237), except in claims."""
        for node in nodes:
            self.walk(node, scope, reads)
            if isinstance(node, s.Name) and operator not in ("and", "or", "not") and not scope.in_claim():
                binding = self.find(node.name, scope)
                kind = binding.kind if binding is not None else "builtin" if node.name in FUNCTIONS else ""
                kind = kind or ("slice" if node.name in SLICES else "")
                if kind in FUNCTIONLIKE:
                    self.report.add(diagnostic("E237", node.span, name=node.name, kind=KINDS[kind]))

    # ---- names ----

    def find(self, name: str, scope: Scope) -> Binding | None:
        """What `name` means; claims also see into roles and loops."""
        found = scope.find(name)
        return self.file.find_below(name) if found is None and scope.in_claim() else found

    def name(self, node: s.Name, scope: Scope, reads: Reads) -> None:
        """Resolve a name that is read."""
        binding = self.find(node.name, scope)
        if binding is None:
            self._not_found(node, scope)
            return
        if binding.kind == "index" and not scope.in_claim():
            self.report.add(diagnostic("E219", node.span, name=node.name))
        if node.primed:
            self.prime(node, binding)
        if binding.kind == "option" and isinstance(binding.node, s.Declaration):
            self._bare_option(node, binding.node)
        reads.add(binding, node.primed, node.span)

    def _not_found(self, node: s.Name, scope: Scope) -> None:
        name = node.name
        if name in FUNCTIONS or name in CONSTANTS or name in SLICES:
            if node.primed:
                kind = "the step number" if name == "t" else KINDS["builtin"]
                self._no_next_value(node, kind)
            return
        private = self.file.find_below(name)
        if private is not None and private.scope.role:
            role, first = private.scope.role, Label(private.span, "defined here")
            edit = None
            if isinstance(private.node, s.Definition) and private.kind == "definition" and not private.node.where:
                edit = Edit(Span(node.span.source, private.span.start, private.span.start), "send ")
            self.report.add(diagnostic("E509", node.span, name=name, role=role, labels=(first,), edit=edit))
        elif private is not None:
            first = Label(private.span, "defined inside the loop")
            help = f"let the loop carry it: `iterate …, {name} from …`"
            self.report.add(diagnostic("E201", node.span, name=name, labels=(first,), help=help))
        elif name in LAWS:
            self._law(node.span, name)
        else:
            self.not_known(name, node.span, scope)

    def not_known(self, name: str, span: Span, scope: Scope, code: str | None = None) -> None:
        """E201 (E401 in a claim), once a name, with the name that was probably meant."""
        if name in self.unknown:
            return
        self.unknown.add(name)
        code = code or ("E401" if scope.in_claim() else "E201")
        if len(self.report.diagnostics) > 2 * MOST_ERRORS:  # nobody will read it, and suggestions take time
            self.report.add(diagnostic(code, span, name=name))
            return
        visible = {known: binding for around in scope.chain() for known, binding in around.names.items()}
        own = next((known for known, binding in visible.items() if binding.alias == name), None)
        suggestion = own or closest(name, [*visible, *BUILTINS])
        place = Span(span.source, span.start, span.start + len(span.text.rstrip("'′")))
        if file_name(name) in catalogue():
            head = re.search(r"^(rule|formula|transform|theorem)\b.*\n", span.source.text, re.MULTILINE)
            edit = Edit(Span(span.source, head.end(), head.end()), f"use {name}\n") if head else None
            help = f"it is in the library: add `use {name}` below the first line"
            self.report.add(diagnostic(code, place, name=name, help=help, edit=edit))
            return
        if suggestion is None:
            help = f"declare it (`hyper {name} = …`, `const`, `state`, `input`) or define it: `{name} = …`"
            if scope.in_claim():
                help = f"quantify it: `for all {name} : …`, or define it: `{name} = …`"
            self.report.add(diagnostic(code, place, name=name, help=help))
            return
        known = visible.get(suggestion)
        labels = (Label(known.span, "did you mean this one?"),) if known and known.span.source == span.source else ()
        sentence = look_alikes(name, suggestion)
        help = f"write `{suggestion}`" if labels else f"did you mean `{suggestion}`?"
        notes = (sentence,) if sentence else ()
        edit = Edit(place, suggestion)
        self.report.add(diagnostic(code, place, name=name, labels=labels, notes=notes, help=help, edit=edit))

    def prime(self, node: s.Name, binding: Binding) -> None:
        """Whether the name may have a prime here."""
        if self.flow:
            self.report.add(diagnostic("E407", node.span, name=node.name, edit=_without_prime(node.span)))
        elif binding.kind == "parameter":
            self.report.add(diagnostic("E212", node.span, name=node.name, edit=_without_prime(node.span)))
        elif binding.kind not in MOVING:
            self._no_next_value(node, KINDS[binding.kind])

    def _no_next_value(self, node: s.Name, kind: str) -> None:
        help = f"read it without the prime; for the transpose write `{node.name}ᵀ` or `{node.name}^T`"
        remark = "the prime means “after this step”"
        edit = _without_prime(node.span)
        self.report.add(diagnostic("E203", node.span, name=node.name, kind=kind, remark=remark, help=help, edit=edit))

    def like(self, name: str, span: Span, scope: Scope) -> None:
        """Resolve the name after `like`."""
        place = name_span(after_word(span), name)
        binding = self.find(name, scope)
        if binding is None:
            self.not_known(name, place, scope)
        elif binding.kind not in TYPED and getattr(binding.node, "type", None) is None:
            self.report.add(diagnostic("E318", place, name=name, kind=KINDS[binding.kind]))

    def member(self, base: s.Expression, name: str, span: Span, scope: Scope, reads: Reads) -> None:
        """`B.lr`: only a base rule or an imported one has parts."""
        self.walk(base, scope, reads)
        match base:
            case s.Name(name=owner):
                binding = self.find(owner, scope)
                if binding is not None and binding.kind not in ("base", "imported", "bound"):
                    kind = KINDS[binding.kind]
                    help = f"for the transpose write `{owner}ᵀ` or `{owner}^T`" if name == "T" else None
                    edit = Edit(Span(span.source, base.span.end, span.end), "ᵀ") if name == "T" else None
                    self.report.add(
                        diagnostic("E228", span, name=owner, kind=kind, member=name, help=help, edit=edit)
                    )
                elif binding is None and owner in BUILTINS:
                    self.report.add(diagnostic("E228", span, name=owner, kind=KINDS["builtin"], member=name))
            case _:
                edit = Edit(Span(span.source, base.span.end, span.end), "ᵀ") if name == "T" else None
                text = base.span.text
                help = f"for the transpose write `{text}ᵀ` or `{text}^T`" if name == "T" else None
                self.report.add(
                    diagnostic("E228", span, name=text, kind="an expression", member=name, help=help, edit=edit)
                )

    # ---- options ----

    def option_values(
        self, operators: tuple[str, ...], operands: tuple[s.Expression, ...], scope: Scope, reads: Reads
    ) -> set[int]:
        """The operands that are options or values of options beside them, already resolved here."""
        done: set[int] = set()
        for operator, left, right in zip(operators, operands, operands[1:], strict=False):
            if operator not in ("==", "!=", "in", "not in"):
                continue
            for option, value in ((left, right), (right, left)):
                declared = self._option(option, scope)
                if declared is None or not isinstance(declared.node, s.Declaration):
                    continue
                bounds = declared.node.bounds
                if not isinstance(bounds, s.Choices):
                    continue
                reads.add(declared, False, option.span)
                done.add(id(option))
                items = value.items if isinstance(value, s.Sequence) else (value,)
                for item in items:
                    self.option_value(item, declared.node, bounds)
                done.add(id(value))
        return done

    def _option(self, node: s.Expression, scope: Scope) -> Binding | None:
        binding = self.find(node.name, scope) if isinstance(node, s.Name) else None
        return binding if binding is not None and binding.kind == "option" else None

    def option_value(self, node: s.Expression, option: s.Declaration, bounds: s.Choices) -> None:
        """E215 unless the node is a value of the option."""
        if node in bounds.values:
            return
        names = [value.name for value in bounds.values if isinstance(value, s.Name)]
        suggestion = closest(node.name, names) if isinstance(node, s.Name) else None
        label = Label(bounds.span, f"did you mean `{suggestion}`?" if suggestion else "its values")
        listed = ", ".join(f"`{value.span.text}`" for value in bounds.values)
        self.report.add(
            diagnostic(
                "E215", node.span, value=node.span.text, option=option.name, values=listed, labels=(label,),
                edit=Edit(node.span, suggestion) if suggestion else None,
            )
        )  # fmt: skip

    def _bare_option(self, node: s.Name, option: s.Declaration) -> None:
        if isinstance(option.bounds, s.Choices):
            value = option.bounds.values[0].span.text
            self.report.add(diagnostic("E233", node.span, name=node.name, value=value))

    # ---- calls ----

    def call(self, node: s.Call, scope: Scope, reads: Reads) -> None:
        """Resolve a call, and check it against what is called."""
        function = node.function
        binding: Binding | None = None
        match function:
            case s.Name(name=name, primed=False):
                binding = self.find(name, scope)
                if binding is None and name in LAWS:
                    self._law(function.span, name)
                elif binding is None and name in FUNCTIONS:
                    self._all(wrong_call(node, name, FUNCTIONS[name]))
                else:
                    self.name(function, scope, reads)
            case s.Index(base=s.Name(name=name)):
                binding = self.find(name, scope)
                self.walk(function, scope, reads)
            case s.Gradient():
                self.gradient(function, scope, reads, called=node)
            case _:
                self.walk(function, scope, reads)
        if binding is not None:
            self._callable(node, binding)
            self._all(wrong_arguments(node, binding))
        self.each(node.arguments, scope, reads)
        self.each(node.samples, scope, reads)
        for keyword in node.keywords:
            if keyword.name in AXES:
                self.axis(keyword.value, scope, reads)
            elif keyword.name == "by" and isinstance(keyword.value, s.Name):
                self.solver(keyword.value)
            elif not self._passed_option(keyword.value, scope, reads):
                self.walk(keyword.value, scope, reads)

    def _passed_option(self, value: s.Expression, scope: Scope, reads: Reads) -> bool:
        """An option handed on as it is, `f(x, form=form)`, or a value of an option of what is called."""
        option = self._option(value, scope)
        if option is not None:
            reads.add(option, False, value.span)
        return option is not None

    def _callable(self, node: s.Call, binding: Binding) -> None:
        if binding.kind in CALLABLE or binding.kind == "quantified":
            return
        if self.flow and binding.kind in ("state", "param"):
            return  # `θ(h)` is θ after time h
        if binding.kind in ("definition", "where", "result", "loop", "draw", "message"):
            value = binding.node.value if isinstance(binding.node, s.Definition) else None
            if isinstance(value, s.Name | s.Gradient | s.Index | s.Conjugate | s.Conditional):
                return  # another name for a function
        elif binding.kind not in NUMBERS and binding.kind not in ("input", "state", "param", "output", "index", "set"):
            return
        name, end = node.function.span.text, node.function.span.end
        simple = len(node.arguments) == 1 and not node.samples and not node.keywords
        edit = Edit(Span(node.span.source, end, end), "*") if simple else None
        help = f"for a product write `{name}*(…)`"
        self.report.add(diagnostic("E225", node.span, name=name, kind=KINDS[binding.kind], help=help, edit=edit))

    def axis(self, value: s.Expression, scope: Scope, reads: Reads) -> None:
        """The value of `over=` or `per=`: the name of an axis, `model`, `tensor`, or a bound name for one."""
        if not isinstance(value, s.Name):
            self.walk(value, scope, reads)
            return
        binding = self.find(value.name, scope)
        if binding is not None and binding.kind not in NO_AXIS:
            reads.add(binding, False, value.span)
        elif value.name not in SLICES:
            axes = [name for around in scope.chain() for name, known in around.names.items() if known.kind == "axis"]
            suggestion = closest(value.name, [*axes, *SLICES])
            listed = ", ".join(f"`{name}`" for name in dict.fromkeys([*axes, *sorted(SLICES)]))
            help = f"did you mean `{suggestion}`?" if suggestion else f"known here: {listed}"
            edit = Edit(value.span, suggestion) if suggestion else None
            self.report.add(diagnostic("E314", value.span, axis=value.name, help=help, edit=edit))

    def solver(self, value: s.Name) -> None:
        """The value of `by=`."""
        if value.name not in SOLVERS:
            suggestion = closest(value.name, SOLVERS)
            listed = ", ".join(f"`{name}`" for name in sorted(SOLVERS))
            help = f"did you mean `{suggestion}`?" if suggestion else f"known methods: {listed}"
            edit = Edit(value.span, suggestion) if suggestion else None
            self.report.add(diagnostic("E409", value.span, name=value.name, help=help, edit=edit))

    def _law(self, span: Span, name: str) -> None:
        self.report.add(diagnostic("E221" if self.function else "E226", span, name=name))

    # ---- gradients ----

    def gradient(self, node: s.Gradient, scope: Scope, reads: Reads, called: s.Call | None = None) -> None:
        """`∇f`, `∇_x f`, `∇²f`: of what, in which argument."""
        whole = called or node
        if not isinstance(node.function, s.Name):
            self.walk(node.function, scope, reads)
            return
        name = node.function.name
        self.name(node.function, scope, reads)
        binding = self.find(name, scope)
        if binding is None:
            return
        if binding.kind == "operator":
            without = Edit(Span(node.span.source, node.span.start, node.function.span.start), "")
            self.report.add(diagnostic("E502", node.span, name=name, edit=without))
        elif binding.kind in NUMBERS or binding.kind in ("input", "state", "param", "draw", "set", "index", "where"):
            self.report.add(diagnostic("E232", node.span, name=name, kind=KINDS[binding.kind]))
        if node.order == 2 and id(whole) not in self.multiplied and not self.theorem and not scope.in_claim():
            self.report.add(diagnostic("E504", whole.span, name=name))
        parameters = parameters_of(binding)
        if parameters is None:
            return
        every = (*parameters, *sample_names(binding))
        if node.argument is not None and node.argument not in every:
            suggestion = closest(node.argument, every)
            listed = ", ".join(f"`{parameter}`" for parameter in every)
            help = f"did you mean `{suggestion}`?" if suggestion else f"its arguments are {listed}"
            self.report.add(diagnostic("E231", node.span, name=name, argument=node.argument, help=help))
        elif node.argument is None and len(parameters) > 1 and node.order == 1:
            start = node.function.span.start
            text = node.span.text
            edit = Edit(Span(node.span.source, start, start), f"_{parameters[0]} ") if text.startswith("∇") else None
            self.report.add(diagnostic("E501", node.span, name=name, argument=parameters[0], edit=edit))


def bound(scope: Scope, names: Iterable[str], span: Span) -> Scope:
    """A scope with bound variables."""
    inner = Scope("bound", scope, scope.role)
    for name in names:
        inner.names[name] = Binding(name, "bound", span, inner)
    return inner


def _without_prime(span: Span) -> Edit:
    return Edit(span, span.text.rstrip("'′"))
