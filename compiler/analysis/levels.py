"""Levels of a rule: which of its components move together, the fastest first (Nested Learning, Definition 2).

The frequency of a component is the number of its updates per data point: per step, or per token. A is faster than B if
it is updated more often, or as often, and what B becomes at t needs what A becomes at t. Components of which neither is
faster share a level.

Source: arXiv:2512.24695, Definition 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from dotopt.compiler.analysis.ranges import number_at
from dotopt.compiler.ir import Node, Program, node, number


@dataclass(frozen=True, slots=True)
class Level:
    """Components of one level; `frequency` is a number or a quotient in the words of the file, `per_step` its value."""

    names: tuple[str, ...]
    frequency: Node
    per_step: float | None


def levels(program: Program) -> tuple[Level, ...]:
    """The levels of `program`, the fastest first; what never moves is left out.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> for level in levels(lower(Library().file("M3"))):
    ...     print(level.frequency, level.names)
    1 ('m', 'v')
    1 ('W',)
    1/C ('s',)
    1/C ('O',)
    """
    nexts = {state.name: state.next for state in program.states if state.next is not None} | dict(program.next)
    moving = {name: root for name, root in nexts.items() if not (root.role in ("state", "param") and root.name == name)}
    found: dict[tuple[Node, int], list[str]] = {}
    depths: dict[str, int] = {}
    for name in moving:
        found.setdefault((_frequency(name, moving[name]), _depth(name, moving, depths)), []).append(name)
    made = [(Level(tuple(names), f, number_at(f, 1, program)), depth) for (f, depth), names in found.items()]
    made.sort(key=lambda pair: (-(pair[0].per_step or 0), repr(pair[0].frequency), pair[1]))
    return tuple(level for level, _ in made)


def _frequency(name: str, root: Node) -> Node:
    """1, or 1/C for what is only taken over when a period is full."""
    if root.op == "select" and root.args[0].op == "fires":
        period, kept = root.args[0].args[0], root.args[2]
        if kept.role in ("state", "param") and kept.name == name:
            return number(1 / Fraction(period.value)) if period.value else node("div", number(1), period)
    return number(1)


def _depth(name: str, moving: Mapping[str, Node], known: dict[str, int]) -> int:
    """How many faster components of the same frequency stand before this one."""
    if name not in known:
        known[name] = 0  # a state that needs itself
        mine = _frequency(name, moving[name])
        needed = set(moving[name].walk()) - {moving[name]}
        before = [
            other
            for other, root in moving.items()
            if root in needed and root.op not in ("leaf", "oracle") and _frequency(other, root) is mine
        ]
        known[name] = 1 + max((_depth(other, moving, known) for other in before), default=-1)
    return known[name]
