"""What premises and declarations say of single leaves: their ranges, laws and special values; it makes worlds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

from dotopt.compiler.ir import Interval, Node, Program, leaf
from dotopt.compiler.prove.forms.facts import conjuncts
from dotopt.compiler.prove.statements.intervals import by_law, inside
from dotopt.compiler.prove.worlds.draws import Special
from dotopt.compiler.prove.worlds.world import World

Range = tuple[Fraction | None, Fraction | None]
NICE = [
    Fraction(n, d)
    for n, d in ((0, 1), (1, 1), (1, 2), (2, 1), (1, 10), (9, 10), (3, 1), (1, 4), (3, 4), (5, 1), (99, 100))
]

ALONE = 7  # of so many random worlds one has a single place along every axis
LARGEST = 12  # size of an axis


@dataclass
class Setting:
    """Where worlds are drawn: the premises, the program with its declared intervals, functions with properties."""

    premises: tuple[Node, ...]
    program: Program | None = None
    classes: dict[str, Any] = field(default_factory=dict)
    index_sets: dict[str, Node] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bounds = _bounds(self.premises)
        self.excluded = _excluded(self.premises)
        self.special = _special(self.premises)
        self.intervals: dict[tuple[str, str], Interval] = {}  # by role and name
        self.defaults: dict[Node, Fraction] = {}
        self.laws = {} if self.program is None else {r.name: r for r in self.program.randoms}
        if self.program is None:
            return
        for h in self.program.hypers:
            here = leaf("hyper", h.name, h.type)
            self.intervals["hyper", h.name] = h.interval
            if h.default is not None and h.default.value is not None:
                self.defaults[here] = h.default.value
        for i in self.program.inputs:
            self.intervals["input", i.name] = i.interval

    def world(
        self,
        seed: int,
        sizes: dict[str, int] | None = None,
        given: Mapping[Node, Any] | None = None,
        answer: Callable[[Node], Any] = lambda node: None,
        twins: bool = False,
    ) -> World:
        """A world whose leaves are drawn from here, but for those that are given."""
        return World(
            seed,
            {} if sizes is None else sizes,
            dict(given or {}),
            self.draw,
            self.classes,
            self.laws,
            self.index_sets,
            self.special,
            answer,
            twins=twins,
        )

    def declared(self, here: Node) -> Interval | None:
        """The interval that the rule declares for a leaf, in whichever step it is read."""
        return self.intervals.get((here.role, here.name.split("#")[0])) if here.op == "leaf" else None

    def allows(self, world: World) -> bool:
        """Whether all that was drawn lies where declarations and laws have it; raises `Undecidable` if not known."""
        for here in list(world.values):
            elements = self.index_sets.get(here.name) if here.role == "index" else None
            if elements is not None and world.values[here][1].item() not in world.value(elements)[1]:
                return False  # simpler numbers have made the set smaller
            law = self.laws.get(here.name.split("#")[0]) if here.op == "leaf" and here.role == "draw" else None
            if law is not None and not all(world.truth(x) is True for x in by_law(here, law)):
                return False
            interval = self.declared(here)
            if interval is not None and not all(world.truth(bound) is True for bound in inside(here, interval)):
                return False
        return True

    def sizes(self, seed: int) -> dict[str, int]:
        """Sizes that the premises ask for, a few at most; now and then every axis has one place."""
        if seed % ALONE == ALONE - 1:
            return Sized(1)
        found: dict[str, int] = {}
        for here, (low, high) in self.bounds.items():
            if here.op == "leaf" and here.role == "axis":
                least = 1 if low is None else max(1, ceil(low))
                most = least + 2 if high is None else min(least + 2, floor(high))
                if least <= most <= LARGEST:
                    found[here.name] = random.Random(seed).randint(least, most)
        return found

    def chosen(self, here: Node) -> bool:
        """Whether any number may stand for a leaf: sizes, indices and steps are what they are, draws obey their law."""
        if here.role == "draw":
            law = self.laws.get(here.name.split("#")[0])
            return law is not None and law.law == "normal"
        return here.role not in ("time", "axis", "index")

    def range(self, here: Node) -> Range:
        """The numbers between which premises and the declaration keep a leaf."""
        low, high = self.bounds.get(here, (None, None))
        interval = self.declared(here)
        if interval is not None and interval.low is not None and interval.low.value is not None:
            low = interval.low.value if low is None else max(low, interval.low.value)
        if interval is not None and interval.high is not None and interval.high.value is not None:
            high = interval.high.value if high is None else min(high, interval.high.value)
        return low, high

    def draw(self, here: Node, rng: random.Random) -> Fraction | None:
        """A value for one entry of a leaf, inside its declared or given bounds; None where any number will do."""
        if here.role == "time":
            return Fraction(rng.choice((1, 1, 2, 3, 5)))
        low, high = self.range(here)
        whole = here.type.kind == "int"
        candidates = [*NICE, Fraction(rng.randint(1, 20), rng.choice((1, 2, 5, 10)))]
        if self.declared(here) is not None:
            if here in self.defaults:
                candidates.append(self.defaults[here])
        elif low is None and high is None and not whole:
            return None
        if whole:
            candidates = [Fraction(n) for n in range(-2, 7)]
        elif low is None and high is None:
            candidates += [-c for c in candidates]
        if low is not None:
            candidates += [low, low + 1, low + Fraction(1, 2)]
        if high is not None:
            candidates += [high, high - Fraction(1, 2), high - 1]
        if low is not None and high is not None:
            candidates.append((low + high) / 2)
        fitting = [
            c
            for c in candidates
            if (low is None or c >= low)
            and (high is None or c <= high)
            and (not whole or c.denominator == 1)
            and (here, c) not in self.excluded
        ]
        return rng.choice(fitting) if fitting else low

    def float_range(self, here: Node) -> tuple[float | None, float | None]:
        """The same range in floating point; of the number of a step, the first few."""
        if here.role == "time":
            return 1.0, 5.0
        low, high = self.range(here)
        return (None if low is None else float(low)), (None if high is None else float(high))


def _bounds(premises: Sequence[Node]) -> dict[Node, Range]:
    """Numeric bounds that premises put on single leaves."""
    table: dict[Node, Range] = {}
    for premise in conjuncts(premises):
        if premise.op not in ("lt", "le", "gt", "ge", "eq"):
            continue
        left, right = premise.args
        op = premise.op
        if left.op != "leaf":
            left, right = right, left
            op = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}.get(op, op)
        if left.op != "leaf" or right.value is None:
            continue
        low, high = table.get(left, (None, None))
        if op in ("gt", "ge", "eq"):
            low = right.value if low is None else max(low, right.value)
        if op in ("lt", "le", "eq"):
            high = right.value if high is None else min(high, right.value)
        table[left] = low, high
    return table


def _excluded(premises: Sequence[Node]) -> set[tuple[Node, Fraction]]:
    """The numbers that strict premises forbid to single leaves."""
    return {
        (name, bound.value)
        for premise in conjuncts(premises)
        if premise.op in ("lt", "gt", "ne")
        for name, bound in (premise.args, premise.args[::-1])
        if name.op == "leaf" and bound.value is not None
    }


def _special(premises: Sequence[Node]) -> Special:
    """The shapes of matrices and the zeros of gradients that premises ask for."""
    shapes: dict[Node, set[str]] = {}
    zeros: dict[str, Node] = {}
    for p in conjuncts(premises):
        if p.op == "positive_definite" and p.args[0].op == "leaf":
            shapes.setdefault(p.args[0], set()).add("definite")
        for x, y in (p.args, p.args[::-1]) if p.op == "eq" else ():
            for here, shape in _shaped(x, y):
                shapes.setdefault(here, set()).add(shape)
            asked = x.op == "oracle" and x.attrs[1] in ("gradient", "field") and len(x.args) == 1
            if asked and x.args[0].op == "leaf" and (y.value == 0 or y.op == "zeros"):
                zeros[x.attrs[0]] = x.args[0]
    return Special({here: frozenset(names) for here, names in shapes.items()}, zeros)


def _shaped(x: Node, y: Node) -> Iterator[tuple[Node, str]]:
    """The leaf of which `x == y` says a shape, and the shape."""
    match x.op, x.args:
        case "transpose", (a,) if a.op == "leaf" and y is a:
            yield a, "symmetric"
        case "transpose", (a,) if a.op == "leaf" and y.op == "neg" and y.args[0] is a:
            yield a, "skew"
        case "matmul", (a, b) if a is b and a.op == "leaf" and y is a:
            yield a, "idempotent"
        case "matmul", (a, b) if a is b and a.op == "leaf" and y.op == "eye":
            yield a, "involutory"
        case "matmul", (a, b) if y.op == "eye":
            for turned, plain in ((a, b), (b, a)):
                if turned.op == "transpose" and turned.args[0] is plain and plain.op == "leaf":
                    yield plain, "orthogonal"


class Sized(dict[str, int]):
    """Every axis has the same number of entries, but for those whose name is a number."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> int:
        return int(key) if key.isdigit() else self.size
