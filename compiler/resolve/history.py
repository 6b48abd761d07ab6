"""The sugar of time indices: `m[t] = β*m[t-1] + g` is `m' = β*m + g`, if all left sides use one offset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any, TypeVar

from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Label, Report, diagnostic

Node = TypeVar("Node", bound=s.Syntax)
MOVING = ("param", "state")


def without_time_indices(file: s.File, report: Report) -> s.File:
    """The same file with primes in place of time indices; complaints go to `report`.

    `t` alone stays the number of the step, 1 at the first, whichever offset the left sides have. Theorems keep their
    indices: there, sequences are defined by recurrences.
    """
    if file.head.word == "theorem" or "[" not in file.span.source.text:
        return file
    sequences = {
        node.name
        for node in file.walk()
        if isinstance(node, s.Quantified) and any(index.name == "t" for index in node.indices)
    }
    lefts = [left for left in _left_sides(file) if offset(left) is not None and _name(left) not in sequences]
    if not lefts and not any(offset(node) is not None for node in file.walk() if _name(node) not in sequences):
        return file
    moving = {node.name for node in file.walk() if isinstance(node, s.Declaration) and node.word in MOVING}
    now = offset(lefts[0]) if lefts else 0
    assert now is not None
    for left in _left_sides(file):
        other = offset(left)
        primed = isinstance(left, s.Name) and left.primed
        if lefts and (primed or (other is not None and other != now and _name(left) not in sequences)):
            here = "by a prime" if primed else f"it is `{_spelled(other or 0)}`"
            first = Label(lefts[0].span, f"here the value after the step is `{_spelled(now)}`")
            report.add(diagnostic("E207", left.span, labels=(first,), remark=f"here {here}"))
            return file

    def rewrite(node: s.Syntax) -> s.Syntax:
        time = offset(node)
        if not isinstance(node, s.Index) or time is None or not isinstance(node.base, s.Name):
            return _rebuilt(node, rewrite)
        name = node.base.name
        if name in sequences:
            return node
        rest = tuple(_rebuilt(index, rewrite) for index in node.indices[1:])
        base: s.Expression = s.Name(node.span, name, primed=name in moving and time == now)
        if time == now or (name in moving and time == now - 1):
            return replace(node, base=base, indices=rest) if rest else base
        if name in moving:
            report.add(diagnostic("E236", node.span, name=name, written=node.span.text))
        else:
            report.add(diagnostic("E210", node.span, name=name))
        return base

    return _rebuilt(file, rewrite)


def offset(node: s.Syntax) -> int | None:
    """`k` if the node is `x[t + k]`, else `None`."""
    if not isinstance(node, s.Index) or not isinstance(node.base, s.Name):
        return None
    match node.indices[0]:
        case s.Name(name="t", primed=False):
            return 0
        case s.Binary(operator="+" | "-" as sign, left=s.Name(name="t"), right=s.Number(value=value)):
            if value.denominator == 1:
                return int(value) if sign == "+" else -int(value)
    return None


def _spelled(time: int) -> str:
    return "t" if time == 0 else f"t{time:+d}"


def _name(node: s.Syntax) -> str | None:
    return node.base.name if isinstance(node, s.Index) and isinstance(node.base, s.Name) else None


def _left_sides(node: s.Syntax) -> Iterator[s.Expression]:
    """The left sides of the equations of the step; those of claims are their own."""
    for child in node.children():
        if isinstance(child, s.Claim):
            continue
        if isinstance(child, s.Definition):
            yield from child.targets
        if isinstance(child, s.Statement):
            yield from _left_sides(child)


def _rebuilt(node: Node, change: Callable[[s.Syntax], s.Syntax]) -> Node:
    """The node with `change` applied to what is directly below; itself, if that changes nothing."""
    found = {}
    for entry in fields(node):
        value = getattr(node, entry.name)
        changed = _changed(value, change)
        if changed is not value:
            found[entry.name] = changed
    return replace(node, **found) if found else node


def _changed(value: Any, change: Callable[[s.Syntax], s.Syntax]) -> Any:
    if isinstance(value, s.Syntax):
        return change(value)
    if isinstance(value, tuple):
        items = tuple(_changed(item, change) for item in value)
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value
