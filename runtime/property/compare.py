"""A backend beside the reference, step by step: finite numbers to a tolerance, non-finite ones in place and in kind.

Gradients must be left as they were.

A place (an entry of a tensor) is lost once the parameter or a state there is not finite. The backend must lose the
same places at the same step, and never show the opposite infinity. An infinity may show as NaN: `lerp`, which torch
uses for running means, computes the difference of its ends, and ∞ - ∞ is NaN. From that step on nothing is compared
there, nor anywhere else in a tensor whose entries depend on each other. One place is left out from the start:
sign(NaN) is 0 in torch and NaN elsewhere, so rules that take signs are not compared where a gradient is NaN, on the
torch backend.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from dotopt.runtime.property.example import Array, Example, decomposed, takes_bases, takes_signs
from dotopt.runtime.property.runs import Machine, Reference, Values
from dotopt.runtime.property.tolerance import LOOKS, ROUNDINGS, SPREAD, Tolerance
from dotopt.runtime.property.tolerance import tolerance as tolerated


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a backend first differs: `name` is the parameter or a state of tensor `tensor`, `place` the entry."""

    step: int
    tensor: int
    name: str
    place: tuple[int, ...]
    reference: float
    backend: float
    allowed: float


class Spread:
    """How far the reference moves if its data are off by a few roundings; run when something first differs."""

    def __init__(self, cls: type[Any], example: Example, tolerance: Tolerance) -> None:
        jitter = ROUNDINGS * tolerance.rounding
        self.runs = [Reference(cls, example, tolerance, jitter, seed) for seed in range(LOOKS)]
        self.done = 0

    def at(self, step: int, tensor: int, name: str, stored: list[list[Array]] | None) -> list[Array]:
        """The values after a step, of all runs."""
        while self.done <= step:
            for run in self.runs:
                if stored is not None:
                    for k, values in enumerate(stored[self.done]):
                        run.continue_from(k, values)
                run.step(self.done)
            self.done += 1
        return [run.values(tensor)[name] for run in self.runs]


def difference(cls: type[Any], example: Example, machine: Machine) -> Difference | None:
    """The first difference between a run on a backend and the reference, or None."""
    backend = machine.backend
    tolerance = tolerated(example.dtype, backend)
    reference = Reference(cls, example, tolerance)
    low = tolerance.stored != tolerance.computed
    stored: list[list[Array]] | None = [] if low else None
    spread: Spread | None = None
    tensors = [k for k, start in enumerate(example.starts) if start.size]
    gone = [np.zeros(start.shape, bool) for start in example.starts]
    signs = backend == "torch" and any(map(takes_signs, reference.programs))
    for step in range(len(example.gradients)):
        before = [machine.values(k) for k in range(len(example.starts))]
        if stored is not None:
            stored.append([kept[reference.name] for kept in before])
            for k in tensors:
                reference.continue_from(k, stored[-1][k])
        reference.step(step)
        try:
            machine.step(step)
        except RuntimeError as error:
            if "linalg" not in str(error):
                raise
            if any(_lost(reference.values(k), example.starts[k].shape).any() for k in tensors):
                return None  # LAPACK refuses numbers that are not finite
            raise
        for k in tensors:
            left = machine.gradient(k, step)
            if left is not None and not np.array_equal(*left, equal_nan=True):
                (first, *_) = np.argwhere((left[0] != left[1]) & ~(np.isnan(left[0]) & np.isnan(left[1])))
                at = tuple(int(i) for i in first)
                return Difference(step, k, "gradient", at, float(left[0][at]), float(left[1][at]), 0.0)
        for k, g in enumerate(example.gradients[step]):
            if signs and g is not None:
                gone[k] |= np.isnan(g) if reference.entrywise[k] else bool(np.isnan(g).any())
        for k in tensors:
            here = _compared(reference, machine, k, before[k], gone[k] | reference.outside[k], tolerance)
            for name, place, wanted, got, allowed in here:
                spread = spread or Spread(cls, example, tolerance)
                seen = [np.broadcast_to(v, np.shape(wanted))[place] for v in spread.at(step, k, name, stored)]
                allowed += SPREAD * max((abs(v - wanted[place]) for v in seen if np.isfinite(v)), default=0.0)
                undecided = any(np.isfinite(v) != np.isfinite(wanted[place]) for v in seen)
                if undecided or abs(got[place] - wanted[place]) <= allowed:
                    continue
                return Difference(step, k, name, place, float(wanted[place]), float(got[place]), allowed)
            gone[k] |= _lost(reference.values(k), reference.example.starts[k].shape)
            gone[k] |= _lost(machine.values(k), reference.example.starts[k].shape)
            if not reference.entrywise[k] and gone[k].any():
                gone[k][...] = True
        if reference.together and any(mask.any() for mask in gone):
            for mask in gone:
                mask[...] = True
    return None


def _lost(values: Values, shape: tuple[int, ...]) -> Any:
    """The places where something kept is not finite."""
    lost = np.zeros(shape, bool)
    for value in values.values():
        bad = ~np.isfinite(value)
        if bad.any():
            lost |= bad.reshape(shape) if bad.size == lost.size else True
    return lost


def _compared(
    reference: Reference, machine: Machine, k: int, before: Values, left_out: Any, tolerance: Tolerance
) -> Iterator[tuple[str, tuple[int, ...], Array, Array, float]]:
    """The candidates for a difference: (name, place, reference, backend, allowed)."""
    wanted, got = reference.values(k), machine.values(k)
    shape = reference.example.starts[k].shape
    lost, theirs = _lost(wanted, shape), _lost(got, shape)
    if not reference.entrywise[k] and lost.any() and (theirs.any() or decomposed(reference.programs[k])):
        # what is lost may be an infinity in one and NaN in the other, and the other entries follow from it;
        # a singular matrix has no power or inverse, and each library has its own way to say so
        return
    kept = [reference.name] if any(map(takes_bases, reference.programs)) else wanted
    for name in [n for n in kept if n in got]:
        w, g = np.asarray(wanted[name]), np.asarray(got[name])
        if w.size != g.size:
            yield name, (0,) * w.ndim, np.full(w.shape, float(w.size)), np.full(w.shape, float(g.size)), 0.0
            continue
        g = g.reshape(w.shape)
        entry = w.size == left_out.size
        skip = left_out.reshape(w.shape) if entry else np.full(w.shape, bool(left_out.any()))
        one_lost = (
            lost.reshape(w.shape) != theirs.reshape(w.shape) if entry else np.full(w.shape, lost.any() != theirs.any())
        )
        old = np.asarray(before.get(name, np.zeros(w.shape)))
        old = old.reshape(w.shape) if old.size == w.size else np.zeros(w.shape)
        relative = tolerance.parameter if name == reference.name else tolerance.state
        with np.errstate(all="ignore"):
            scale = np.maximum(np.abs(w), np.where(np.isfinite(old), np.abs(old), 0))
            allowed = relative * scale + tolerance.absolute
            both = np.isfinite(w) & np.isfinite(g)
            opposite = np.isinf(w) & np.isinf(g) & (w != g)
            split = one_lost & (np.isfinite(w) != np.isfinite(g))
            gone = (lost & theirs).reshape(w.shape) if entry else np.full(w.shape, bool((lost & theirs).any()))
            bad = ~skip & (np.where(both, (np.abs(w - g) > allowed) & ~gone, opposite) | split)
        for place in zip(*np.nonzero(bad), strict=True) if w.ndim else ([()] if bad else []):
            at = tuple(int(i) for i in place)
            yield name, at, w, g, float(allowed[at])
