"""The choice of random numbers: what a leaf is in a world, inside the law of its draw and what premises ask for."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.prove.worlds.arrays import Undecidable, Value, identity, scalar

if TYPE_CHECKING:
    from dotopt.compiler.prove.worlds.world import World

SMALL = tuple(Fraction(n, 2) for n in (-6, -4, -2, 0, 2, 4, 6, 1, -1, 3))
ROLES = ("param", "state", "input", "hyper", "time", "axis", "draw", "index", "set", "free")  # leaves that may be drawn


@dataclass(frozen=True)
class Special:
    """What premises ask for and random numbers never meet: orthogonal and symmetric matrices, zeros of gradients."""

    orthogonal: frozenset[Node] = frozenset()
    symmetric: frozenset[Node] = frozenset()
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
            value = (), scalar(Fraction(world.rng.choice(world.value(elements)[1])))
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
    match random.law:
        case "normal":
            return axes, _drawn(world, here, axes)
        case "rademacher":
            choices: list[Any] = [Fraction(1), Fraction(-1)]
        case "bernoulli":
            choices = [True, False]
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
    if here in world.special.orthogonal and len(axes) == 2:
        return _rotation(world.size(axes[0]), world.size(axes[1]), world.rng)
    array = world.full(axes, None)
    for place in np.ndindex(array.shape):
        drawn: Any = world.draw(here, world.rng)
        if drawn is None:
            drawn = world.rng.choice((True, False)) if here.type.kind == "bool" else world.rng.choice(world.small)
        array[place] = drawn
    if here in world.special.symmetric and array.ndim == 2:
        for i, j in np.ndindex(array.shape):
            array[i, j] = array[max(i, j), min(i, j)]
    return array


def _rotation(rows: int, columns: int, rng: random.Random) -> Any:
    """A rational matrix with orthonormal columns (or rows): rotations by (3, 4, 5), swaps and signs."""
    n = max(rows, columns)
    q = identity(n)
    for _ in range(2 * n):
        i, j = rng.randrange(n), rng.randrange(n)
        if i == j:
            q[i] = -q[i]
            continue
        c, s = rng.choice(
            ((Fraction(3, 5), Fraction(4, 5)), (Fraction(0), Fraction(1)), (Fraction(5, 13), Fraction(-12, 13)))
        )
        q[i], q[j] = c * q[i] - s * q[j], s * q[i] + c * q[j]
    return q[:rows, :columns].copy()
