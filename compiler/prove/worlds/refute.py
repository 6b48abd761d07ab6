"""P1 and P5: counterexamples. Random worlds first, then the models of z3, both evaluated exactly, then shrunk."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from typing import Any

import mpmath
import numpy as np
import z3

from dotopt.compiler.ir import Interval, Node, Program, Random, leaf, node, substitute
from dotopt.compiler.prove.forms.facts import Facts, conjuncts, facts_of
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import within
from dotopt.compiler.prove.forms.smt import check, rational
from dotopt.compiler.prove.statements.unroll import state_leaves, trajectory
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.prove.worlds.swarm import Swarm, Unvectorised
from dotopt.compiler.prove.worlds.world import Special, Undecidable, World
from dotopt.compiler.types import REAL

SAMPLES = 20_000
PRECISE = 120  # digits with which a counterexample with rounded numbers is evaluated again
NICE = [
    Fraction(n, d)
    for n, d in ((0, 1), (1, 1), (1, 2), (2, 1), (1, 10), (9, 10), (3, 1), (1, 4), (3, 4), (5, 1), (99, 100))
]


@dataclass
class Search:
    """Looks for a world in which the premises hold and the goal fails. `points` counts the worlds that qualified."""

    premises: tuple[Node, ...]
    goal: Node
    program: Program | None = None
    classes: dict[str, Any] = field(default_factory=dict)  # of the functions with properties
    index_sets: dict[str, Node] = field(default_factory=dict)
    special: Special = field(default_factory=Special)
    free_states: bool = False  # whether a counterexample may choose the states
    points: int = 0
    intervals: dict[Node, Interval] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.intervals = (
            {}
            if self.program is None
            else {leaf("hyper", h.name, h.type): h.interval for h in self.program.hypers if not h.indices}
            | {leaf("input", i.name, i.type): i.interval for i in self.program.inputs if not i.indices}
        )
        self.defaults = (
            {}
            if self.program is None
            else {
                leaf("hyper", h.name, h.type): h.default.value
                for h in self.program.hypers
                if h.default is not None and h.default.value is not None
            }
        )
        self.bounds = _bounds(self.premises)
        self.excluded = _excluded(self.premises)
        self.laws = {} if self.program is None else {r.name: r for r in self.program.randoms}
        self.special = special_of(self.premises)
        self.reads_states = bool(state_leaves([self.goal])) and self.program is not None
        if state_leaves(list(self.premises)):
            self.free_states = True

    def run(self, seconds: float) -> dict[str, Any] | None:
        """A counterexample, or None after the time is used."""
        deadline = time.process_time() + seconds
        for premises, goal in self._forms(1):
            found = self._random(premises, goal, deadline, 16)
            if found is not None:
                return found
        for premises, goal in self._forms(3):
            found = self._by_model(premises, goal, deadline)
            if found is not None:
                return found
        left: list[tuple[tuple[Node, ...], Node]] = []
        for premises, goal in self._forms(3):
            found, searched = self._by_swarm(premises, goal, deadline)
            if found is not None:
                return found
            if not searched:
                left.append((premises, goal))
        share = max((deadline - time.process_time()) / max(len(left), 1), 0.05)
        for premises, goal in left:
            found = self._random(premises, goal, time.process_time() + share, 300)
            if found is not None:
                return found
        return None

    def quick(self, seconds: float = 0.15) -> dict[str, Any] | None:
        """Only a few random worlds."""
        deadline = time.process_time() + seconds
        for premises, goal in self._forms(2):
            found = self._random(premises, goal, deadline, 8)
            if found is not None:
                return found
        return None

    def _forms(self, steps: int) -> list[tuple[tuple[Node, ...], Node]]:
        """The claim as it stands, and written out for the first steps."""
        forms: list[tuple[tuple[Node, ...], Node]] = []
        known = {x.name for x in self.program.states} if self.program is not None else set()
        if {x.name for x in state_leaves([*self.premises, self.goal])} - known:
            return []  # a state that no equation reads is not in the program, so its values are not known
        if not self.reads_states or self.free_states:
            forms.append((self.premises, self.goal))
        if self.reads_states and self.program is not None and not self.free_states:
            for t, table in enumerate(trajectory(self.program, steps), 1):
                del t
                forms.append((tuple(substitute(p, table) for p in self.premises), substitute(self.goal, table)))
        return forms

    # ---- random worlds ---------------------------------------------------------------------------------------------

    def draw(self, here: Node, rng: random.Random) -> Fraction | None:
        """A value for one entry of a leaf, inside its declared or given bounds."""
        if here.role == "time":
            return Fraction(rng.choice((1, 1, 2, 3, 5)))
        low, high = self.bounds.get(here, (None, None))
        interval = self.intervals.get(here)
        candidates = [*list(NICE), Fraction(rng.randint(1, 20), rng.choice((1, 2, 5, 10)))]
        if interval is not None:
            if interval.low is not None and interval.low.value is not None:
                low = max(low, interval.low.value) if low is not None else interval.low.value
            if interval.high is not None and interval.high.value is not None:
                high = min(high, interval.high.value) if high is not None else interval.high.value
            default = self.defaults.get(here)
            if default is not None:
                candidates.append(default)
        elif low is None and high is None and here.type.kind != "int":
            return None
        if here.type.kind == "int":
            candidates = [Fraction(n) for n in range(-2, 7)]
        if low is None and high is None and here.type.kind != "int":
            candidates += [-c for c in candidates]
        if low is not None:
            candidates += [low, low + 1, low + Fraction(1, 2)]
        if high is not None:
            candidates += [high, high - Fraction(1, 2), high - 1]
        if low is not None and high is not None:
            candidates.append((low + high) / 2)
        fitting = [c for c in candidates if (low is None or c >= low) and (high is None or c <= high)]
        fitting = [c for c in fitting if here.type.kind != "int" or c.denominator == 1]
        fitting = [c for c in fitting if (here, c) not in self.excluded]
        return rng.choice(fitting) if fitting else low

    def _random(self, premises: tuple[Node, ...], goal: Node, deadline: float, most: int) -> dict[str, Any] | None:
        for seed in range(most):
            if time.process_time() > deadline:
                return None
            world = World(
                seed * 7919 + 1,
                draw=self.draw,
                classes=self.classes,
                laws=self.laws,
                index_sets=self.index_sets,
                special=self.special,
            )
            try:
                failed = self._fails(world, premises, goal)
            except (Undecidable, OverflowError):
                if seed > 3 and self.points == 0:
                    return None
                continue
            found = self._found(world, premises, goal) if failed else None
            if found is not None:
                return found
        return None

    def _fails(self, world: World, premises: tuple[Node, ...], goal: Node) -> bool:
        if not all(world.truth(p) is True for p in premises):
            return False
        self.points += 1
        return world.truth(goal) is False

    def _found(self, world: World, premises: tuple[Node, ...], goal: Node) -> dict[str, Any] | None:
        """The report on a world where the goal fails, made simpler; None if it fails by rounding alone."""
        shrunk = self._shrink(world, premises, goal)
        return self._report(shrunk, premises, goal) if self._certain(shrunk, premises, goal) else None

    def _certain(self, world: World, premises: tuple[Node, ...], goal: Node) -> bool:
        """Whether the goal fails with far more digits too, where numbers were rounded."""
        arrays = [array for _, array in (*world.memo.values(), *world.values.values())]
        exact = not any(isinstance(x, mpmath.mpf) for a in arrays if isinstance(a, np.ndarray) for x in a.flat)
        if exact or any(isinstance(array, list) for _, array in world.values.values()):
            return True
        given = {here: array for here, (_, array) in world.values.items() if not here.args}
        again = World(
            world.seed,
            world.sizes,
            given,
            self.draw,
            self.classes,
            self.laws,
            self.index_sets,
            self.special,
            world.answer,
        )
        again.table = dict(world.table)
        try:
            with mpmath.workdps(PRECISE):
                return self._fails(again, premises, goal)
        except (Undecidable, OverflowError):
            return False

    def _shrink(self, world: World, premises: tuple[Node, ...], goal: Node) -> World:
        """The same counterexample with simpler numbers, one leaf after the other."""
        deadline = time.process_time() + 0.5
        best = dict(world.values)
        given = {here: array for here, (_, array) in best.items() if isinstance(array, np.ndarray) and not here.args}
        for here in sorted(given, key=lambda n: n.name):
            for simple in (Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(1, 2)):
                if time.process_time() > deadline or here.type.kind not in ("real", "int") or here.role == "time":
                    break
                if here.type.kind == "int" and simple.denominator != 1:
                    continue
                candidate = dict(given)
                array = np.empty(given[here].shape, dtype=object)
                array[...] = simple
                if (array == given[here]).all():
                    break
                candidate[here] = array
                sizes = world.sizes if isinstance(world.sizes, _Sized) else dict(world.sizes)
                trial = World(
                    world.seed, sizes, candidate, self.draw, self.classes, self.laws, self.index_sets, self.special
                )
                trial.table = dict(world.table)
                try:
                    if self._fails(trial, premises, goal):
                        given, world = candidate, trial
                        break
                except (Undecidable, OverflowError):
                    continue
        return world

    def _report(self, world: World, premises: tuple[Node, ...], goal: Node) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for here, (_, array) in sorted(world.values.items(), key=lambda item: item[0].name):
            if isinstance(array, np.ndarray) and here.role not in ("index", "loop"):
                label = here.name + (f"[{', '.join(map(repr, here.args))}]" if here.args else "")
                values[label] = _shown(array)
        for key in world.touched:
            array = world.table[key]
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

    # ---- many worlds at once --------------------------------------------------------------------------------------

    def _by_swarm(self, premises: tuple[Node, ...], goal: Node, deadline: float) -> tuple[dict[str, Any] | None, bool]:
        """The worst of many samples in floating point, each evaluated exactly; and whether there were enough."""
        qualified = 0
        for seed, size in enumerate((1, 2, 1, 2, 1)):
            if time.process_time() > deadline:
                return None, True
            swarm = Swarm(SAMPLES, seed, self._float_bounds, self.classes, self.laws, size)
            try:
                with np.errstate(all="ignore"):
                    margin = np.nan_to_num(swarm.margin(goal), nan=-1.0)
                    for premise in premises:
                        margin = np.where(swarm.holds(premise), margin, -1.0)
            except Unvectorised:
                return None, False
            qualified += int((margin > -1.0).sum())
            for worst in np.argsort(-margin)[:6]:
                if margin[worst] <= 1e-9:
                    break
                found = self._exactly(swarm, int(worst), premises, goal)
                if found is not None:
                    return found, True
        self.points += qualified
        return None, qualified > 1000

    def _float_bounds(self, here: Node) -> tuple[float | None, float | None]:
        low, high = self.bounds.get(here, (None, None))
        interval = self.intervals.get(here)
        if interval is not None and interval.low is not None and interval.low.value is not None:
            low = interval.low.value if low is None else max(low, interval.low.value)
        if interval is not None and interval.high is not None and interval.high.value is not None:
            high = interval.high.value if high is None else min(high, interval.high.value)
        if here.role == "time":
            return 1.0, 5.0
        return (None if low is None else float(low)), (None if high is None else float(high))

    def _exactly(self, swarm: Swarm, sample: int, premises: tuple[Node, ...], goal: Node) -> dict[str, Any] | None:
        def exact(array: Any) -> Any:
            return np.frompyfunc(lambda v: Fraction(float(v)).limit_denominator(10**6), 1, 1)(np.asarray(array[sample]))

        given = {
            here: _object(exact(v)) for here, v in swarm.drawn.items() if isinstance(here, Node) and here.op == "leaf"
        }
        answers = {
            here: _object(exact(v)) for here, v in swarm.drawn.items() if isinstance(here, Node) and here.op != "leaf"
        }
        world = World(
            0, _Sized(swarm.size), given, self.draw, self.classes, self.laws, self.index_sets, self.special, answers.get
        )
        for key, array in swarm.drawn.items():
            if not isinstance(key, Node) and array is not None:
                place = (key[0], "stiffness") if np.ndim(array) == 1 else key
                world.table[place] = exact(array) if np.ndim(array) == 1 else _object(exact(array))
                if key[1] == "centre":
                    world.table[(key[0], "radius")] = None
                    world.table[(key[0], "offset")] = Fraction(0)
        try:
            if self._fails(world, premises, goal):
                return self._found(world, premises, goal)
        except (Undecidable, OverflowError):
            return None
        return None

    # ---- models of z3 ----------------------------------------------------------------------------------------------

    def _by_model(self, premises: tuple[Node, ...], goal: Node, deadline: float) -> dict[str, Any] | None:
        asked = any(
            here.op in ("oracle", "apply", "conjugate") and here.attrs[0] in self.classes
            for root in (*premises, goal)
            for here in root.walk()
        )
        if asked or time.process_time() > deadline:
            return None
        try:
            with within(max(deadline - time.process_time(), 0.1) / 2):
                facts = facts_of(premises)
                assertions, _ = facts.question(goal)
        except (Unsupported, ArithmeticError, z3.Z3Exception):
            return None
        left = max(deadline - time.process_time(), 0.05)
        result, model = check(assertions, int(min(left * 1000 / 2, 1500)))
        if result != "sat" or model is None:
            return None
        numbers: dict[Any, Fraction] = {}
        for a, variable in facts.smt.variables.items():
            found = model.eval(variable)
            if z3.is_rational_value(found) or z3.is_algebraic_value(found):
                numbers[a] = rational(found)
        given: dict[Node, Any] = {}
        for here in dict.fromkeys(n for part in (*premises, goal) for n in part.walk()):
            if (
                here.op == "leaf"
                and here.role not in ("axis", "set", "index", "loop", "identity")
                and (here.role != "draw" or self.laws.get(here.name.split("#")[0], _NO_LAW).law == "normal")
            ):
                value = self._model_value(facts, here, numbers)
                if value is not None and (here.type.kind != "int" or value.denominator == 1):
                    given[here] = value if here.type.kind != "bool" else bool(value)

        def answer(here: Node) -> Fraction | None:
            return self._model_value(facts, here, numbers) if here in facts.normal.done else None

        for seed, places in product(range(4), (None, 3, 2)):  # what the model leaves open is drawn
            rounded = {k: _round(v, places) for k, v in given.items()}
            world = World(
                seed,
                _Sized(1),
                rounded,
                self.draw,
                {},
                self.laws,
                self.index_sets,
                self.special,
                answer if places is None else _nothing,
            )
            try:
                if self._fails(world, premises, goal):
                    return self._found(world, premises, goal)
            except (Undecidable, OverflowError):
                continue
        return None

    def _model_value(self, facts: Facts, here: Node, numbers: dict[Any, Fraction]) -> Fraction | None:
        try:
            terms = facts.normal(here).terms
        except (Unsupported, ArithmeticError):
            return None
        if len(terms) == 1 and len(terms[0][0]) == 1 and terms[0][0][0][1] == 1 and terms[0][1] == 1:
            return numbers.get(terms[0][0][0][0])
        return None


def special_of(premises: Sequence[Node]) -> Special:
    """The orthogonal and symmetric matrices and the zeros of gradients that premises ask for."""
    orthogonal: set[Node] = set()
    symmetric: set[Node] = set()
    zeros: dict[str, Node] = {}
    for p in conjuncts(premises):
        if p.op != "eq":
            continue
        for x, y in (p.args, p.args[::-1]):
            if y.op == "eye" and x.op == "matmul":
                a, b = x.args
                if a.op == "transpose" and a.args[0] is b and b.op == "leaf":
                    orthogonal.add(b)
                if b.op == "transpose" and b.args[0] is a and a.op == "leaf":
                    orthogonal.add(a)
            if x.op == "transpose" and x.args[0] is y and y.op == "leaf":
                symmetric.add(y)
            asked = x.op == "oracle" and x.attrs[1] in ("gradient", "field") and len(x.args) == 1
            if asked and x.args[0].op == "leaf" and (y.value == 0 or y.op == "zeros"):
                zeros[x.attrs[0]] = x.args[0]
    return Special(frozenset(orthogonal), frozenset(symmetric), zeros)


_NO_LAW = Random("", REAL, "", (), 0)


class _Sized(dict[str, int]):
    """Every axis has the same number of entries."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> int:
        return self.size


def _object(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x
    array = np.empty((), dtype=object)
    array[()] = x
    return array


def _nothing(here: Node) -> None:
    return None


def _round(x: Any, places: int | None) -> Any:
    if places is None or not isinstance(x, Fraction):
        return x
    return Fraction(round(x * 10**places), 10**places)


def _number(x: Any) -> Any:
    return Fraction(x) if isinstance(x, str) else x


def _bounds(premises: Sequence[Node]) -> dict[Node, tuple[Fraction | None, Fraction | None]]:
    """Numeric bounds that premises put on single leaves."""
    table: dict[Node, tuple[Fraction | None, Fraction | None]] = {}
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


__all__ = ["Search", "node"]
