"""The draws of a step that has no tensors with names: numbers of (seed, step, position in the file, place, entry).

They are the very numbers of the reference interpreter, on any device and with any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dotopt.compiler.evaluate.random import place
from dotopt.runtime.optimizer.draws import MASK, philox

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Draws:
    """What one step draws. `samples` are what the user hands over for `~ batch`, by name.

    `runs` independent runs draw with the seeds `seed`, `seed + 1`, …, along a first axis.

    >>> random = Draws(seed=0, step=1)
    >>> random.permutation(0, range(1, 4))
    (3, 1, 2)
    """

    seed: int
    step: int
    dtype: torch.dtype = torch.float64
    device: Any = "cpu"
    samples: Mapping[str, Any] = field(default_factory=dict)
    runs: int | None = None

    def normal(self, position: int, shape: Shape, mean: Any = 0.0, deviation: Any = 1.0, path: Shape = ()) -> Any:
        """Normal numbers, by Box and Muller."""
        u, w = self._uniforms(position, shape, path)
        standard = (-2 * u.log()).sqrt() * (2 * math.pi * w).cos()
        return self._moved(standard, shape, mean, deviation)

    def uniform(self, position: int, shape: Shape, low: Any = 0.0, high: Any = 1.0, path: Shape = ()) -> Any:
        """Uniform numbers between the two ends, which are never drawn."""
        u, _ = self._uniforms(position, shape, path)
        return self._moved(u, shape, low, high - low)

    def bernoulli(self, position: int, shape: Shape, chance: Any, path: Shape = ()) -> Any:
        """True with this chance."""
        u, _ = self._uniforms(position, shape, path)
        return u < chance if shape or self.runs is not None else bool(u < chance)

    def rademacher(self, position: int, shape: Shape, path: Shape = ()) -> Any:
        """Fair signs."""
        u, _ = self._uniforms(position, shape, path)
        return self._number(torch.where(u < 0.5, -1.0, 1.0).to(self.dtype), shape)

    def choose(self, position: int, elements: Sequence[int], count: Any, path: Shape = ()) -> tuple[int, ...]:
        """`count` different elements, in their own order. Raises ValueError for more than there are."""
        if int(count) > len(elements):
            raise ValueError(f"{int(count)} of {len(elements)} elements cannot be chosen without repetition")
        return tuple(elements[i] for i in sorted(self._order(position, elements, path)[: int(count)]))

    def permutation(self, position: int, elements: Sequence[int], path: Shape = ()) -> tuple[int, ...]:
        """All elements, in random order."""
        return tuple(elements[i] for i in self._order(position, elements, path))

    def sample(self, name: str, at: Tensor | None = None, path: Shape = ()) -> Any:
        """What the user gave for the draw `name`.

        What is played is played at the point `at`; what differs from place to place is asked for with the step and
        the place: the party and the pass of each loop around it.
        """
        given = self.samples[name]
        match given:
            case Played(play):
                return play(at)
            case Placed(draw):
                return draw(self.step, *path)
        return given

    def _order(self, position: int, elements: Sequence[int], path: Shape) -> list[int]:
        keys, _ = self._words(self.seed, position, len(elements), path)
        return sorted(range(len(elements)), key=keys.tolist().__getitem__)

    def _uniforms(self, position: int, shape: Shape, path: Shape) -> tuple[Tensor, Tensor]:
        count = math.prod(shape)
        if self.runs is None:
            u, w = self._words(self.seed, position, count, path)
            return u.reshape(shape), w.reshape(shape)
        each = [self._words(self.seed + run, position, count, path) for run in range(self.runs)]
        u, w = (torch.stack(words).reshape(self.runs, *shape) for words in zip(*each, strict=True))
        return u, w

    def _words(self, seed: int, position: int, count: int, path: Shape) -> tuple[Tensor, Tensor]:
        where = place(str([int(p) for p in path]) if path else "")
        key = seed & MASK, (seed >> 32) & MASK
        words = philox(torch.arange(count, device=self.device), self.step, position, where, key)
        wide = torch.float32 if torch.device(self.device).type == "mps" else torch.float64
        u, w = ((word.to(wide) + 0.5) / 2**32 for word in words)
        return u, w

    def _moved(self, numbers: Tensor, shape: Shape, offset: Any, scale: Any) -> Any:
        lift = numbers.dim() - (offset.dim() if isinstance(offset, Tensor) else 0)
        if self.runs is not None and isinstance(offset, Tensor) and offset.dim() and lift > 0:
            offset = offset.reshape(offset.shape[0], *([1] * lift), *offset.shape[1:])
        return self._number((offset + scale * numbers).to(self.dtype), shape)

    def _number(self, numbers: Tensor, shape: Shape) -> Any:
        return numbers if shape or self.runs is not None else numbers.item()


@dataclass(frozen=True)
class Played:
    """A sample that the user's function draws at a point."""

    play: Callable[[Tensor | None], Any]


@dataclass(frozen=True)
class Placed:
    """Samples that differ from place to place: a function of the step, the party and the passes of loops."""

    draw: Callable[..., Any]
