"""Builds the head of a file, declarations, types and bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import lark

from dotopt.compiler.parse.builder import RELATIONS, Builder, is_token
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.source import Span


class Declarations(Builder):
    """Everything that stands before the equations."""

    def start(self, span: Span, *children: Any) -> s.File:
        rest = [child for child in children if child is not None and not is_token(child, "_NL")]
        docstring = None
        if is_token(rest[0], "DOCSTRING"):
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

    def formula_head(
        self, span: Span, name: lark.Token, parameters: Any, properties: Any, value: s.Expression
    ) -> s.Head:
        return s.Head(span, "formula", str(name), parameters or (), properties or (), value)

    def parameters(self, span: Span, *items: s.Parameter) -> tuple[s.Parameter, ...]:
        return items

    def parameter(self, span: Span, name: lark.Token, type: Any, bounds: Any, default: Any) -> s.Parameter:
        return s.Parameter(span, self.spelled(name), type, bounds, default)

    def source(self, span: Span, text: lark.Token) -> s.SourceNote:
        return s.SourceNote(span, str(text)[1:-1])

    def use(self, span: Span, *names: s.Imported) -> s.Use:
        return s.Use(span, names)

    def imported(self, span: Span, name: lark.Token, local: lark.Token | None) -> s.Imported:
        return s.Imported(span, str(name), self.spelled(local or name))

    def _declare(self, span: Span, word: str, name: lark.Token, indices: Any = None, **rest: Any) -> s.Declaration:
        return s.Declaration(span, word, self.spelled(name), self.place(name), indices or (), **rest)

    def base(self, span: Span, name: lark.Token) -> s.Declaration:
        return self._declare(span, "base", name)

    def param(
        self, span: Span, name: lark.Token, indices: Any, type: Any, ranks: Any, unit: Any
    ) -> s.Declaration:
        return self._declare(span, "param", name, indices, type=type, ranks=ranks or (), unit=unit)

    def ranks(self, span: Span, *numbers: lark.Token) -> tuple[int, ...]:
        return tuple(self.whole(number) for number in numbers)

    def objective(
        self, span: Span, name: lark.Token, indices: Any, arguments: Any, properties: Any, unit: Any
    ) -> s.Declaration:
        names, samples = arguments or (None, ())
        return self._declare(
            span, "objective", name, indices, arguments=names, samples=samples, properties=properties or (), unit=unit
        )

    def operator(self, span: Span, name: lark.Token, indices: Any, arguments: Any, properties: Any) -> s.Declaration:
        names, samples = arguments or (None, ())
        return self._declare(
            span, "operator", name, indices, arguments=names, samples=samples, properties=properties or ()
        )

    def function(self, span: Span, name: lark.Token, indices: Any, arguments: Any, *rest: Any) -> s.Declaration:
        names, samples = arguments or (None, ())
        type = next((item for item in rest if isinstance(item, s.TypeSyntax)), None)
        properties = next((item for item in rest if isinstance(item, tuple)), ())
        value = next((item for item in rest if isinstance(item, s.Expression)), None)
        return self._declare(
            span,
            "function",
            name,
            indices,
            arguments=names,
            samples=samples,
            type=type,
            properties=properties,
            value=value,
        )

    def input(
        self, span: Span, name: lark.Token, indices: Any, alias: Any, type: Any, bounds: Any, unit: Any, start: Any
    ) -> s.Declaration:
        alias, _ = alias or (None, None)
        kind, value = start if start[1] is not None else ("", None)
        return self._declare(
            span, "input", name, indices, alias=alias, type=type, bounds=bounds, unit=unit, value=value, value_kind=kind
        )

    def output(self, span: Span, name: lark.Token, indices: Any, type: Any) -> s.Declaration:
        return self._declare(span, "output", name, indices, type=type)

    def hyper(
        self, span: Span, name: lark.Token, indices: Any, alias: Any, type: Any, bounds: Any, unit: Any, value: Any
    ) -> s.Declaration:
        alias, position = alias or (None, None)
        return self._declare(
            span,
            "hyper",
            name,
            indices,
            alias=alias,
            alias_index=position,
            type=type,
            bounds=bounds,
            unit=unit,
            value=value,
        )

    def option(self, span: Span, name: lark.Token, alias: Any, bounds: Any, value: Any) -> s.Declaration:
        alias, _ = alias or (None, None)
        return self._declare(span, "option", name, alias=alias, bounds=bounds, value=value)

    def const(self, span: Span, name: lark.Token, indices: Any, type: Any, unit: Any, value: Any) -> s.Declaration:
        return self._declare(span, "const", name, indices, type=type, unit=unit, value=value)

    def state(
        self, span: Span, name: lark.Token, indices: Any, alias: Any, type: Any, unit: Any, start: Any
    ) -> s.Declaration:
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
        return str(name), None if position is None else self.whole(position)

    def indexed(self, span: Span, *names: s.IndexName) -> tuple[s.IndexName, ...]:
        return names

    def index_name(self, span: Span, name: lark.Token, domain: Any) -> s.IndexName:
        return s.IndexName(span, self.spelled(name), domain)

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
                (after if 0 <= semicolon < position else before).append(self.spelled(name))
        return tuple(before), tuple(after)

    def properties(self, span: Span, *items: s.Property) -> tuple[s.Property, ...]:
        return items

    def property(self, span: Span, name: lark.Token, *arguments: Any) -> s.Property:
        return s.Property(span, str(name), tuple(a for a in arguments if a is not None))

    def quantified(self, span: Span, name: lark.Token, indices: Any, type: Any, bounds: Any) -> s.Quantified:
        return s.Quantified(span, self.spelled(name), indices or (), type, bounds)

    def for_all(self, span: Span, *names: s.Quantified) -> s.ForAll:
        return s.ForAll(span, names)

    def one_bound(self, span: Span, comparator: str, value: s.Expression) -> s.Bounds:
        return bounded(s.Bounds(span, None, None), comparator, value)

    def two_bounds(self, span: Span, first: str, low: s.Expression, second: str, high: s.Expression) -> s.Bounds:
        return bounded(bounded(s.Bounds(span, None, None), first, low), second, high)

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
        return s.Like(span, self.spelled(name), indices or ())

    def list_type(self, span: Span, kind: str) -> s.ListOf:
        return s.ListOf(span, kind)

    def axis_name(self, span: Span, name: lark.Token) -> s.Axis:
        return s.Axis(span, self.spelled(name))

    def merged_axis(self, span: Span, name: lark.Token) -> s.Axis:
        return s.Axis(span, self.spelled(name), merged=True)

    def any_axes(self, span: Span) -> s.Axis:
        return s.Axis(span, "…")

    def fixed_axis(self, span: Span, size: lark.Token) -> s.Axis:
        return s.Axis(span, str(self.whole(size)))


def bounded(bounds: s.Bounds, comparator: str, value: s.Expression) -> s.Bounds:
    match comparator:
        case ">":
            return replace(bounds, low=value, open_low=True)
        case ">=":
            return replace(bounds, low=value)
        case "<":
            return replace(bounds, high=value, open_high=True)
        case _:
            return replace(bounds, high=value)
