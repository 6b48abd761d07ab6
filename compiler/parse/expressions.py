"""Builds expressions."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from typing import Any

import lark

from dotopt.compiler.parse.builder import RELATIONS, Builder, is_token
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Span
from dotopt.grammar.spelling import canonical

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


class Expressions(Builder):
    """Anything with a value."""

    def name(self, span: Span, token: lark.Token) -> s.Expression:
        name = self.spelled(token)
        return s.Infinity(span) if name in ("inf", "infinity") else s.Name(span, name)

    def number(self, span: Span, token: lark.Token) -> s.Number:
        return s.Number(span, self.exact(token, str(token)))

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

    def tuple_of(self, span: Span, *items: s.Expression) -> s.Sequence:
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
        return s.Gradient(span, s.Name(self.place(name), self.spelled(name)), subscript, order or 1)

    def subscript(self, span: Span, token: lark.Token) -> str:
        return canonical(str(token).removeprefix("_"))

    def order(self, span: Span, token: lark.Token) -> int:
        return int(self.exact(token, str(token).translate(SUPERSCRIPTS)))

    def prime(self, span: Span, base: s.Expression, _: Any) -> s.Name:
        if not isinstance(base, s.Name):
            raise fail(
                "E203", span, name=base.span.text, kind="an expression", help="for the transpose write `ᵀ` or `^T`"
            )
        if base.primed:
            help = "a rule speaks of one step at a time"
            raise fail("E203", span, name=base.span.text, kind="a next value", help=help)
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
        return s.Keyword(span, self.spelled(name), value)

    def window(self, span: Span, body: s.Expression, length: s.Expression) -> Any:
        return (s.Window(span, body, length),), (), ()

    def comprehension(self, span: Span, body: s.Expression, generator: Any) -> s.Comprehension:
        names, domain, condition = generator
        return s.Comprehension(span, body, names, domain, condition)

    def generator(self, span: Span, *parts: Any) -> Any:
        names = tuple(self.spelled(part) for part in parts if is_token(part, "NAME"))
        domain, condition = parts[-2:]
        return names, domain, condition

    def index(self, span: Span, base: s.Expression, indices: Any) -> s.Expression:
        if isinstance(base, s.Gradient):  # ∇f[i] is the gradient of f[i]
            function = s.Index(base.function.span.to(span), base.function, indices)
            return replace(base, span=span, function=function)
        match base:  # norm(x)[1] is ‖x‖[1]: the order of a norm, in either spelling
            case s.Call(function=s.Name(name="norm", primed=False), arguments=(operand,), samples=(), keywords=()):
                base = s.Norm(base.span, operand)
        return s.Index(span, base, indices)

    def indices(self, span: Span, *items: s.Expression) -> tuple[s.Expression, ...]:
        return items

    def member(self, span: Span, base: s.Expression, name: lark.Token) -> s.Member:
        return s.Member(span, base, self.spelled(name))

    def transpose(self, span: Span, operand: s.Expression, _: Any) -> s.Transpose:
        return s.Transpose(span, operand)

    def conjugate(self, span: Span, function: s.Expression, _: Any) -> s.Expression:
        if isinstance(function, s.Gradient):  # ∇K^* is the gradient of K^*
            return replace(function, span=span, function=s.Conjugate(span, function.function))
        return s.Conjugate(span, function)

    def root(self, span: Span, operand: s.Expression) -> s.Unary:
        return s.Unary(span, "√", operand)

    def superscript(self, span: Span, base: s.Expression, token: lark.Token) -> s.Binary:
        exponent = s.Number(self.place(token), self.exact(token, str(token).translate(SUPERSCRIPTS)))
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

    def conditional(
        self, span: Span, then: s.Expression, condition: s.Expression, otherwise: s.Expression
    ) -> s.Conditional:
        return s.Conditional(span, condition, then, otherwise)
