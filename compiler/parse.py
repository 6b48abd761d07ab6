"""Text to tree: the Lark tree becomes the frozen nodes of `syntax`, or a diagnostic."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeVar

import lark

from dotopt import grammar
from dotopt.compiler import syntax as s
from dotopt.compiler.errors import fail
from dotopt.compiler.mistakes import explain
from dotopt.compiler.source import Source, Span
from dotopt.grammar.spelling import canonical

DEEPEST = 100  # nested brackets or blocks; also keeps every recursive pass far from Python's limit
LONGEST = 400  # levels of the tree, brackets or not: `a + b + c + …` is one level a term

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
RELATIONS = {"≤": "<=", "≥": ">=", "≠": "!=", "∈": "in", "notin": "not in"}
T = TypeVar("T")


def parse(source: Source) -> s.File:
    """The tree of `source`; raises `OptError` with one diagnostic where the text is not a sentence of the language.

    >>> parse(Source("a.opt", "theorem A\\nclaim one:\\n  show 1 == 1\\n")).head.name
    'A'
    """
    if "\0" in source.text:
        where = source.text.index("\0")
        raise fail("E906", Span(source, where, where + 1))
    _check_depth(source)
    try:
        # Cyclic garbage is not made here, and collecting in the middle doubles the time.
        enabled = gc.isenabled()
        gc.disable()
        tree = grammar.parser().parse(source.text + "\n")
    except (lark.UnexpectedInput, lark.indenter.DedentError) as error:
        raise explain(source, error) from None
    finally:
        if enabled:
            gc.enable()
    _check_height(source, tree)
    file: s.File = _Builder(source).build(tree)
    return file


def _check_depth(source: Source) -> None:
    """Refuse deep nesting of brackets before the parser builds it."""
    depth = 0
    quoted = False
    for offset, character in enumerate(source.text):
        if character == "\n":
            quoted = False
        elif quoted:
            continue
        elif character == "#":
            quoted = True
        elif character in "([{":
            depth += 1
            if depth > DEEPEST:
                raise fail("E113", Span(source, offset, offset + 1), limit=DEEPEST)
        elif character in ")]}":
            depth = max(depth - 1, 0)


def _check_height(source: Source, tree: lark.Tree[lark.Token]) -> None:
    level = [tree]
    for _ in range(LONGEST):
        level = [child for node in level for child in node.children if isinstance(child, lark.Tree)]
        if not level:
            return
    start = next((node.meta.start_pos for node in level if not node.meta.empty), 0)
    raise fail("E113", Span(source, start, start + 1), limit=LONGEST)


class _Builder:
    """One method for each production, called with the children already built."""

    def __init__(self, source: Source) -> None:
        self.origin = source

    # ---- machinery ----

    def build(self, tree: Any) -> Any:
        if not isinstance(tree, lark.Tree):
            return tree
        method: Callable[..., Any] = getattr(self, tree.data)
        children = [self.build(child) for child in tree.children]
        meta = tree.meta
        span = Span(self.origin, 0, 0) if meta.empty else Span(self.origin, meta.start_pos, meta.end_pos)
        if span.end > 0:  # the newline that ends a statement belongs to no span
            text = self.origin.text[span.start : span.end]
            span = Span(self.origin, span.start, span.start + len(text.rstrip()))
        return method(span, *children)

    def _name(self, token: lark.Token) -> str:
        return canonical(str(token))

    def _span(self, token: lark.Token) -> Span:
        assert token.start_pos is not None and token.end_pos is not None
        return Span(self.origin, token.start_pos, token.end_pos)

    def _whole(self, token: lark.Token) -> int:
        if not token.isdigit():
            raise fail("E116", self._span(token))
        return int(token)

    # ---- file and head ----

    def start(self, span: Span, *children: Any) -> s.File:
        rest = [child for child in children if child is not None and not _is_token(child, "_NL")]
        docstring = None
        if _is_token(rest[0], "DOCSTRING"):
            docstring = str(rest.pop(0))[3:-3].strip()
        return s.File(span, docstring, rest[0], tuple(rest[1:]))

    def rule_head(self, span: Span, name: lark.Token) -> s.Head:
        return s.Head(span, "rule", str(name))

    def composition_head(self, span: Span, name: lark.Token, value: s.Expression) -> s.Head:
        return s.Head(span, "composition", str(name), value=value)

    def transform_head(self, span: Span, name: lark.Token) -> s.Head:
        return s.Head(span, "transform", str(name))

    def theorem_head(self, span: Span, name: lark.Token) -> s.Head:
        return s.Head(span, "theorem", str(name))

    def formula_head(self, span: Span, name: lark.Token, parameters: Any, properties: Any, value: s.Expression) -> s.Head:
        return s.Head(span, "formula", str(name), parameters or (), properties or (), value)

    def parameters(self, span: Span, *items: s.Parameter) -> tuple[s.Parameter, ...]:
        return items

    def parameter(self, span: Span, name: lark.Token, type: Any, bounds: Any, default: Any) -> s.Parameter:
        return s.Parameter(span, self._name(name), type, bounds, default)

    # ---- declarations ----

    def source(self, span: Span, text: lark.Token) -> s.SourceNote:
        return s.SourceNote(span, str(text)[1:-1])

    def use(self, span: Span, *names: s.Imported) -> s.Use:
        return s.Use(span, names)

    def imported(self, span: Span, name: lark.Token, local: lark.Token | None) -> s.Imported:
        return s.Imported(span, str(name), self._name(local or name))

    def _declare(self, span: Span, word: str, name: lark.Token, indices: Any = None, **rest: Any) -> s.Declaration:
        return s.Declaration(span, word, self._name(name), self._span(name), indices or (), **rest)

    def base(self, span: Span, name: lark.Token) -> s.Declaration:
        return self._declare(span, "base", name)

    def param(self, span: Span, name: lark.Token, indices: Any, type: Any, unit: Any) -> s.Declaration:
        return self._declare(span, "param", name, indices, type=type, unit=unit)

    def objective(self, span: Span, name: lark.Token, indices: Any, arguments: Any, properties: Any, unit: Any) -> s.Declaration:
        names, samples = arguments or (None, ())
        return self._declare(
            span, "objective", name, indices, arguments=names, samples=samples, properties=properties or (), unit=unit
        )

    def operator(self, span: Span, name: lark.Token, indices: Any, arguments: Any, properties: Any) -> s.Declaration:
        names, samples = arguments or (None, ())
        return self._declare(span, "operator", name, indices, arguments=names, samples=samples, properties=properties or ())

    def function(self, span: Span, name: lark.Token, indices: Any, arguments: Any, *rest: Any) -> s.Declaration:
        names, samples = arguments or (None, ())
        type = next((item for item in rest if isinstance(item, s.TypeSyntax)), None)
        properties = next((item for item in rest if isinstance(item, tuple)), ())
        value = next((item for item in rest if isinstance(item, s.Expression)), None)
        return self._declare(
            span, "function", name, indices, arguments=names, samples=samples, type=type, properties=properties, value=value
        )

    def input(self, span: Span, name: lark.Token, indices: Any, type: Any, bounds: Any, unit: Any) -> s.Declaration:
        return self._declare(span, "input", name, indices, type=type, bounds=bounds, unit=unit)

    def output(self, span: Span, name: lark.Token, indices: Any, type: Any) -> s.Declaration:
        return self._declare(span, "output", name, indices, type=type)

    def hyper(self, span: Span, name: lark.Token, indices: Any, alias: Any, type: Any, bounds: Any, unit: Any, value: Any) -> s.Declaration:
        alias, position = alias or (None, None)
        return self._declare(
            span, "hyper", name, indices, alias=alias, alias_index=position, type=type, bounds=bounds, unit=unit, value=value
        )

    def option(self, span: Span, name: lark.Token, alias: Any, bounds: Any, value: Any) -> s.Declaration:
        alias, _ = alias or (None, None)
        return self._declare(span, "option", name, alias=alias, bounds=bounds, value=value)

    def const(self, span: Span, name: lark.Token, indices: Any, type: Any, unit: Any, value: Any) -> s.Declaration:
        return self._declare(span, "const", name, indices, type=type, unit=unit, value=value)

    def state(self, span: Span, name: lark.Token, indices: Any, alias: Any, type: Any, unit: Any, start: Any) -> s.Declaration:
        alias, _ = alias or (None, None)
        kind, value = start
        return self._declare(
            span, "state", name, indices, alias=alias, type=type, unit=unit, value=value, value_kind=kind
        )

    def start_constant(self, span: Span, value: s.Expression) -> tuple[str, s.Expression]:
        return "constant", value

    def start_first(self, span: Span, value: s.Expression) -> tuple[str, s.Expression]:
        return "first", value

    def start_draw(self, span: Span, value: s.Expression) -> tuple[str, s.Expression]:
        return "draw", value

    def start_missing(self, span: Span) -> tuple[str, None]:
        return "constant", None

    def alias(self, span: Span, name: lark.Token, position: lark.Token | None) -> tuple[str, int | None]:
        return str(name), None if position is None else self._whole(position)

    def indexed(self, span: Span, *names: s.IndexName) -> tuple[s.IndexName, ...]:
        return names

    def index_name(self, span: Span, name: lark.Token, domain: Any) -> s.IndexName:
        return s.IndexName(span, self._name(name), domain)

    def unit(self, span: Span, value: s.Expression) -> s.Expression:
        return value

    def default(self, span: Span, value: s.Expression) -> s.Expression:
        return value

    def arguments(self, span: Span, *names: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        before: list[str] = []
        after: list[str] = []
        opened = span.start
        semicolon = self.origin.text.find(";", opened, span.end)
        for name in names:
            if name is not None:
                position = name.start_pos or 0
                (after if 0 <= semicolon < position else before).append(self._name(name))
        return tuple(before), tuple(after)

    def properties(self, span: Span, *items: s.Property) -> tuple[s.Property, ...]:
        return items

    def property(self, span: Span, name: lark.Token, *arguments: Any) -> s.Property:
        return s.Property(span, str(name), tuple(a for a in arguments if a is not None))

    def quantified(self, span: Span, name: lark.Token, indices: Any, type: Any, bounds: Any) -> s.Quantified:
        return s.Quantified(span, self._name(name), indices or (), type, bounds)

    def for_all(self, span: Span, *names: s.Quantified) -> s.ForAll:
        return s.ForAll(span, names)

    # ---- types and bounds ----

    def one_bound(self, span: Span, comparator: str, value: s.Expression) -> s.Bounds:
        return _bound(s.Bounds(span, None, None), comparator, value)

    def two_bounds(self, span: Span, first: str, low: s.Expression, second: str, high: s.Expression) -> s.Bounds:
        return _bound(_bound(s.Bounds(span, None, None), first, low), second, high)

    def interval(self, span: Span, opening: str, low: s.Expression, high: s.Expression, closing: str) -> s.Bounds:
        return s.Bounds(span, low, high, opening == "(", closing == ")")

    def choices(self, span: Span, *values: s.Expression) -> s.Choices:
        return s.Choices(span, values)

    def opening(self, span: Span, token: lark.Token) -> str:
        return str(token)

    closing = opening

    def comparator(self, span: Span, token: lark.Token) -> str:
        return RELATIONS.get(str(token), str(token))

    def scalar(self, span: Span, token: lark.Token) -> str:
        return str(token)

    def array(self, span: Span, kind: str, *axes: Any) -> s.Array:
        return s.Array(span, kind, tuple(axis for axis in axes if axis is not None))

    def like(self, span: Span, name: lark.Token, indices: Any) -> s.Like:
        return s.Like(span, self._name(name), indices or ())

    def list_type(self, span: Span, kind: str) -> s.ListOf:
        return s.ListOf(span, kind)

    def axis_name(self, span: Span, name: lark.Token) -> s.Axis:
        return s.Axis(span, self._name(name))

    def merged_axis(self, span: Span, name: lark.Token) -> s.Axis:
        return s.Axis(span, self._name(name), merged=True)

    def any_axes(self, span: Span) -> s.Axis:
        return s.Axis(span, "…")

    def fixed_axis(self, span: Span, size: lark.Token) -> s.Axis:
        return s.Axis(span, str(self._whole(size)))

    # ---- equations ----

    def definition(self, span: Span, targets: Any, type: Any, value: Any, phase: Any, family: Any) -> s.Definition:
        return s.Definition(span, targets, value, type, phase, family)

    def equation(self, span: Span, definition: s.Definition, *where: s.Definition | None) -> s.Definition:
        return replace(definition, where=tuple(w for w in where if isinstance(w, s.Definition)))

    def equation_by_cases(self, span: Span, targets: Any, type: Any, *lines: Any) -> s.Definition:
        cases = tuple(line for line in lines if isinstance(line, s.Case))
        where = tuple(line for line in lines if isinstance(line, s.Definition))
        value = s.Cases(cases[0].span.to(cases[-1].span), cases)
        return s.Definition(span, targets, value, type, where=where)

    def where(self, span: Span, definition: s.Definition, *_: Any) -> s.Definition:
        return definition

    def case_if(self, span: Span, value: s.Expression, condition: s.Expression, *_: Any) -> s.Case:
        return s.Case(span, value, condition)

    def case_otherwise(self, span: Span, value: s.Expression, *_: Any) -> s.Case:
        return s.Case(span, value, None)

    def targets(self, span: Span, *items: s.Expression) -> tuple[s.Expression, ...]:
        return items

    def draw(self, span: Span, targets: Any, type: Any, law: s.Expression) -> s.Draw:
        return s.Draw(span, targets, law, type)

    def phase(self, span: Span, period: Any, start: Any, otherwise: Any) -> s.Phase:
        return s.Phase(span, period, start, otherwise)

    def range_of(self, span: Span, name: lark.Token, domain: Any, condition: Any) -> s.IndexName:
        return s.IndexName(span, self._name(name), domain)

    def evaluation(self, span: Span, name: lark.Token, value: s.Expression) -> s.Evaluation:
        return s.Evaluation(span, self._name(name), value)

    def send(self, span: Span, name: lark.Token, value: s.Expression) -> s.Message:
        return s.Message(span, "send", self._name(name), value)

    def broadcast(self, span: Span, name: lark.Token, value: s.Expression) -> s.Message:
        return s.Message(span, "broadcast", self._name(name), value)

    def block(self, span: Span, *statements: Any) -> tuple[s.Statement, ...]:
        return tuple(statement for statement in statements if isinstance(statement, s.Statement))

    def when(self, span: Span, condition: Any, type: Any, body: Any, otherwise: Any) -> s.When:
        return s.When(span, condition, type, body, otherwise or ())

    def iterate(self, span: Span, *parts: Any) -> s.Iterate:
        variables, (kind, values), body = parts[:-2], parts[-2], parts[-1]
        match kind:
            case "repeat":
                return s.Iterate(span, variables, body, count=values[0])
            case "until":
                return s.Iterate(span, variables, body, until=values[0], most=values[1])
            case _:
                return s.Iterate(span, variables, body, index=values[0])

    def loop_variable(self, span: Span, name: lark.Token, indices: Any, type: Any, start: Any) -> s.LoopVariable:
        return s.LoopVariable(span, self._name(name), indices or (), type, start)

    def repeat(self, span: Span, count: s.Expression) -> tuple[str, tuple[Any, ...]]:
        return "repeat", (count,)

    def until(self, span: Span, condition: s.Expression, most: s.Expression) -> tuple[str, tuple[Any, ...]]:
        return "until", (condition, most)

    def for_each(self, span: Span, name: lark.Token, domain: s.Expression) -> tuple[str, tuple[Any, ...]]:
        return "for", (s.IndexName(span, self._name(name), domain),)

    def role(self, span: Span, name: lark.Token, indices: Any, condition: Any, body: Any) -> s.Role:
        return s.Role(span, self._name(name), indices or (), condition, body)

    # ---- claims ----

    def claim(self, span: Span, name: lark.Token, *body: Any) -> s.Claim:
        return s.Claim(span, str(name), tuple(item for item in body if isinstance(item, s.Statement)))

    def given(self, span: Span, condition: s.Expression) -> s.Given:
        return s.Given(span, condition)

    def show(self, span: Span, goal: s.Goal) -> s.Show:
        return s.Show(span, goal)

    def refute(self, span: Span, goal: s.Goal) -> s.Show:
        return s.Show(span, goal, refute=True)

    def derive(self, span: Span, *names: lark.Token) -> s.Derive:
        return s.Derive(span, tuple(self._name(name) for name in names))

    def flow(self, span: Span) -> s.Flow:
        return s.Flow(span)

    def precision(self, span: Span, name: lark.Token) -> s.Precision:
        return s.Precision(span, str(name))

    def by(self, span: Span, *methods: s.Expression) -> s.By:
        return s.By(span, methods)

    def holds(self, span: Span, condition: s.Expression, all_steps: Any) -> s.Holds:
        return s.Holds(span, condition, all_steps is not None)

    def invariant(self, span: Span, value: s.Expression, *maps: s.Map) -> s.Becomes:
        return s.Becomes(span, value, value, maps, invariant=True)

    def becomes(self, span: Span, change: s.Map, *maps: s.Map) -> s.Becomes:
        return s.Becomes(span, change.old, change.new, maps)

    def equivalent(self, span: Span, rule: s.Expression, *rest: Any) -> s.Equivalent:
        text = self.origin.text
        reduces = text.startswith("reduces", span.start)
        matching_from = text.find(" matching ", rule.span.end, span.end)
        namings = [item for item in rest if isinstance(item, s.Naming)]
        with_ = tuple(n for n in namings if matching_from < 0 or n.span.start < matching_from)
        matching = tuple(n for n in namings if 0 <= matching_from < n.span.start)
        condition = next((item for item in rest if isinstance(item, s.Expression)), None)
        return s.Equivalent(span, rule, with_, matching, condition, reduces)

    def stable(self, span: Span, exactly: Any, condition: s.Expression) -> s.Stable:
        return s.Stable(span, condition, exactly is not None)

    def map(self, span: Span, old: s.Expression, _: Any, new: s.Expression) -> s.Map:
        return s.Map(span, old, new)

    def naming(self, span: Span, name: lark.Token, value: s.Expression) -> s.Naming:
        return s.Naming(span, self._name(name), value)

    # ---- expressions ----

    def name(self, span: Span, token: lark.Token) -> s.Expression:
        name = self._name(token)
        return s.Infinity(span) if name in ("inf", "infinity") else s.Name(span, name)

    def number(self, span: Span, token: lark.Token) -> s.Number:
        return s.Number(span, Fraction(str(token)))

    def half(self, span: Span, _: Any) -> s.Number:
        return s.Number(span, Fraction(1, 2))

    def infinity(self, span: Span, _: Any) -> s.Infinity:
        return s.Infinity(span)

    def true(self, span: Span, _: Any) -> s.Boolean:
        return s.Boolean(span, True)

    def false(self, span: Span, _: Any) -> s.Boolean:
        return s.Boolean(span, False)

    def parenthesis(self, span: Span, inner: s.Expression) -> s.Expression:
        # The parentheses belong to the span; that is also how later passes see that they were written.
        return replace(inner, span=span)

    def tuple(self, span: Span, *items: s.Expression) -> s.Sequence:
        return s.Sequence(span, "tuple", items)

    def list_of(self, span: Span, *items: s.Expression) -> s.Sequence:
        return s.Sequence(span, "list", items)

    def set_of(self, span: Span, *items: s.Expression) -> s.Sequence:
        return s.Sequence(span, "set", items)

    def absolute(self, span: Span, operand: s.Expression) -> s.Unary:
        return s.Unary(span, "|", operand)

    def norm(self, span: Span, operand: s.Expression) -> s.Norm:
        return s.Norm(span, operand)

    def inner(self, span: Span, left: s.Expression, right: s.Expression) -> s.Call:
        return s.Call(span, s.Name(span, "dot"), (left, right))

    def gradient(self, span: Span, subscript: str | None, order: int | None, name: lark.Token) -> s.Gradient:
        return s.Gradient(span, s.Name(self._span(name), self._name(name)), subscript, order or 1)

    def subscript(self, span: Span, token: lark.Token) -> str:
        return canonical(str(token).removeprefix("_"))

    def order(self, span: Span, token: lark.Token) -> int:
        return int(str(token).translate(SUPERSCRIPTS))

    def prime(self, span: Span, base: s.Expression, _: Any) -> s.Name:
        if not isinstance(base, s.Name):
            raise fail("E203", span, name=base.span.text, kind="an expression", help="for the transpose write `ᵀ` or `^T`")
        return s.Name(span, base.name, primed=True)

    def call(self, span: Span, function: s.Expression, arguments: Any) -> s.Expression:
        if arguments is None:
            return s.Call(span, function, ())
        positional, samples, keywords = arguments
        return s.Call(span, function, positional, samples, keywords)

    def call_arguments(self, span: Span, *items: Any) -> Any:
        semicolon = self._semicolon(span, items)
        before = tuple(i for i in items if isinstance(i, s.Expression) and i.span.start < semicolon)
        after = tuple(i for i in items if isinstance(i, s.Expression) and i.span.start > semicolon)
        return before, after, tuple(i for i in items if isinstance(i, s.Keyword))

    def _semicolon(self, span: Span, items: Any) -> int:
        """Where the semicolon between the items is, past the end if there is none."""
        nodes = [item for item in items if isinstance(item, s.Syntax)]
        for left, right in itertools.pairwise(nodes):
            found = self.origin.text.find(";", left.span.end, right.span.start)
            if found >= 0:
                return found
        return span.end + 1

    def keyword(self, span: Span, name: lark.Token, value: s.Expression) -> s.Keyword:
        return s.Keyword(span, self._name(name), value)

    def window(self, span: Span, body: s.Expression, length: s.Expression) -> Any:
        return (s.Window(span, body, length),), (), ()

    def comprehension(self, span: Span, body: s.Expression, generator: Any) -> s.Comprehension:
        names, domain, condition = generator
        return s.Comprehension(span, body, names, domain, condition)

    def generator(self, span: Span, *parts: Any) -> Any:
        names = tuple(self._name(part) for part in parts if _is_token(part, "NAME"))
        domain, condition = parts[-2:]
        return names, domain, condition

    def index(self, span: Span, base: s.Expression, indices: Any) -> s.Expression:
        if isinstance(base, s.Gradient):  # ∇f[i] is the gradient of f[i]
            function = s.Index(base.function.span.to(span), base.function, indices)
            return replace(base, span=span, function=function)
        return s.Index(span, base, indices)

    def indices(self, span: Span, *items: s.Expression) -> tuple[s.Expression, ...]:
        return items

    def member(self, span: Span, base: s.Expression, name: lark.Token) -> s.Member:
        return s.Member(span, base, self._name(name))

    def transpose(self, span: Span, operand: s.Expression, _: Any) -> s.Transpose:
        return s.Transpose(span, operand)

    def conjugate(self, span: Span, function: s.Expression, _: Any) -> s.Expression:
        if isinstance(function, s.Gradient):  # ∇K^* is the gradient of K^*
            return replace(function, span=span, function=s.Conjugate(span, function.function))
        return s.Conjugate(span, function)

    def root(self, span: Span, operand: s.Expression) -> s.Unary:
        return s.Unary(span, "√", operand)

    def superscript(self, span: Span, base: s.Expression, token: lark.Token) -> s.Binary:
        exponent = s.Number(self._span(token), Fraction(str(token).translate(SUPERSCRIPTS)))
        return s.Binary(span, "^", base, exponent)

    def power(self, span: Span, base: s.Expression, exponent: s.Expression) -> s.Binary:
        return s.Binary(span, "^", base, exponent)

    def negative(self, span: Span, _: Any, operand: s.Expression) -> s.Expression:
        return s.Unary(span, "-", operand)

    def positive(self, span: Span, _: Any, operand: s.Expression) -> s.Expression:
        return operand

    def binary(self, span: Span, left: s.Expression, operator: lark.Token, right: s.Expression) -> s.Binary:
        spelled = {"PLUS": "+", "MINUS": "-", "TIMES": "*", "SLASH": "/", "AT": "@"}[operator.type]
        return s.Binary(span, spelled, left, right)

    def interval_of_integers(self, span: Span, first: s.Expression, last: s.Expression) -> s.Range:
        return s.Range(span, first, last)

    def relation(self, span: Span, *tokens: lark.Token) -> str:
        spelled = "".join(tokens)
        return RELATIONS.get(spelled, spelled)

    def compare(self, span: Span, *parts: Any) -> s.Compare:
        return s.Compare(span, tuple(parts[1::2]), tuple(parts[0::2]))

    def not_(self, span: Span, operand: s.Expression) -> s.Unary:
        return s.Unary(span, "not", operand)

    def and_(self, span: Span, left: s.Expression, right: s.Expression) -> s.Binary:
        return s.Binary(span, "and", left, right)

    def or_(self, span: Span, left: s.Expression, right: s.Expression) -> s.Binary:
        return s.Binary(span, "or", left, right)

    def conditional(self, span: Span, then: s.Expression, condition: s.Expression, otherwise: s.Expression) -> s.Conditional:
        return s.Conditional(span, condition, then, otherwise)


def _is_token(value: object, kind: str) -> bool:
    return isinstance(value, lark.Token) and value.type == kind


def _bound(bounds: s.Bounds, comparator: str, value: s.Expression) -> s.Bounds:
    match comparator:
        case ">":
            return replace(bounds, low=value, open_low=True)
        case ">=":
            return replace(bounds, low=value)
        case "<":
            return replace(bounds, high=value, open_high=True)
        case _:
            return replace(bounds, high=value)
