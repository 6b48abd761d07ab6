"""A law of rewriting, and when it applies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dotopt.compiler.ir import Node, boolean, node, number
from dotopt.compiler.ops.types import Mismatch, Type

Binding = Mapping[str, Node]
Replacement = str | int | tuple[Any, ...] | Callable[[Node, Binding], Node | None]

COMMUTATIVE = frozenset({"add", "mul", "min", "max", "and", "or", "eq", "ne"})


@dataclass(frozen=True, slots=True)
class Law:
    """`pattern` is replaced by `replacement`; `name` is what a textbook calls it."""

    name: str
    pattern: str | int | bool | tuple[Any, ...]
    replacement: Replacement

    def apply(self, here: Node) -> Node | None:
        """`here` rewritten by this law, or None if it does not apply; the axes of the result never change."""
        for found in _match(self.pattern, here, {}):
            made = self.replacement(here, found) if callable(self.replacement) else _build(self.replacement, found)
            fitted = None if made is None else _fit(made, here)
            if fitted is not None and fitted is not here:
                return fitted
        return None


def _match(pattern: Any, here: Node, found: dict[str, Node]) -> Iterator[dict[str, Node]]:
    match pattern:
        case bool():
            if here.op == "bool" and here.attrs.value is pattern:
                yield found
        case str():
            if pattern not in found:
                yield {**found, pattern: here}
            elif found[pattern] is here:
                yield found
        case int():
            if here.value == pattern:
                yield found
        case (op, *operands):
            if here.op != op or len(operands) != len(here.args):
                return
            orders = [here.args, here.args[::-1]] if op in COMMUTATIVE else [here.args]
            for order in orders:
                yield from _match_all(operands, order, found)


def _match_all(patterns: list[Any], nodes: tuple[Node, ...], found: dict[str, Node]) -> Iterator[dict[str, Node]]:
    if not patterns:
        yield found
        return
    for first in _match(patterns[0], nodes[0], found):
        yield from _match_all(patterns[1:], nodes[1:], first)


def _build(replacement: Any, found: Binding) -> Node | None:
    match replacement:
        case bool():
            return boolean(replacement)
        case str():
            return found[replacement]
        case int():
            return number(replacement)
        case (op, *operands):
            made = [_build(operand, found) for operand in operands]
            try:
                return node(op, *(m for m in made if m is not None))
            except Mismatch:
                return None
    raise TypeError(f"not a replacement: {replacement!r}")


def _fit(made: Node, here: Node) -> Node | None:
    """`made` with the axes of `here`: a number becomes a tensor of zeros or ones; anything else is refused."""
    if made.type.axes == here.type.axes or here.type.any:
        return made
    like = next((below for below in here.walk() if below is not here and below.type.axes == here.type.axes), None)
    if like is None or like.type.any or made.value is None:
        return None
    if made.value in (0, 1):
        return node("ones" if made.value else "zeros", like, attrs=(Type("real", like.type.axes),))
    return node("mul", made, node("ones", like, attrs=(Type("real", like.type.axes),)))
