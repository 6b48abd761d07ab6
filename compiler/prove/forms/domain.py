"""Where an expression has a value: no division by zero, no root of a negative number, no logarithm below zero."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from dotopt.compiler.analysis.intervals import never_below_zero
from dotopt.compiler.ir import Node, node, number, sentence
from dotopt.compiler.ops import OPERATIONS, Absent
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.polynomial import Polynomial
from dotopt.compiler.prove.forms.scalars import Unsupported


@dataclass(frozen=True, slots=True)
class Condition:
    """`holds` is needed wherever the guards are true."""

    guards: tuple[Node, ...]
    holds: Node
    source: Node

    @property
    def implied(self) -> Node:
        """`holds`, or one of the guards does not."""
        goal = self.holds
        for guard in self.guards:
            goal = node("or", node("not", guard), goal)
        return goal


def conditions(roots: Iterable[Node]) -> list[Condition]:
    """The conditions of definedness of these nodes, those of a branch under its condition."""
    found: dict[tuple[Node, tuple[Node, ...]], Condition] = {}
    seen: set[tuple[Node, tuple[Node, ...]]] = set()
    stack: list[tuple[Node, tuple[Node, ...]]] = [(root, ()) for root in roots]
    while stack:
        here, guards = stack.pop()
        if (here, guards) in seen or (here, ()) in seen or len(seen) > 5000:
            continue
        seen.add((here, guards))
        needed = _needed(here)
        if needed is not None:
            found[needed, guards] = Condition(guards, needed, here)
        if here.op == "select":
            condition, yes, no = here.args
            stack.append((condition, guards))
            stack.append((yes, (*guards, condition)))
            stack.append((no, (*guards, node("not", condition))))
        else:
            stack.extend((child, guards) for child in here.args)
    return [c for (needed, guards), c in found.items() if not guards or (needed, ()) not in found]


def _needed(here: Node) -> Node | None:
    """The condition under which a node has a value where its arguments do; None if it always has."""
    zero = number(0)
    match here.op:
        case "pow" if here.args[1].value is not None:
            base, power = here.args[0], here.args[1].value
            if base.value is not None or (power.denominator == 1 and power >= 0):
                return None
            if power.denominator == 1:
                return node("ne", base, zero)
            return node("gt" if power < 0 else "ge", base, zero)
        case "pow" if here.args[1].type.kind == "int":
            return node("or", node("ge", here.args[1], zero), node("ne", here.args[0], zero))
        case "std":
            return node("gt", node("size", here.args[0], attrs=here.attrs), number(1))
        case "unit":
            return node("ne", node("norm", here.args[0], attrs=(here.type.axes, False, Fraction(2))), zero)
    stated = OPERATIONS[here.op].domain
    if isinstance(stated, Absent) or stated == "true":
        return None
    condition = sentence(stated, *here.args)
    return None if _plain(condition) else condition


def _plain(condition: Node) -> bool:
    """Whether a comparison of two numbers holds."""
    x, y = (arg.value for arg in condition.args)
    return x is not None and y is not None and COMPARED[condition.op](x, y)


COMPARED = {"ge": operator.ge, "gt": operator.gt, "le": operator.le, "lt": operator.lt, "ne": operator.ne}


def unmet(facts: Facts, roots: Iterable[Node], work: int = 150_000) -> list[Condition]:
    """The conditions that the premises do not imply."""
    left = []
    for condition in conditions(roots):
        if not _obvious(facts, condition.holds) and not facts.proves(condition.implied, work):
            left.append(condition)
    return left


def shown(facts: Facts, holds: Node, work: int = 150_000) -> bool:
    """Whether the premises imply that something is not zero, not negative, or positive."""
    return _obvious(facts, holds) or facts.proves(holds, work)


def never_negative(here: Node) -> bool:
    """Whether a value is at least zero by its form alone, whatever stands in it.

    >>> from dotopt.compiler.ir import leaf
    >>> x = leaf("free", "x")
    >>> never_negative(node("mul", x, x)), never_negative(x)
    (True, False)
    """
    match here.op, here.args:
        case op, _ if op in never_below_zero():
            return True
        case "const", _:
            return bool(here.attrs.value >= 0)
        case "mul", (x, y) if x is y and x.type.kind != "complex":
            return True
        case "pow", (x, power) if power.value is not None and power.value.denominator == 1 and power.value % 2 == 0:
            return True
        case (("mul" | "div" | "add" | "min"), (x, y)):
            return never_negative(x) and never_negative(y)
        case "max", (x, y):
            return never_negative(x) or never_negative(y)
        case "select", (_, x, y):
            return never_negative(x) and never_negative(y)
        case (("sum" | "mean" | "amax" | "amin"), (x,)):
            return never_negative(x)
    return False


def _obvious(facts: Facts, holds: Node) -> bool:
    if holds.op in ("and", "or"):
        return (all if holds.op == "and" else any)(_obvious(facts, part) for part in holds.args)
    if holds.op not in ("ne", "ge", "gt") or holds.args[1].value != 0:
        return False
    if holds.op == "ge" and never_negative(holds.args[0]):
        return True
    try:
        p: Polynomial = facts.normal(holds.args[0])
    except (ArithmeticError, ValueError, RuntimeError, Unsupported):
        return False
    match holds.op:
        case "ne":
            return facts.positive(p) or facts.positive(-p)
        case "ge":
            return facts.nonnegative(p)
        case _:
            return facts.positive(p)
