"""Loops, folds and sets in a world: each pass is evaluated in a world of its own, inside this one."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import TYPE_CHECKING, Any

from dotopt.compiler.ir import Fold, Loop, Node
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.prove.worlds.arrays import Undecidable, Value, each, scalar
from dotopt.compiler.prove.worlds.operations import Law, pointwise

if TYPE_CHECKING:
    from dotopt.compiler.prove.worlds.world import World

LONGEST = 50  # passes of a loop


def _loop(world: World, here: Node, a: list[Value]) -> Value:
    body: Loop = here.attrs[0]
    domain = a[0][1]
    passes = domain if isinstance(domain, list) else range(1, int(domain.item()) + 1)
    current = list(a[1:])
    if len(passes) > LONGEST:
        raise Undecidable("a long loop")
    for i in passes:
        values = dict(zip(body.variables, current, strict=True))
        if body.index is not None:
            values[body.index] = ((), scalar(Fraction(i)))
        frame = world.inner(values)
        if body.until is not None:
            stop = frame.truth(body.until)
            if stop is None:
                raise Undecidable("the end of a loop")
            if stop:
                break
        current = [frame.value(n) for n in body.nexts]
    return (), current


def _fold(world: World, here: Node, a: list[Value]) -> Value:
    body: Fold = here.attrs[0]
    known = body.kind in ("sum", "mean", "max", "min")
    if not a or not isinstance(a[0][1], list) or len(body.indices) > 2 or not known:
        raise Undecidable(f"a reduction over `{here}`")
    elements = a[0][1]
    places = [(i,) for i in elements] if len(body.indices) == 1 else [(i, j) for i in elements for j in elements]
    results = []
    for place in places:
        frame = world.inner({leaf: ((), scalar(Fraction(i))) for leaf, i in zip(body.indices, place, strict=True)})
        if body.condition is not None and not frame.truth(body.condition):
            continue
        results.append(frame.value(body.body))
    if not results:
        return (), scalar(Fraction(0) if body.kind == "sum" else None)
    function = {"max": num.largest, "min": num.smallest}.get(body.kind, num.add)
    total = reduce(lambda p, q: pointwise(world, function, [p, q]), results)
    if body.kind == "mean":
        return total[0], each(lambda v: num.div(v, Fraction(len(results))), total[1])
    return total


def _item(world: World, here: Node, a: list[Value]) -> Value:
    if len(a) != 1:  # the member of a family that an oracle gives
        raise Undecidable("`item` has no exact value here")
    value: Value = a[0][1][here.attrs[0]]
    return value


def _range(world: World, here: Node, a: list[Value]) -> Value:
    first, last = (int(x[1].item()) for x in a)
    return (), list(range(first, last + 1))


def _contains(world: World, here: Node, a: list[Value]) -> Value:
    elements: Any = a[0][1]
    return (), scalar(a[1][1].item() in elements)


LAWS: dict[str, Law] = {
    "loop": _loop,
    "fold": _fold,
    "item": _item,
    "tuple": lambda world, here, a: ((), list(a)),
    "range": _range,
    "contains": _contains,
}
