"""Worlds at the end of what a premise allows: `η*L <= 2` with equality, where bounds that miss by little are broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.forms.facts import conjuncts
from dotopt.compiler.prove.worlds.arrays import Undecidable
from dotopt.compiler.prove.worlds.setting import Setting
from dotopt.compiler.prove.worlds.world import World

MOST = 24  # worlds


def at_ends(setting: Setting, premises: Sequence[Node]) -> Iterator[World]:
    """Worlds in which one premise that is linear in a number holds with equality, each in turn."""
    loose = [(p, name) for p in conjuncts(premises) for name in _movable(setting, p)]
    for seed in range(MOST if loose else 0):
        premise, name = loose[seed % len(loose)]
        given = _end(setting, premise, name, seed)
        if given is not None:
            yield setting.world(seed, setting.sizes(seed), given)


def _movable(setting: Setting, premise: Node) -> list[Node]:
    """The numbers that can be chosen so that both sides are equal."""
    if premise.op not in ("le", "ge") or any(a.type.axes or a.type.kind not in ("real", "int") for a in premise.args):
        return []
    inside = set(premise.walk())
    if any(here.op in ("oracle", "apply", "conjugate") for here in inside):
        return []
    leaves = [x for x in inside if x.op == "leaf" and x.role in ("free", "hyper", "input")]
    names = [x for x in leaves if x.type.scalar and not x.args]
    return sorted((x for x in names if setting.chosen(x)), key=lambda x: x.name) if len(names) > 1 else []


def _end(setting: Setting, premise: Node, name: Node, seed: int) -> dict[Node, Any] | None:
    """Values of the names of a premise with which both sides are equal, if their difference is linear in one name."""
    difference = node("sub", *premise.args)
    at: list[Fraction] = []
    given: dict[Node, Any] = {}
    for k in range(3):
        world = setting.world(seed, setting.sizes(seed), {**given, name: Fraction(k)})
        try:
            value = world.value(difference)[1].item()
        except (Undecidable, OverflowError):
            return None
        if not isinstance(value, Fraction):
            return None
        at.append(value)
        given = {here: array for here, (_, array) in world.values.items() if isinstance(array, np.ndarray)}
    slope = at[1] - at[0]
    return {**given, name: -at[0] / slope} if slope and at[2] - at[1] == slope else None


__all__ = ["at_ends"]
