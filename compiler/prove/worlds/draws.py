"""The choice of random numbers: what a leaf is in a world, inside the law of its draw and what premises ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.prove.worlds.arrays import Undecidable, Value, scalar
from dotopt.compiler.prove.worlds.shapes import shaped

if TYPE_CHECKING:
    from dotopt.compiler.prove.worlds.world import World

SMALL = tuple(Fraction(n, 2) for n in (-6, -4, -2, 0, 2, 4, 6, 1, -1, 3))
ROLES = ("param", "state", "input", "hyper", "time", "axis", "draw", "index", "set", "free")  # leaves that may be drawn


@dataclass(frozen=True)
class Special:
    """What premises ask for and random numbers never meet: shapes of matrices, zeros of gradients."""

    shapes: Mapping[Node, frozenset[str]] = field(default_factory=dict)  # a leaf -> names of `shapes.drawn`
    zeros: Mapping[str, Node] = field(default_factory=dict)  # f -> a leaf at which its gradient is zero


def leaf(world: World, here: Node, _: list[Value]) -> Value:
    """The given value of a leaf, else a drawn one; raises `Undecidable` for leaves that stand for no value."""
    axes = here.type.axes
    if here in world.given and not here.args:
        given = world.given[here]
        value = axes, given if isinstance(given, np.ndarray) else world.full(axes, given)
    else:
        place = here.role == "input" and here.name.startswith("output_of(")  # where the objective is asked
        if here.role not in ROLES or (here.type.any and not place):
            raise Undecidable(f"`{here.name}` has no value of its own")
        if here.role == "axis":
            value = (), scalar(Fraction(world.size(here.name)))
        elif here.role == "index":
            elements = world.index_sets.get(here.name)
            if elements is None:
                raise Undecidable(f"the index `{here.name}`")
            known = world.value(elements)[1]
            if not known:
                raise Undecidable(f"the index `{here.name}` of an empty set")
            value = (), scalar(Fraction(world.rng.choice(known)))
        elif here.role == "draw":
            value = _by_law(world, here, axes)
        elif here.type.kind == "set" or here.role == "set":
            n = world.size("#" + here.name)
            return (), list(range(1, n + 1))
        elif here.args:
            key = (here.name, *(x for arg in here.args for x in np.ravel(world.value(arg)[1]).tolist()))
            if key not in world.table:
                given = world.given.get(here)  # of one member of a family: its other names must not say otherwise
                world.table[key] = _drawn(world, here, axes) if given is None else world.full(axes, given)
            world.touched[key] = None
            value = axes, world.table[key]
        else:
            value = axes, _drawn(world, here, axes)
    world.values[here] = value
    return value


def small(world: World, shape: tuple[int, ...], draw: Callable[[], Any] | None = None) -> Any:
    """An array of small random numbers, or of what `draw` gives."""
    array = np.empty(shape, dtype=object)
    for place in np.ndindex(shape):
        array[place] = draw() if draw is not None else world.rng.choice(world.small)
    return array


def _by_law(world: World, here: Node, axes: tuple[str, ...]) -> Value:
    """A value that the law of a draw allows."""
    random = world.laws.get(here.name.split("#")[0])
    if random is None or here.args:
        raise Undecidable(f"the law of `{here.name}`")
    if random.law in ("uniform", "bernoulli") and any(a.type.axes for a in random.args):
        raise Undecidable(f"the law of `{here.name}`, whose entries differ")
    match random.law:
        case "normal":
            mean, deviation = random.args
            alone = world.truth(node("eq", deviation, number(0))) is True
            filled = node("add", mean, node("zeros", attrs=(here.type,)))
            return world.value(filled) if alone else (axes, _drawn(world, here, axes))
        case "rademacher":
            choices: list[Any] = [Fraction(1), Fraction(-1)]
        case "bernoulli":
            (p,) = (world.value(a)[1].item() for a in random.args)
            choices = [False] if p == 0 else [True] if p == 1 else [True, False]
        case "uniform":
            low, high = (world.value(a)[1].item() for a in random.args)
            choices = [num.add(low, num.mul(num.sub(high, low), Fraction(k, 4))) for k in (1, 2, 3)]
        case "permutation":
            order = list(world.value(random.args[0])[1])
            world.rng.shuffle(order)
            return (), order
        case "choose":
            elements, count = list(world.value(random.args[0])[1]), world.value(random.args[1])[1].item()
            if not 0 <= count <= len(elements) or count.denominator != 1:
                raise Undecidable("a choice of more than there is")
            return (), sorted(world.rng.sample(elements, int(count)))
        case _:
            raise Undecidable(f"the law `{random.law}`")
    array = world.full(axes, None)
    for place in np.ndindex(array.shape):
        array[place] = world.rng.choice(choices)
    return axes, array


def _drawn(world: World, here: Node, axes: tuple[str, ...]) -> Any:
    wanted = world.special.shapes.get(here, frozenset())
    if wanted and len(axes) == 2:
        found = shaped(wanted, world.size(axes[0]), world.size(axes[1]), world.rng)
        if found is not None:
            return found
    if world.twins and here.role in ("free", "param", "input") and not here.args:
        for other, (_, array) in world.values.items():
            if other.type == here.type and other.role == here.role and isinstance(array, np.ndarray):
                return array
    array = world.full(axes, None)
    for place in np.ndindex(array.shape):
        drawn: Any = world.draw(here, world.rng)
        if drawn is None:
            drawn = world.rng.choice((True, False)) if here.type.kind == "bool" else world.rng.choice(world.small)
        array[place] = drawn
    return array
