"""Runs of one example: on a backend, and in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch

from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.ir import REDUCTIONS, Node, Program
from dotopt.runtime.property.example import (
    Array,
    Example,
    answered,
    curved,
    decomposed,
    entrywise,
    own,
    program,
    programs,
    together,
)
from dotopt.runtime.property.layered import Hooked, layered, seen
from dotopt.runtime.property.pieces import small_pieces
from dotopt.runtime.property.tolerance import Tolerance

Values = dict[str, Array]  # the parameter under its own name, and the states


class Machine:
    """An example on a backend; `step(k)` takes step k, `values(k)` are the numbers of tensor k."""

    def __init__(self, cls: type[Any], example: Example, backend: str) -> None:
        self.example, self.backend = example, backend
        self.dtype = getattr(torch, example.dtype)
        step = programs(cls, example, [example.starts[0].ndim])[0]
        self.params = [torch.tensor(start, dtype=self.dtype, requires_grad=True) for start in example.starts]
        if layered(step):
            self.params = [torch.nn.Parameter(p.detach()) for p in self.params]
        named = [(str(k), p) for k, p in enumerate(self.params)]  # draws depend on names
        groups = [
            {"params": [pair for pair, member in zip(named, example.members, strict=True) if member == index], **hypers}
            for index, hypers in enumerate(example.groups)
        ]
        more = {"foreach": example.foreach, "maximize": example.maximize, "backend": backend}
        self.optimizer = cls(groups, **example.options, **more)
        self.rule = cls.rule
        self.hooked = Hooked(self.optimizer, self.params) if layered(step) else None
        self.elsewhere, self.operator = bool(cls.rule.reasons), answered(step)[0] == "operator"
        self.curved = curved(step)

    @property
    def on_kernels(self) -> bool:
        """Whether kernels have taken a step, and not torch's code in their place."""
        return bool(self.optimizer._buckets)

    def step(self, k: int) -> None:
        """Step k, with the gradients of the example or with the objective that they shape."""
        shifts = self.example.gradients[k]
        if not self.elsewhere:
            if self.hooked is not None:
                self.hooked.backward(shifts)
            else:
                for p, g in zip(self.params, shifts, strict=True):
                    p.grad = None if g is None else torch.tensor(g, dtype=self.dtype)
            with small_pieces(self.example.small):
                self.optimizer.step()
            return

        def closure() -> Any:
            self.optimizer.zero_grad()
            if self.operator:
                for p, a in zip(self.params, shifts, strict=True):
                    p.grad = (p + torch.tensor(a, dtype=self.dtype) + p.sin()).detach()
                return 0.0
            loss = torch.zeros((), dtype=self.dtype)
            for p, a in zip(self.params, shifts, strict=True):
                loss = loss + (p * p / 2 + torch.tensor(a, dtype=self.dtype) * p - torch.cos(p)).sum()
            if not self.curved:
                loss.backward()
            return loss

        with small_pieces(self.example.small):
            self.optimizer.step(closure)

    def gradient(self, k: int, step: int) -> tuple[Array, Array] | None:
        """The gradient of tensor k in a step, as given and as the step left it; None if there was none to leave."""
        given = self.example.gradients[step][k]
        if self.elsewhere or self.hooked is not None or given is None:
            return None
        return given, _array(self.params[k].grad)

    def values(self, k: int) -> Values:
        """The parameter and the states of tensor k."""
        p = self.params[k]
        found = {self.rule.pattern.name: _array(p)}
        kept = self.optimizer.state.get(p, {})
        names = {s.key: s.name for step in self.rule.steps.values() for s in step.states}
        for key, value in kept.items():
            if key in names:
                found[names[key]] = _array(value)
        return found


def _array(value: Any) -> Array:
    return np.asarray(value.detach().double().numpy()) if isinstance(value, torch.Tensor) else np.asarray(float(value))


class Watched(Simulation):
    """A simulation that notes which numbers leave a range, and can disturb every number that depends on tensors."""

    jitter = 0.0
    rng = np.random.default_rng(0)
    limits = 0.0, np.inf
    watching = True
    off: dict[int, list[Any]] = {}
    decomposed: frozenset[Node] = frozenset()

    def computed(self, here: Node, tensor: int, value: Any) -> Any:
        """The value, off by up to `jitter`, relative; zeros stay."""
        value = np.asarray(value) if isinstance(value, np.float64) else value  # as sums give it
        if not isinstance(value, np.ndarray) or value.dtype != np.float64 or here.type.kind != "real":
            return value
        if not varying(here):
            return value
        if self.watching:
            size = np.abs(value)
            off = np.isfinite(value) & (value != 0) & ((size < self.limits[0]) | (size > self.limits[1]))
            if here.op in REDUCTIONS:  # libraries scale sums of squares, which then do not overflow
                off |= np.isinf(value)
            if off.any():
                self.off.setdefault(tensor, []).append(off)
        if not self.jitter:
            return value
        if here in self.decomposed and value.ndim > 1:
            noise = self.rng.uniform(-1, 1, value.shape) * np.linalg.norm(value, axis=(-2, -1), keepdims=True)
            square = value.shape[-1] == value.shape[-2]
            with np.errstate(invalid="ignore"):
                return value + self.jitter * ((noise + np.swapaxes(noise, -1, -2)) / 2 if square else noise)
        return value * (1 + self.jitter * self.rng.uniform(-1, 1, value.shape))


@cache
def varying(here: Node) -> bool:
    """Whether a number follows from tensors: the others are computed on the host, in float64."""
    if here.op == "leaf":
        return here.role in ("param", "state", "input", "draw", "loop")
    return here.op in ("oracle", "apply") or any(varying(child) for child in here.children)


class Reference:
    """An example in the reference; with `jitter` its data are off by a few roundings, again after every step."""

    def __init__(
        self, cls: type[Any], example: Example, tolerance: Tolerance, jitter: float = 0.0, seed: int = 0
    ) -> None:
        self.example, self.tolerance = example, tolerance
        self.name = cls.rule.pattern.name
        chosen = tuple(example.options[option.keyword] for option in cls.rule.options)
        ranks = [start.ndim for start in example.starts]
        self.programs = programs(cls, example, ranks)
        self.together = any(map(together, self.programs))
        self.entrywise = [entrywise(step) for step in self.programs]
        self.elsewhere = bool(cls.rule.reasons)
        everyone = list(range(len(ranks)))
        self.layered = any(map(layered, self.programs))
        parts = (
            [everyone]
            if self.together
            else [[k] for k in everyone]
            if self.layered
            else [[k for k in everyone if example.members[k] == index] for index in range(len(example.groups))]
        )
        self.parts: list[tuple[list[int], Watched]] = []
        for part in parts:
            hypers = example.groups[example.members[part[0]]]
            starts = {k: example.starts[k] for k in part}
            known, seed_ = own(self.programs[part[0]], hypers)
            simulation = Watched(lambda rank: program(cls.origin, chosen, max(rank, 1)), starts, known, seed=seed_)
            simulation.jitter, simulation.rng = jitter, np.random.default_rng(seed)
            simulation.decomposed = frozenset[Node]().union(*map(decomposed, simulation.programs))
            simulation.watching = not jitter
            simulation.members = [example.members[k] for k in part]
            if tolerance.low is not None and tolerance.high is not None:
                simulation.limits = tolerance.low, tolerance.high
            self.parts.append((part, simulation))
        self.outside = [np.zeros(start.shape, bool) for start in example.starts]

    def step(self, k: int) -> None:
        """Step k."""
        sign = -1.0 if self.example.maximize else 1.0
        for part, simulation in self.parts:
            shifts = {i: None if (g := self.example.gradients[k][i]) is None or g.size == 0 else g for i in part}
            simulation.off = {}
            if self.layered:
                if (shift := shifts[part[0]]) is not None:
                    (weight,) = simulation.values
                    simulation.step(**seen(self.programs[part[0]], weight, shift, sign, part[0]))
            elif not self.elsewhere:
                simulation.step({i: None if g is None else sign * g for i, g in shifts.items()})
            else:
                simulation.step(oracles=_objective(self.programs[part[0]], shifts, sign))
            self._mark(part, simulation)

    def values(self, k: int) -> Values:
        """The parameter and the states of tensor k."""
        part, simulation = self._of(k)
        at = part.index(k)
        found = {n: v for n, v in simulation.stored[at].items() if isinstance(v, np.ndarray)}
        return found | {self.name: simulation.values[at].reshape(self.example.starts[k].shape)}

    def continue_from(self, k: int, values: Array) -> None:
        """Let tensor k stand where a backend has stored it."""
        part, simulation = self._of(k)
        at = part.index(k)
        simulation.values[at] = values.reshape(simulation.values[at].shape)

    def _of(self, k: int) -> tuple[list[int], Watched]:
        return next((part, simulation) for part, simulation in self.parts if k in part)

    def _mark(self, part: list[int], simulation: Watched) -> None:
        """Mark the places where a number of the last step has left the range of the backend's dtype."""
        for at, k in enumerate(part):
            mine = self.outside[k]
            for off in simulation.off.get(at, ()):
                if self.entrywise[k] and off.size == mine.size:
                    mine |= off.reshape(mine.shape)
                else:
                    mine[...] = True
            mine |= (np.abs(simulation.values[at]) > self.tolerance.largest / 2).reshape(mine.shape)
            if not self.entrywise[k] and mine.any():
                mine[...] = True
        if self.together and any(mask.any() for mask in self.outside):
            for mask in self.outside:
                mask[...] = True


def _objective(step: Program, shifts: Mapping[int, Array | None], sign: float) -> dict[str, Any]:
    """f(x) = Σ ½x² + a x - cos x, whose gradient and Hessian differ from place to place; operators are its gradient."""
    word, name = answered(step)

    def each(function: Any) -> Any:
        return lambda points, *rest: {
            i: np.asarray(sign * function(np.asarray(x), shifts[i], *(r[i] for r in rest))) for i, x in points.items()
        }

    gradient = each(lambda x, a: x + a + np.sin(x))
    if word == "operator":
        return {name: gradient}

    def value(points: Mapping[int, Any]) -> float:
        terms = each(lambda x, a: np.sum(x * x / 2 + a * x - np.cos(x)))(points)
        return float(sum(terms.values()))

    return {
        name: value,
        f"∇{name}": gradient,
        f"∇²{name}": each(lambda x, a, v: (1 + np.cos(x)) * v),
    }
