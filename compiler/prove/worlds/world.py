"""A world: one choice of sizes, numbers and functions, in which any node of the IR has an exact value.

Arrays are NumPy arrays of Python numbers, with named axes. The user's objective is a table (`functions`): finitely many
answers always belong to some smooth function, so a claim that fails in a world is false.

    arrays        arrays of exact numbers       operations    what each operation of the IR is
    draws         the values of leaves          functions     objectives, and functions with properties
    loops         loops, folds and sets
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from dotopt.compiler.ir import Node, Random, free_indices
from dotopt.compiler.ops.types import REST
from dotopt.compiler.prove.fuel import spend
from dotopt.compiler.prove.worlds import draws, functions, loops, operations
from dotopt.compiler.prove.worlds.arrays import Undecidable, Value, scalar
from dotopt.compiler.prove.worlds.draws import SMALL, Special

LAWS: dict[str, operations.Law] = {**operations.LAWS, **functions.LAWS, **loops.LAWS, "leaf": draws.leaf}
NODE, ENTRY = 20, 3  # work for the value of a node, and for each of its entries


@dataclass
class World:
    """Values for leaves come from `given`, else from `draw(leaf, size)`, else small random numbers."""

    seed: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    given: dict[Node, Any] = field(default_factory=dict)
    draw: Callable[[Node, random.Random], Fraction | None] = lambda node, rng: None
    classes: dict[str, Any] = field(default_factory=dict)  # functions with properties, and their curvatures
    laws: dict[str, Random] = field(default_factory=dict)  # of the draws, by name
    index_sets: dict[str, Node] = field(default_factory=dict)  # what each free index runs over
    special: Special = field(default_factory=Special)
    answer: Callable[[Node], Any] = lambda node: None  # a wanted answer of an oracle
    parent: World | None = None
    small: tuple[Fraction, ...] = SMALL
    twins: bool = False  # leaves of one type have one value

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.memo: dict[Node, Value] = {}
        self.bound: frozenset[Node] = frozenset()
        self.depending: dict[Node, bool] = {}  # whether a node reads what is bound
        self.inside: dict[frozenset[Node], dict[Node, bool]] = {}  # the same for each set that is bound inside
        outer = self.parent
        self.table: dict[Any, Any] = {} if outer is None else outer.table  # answers of functions
        self.values: dict[Node, Value] = {} if outer is None else outer.values  # of leaves
        self.free: dict[Node, list[Node]] = {}  # the free indices of sentences
        self.touched: dict[Any, None] = {} if outer is None else outer.touched  # keys of the table, in order

    def value(self, root: Node) -> Value:
        """The value of `root`; raises `Undecidable` for operations without an exact meaning here."""
        if root in self.memo:
            return self.memo[root]
        if self.parent is not None and not self._depends(root):
            return self.parent.value(root)
        for here in root.walk() if not self.bound else [root]:
            if here in self.memo:
                continue
            if self.parent is not None and not self._depends(here):
                self.memo[here] = self.parent.value(here)
            elif all(a in self.memo for a in here.args) and (here is root or here.role not in ("loop", "index")):
                self.memo[here] = self._one(here, [self.memo[a] for a in here.args])
        if root not in self.memo:
            self.memo[root] = self._one(root, [self.value(a) for a in root.args])
        return self.memo[root]

    def _one(self, here: Node, a: list[Value]) -> Value:
        if here.op == "fires":  # which step this is, a premise or the run says, and the node does not know it
            raise Undecidable("an equation that does not fire in every step")
        if here.op not in LAWS:
            raise Undecidable(f"`{here.op}` has no exact value here")
        made = LAWS[here.op](self, here, a)
        spend(NODE + ENTRY * (made[1].size if isinstance(made[1], np.ndarray) else 1))
        return made

    def always(self, root: Node) -> bool | None:
        """The truth of a sentence for every element that its free indices may be."""
        if root not in self.free:
            self.free[root] = sorted(free_indices(root), key=repr)
            spend(sum(1 for _ in root.walk()))
        free = [index for index in self.free[root] if index.name in self.index_sets]
        if not free:
            return self.truth(root)
        found: list[bool | None] = []
        for place in product(*(self.value(self.index_sets[index.name])[1] for index in free)):
            values: dict[Node, Value] = {index: ((), scalar(Fraction(i))) for index, i in zip(free, place, strict=True)}
            found.append(self.inner(values).truth(root))
        return False if False in found else None if None in found else True

    def truth(self, root: Node) -> bool | None:
        """Whether a boolean node holds at every place: None where it is not defined or too close to tell."""
        match root.op:
            case "and":
                parts = [self.truth(a) for a in root.args]
                return False if False in parts else None if None in parts else True
            case "or" if not root.type.axes:
                parts = [self.truth(a) for a in root.args]
                return True if True in parts else None if None in parts else False
            case "not" if not root.type.axes:
                part = self.truth(root.args[0])
                return None if part is None else not part
        _, array = self.value(root)
        flat = [bool(x) if x is not None else None for x in np.asarray(array, dtype=object).ravel()]
        return None if None in flat else False not in flat

    def size(self, axis: str) -> int:
        """The size of an axis."""
        if axis.isdigit():
            return int(axis)
        root = self
        while root.parent is not None:
            root = root.parent
        if axis not in root.sizes:
            root.sizes[axis] = root.rng.choice((2, 3)) if axis != REST else root.rng.choice((1, 2, 3))
        return root.sizes[axis]

    def full(self, axes: tuple[str, ...], value: Any) -> Any:
        """An array with these axes and one value everywhere."""
        array = np.empty([self.size(x) for x in axes], dtype=object)
        array[...] = value
        return array

    def inner(self, values: dict[Node, Value]) -> World:
        """A world in which the variables of a loop or fold have values."""
        child = replace(self, parent=self)
        child.rng = self.rng
        child.bound = frozenset(values)
        child.depending = self.inside.setdefault(child.bound, {})
        child.memo = dict(values)
        return child

    def _depends(self, root: Node) -> bool:
        if root not in self.depending:
            reached = list(root.walk())
            spend(len(reached))
            self.depending[root] = any(here in self.bound for here in reached)
        return self.depending[root]


__all__ = ["Special", "Undecidable", "World"]
