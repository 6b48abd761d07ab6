"""The user's functions in a world.

An objective or operator is a table: the first time that it is asked at a point an answer is drawn, the same point gets
the same answer. Functions with properties are drawn from families that have them: quadratics and Huber functions,
and maps that turn planes.
"""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.prove.worlds.arrays import Undecidable, Value, as_array, each, product, scalar
from dotopt.compiler.prove.worlds.draws import small
from dotopt.compiler.prove.worlds.operations import Law

if TYPE_CHECKING:
    from dotopt.compiler.prove.worlds.world import World

Place = tuple[tuple[Any, ...], ...]  # the arguments of a function, each as a row of numbers
RADII = (Fraction(1, 3), Fraction(1, 2), Fraction(1), Fraction(1, 5))
PLANES = ((Fraction(0), Fraction(1)), (Fraction(3, 5), Fraction(4, 5)), (Fraction(4, 5), Fraction(3, 5)))  # 3, 4 and 5


# ---- objectives and operators --------------------------------------------------------------------------------------


def _oracle(world: World, here: Node, a: list[Value]) -> Value:
    name, what = here.attrs[0], here.attrs[1]
    point = a[:-1] if what in ("hessian_vector",) else a
    place = tuple(tuple(np.ravel(v[1]).tolist()) if isinstance(v[1], np.ndarray) else (str(v[1]),) for v in point)
    if any(x is None for p in place for x in p):
        return here.type.axes, world.full(here.type.axes, None)
    key = (name, what, here.attrs[2], _known(world, (name, here.attrs[2]), place))
    if what in ("hessian", "third"):
        raise Undecidable(f"the {what} of `{name}`")
    if what == "hessian_vector" and name in world.classes:
        raise Undecidable(f"the Hessian of `{name}`")
    if what == "hessian_vector":
        return _hessian_vector(world, key, a[-1])
    if what == "value" and here.attrs[2]:
        return _one_by_one(world, here, a, str(here.attrs[2]).removeprefix("per "))
    zero = world.special.zeros.get(name)
    asked = zero is not None and what in ("gradient", "field") and name not in world.classes
    if zero is not None and asked and same_place(key[3], (tuple(np.ravel(world.value(zero)[1]).tolist()),)):
        return here.type.axes, world.full(here.type.axes, Fraction(0))
    if name in world.classes and what in ("value", "gradient", "field"):
        return _of_class(world, here, name, a[here.attrs[3][0]])
    wanted = world.answer(here)
    if wanted is not None:
        array = wanted if isinstance(wanted, np.ndarray) else world.full(here.type.axes, wanted)
        if key in world.table and world.table[key].ravel().tolist() != array.ravel().tolist():
            raise Undecidable("two answers at one point")
        world.table[key] = array
    world.touched[key] = None
    return here.type.axes, _tabled(world, key, here.type.axes)


def _tabled(world: World, key: Any, axes: tuple[str, ...]) -> Any:
    """What stands in the table, drawn at the first time."""
    if key not in world.table:
        world.table[key] = small(world, tuple(world.size(x) for x in axes))
    return world.table[key]


def _one_by_one(world: World, here: Node, a: list[Value], axis: str) -> Value:
    """`f(V, per=N)`: the value at each of N points."""
    axes, array = a[here.attrs[3][0]]
    if axis not in axes or len(a) != 1 or here.attrs[0] in world.classes:
        raise Undecidable("values one by one")
    rows = np.moveaxis(array, axes.index(axis), 0)
    values: list[Any] = []
    for row in rows:
        flat = tuple(np.ravel(row).tolist())
        if any(x is None for x in flat):
            values.append(None)
            continue
        key = (here.attrs[0], "value", None, _known(world, (here.attrs[0], None), (flat,)))
        values.append(_tabled(world, key, ()).item())
    return (axis,), as_array(values)


def _hessian_vector(world: World, key: Any, v: Value) -> Value:
    n = v[1].size
    if key not in world.table:
        matrix = np.empty((n, n), dtype=object)
        for i in range(n):
            for j in range(i + 1):
                matrix[i, j] = matrix[j, i] = world.rng.choice(world.small)
        world.table[key] = matrix
    return v[0], product(world.table[key], v[1].ravel()).reshape(v[1].shape)


# ---- functions with properties -------------------------------------------------------------------------------------


def _of_class(world: World, here: Node, name: str, x: Value) -> Value:
    """f = low/2 v² + (a - low) huber(v) in each coordinate, v = x - centre: half of them quadratics.

    Operators that need not be gradients turn the first two coordinates as well, in half of the worlds.
    """
    axes, array = x
    table = world.table
    if (name, "centre") not in table or table[(name, "centre")].shape != array.shape:
        zero = world.special.zeros.get(name)
        centre = world.value(zero)[1] if zero is not None else small(world, array.shape)
        table[(name, "centre")] = np.broadcast_to(centre, array.shape)
        table[(name, "curvature")] = small(world, array.shape, lambda: _curvature(world, name))
        bend = world.classes[name].low is not None and world.rng.random() < 0.5  # straight further out
        table[(name, "radius")] = small(world, array.shape, lambda: world.rng.choice(RADII)) if bend else None
        plane = None
        if world.classes[name].turns and array.shape[:1] > (1,) and array.ndim == 1 and world.seed % 2:
            plane = _plane(world, name)
        if plane is not None:
            table[(name, "radius")] = None
            table[(name, "curvature")][:2] = plane[0]
            table[(name, "turn")] = scalar(plane[1])
    words = ("curvature", "turn", "centre", "radius")
    world.touched.update(dict.fromkeys((name, word) for word in words if (name, word) in table))
    a, centre, radius = (table[(name, word)] for word in ("curvature", "centre", "radius"))
    _check_class(world, name, a)
    allowed = world.classes[name]
    low = world.value(allowed.low)[1].item() if allowed.low is not None else Fraction(0)
    off = each(num.sub, array, centre)
    near = off if radius is None else each(_clipped, off, radius)
    steep = each(lambda k: num.sub(k, low), a)
    if here.attrs[1] in ("gradient", "field"):
        slope = each(lambda k, u, v: num.add(num.mul(k, u), num.mul(low, v)), steep, near, off)
        return axes, slope if (name, "turn") not in table else _turned(world, name, slope, off)
    terms = each(
        lambda k, u, v: num.add(
            num.mul(num.mul(k, u), num.sub(v, num.div(u, Fraction(2)))),
            num.mul(num.div(low, Fraction(2)), num.mul(v, v)),
        ),
        steep,
        near,
        off,
    )
    if (name, "offset") not in table:
        table[(name, "offset")] = scalar(world.rng.choice(world.small))
    world.touched[(name, "offset")] = None
    return (), scalar(num.add(table[(name, "offset")].item(), reduce(num.add, terms.ravel())))


def _plane(world: World, name: str) -> tuple[Any, Any] | None:
    """How an operator of the class may stretch a plane and turn it: a and b of [[a, -b], [b, a]]."""
    allowed = world.classes[name]
    low = world.value(allowed.low)[1].item() if allowed.low is not None else None
    if allowed.high is None:
        return low or Fraction(0), abs(world.rng.choice(world.small))
    high = world.value(allowed.high)[1].item()
    planes = [(num.mul(x, high), num.mul(y, high)) for x, y in PLANES]
    fitting = [(a, b) for a, b in planes if low is None or num.tell(a, low) in (0, 1)]
    return world.rng.choice(fitting) if fitting else None


def _turned(world: World, name: str, slope: Any, off: Any) -> Any:
    """The field with the first two coordinates turned as well."""
    turn = world.table[(name, "turn")].item()
    curvatures = world.table[(name, "curvature")]
    high = world.classes[name].high
    if high is not None:
        size = num.add(num.mul(turn, turn), num.mul(curvatures[0], curvatures[0]))
        top = world.value(high)[1].item()
        if num.tell(size, num.mul(top, top)) not in (0, -1):
            raise Undecidable(f"a turn outside the class of `{name}`")
    out = slope.copy()
    out[0] = num.sub(slope[0], num.mul(turn, off[1]))
    out[1] = num.add(slope[1], num.mul(turn, off[0]))
    return out


def _clipped(v: Any, r: Any) -> Any:
    return None if v is None else num.largest(num.sub(0, r), num.smallest(r, v))


def _check_class(world: World, name: str, curvatures: Any) -> None:
    """The curvatures must be those that the class allows, also after numbers have been made simpler."""
    allowed = world.classes[name]
    if allowed.unknown:
        raise Undecidable(f"no model of the properties of `{name}`")
    high = world.value(allowed.high)[1].item() if allowed.high is not None else None
    low = world.value(allowed.low)[1].item() if allowed.low is not None else None
    bottom = low if low is not None else None if high is None else num.sub(Fraction(0), high)
    for k in np.ravel(as_array(curvatures)):
        if (bottom is not None and num.tell(k, bottom) not in (0, 1)) or (
            high is not None and num.tell(k, high) not in (0, -1)
        ):
            raise Undecidable(f"a curvature outside the class of `{name}`")


def _curvature(world: World, name: str) -> Any:
    """A curvature that the class of the function allows."""
    allowed = world.classes[name]
    if allowed.unknown:
        raise Undecidable(f"no model of the properties of `{name}`")
    high = world.value(allowed.high)[1].item() if allowed.high is not None else None
    low = world.value(allowed.low)[1].item() if allowed.low is not None else None
    if high is None:
        return num.add(low if low is not None else Fraction(0), abs(world.rng.choice(world.small)))
    bottom = num.sub(Fraction(0), high) if low is None else low
    part = world.rng.choice((Fraction(0), Fraction(1), Fraction(1), Fraction(1, 2), Fraction(9, 10)))
    return num.add(bottom, num.mul(part, num.sub(high, bottom)))


def _function(world: World, here: Node, a: list[Value]) -> Value:
    """A convex function of the user is k/2 ‖u‖² here, whose conjugate is ‖y‖²/(2k)."""
    name = here.attrs[0]
    if name not in world.classes:
        if here.op == "conjugate" or here.attrs[1] not in (0, 1):
            raise Undecidable(f"the conjugate of `{name}`")
        return _free_function(world, here, a)
    key = (name, "stiffness")
    if key not in world.table:
        world.table[key] = _curvature(world, name)
        if not isinstance(world.table[key], Fraction) or world.table[key] <= 0:
            raise Undecidable("a flat function")
    world.touched[key] = None
    _check_class(world, name, world.table[key])
    k = world.table[key] if here.op == "apply" else 1 / world.table[key]
    if len(a) != 1:
        raise Undecidable(f"a function `{name}` of several arguments")
    axes, array = a[0]
    if here.attrs[1] == 1:
        return axes, each(lambda v: num.mul(k, v), array)
    squares = [num.mul(v, v) for v in array.ravel()]
    return (), scalar(num.mul(k / 2, reduce(num.add, squares)))


# ---- functions and rules of which nothing is known -----------------------------------------------------------------


def _free_function(world: World, here: Node, a: list[Value]) -> Value:
    place = tuple(tuple(np.ravel(v[1]).tolist()) for v in a if isinstance(v[1], np.ndarray))
    if any(x is None for p in place for x in p):
        return here.type.axes, world.full(here.type.axes, None)
    key = (here.attrs[0], here.attrs[1], here.attrs[2], _known(world, (here.attrs[0], here.attrs[2]), place))
    if here.type.any:
        raise Undecidable(f"a function `{here.attrs[0]}` without a type")
    return here.type.axes, _tabled(world, key, here.type.axes)


def _base(world: World, here: Node, a: list[Value]) -> Value:
    """Where some rule without states goes: a table, asked in one way only, as B(θ) is also B(θ, ∇f(θ))."""
    way = world.table.setdefault(("base", "way"), (here.attrs[0], len(a)))
    if way != (here.attrs[0], len(a)):
        raise Undecidable("a base rule that is asked in two ways")
    place = tuple(tuple(np.ravel(v[1]).tolist()) for v in a)
    if any(x is None for p in place for x in p):
        return here.type.axes, world.full(here.type.axes, None)
    return here.type.axes, _tabled(world, ("base", _known(world, "base", place)), here.type.axes)


def _base_member(world: World, here: Node, _: list[Value]) -> Value:
    key = ("base", here.attrs[0])
    if key not in world.table:
        world.table[key] = world.rng.choice((Fraction(1), Fraction(1, 2), Fraction(1, 10)))
    return (), scalar(world.table[key])


# ---- places --------------------------------------------------------------------------------------------------------


def _known(world: World, function: Any, place: Place) -> Place:
    """The place where this function was asked before that is the same up to rounding, else this one."""
    known: tuple[Place, ...] = world.table.get((function, "places"), ())
    for other in known:
        if same_place(other, place):
            return other
    world.table[(function, "places")] = (*known, place)
    return place


def same_place(left: Place, right: Place) -> bool:
    """Whether two arguments of a function are the same; raises `Undecidable` if rounding hides it."""
    if [len(p) for p in left] != [len(p) for p in right]:
        return False
    unsure = False
    for p, q in zip(left, right, strict=True):
        for x, y in zip(p, q, strict=True):
            same = x == y if isinstance(x, str) or isinstance(y, str) else x is y or num.close(x, y)
            if same is False:
                return False
            unsure = unsure or same is None
    if unsure:
        raise Undecidable("two points that rounding does not tell apart")
    return True


LAWS: dict[str, Law] = {
    "oracle": _oracle,
    "apply": _function,
    "conjugate": _function,
    "base": _base,
    "base_member": _base_member,
}
