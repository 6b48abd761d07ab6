"""Conditions under which somebody reads a value: what only one branch of a choice needs is computed only there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dotopt.compiler.emit.torch.places import Places, requests
from dotopt.compiler.emit.torch.plan import Guard, Plan
from dotopt.compiler.emit.torch.products import ONE
from dotopt.compiler.ir import COMPARISONS, TIME, Node, node
from dotopt.compiler.ir.loops import below


def guards(plan: Plan, roots: Iterable[Node], places: Places) -> dict[Node, Guard]:
    """For each statement that is a list or a request: the conditions under which somebody reads it."""
    needed: dict[Node, Guard] = dict.fromkeys(roots, frozenset())
    position = {statement.node: i for i, statement in enumerate(plan.statements) if statement.state is None}

    def note(roots: Iterable[Node], conditions: Guard) -> None:
        """Every statement that the value of one of `roots` reads is needed under `conditions`, and those on the way."""
        waiting = [(root, conditions) for root in roots]
        seen: set[tuple[Node, Guard]] = set()
        while waiting:
            here, under = waiting.pop()
            if (here, under) in seen:
                continue
            seen.add((here, under))
            if here in position:
                needed[here] = needed[here] & under if here in needed else under
            else:
                waiting += _read(here, under, places)

    note((root for root in roots if root not in position), frozenset())  # what is stored without a line of its own
    for statement in reversed(plan.statements):
        here = statement.node
        if statement.state is not None:
            note([here], frozenset({(node("eq", TIME, ONE), True)}))
            continue
        conditions = needed.get(here, frozenset())
        if here.op != "loop" and places.scalar(here) and not requests(here):
            conditions = frozenset()  # a number costs nothing
        known = frozenset((c, side) for c, side in conditions if _last(c, position) < position[here] and _free(c))
        needed[here] = known
        for inner, under in _read(here, known, places):
            note([inner], under)
    return needed


def _read(here: Node, under: Guard, places: Places) -> list[tuple[Node, Guard]]:
    """What `here` reads, and the conditions under which it does."""
    match here.op, here.args:
        case "select", (c, a, b) if places.scalar(c):
            return [(c, under), (a, under | {(c, True)}), (b, under | {(c, False)})]
    return [(inner, under) for inner in below(here)]


def _last(condition: Node, position: Mapping[Node, int]) -> int:
    """The place of the last statement that the condition needs."""
    return max((position[inner] for inner in condition.walk() if inner in position), default=-1)


def _free(condition: Node) -> bool:
    return condition.op in (*COMPARISONS, "and", "or", "not", "fires") and not any(
        inner.role == "loop" for inner in condition.walk()
    )
