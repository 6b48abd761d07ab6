"""Claims of the nested and sequence rules at random points: what they show holds to rounding, what they refute fails.

Not a proof (`dotopt check` looks for those): a second opinion that shares no algebra with the prover.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotopt.compiler.evaluate.frame import Frame, World
from dotopt.compiler.ir import Node
from dotopt.compiler.prove.statements.cases import cases
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library, load

STDLIB = Path(__file__).parent.parent / "stdlib"
LIBRARY = Library()
SIZES = {1: 3, 2: 4, 3: 2}  # rest axes
POINTS = 40
TOLERANCE = 1e-9


class Unanswered(Exception):
    """The claim needs something that a random world does not have."""


class Random(World):
    """Every leaf a random value inside its declared range; sizes are small and all different."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case, self.rng = case, np.random.default_rng(seed)
        self.given: dict[Node, Any] = {}
        asked = (p.args for p in case.premises if p.op == "eq" and p.args[0].role == "axis")  # a vector has one column
        self.axes = {axis.name: int(n.value) for axis, n in asked if n.value is not None}
        self.intervals = {h.name: h.interval for h in case.program.hypers} | {
            i.name: i.interval for i in case.program.inputs
        }
        self.units = {p.args[i].args[0] for p in case.premises if p.op == "eq" for i in (0, 1) if _is_one(p, i)}

    def leaf(self, here: Node, tensor: int, frame: Frame) -> Any:
        if here not in self.given:
            self.given[here] = self._drawn(here, tensor, frame)
        return self.given[here]

    def _drawn(self, here: Node, tensor: int, frame: Frame) -> Any:
        if here.role == "axis":
            return np.asarray(float(self.size(here.name, tensor)))
        if here.role == "time":
            return np.asarray(float(self.rng.integers(1, 6)))
        if here.type.kind == "int":
            return np.asarray(float(self.rng.integers(1, 5)))
        low, high = self._range(here, frame)
        shape = frame.shape(here.type.axes, tensor)
        if here in self.units:
            value = self.rng.normal(size=shape)
            return value / np.linalg.norm(value)
        if math.isinf(low) and math.isinf(high):
            return self.rng.normal(size=shape)
        if math.isinf(high):
            return low + np.exp(self.rng.normal(size=shape) - 0.5)
        if math.isinf(low):
            return high - np.exp(self.rng.normal(size=shape) - 0.5)
        return self.rng.uniform(low, high, size=shape)

    def _range(self, here: Node, frame: Frame) -> tuple[float, float]:
        low, high = -math.inf, math.inf
        for premise in self.case.premises:
            if premise.op in ("le", "lt", "ge", "gt") and premise.args[0] is here and premise.args[1] is not here:
                try:
                    bound = float(frame.value(premise.args[1]))
                except (KeyError, RecursionError):
                    continue
                if premise.op in ("le", "lt"):
                    high = min(high, bound)
                else:
                    low = max(low, bound)
        return low, high

    def size(self, axis: str, tensor: int) -> int:
        if axis.isdigit():
            return int(axis)
        return self.axes.setdefault(axis, 2 + len(self.axes))

    def rest(self, tensor: int) -> tuple[int, ...]:
        return (5,)

    def elements(self, index: Node) -> tuple[Any, ...]:
        return (1, 2, 3)

    def window(self, here: Node, tensor: int, frame: Frame) -> Any:
        if float(frame.value(here.args[1], tensor)) != 1:
            raise Unanswered("a window of several steps")
        return frame.value(here.args[0], tensor)

    def ask(self, here: Node, tensor: int, frame: Frame) -> Any:
        if here.op in ("oracle", "apply") and here.type.kind == "real":
            return self._answers(here, tensor, frame)
        raise Unanswered(here.op)

    def _answers(self, here: Node, tensor: int, frame: Frame) -> Any:
        if here not in self.given:
            self.given[here] = self.rng.normal(size=frame.shape(here.type.axes, tensor))
        return self.given[here]


def _is_one(premise: Node, position: int) -> bool:
    return premise.args[position].op == "norm" and premise.args[1 - position].value == 1


def holds(here: Node, frame: Frame) -> bool:
    """Whether a statement is true in this world, equality to rounding."""
    match here.op:
        case "and":
            return all(holds(a, frame) for a in here.args)
        case "or":
            return any(holds(a, frame) for a in here.args)
        case "eq" | "ne":
            left, right = (np.asarray(frame.value(a), dtype=float) for a in here.args)
            scale = 1 + np.nanmax(np.abs(right), initial=0)
            equal = bool(np.allclose(left, right, rtol=0, atol=TOLERANCE * scale, equal_nan=True))
            return equal == (here.op == "eq")
        case "le" | "lt" | "ge" | "gt":
            left, right = (np.asarray(frame.value(a), dtype=float) for a in here.args)
            low, high = (left, right) if here.op in ("le", "lt") else (right, left)
            return bool(np.all(low <= high + TOLERANCE * (1 + np.max(np.abs(high), initial=0))))
    return bool(np.all(frame.value(here)))


def verdicts(file: s.File, claim: s.Claim) -> list[tuple[int, int, bool]]:
    """(points that satisfy the premises, points where the goal holds, whether it is to be refuted), goal by goal."""
    found = []
    for case in cases(file, claim, LIBRARY, every_option=True):
        for show in (c for c in claim.body if isinstance(c, s.Show)):
            if not isinstance(show.goal, s.Holds) or show.goal.all_steps:
                raise Unanswered("not a plain statement")
            goal = case.value(show.goal.condition)
            if any(here.type.kind in ("list", "set") for here in goal.walk()):
                raise Unanswered("lists")
            if goal.op == "bool":
                found.append((1, int(bool(goal.attrs[0])), show.refute))
                continue
            tried = true = 0
            for seed in range(POINTS):
                world = Random(case, seed)
                frame = Frame(world)
                premises = [p for p in case.premises if p.op != "bool"]
                if all(holds(p, frame) for p in premises):
                    tried += 1
                    true += holds(goal, frame)
            found.append((tried, true, show.refute))
    return found


FILES = sorted((STDLIB / "nested").glob("*.opt")) + sorted((STDLIB / "sequence").glob("*.opt"))
CLAIMS = [(path, claim.name) for path in FILES for claim in load(path).claims]


@pytest.mark.parametrize(("path", "name"), CLAIMS, ids=[f"{p.stem}-{n}" for p, n in CLAIMS])
def test_a_claim_at_random_points(path: Path, name: str) -> None:
    file = load(path)
    (claim,) = (c for c in file.claims if c.name == name)
    try:
        found = verdicts(file, claim)
    except Unanswered as reason:
        pytest.skip(str(reason))
    assert found, "no choice of options satisfies the premises"
    for tried, true, refute in found:
        assert tried > 0, "no random point satisfies the premises"
        assert true < tried if refute else true == tried, f"true at {true} of {tried} points"
