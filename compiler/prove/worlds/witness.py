"""A world in which a sentence fails, made simpler, evaluated again without rounding, and told to people."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.fuel import until
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.prove.worlds.arrays import Undecidable
from dotopt.compiler.prove.worlds.enclosures import enclosed
from dotopt.compiler.prove.worlds.setting import Setting, Sized
from dotopt.compiler.prove.worlds.world import World

PRECISE = 120  # digits of the intervals in which a counterexample with rounded numbers is evaluated again
PATIENCE = 500_000  # work for simpler numbers
SIMPLE = (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(1, 2))

Fails = Callable[[World], bool]


def witness(setting: Setting, world: World, goal: Node, fails: Fails) -> dict[str, Any] | None:
    """The report on a world where the goal fails, made simpler; None if it fails by rounding alone."""
    simpler = _simpler(setting, world, fails)
    return _told(simpler, goal) if _certain(setting, simpler, fails) else None


def _certain(setting: Setting, world: World, fails: Fails) -> bool:
    """Whether the goal fails for certain: with intervals in the place of rounded numbers."""
    arrays = [array for _, array in (*world.memo.values(), *world.values.values())]
    exact = not any(isinstance(x, mpmath.mpf) for a in arrays if isinstance(a, np.ndarray) for x in a.flat)
    if exact or any(isinstance(array, list) for _, array in world.values.values()):
        return True
    given = {here: array for here, (_, array) in world.values.items() if not here.args}
    again = setting.world(world.seed, world.sizes, given, world.answer)
    again.table = dict(world.table)
    try:
        with mpmath.workdps(PRECISE), enclosed(PRECISE):
            return fails(again)
    except (Undecidable, OverflowError):
        return False


def _simpler(setting: Setting, world: World, fails: Fails) -> World:
    """The same counterexample with simpler numbers, one leaf after the other."""
    end = until(PATIENCE)
    given = {here: array for here, (_, array) in world.values.items() if isinstance(array, np.ndarray)}
    given = {here: array for here, array in given.items() if not here.args}
    for here in sorted(given, key=lambda n: n.name):
        for simple in SIMPLE:
            if end.passed or here.type.kind not in ("real", "int") or not setting.chosen(here):
                break
            if here.type.kind == "int" and simple.denominator != 1:
                continue
            array = np.empty(given[here].shape, dtype=object)
            array[...] = simple
            if (array == given[here]).all():
                break
            candidate = {**given, here: array}
            sizes = world.sizes if isinstance(world.sizes, Sized) else dict(world.sizes)
            trial = setting.world(world.seed, sizes, candidate)
            trial.table = dict(world.table)
            try:
                if fails(trial):
                    given, world = candidate, trial
                    break
            except (Undecidable, OverflowError):
                continue
    return world


def _told(world: World, goal: Node) -> dict[str, Any]:
    """Every value by its name, the answers of functions in the order in which they were asked, and both sides."""
    values: dict[str, Any] = {}
    for here, (_, array) in sorted(world.values.items(), key=lambda item: item[0].name):
        if isinstance(array, np.ndarray) and here.role != "loop" and not (here.args and _in_table(world, here)):
            label = here.name + (f"[{', '.join(map(repr, here.args))}]" if here.args else "")
            values[label] = _shown(array)
    members = [key for key in world.touched if _member(key)]
    for key in sorted(members):
        values[f"{key[0]}[{', '.join(map(num.text, key[1:]))}]"] = _shown(world.table[key])
    for key in world.touched:
        array = None if _member(key) else world.table[key]
        if isinstance(array, np.ndarray) and len(key) == 4 and key[1] in ("gradient", "value", "field"):
            mark = "∇" if key[1] == "gradient" else ""
            point = "; ".join(", ".join(num.text(_number(x)) for x in p) for p in key[3])
            values[f"{mark}{key[0]}({point})"] = _shown(array)
        elif isinstance(array, Fraction):
            values[f"{key[0]} is ½k‖·‖² with k"] = num.text(array)
        elif isinstance(array, np.ndarray) and len(key) == 2:
            values[f"{key[1]} of {key[0]}"] = _shown(array)
    failing = _failing(world, goal)
    if failing is not None and failing.op in ("eq", "ne", "lt", "le", "gt", "ge"):
        for side, argument in zip(("left", "right"), failing.args, strict=True):
            values[side] = _shown(world.value(argument)[1])
        values["fails"] = repr(failing)
    return values


def _in_table(world: World, here: Node) -> bool:
    """Whether the members of a family have their values in the table, each under its number."""
    return any(_member(key) and key[0] == here.name for key in world.touched)


def _member(key: Any) -> bool:
    """Whether a key of the table is a member of a family: its name and its numbers."""
    return isinstance(key, tuple) and len(key) > 1 and all(isinstance(place, Fraction) for place in key[1:])


def _number(x: Any) -> Any:
    return Fraction(x) if isinstance(x, str) else x


def _shown(array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        return str(array)
    if array.ndim == 0:
        item = array.item()
        return item if isinstance(item, bool) else num.text(item)
    return [_shown(np.asarray(row, dtype=object)) for row in array]


def _failing(world: World, goal: Node) -> Node | None:
    if goal.op == "and":
        return next((f for a in goal.args if (f := _failing(world, a)) is not None), None)
    return goal if world.truth(goal) is False else None
