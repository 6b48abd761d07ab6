"""The common part of the builders: children first, then the method named like the production."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import lark

from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Source, Span
from dotopt.grammar.spelling import canonical

MOST_DIGITS = 400  # of a number, and the largest exponent

# What the language writes in two ways, as one.
RELATIONS = {"≤": "<=", "≥": ">=", "≠": "!=", "∈": "in", "notin": "not in"}


class Builder:
    """Calls, for every production of the grammar, the method of its name with the children already built."""

    def __init__(self, source: Source) -> None:
        self.origin = source

    def build(self, tree: Any) -> Any:
        if not isinstance(tree, lark.Tree):
            return tree
        method: Callable[..., Any] = getattr(self, tree.data)
        children = [self.build(child) for child in tree.children]
        meta = tree.meta
        if meta.empty:
            return method(Span(self.origin, 0, 0), *children)
        start, end, text = meta.start_pos, meta.end_pos, self.origin.text
        end = min(end, len(text))
        while end > start and text[end - 1].isspace():  # the newline that ends a statement belongs to no span
            end -= 1
        return method(Span(self.origin, start, end), *children)

    def spelled(self, token: lark.Token) -> str:
        return canonical(str(token))

    def place(self, token: lark.Token) -> Span:
        assert token.start_pos is not None and token.end_pos is not None
        return Span(self.origin, token.start_pos, token.end_pos)

    def whole(self, token: lark.Token) -> int:
        if not token.isdigit():
            raise fail("E116", self.place(token))
        return int(self.exact(token, str(token)))

    def exact(self, token: lark.Token, digits: str) -> Fraction:
        """The value of a number, of a size that a float64 can hold: `1e999999999` would fill the memory."""
        _, _, exponent = digits.lower().partition("e")
        if len(digits) > MOST_DIGITS or (exponent and abs(int(exponent)) > MOST_DIGITS):
            raise fail("E137", self.place(token))
        return Fraction(digits)


def is_token(value: object, kind: str) -> bool:
    return isinstance(value, lark.Token) and value.type == kind
