"""P1 and P5: counterexamples. Random worlds first, then the models of z3, both evaluated exactly, then shrunk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dotopt.compiler.ir import Node, Program
from dotopt.compiler.prove.fuel import Mark, until
from dotopt.compiler.prove.statements.reached import Form, Reached
from dotopt.compiler.prove.worlds.arrays import Undecidable
from dotopt.compiler.prove.worlds.ends import at_ends
from dotopt.compiler.prove.worlds.models import modelled, sampled
from dotopt.compiler.prove.worlds.setting import Setting
from dotopt.compiler.prove.worlds.swarm import Swarm, Unvectorised
from dotopt.compiler.prove.worlds.witness import witness
from dotopt.compiler.prove.worlds.world import World

TWINS = 5  # of so many random worlds one has one value for all leaves of a type
SAMPLES = 20_000
ENOUGH = 1000  # samples that fulfil the premises, for a swarm to have searched


@dataclass
class Search:
    """Looks for a world in which the premises hold and the goal fails. `points` counts the worlds that qualified."""

    premises: tuple[Node, ...]
    goal: Node
    program: Program | None = None
    classes: dict[str, Any] = field(default_factory=dict)  # of the functions with properties
    index_sets: dict[str, Node] = field(default_factory=dict)
    reached: Reached | None = None  # None: the premises and the goal are to be taken as they stand
    points: int = 0

    def __post_init__(self) -> None:
        self.setting = Setting(self.premises, self.program, self.classes, self.index_sets)

    def run(self, fuel: float) -> dict[str, Any] | None:
        """A counterexample, or None after the time is used."""
        end = until(fuel)
        for form in self._forms(1):
            found = self._random(form, end, 16)
            if found is not None:
                return found
        for form in self._forms(1):
            found = self._first(at_ends(self.setting, form[0]), form)
            if found is not None:
                return found
        for form in self._forms(3):
            found = self._first(modelled(self.setting, *form, end), form)
            if found is not None:
                return found
        left: list[Form] = []
        for form in self._forms(3):
            found, searched = self._by_swarm(form, end)
            if found is not None:
                return found
            if not searched:
                left.append(form)
        share = max(end.left / max(len(left), 1), 50_000)
        for form in left:
            found = self._random(form, until(share), 300)
            if found is not None:
                return found
        return None

    def quick(self, fuel: float = 150_000) -> dict[str, Any] | None:
        """Only a few random worlds."""
        end = until(fuel)
        for form in self._forms(2):
            found = self._random(form, end, 8)
            if found is not None:
                return found
        return None

    def _forms(self, steps: int) -> list[Form]:
        """The claim as it stands, or written out for the first steps."""
        if self.reached is None:
            return [(self.premises, self.goal)]
        return self.reached.forms(self.premises, self.goal, steps)

    def _random(self, form: Form, end: Mark, most: int) -> dict[str, Any] | None:
        for seed in range(most):
            if end.passed:
                return None
            world = self.setting.world(seed * 7919 + 1, self.setting.sizes(seed), twins=seed % TWINS == TWINS - 1)
            try:
                failed = self._fails(world, form)
            except (Undecidable, OverflowError):
                if seed > 3 and self.points == 0:
                    return None
                continue
            found = self._witness(world, form) if failed else None
            if found is not None:
                return found
        return None

    def _by_swarm(self, form: Form, end: Mark) -> tuple[dict[str, Any] | None, bool]:
        """The worst of many samples in floating point, each evaluated exactly; and whether there were enough."""
        premises, goal = form
        qualified = 0
        for seed, size in enumerate((1, 2, 1, 2, 1)):
            if end.passed:
                return None, True
            swarm = Swarm(SAMPLES, seed, self.setting.float_range, self.classes, self.setting.laws, size)
            try:
                with np.errstate(all="ignore"):
                    margin = np.nan_to_num(swarm.margin(goal), nan=-1.0)
                    for premise in premises:
                        margin = np.where(swarm.holds(premise), margin, -1.0)
            except Unvectorised:
                return None, False
            qualified += int((margin > -1.0).sum())
            worst = [int(i) for i in np.argsort(-margin)[:6] if margin[i] > 1e-9]
            found = self._first((sampled(self.setting, swarm, i) for i in worst), form)
            if found is not None:
                return found, True
        self.points += qualified
        return None, qualified > ENOUGH

    def _first(self, worlds: Iterable[World], form: Form) -> dict[str, Any] | None:
        """The report on the first of these worlds in which the goal fails."""
        for world in worlds:
            try:
                found = self._witness(world, form) if self._fails(world, form) else None
            except (Undecidable, OverflowError):
                continue
            if found is not None:
                return found
        return None

    def _fails(self, world: World, form: Form) -> bool:
        premises, goal = form
        if not all(world.always(p) is True for p in premises):
            return False
        self.points += 1
        return world.truth(goal) is False and self.setting.allows(world)

    def _witness(self, world: World, form: Form) -> dict[str, Any] | None:
        return witness(self.setting, world, form[1], lambda other: self._fails(other, form))
