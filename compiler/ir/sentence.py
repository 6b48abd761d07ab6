"""Reads the sentences of the table of operations: expressions of the language in `x`, `y`, `z`, made of given nodes.

It knows arithmetic, order, logic, choice and calls of operations, which is all that rows use, and needs nothing of the
parser, so that derivatives and axioms can be read wherever nodes can. A test reads every sentence with the parser of
the language as well, and gets the same node.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

from dotopt.compiler.ir.nodes import Node, boolean, node, number
from dotopt.compiler.ops import OPERATIONS

Tree = tuple["str | Fraction | Tree", ...]  # (operation, *trees), ("name", text), ("number", value)

TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?|\w+|[<>=!]=|.)")
RELATION = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
VARIABLES = ("x", "y", "z")


def sentence(text: str, *arguments: Node) -> Node:
    """The node of `text`, where `x`, `y` and `z` are the arguments, in order.

    >>> from dotopt.compiler.ir.nodes import leaf
    >>> sentence("1 - tanh(x)^2", leaf("free", "a"))
    1 - tanh(a)²
    """
    return _build(_read(text), dict(zip(VARIABLES, arguments, strict=False)))


def _build(tree: Tree, names: dict[str, Node]) -> Node:
    match tree:
        case ("number", Fraction() as value):
            return number(value)
        case ("name", "true" | "false" as word):
            return boolean(word == "true")
        case ("name", "π" | "∞" as sign):
            return node("pi" if sign == "π" else "inf")
        case ("name", str(word)):
            return names[word]
        case ("neg", ("number", Fraction() as value)):
            return number(-value)
        case (str(op), *parts):
            return node(op, *(_build(part, names) for part in parts if isinstance(part, tuple)))
    raise ValueError(tree)


@cache
def _read(text: str) -> Tree:
    reader = _Reader([*TOKEN.findall(text), ""])
    tree = reader.choice()
    if reader.ahead:
        raise ValueError(f"`{reader.ahead}` in `{text}`")
    return tree


class _Reader:
    """One method a level of precedence, the loosest first."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens: Iterator[str] = iter(tokens)
        self.ahead = next(self.tokens)

    def take(self, *wanted: str) -> str:
        """The next token, if it is one of those; else nothing."""
        if self.ahead not in wanted:
            return ""
        taken, self.ahead = self.ahead, next(self.tokens, "")
        return taken

    def must(self, wanted: str) -> None:
        if not self.take(wanted):
            raise ValueError(f"`{wanted}` where `{self.ahead}` stands")

    def choice(self) -> Tree:
        value = self.either()
        if not self.take("if"):
            return value
        condition = self.either()
        self.must("else")
        return ("select", condition, value, self.choice())

    def either(self) -> Tree:
        left = self.both()
        while self.take("or"):
            left = ("or", left, self.both())
        return left

    def both(self) -> Tree:
        left = self.opposite()
        while self.take("and"):
            left = ("and", left, self.opposite())
        return left

    def opposite(self) -> Tree:
        return ("not", self.opposite()) if self.take("not") else self.compared()

    def compared(self) -> Tree:
        left = self.total()
        sign = self.take(*RELATION)
        return (RELATION[sign], left, self.total()) if sign else left

    def total(self) -> Tree:
        left = self.product()
        while sign := self.take("+", "-"):
            left = ("add" if sign == "+" else "sub", left, self.product())
        return left

    def product(self) -> Tree:
        left = self.signed()
        while sign := self.take("*", "/"):
            left = ("mul" if sign == "*" else "div", left, self.signed())
        return left

    def signed(self) -> Tree:
        return ("neg", self.signed()) if self.take("-") else self.power()

    def power(self) -> Tree:
        base = self.atom()
        return ("pow", base, self.signed()) if self.take("^") else base

    def atom(self) -> Tree:
        if self.take("("):
            inside = self.choice()
            self.must(")")
            return inside
        word, self.ahead = self.ahead, next(self.tokens, "")
        if word[:1].isdigit():
            return ("number", Fraction(word))
        if not self.take("("):
            return ("name", word)
        arguments = [self.choice()]
        while self.take(","):
            arguments.append(self.choice())
        self.must(")")
        if word not in OPERATIONS:
            raise ValueError(f"no operation `{word}`")
        return (word, *arguments)
