"""Worlds from elsewhere: models that z3 finds, and samples of a swarm; both are evaluated exactly before they count."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms.facts import Facts, facts_of
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import Atom
from dotopt.compiler.prove.forms.smt import check
from dotopt.compiler.prove.fuel import Mark, within
from dotopt.compiler.prove.worlds.arrays import as_array, scalar
from dotopt.compiler.prove.worlds.setting import Setting, Sized
from dotopt.compiler.prove.worlds.swarm import Swarm
from dotopt.compiler.prove.worlds.world import World

LEAST, MOST = 100_000, 1_500_000  # work for one model


def modelled(setting: Setting, premises: tuple[Node, ...], goal: Node, end: Mark) -> Iterator[World]:
    """Worlds of one entry an axis after a model of the premises and the goal's negation, rounded in several ways."""
    asked = any(
        here.op in ("oracle", "apply", "conjugate") and here.attrs[0] in setting.classes
        for root in (*premises, goal)
        for here in root.walk()
    )
    if asked or end.passed:
        return
    try:
        with within(max(end.left, LEAST) / 2):
            facts = facts_of(premises)
            assertions, _ = facts.question(goal)
    except (Unsupported, ArithmeticError):
        return
    model = check(assertions, min(max(end.left, LEAST / 2) / 2, MOST))
    if model.result != "sat":
        return
    numbers = {a: model.value(x) for a, x in facts.smt.variables.items() if x.args[0] in model.values}
    given: dict[Node, Any] = {}
    leaves = {x for root in (*premises, goal) for x in root.walk() if x.op == "leaf" and x.args}
    varied = {x.name for x in leaves if any(a.value is None for a in x.args)}
    for here in dict.fromkeys(n for part in (*premises, goal) for n in part.walk()):
        if (
            here.op == "leaf"
            and here.role not in ("set", "loop", "identity")
            and (here.role == "time" or setting.chosen(here))
            and not (here.args and here.name in varied)  # a member that other nodes may mean too
        ):
            value = _value(facts, here, numbers)
            if value is not None and (here.type.kind != "int" or value.denominator == 1):
                given[here] = value if here.type.kind != "bool" else bool(value)

    def answer(here: Node) -> Fraction | None:
        return _value(facts, here, numbers) if here in facts.normal.done else None

    for seed, places in product(range(4), (None, 3, 2)):  # what the model leaves open is drawn
        rounded = {here: _round(value, places) for here, value in given.items()}
        yield setting.world(seed, Sized(1), rounded, answer if places is None else lambda here: None)


def _value(facts: Facts, here: Node, numbers: dict[Atom, Fraction]) -> Fraction | None:
    try:
        terms = facts.normal(here).terms
    except (Unsupported, ArithmeticError):
        return None
    if len(terms) == 1 and len(terms[0][0]) == 1 and terms[0][0][0][1] == 1 and terms[0][1] == 1:
        return numbers.get(terms[0][0][0][0])
    return None


def _round(x: Any, places: int | None) -> Any:
    if places is None or not isinstance(x, Fraction):
        return x
    return Fraction(round(x * 10**places), 10**places)


def sampled(setting: Setting, swarm: Swarm, sample: int) -> World:
    """One sample of a swarm as a world of fractions."""

    def exact(array: Any) -> Any:
        return np.frompyfunc(lambda v: Fraction(float(v)).limit_denominator(10**6), 1, 1)(np.asarray(array[sample]))

    nodes = {here: as_array(exact(v)) for here, v in swarm.drawn.items() if isinstance(here, Node)}
    given = {here: v for here, v in nodes.items() if here.op == "leaf"}
    answers = {here: v for here, v in nodes.items() if here.op != "leaf"}
    world = setting.world(0, Sized(swarm.size), given, answers.get)
    for key, array in swarm.drawn.items():
        if not isinstance(key, Node) and array is not None:
            place = (key[0], "stiffness") if np.ndim(array) == 1 else key
            world.table[place] = exact(array) if np.ndim(array) == 1 else as_array(exact(array))
            if key[1] == "centre":
                world.table[(key[0], "radius")] = None
                world.table[(key[0], "offset")] = scalar(Fraction(0))
    return world
