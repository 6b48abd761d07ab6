"""Random numbers of a step as torch tensors: the very words that `dotopt.compiler.evaluate.random` has, on any device.

A draw is a function of (seed, step, position in the file, name of the tensor, entry), so a step that is replayed, or
taken by another process, draws the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dotopt.compiler.evaluate.random import MULTIPLIERS, ROUNDS, WEYL

MASK = 0xFFFFFFFF
Shape = Sequence[int] | None


@dataclass(frozen=True, eq=False)
class Draws:
    """The draws of one step for the tensors of a bucket, whose `places` are the words of their names.

    Each law takes the position of the draw and a list of tensors, and gives a list of new ones like them, or of the
    given shape; for None it gives one number, which all tensors share.

    >>> random = Draws(seed=1, step=1, places=[0])
    >>> [signs.tolist() for signs in random.rademacher(0, [torch.zeros(6)])]
    [[1.0, 1.0, 1.0, 1.0, -1.0, 1.0]]
    """

    seed: int
    step: Any  # a number, or a 0-dimensional tensor where `torch.compile` looks on
    places: Sequence[int]
    boxes: Sequence[Any] = ()  # of parts of tensors: the shape of the whole, and which box of it each is

    def normal(
        self, position: int, like: Sequence[Tensor] | None, mean: Any = 0.0, deviation: Any = 1.0, shape: Shape = None
    ) -> Any:
        """Normal numbers, by Box and Muller."""

        def law(u: Tensor, w: Tensor) -> Any:
            return mean + deviation * ((-2 * u.log()).sqrt() * (2 * math.pi * w).cos())

        return self._each(position, like, shape, law)

    def uniform(
        self, position: int, like: Sequence[Tensor] | None, low: Any = 0.0, high: Any = 1.0, shape: Shape = None
    ) -> Any:
        """Uniform numbers between the two ends, which are never drawn."""
        return self._each(position, like, shape, lambda u, w: low + (high - low) * u)

    def bernoulli(self, position: int, like: Sequence[Tensor] | None, chance: Any, shape: Shape = None) -> Any:
        """1 with this chance, else 0."""
        return self._each(position, like, shape, lambda u, w: u < chance)

    def rademacher(self, position: int, like: Sequence[Tensor] | None, shape: Shape = None) -> Any:
        """Fair signs."""
        return self._each(position, like, shape, lambda u, w: torch.where(u < 0.5, -1.0, 1.0))

    def _each(self, position: int, like: Sequence[Tensor] | None, shape: Shape, law: Any) -> Any:
        if like is None:
            return law(*self._uniforms(position, 0, 1, torch.device("cpu"))).item()
        made = []
        for index, (a, place) in enumerate(zip(like, self.places, strict=True)):
            size, box = tuple(a.shape) if shape is None else tuple(shape), None
            if shape is None and self.boxes:
                size, box = self.boxes[index]
            drawn = law(*self._uniforms(position, place, math.prod(size), a.device)).reshape(size).to(a.dtype)
            made.append(drawn if box is None else drawn[box].reshape(a.shape))
        return made

    def _uniforms(self, position: int, place: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Two independent uniform numbers in (0, 1) for each entry."""
        key = self.seed & MASK, (self.seed >> 32) & MASK
        words = philox(torch.arange(count, device=device), self.step, position, place, key)
        wide = torch.float32 if device.type == "mps" else torch.float64
        u, w = ((word.to(wide) + 0.5) / 2**32 for word in words)
        return u, w


def philox(entry: Tensor, step: Any, position: int, place: int, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The first two words of Philox 4x32-10 for each entry, as int64."""
    one = torch.ones_like(entry)
    now = step if isinstance(step, int) else step.to(entry)
    words = [entry & MASK, one * now & MASK, one * position, one * place]
    k0, k1 = key
    for _ in range(ROUNDS):
        c0, c1, c2, c3 = words
        high0, low0 = _product(c0, MULTIPLIERS[0])
        high1, low1 = _product(c2, MULTIPLIERS[1])
        words = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0]
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return words[0], words[1]


def _product(a: Tensor, b: int) -> tuple[Tensor, Tensor]:
    """The high and the low word of a 64-bit product, in steps that fit 63 bits."""
    lower = (a & 0xFFFF) * b
    upper = (a >> 16) * b
    return (upper + (lower >> 16)) >> 16, (((upper & 0xFFFF) << 16) + lower) & MASK
