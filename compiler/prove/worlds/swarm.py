"""P5: many worlds at once in floating point, to find where a claim may fail; each find is evaluated again exactly.

Every value is a NumPy array with the samples first and named axes after. The answers of the objective are drawn
freely for each place where it is asked, which may be inconsistent: the exact evaluation decides. Nothing here proves
or refutes by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np

from dotopt.compiler.ir import ENTRYWISE, Node
from dotopt.compiler.ops import having, named
from dotopt.compiler.ops.types import REST
from dotopt.compiler.prove.fuel import spend

Value = tuple[tuple[str, ...], Any]
NODE, MANY = 20, 200  # work for a node, and how many numbers NumPy makes for a unit of it
TIE = 1e-8  # how much sides that are equal count as a failure of a strict inequality

ROLES = ("param", "state", "input", "hyper", "time", "axis", "draw", "free")  # leaves that may be drawn


class Unvectorised(Exception):
    """An operation that has no meaning for many samples at once."""


@dataclass
class Swarm:
    """`count` samples; `bounds` gives (low, high) of scalar leaves."""

    count: int
    seed: int
    bounds: Callable[[Node], tuple[float | None, float | None]]
    classes: dict[str, Any]
    laws: dict[str, Any]
    size: int = 1
    memo: dict[Node, Value] = field(default_factory=dict)
    drawn: dict[Any, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def value(self, root: Node) -> Value:
        """The values of a node over all samples."""
        for here in root.walk():
            if here not in self.memo:
                self.memo[here] = self._one(here, [self.memo[a] for a in here.args])
                spend(NODE + np.size(self.memo[here][1]) // MANY)
        return self.memo[root]

    def margin(self, goal: Node) -> Any:
        """Positive where the goal fails, by how much; for equations the relative difference, for each sample."""
        match goal.op:
            case "and":
                return np.maximum.reduce([self.margin(a) for a in goal.args])
            case "or":
                return np.minimum.reduce([self.margin(a) for a in goal.args])
            case "le" | "lt" | "ge" | "gt" | "eq" | "ne":
                x, y = goal.args if goal.op not in ("ge", "gt") else goal.args[::-1]
                _, arrays = self._aligned([self.value(x), self.value(y)])
                a, b = (np.asarray(array, dtype=float) for array in arrays)
                gap = np.abs(a - b) if goal.op == "eq" else -np.abs(a - b) if goal.op == "ne" else a - b
                relative = gap / (1 + np.abs(a) + np.abs(b))
                if goal.op in ("lt", "gt", "ne"):  # a tie fails as well
                    relative += TIE * (gap >= -TIE)
                return relative.reshape(self.count, -1).max(axis=1)
        raise Unvectorised(goal.op)

    def holds(self, premise: Node) -> Any:
        """For each sample whether the premise holds at every place."""
        if premise.op == "eq":
            return self.margin(premise) < 1e-12
        return np.asarray(self.value(premise)[1], dtype=bool).reshape(self.count, -1).all(axis=1)

    # ---- one node --------------------------------------------------------------------------------------------------

    def _one(self, here: Node, a: list[Value]) -> Value:
        op = here.op
        if op in _ENTRYWISE:
            axes, arrays = self._aligned(a)
            if op in ARITHMETIC:
                arrays = [np.asarray(array, dtype=float) for array in arrays]
            return axes, _ENTRYWISE[op](*arrays)
        match op:
            case "const" | "bool":
                return (), np.full(self.count, float(here.attrs[0]) if op == "const" else bool(here.attrs[0]))
            case "leaf":
                return self._leaf(here)
            case "sum" | "mean" | "norm" | "amax" | "amin":
                return self._reduction(here, a[0])
            case "size":
                return (), np.full(self.count, float(prod(map(self.places, here.attrs[0]))))
            case "zeros" | "ones":
                return here.type.axes, self._fill(here.type.axes, float(op == "ones"))
            case "oracle" | "apply" | "conjugate":
                return self._function(here, a)
        raise Unvectorised(op)

    def places(self, axis: str) -> int:
        """How many entries there are along an axis."""
        return int(axis) if axis.isdigit() else self.size

    def _fill(self, axes: tuple[str, ...], value: float) -> Any:
        return np.full((self.count, *map(self.places, axes)), value)

    def _aligned(self, a: list[Value]) -> tuple[tuple[str, ...], list[Any]]:
        axes: tuple[str, ...] = ()
        for own, _ in a:
            axes += tuple(x for x in own if x not in axes)
            if len(set(own)) != len(own):
                raise Unvectorised("a square matrix")
        arrays = []
        for own, array in a:
            order = [own.index(x) for x in axes if x in own]
            moved = np.transpose(array, (0, *(i + 1 for i in order)))
            arrays.append(moved.reshape((self.count, *(self.places(x) if x in own else 1 for x in axes))))
        return axes, arrays

    def _leaf(self, here: Node) -> Value:
        if here.args or here.role not in ROLES or here.type.kind not in ("real", "int"):
            raise Unvectorised(here.role)
        axes = here.type.axes
        if here.role == "axis":
            return (), np.full(self.count, float(self.places(here.name)))
        if here.role == "draw" and getattr(self.laws.get(here.name.split("#")[0]), "law", "") != "normal":
            raise Unvectorised("draw")
        shape = (self.count, *map(self.places, axes))
        low, high = self.bounds(here)
        array = self._between(low, high, shape)
        if here.type.kind == "int":
            array = np.rint(array)
        self.drawn[here] = array
        return axes, array

    def _between(self, low: float | None, high: float | None, shape: tuple[int, ...]) -> Any:
        if low is None and high is None:
            return np.round(self.rng.normal(0, 2.5, shape) * 4) / 4
        if low is not None and high is not None:
            return low + (high - low) * self.rng.choice([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 0.05, 0.95], shape)
        away = self.rng.choice([0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0], shape)
        if low is not None:
            return low + away
        assert high is not None
        return high - away

    def _reduction(self, here: Node, x: Value) -> Value:
        axes, array = x
        reduced = tuple(here.attrs[0])
        places = tuple(i + 1 for i, axis in enumerate(axes) if axis in reduced)
        missing = prod(self.places(axis) for axis in reduced if axis not in axes)
        kept = tuple(axis for axis in axes if axis not in reduced)
        match here.op:
            case "sum":
                return kept, array.sum(axis=places) * missing
            case "mean":
                return kept, array.mean(axis=places)
            case "amax":
                return kept, array.max(axis=places)
            case "amin":
                return kept, array.min(axis=places)
            case "norm" if here.attrs[2] == 2:
                return kept, np.sqrt((array**2).sum(axis=places) * missing)
            case "norm" if here.attrs[2] == 1:
                return kept, np.abs(array).sum(axis=places) * missing
            case "norm" if here.attrs[2] is None:
                return kept, np.abs(array).max(axis=places)
        raise Unvectorised("norm")

    def _function(self, here: Node, a: list[Value]) -> Value:
        name = here.attrs[0]
        if here.type.any or (REST in here.type.axes and self.size > 1 and here.op == "conjugate"):
            raise Unvectorised(here.op)
        if name in self.classes:
            return self._quadratic(here, a[0] if here.op != "oracle" else a[here.attrs[3][0]])
        if here.op != "oracle" or here.attrs[1] not in ("value", "gradient", "field") or here.attrs[2]:
            raise Unvectorised(here.op)
        axes = here.type.axes
        array = self._between(None, None, (self.count, *map(self.places, axes)))
        self.drawn[here] = array
        return axes, array

    def _quadratic(self, here: Node, x: Value) -> Value:
        name, allowed = here.attrs[0], self.classes[here.attrs[0]]
        axes, array = x
        if allowed.unknown or array.ndim > 2:
            raise Unvectorised("a class of functions")
        shape = array.shape
        scalar = here.op != "oracle"
        if (name, "curvature") not in self.drawn:
            low = self.value(allowed.low)[1] if allowed.low is not None else None
            high = self.value(allowed.high)[1] if allowed.high is not None else None
            drawn = self.rng.choice([0.0, 0.25, 0.5, 1.0, 1.0, 0.9], (self.count,) if scalar else shape)
            if high is None:
                drawn = drawn * self.rng.choice([0.5, 1, 2, 2.5, 4], drawn.shape)
                curvature = drawn if low is None else drawn + _like(low, drawn)
            else:
                bottom = -high if low is None else low
                curvature = _like(bottom, drawn) + drawn * _like(high - bottom, drawn)
            self.drawn[(name, "curvature")] = curvature
            self.drawn[(name, "centre")] = None if scalar else self._between(None, None, shape)
        k, centre = self.drawn[(name, "curvature")], self.drawn[(name, "centre")]
        if scalar:
            if here.op == "conjugate":
                k = 1 / k
            if here.attrs[1] == 1:
                return axes, array * _like(k, array)
            return (), k / 2 * (array**2).reshape(self.count, -1).sum(axis=1)
        off = array - centre
        if here.attrs[1] in ("gradient", "field"):
            return axes, k * off
        return (), (k / 2 * off**2).reshape(self.count, -1).sum(axis=1)


def _like(k: Any, array: Any) -> Any:
    return np.reshape(k, (-1, *([1] * (np.ndim(array) - 1))))


# what computes each entry from entries at the same place; of numbers, truth values count as 0 and 1
_ENTRYWISE: dict[str, Callable[..., Any]] = {
    op: partial(meaning, np)
    for op, meaning in having(lambda row: row.numpy).items()
    if op in ENTRYWISE or op == "cast"
}
ARITHMETIC = frozenset(named("number"))
