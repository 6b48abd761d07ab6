"""How a tensor lies over the processes of a mesh: which box of it each of them holds.

`torch.distributed.tensor` cuts an axis as `torch.chunk` does: parts of equal size, then a smaller one, then empty ones.
An axis that two dimensions of the mesh cut is cut by the first and then by the second; FSDP2 over tensor parallelism
(`_StridedShard`) by the second first.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime.rule import Pattern

REST = "…"
Box = tuple[slice, ...]


def is_spread(p: Tensor) -> bool:
    """Whether a tensor is a DTensor; nobody has one who has not loaded the module."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(p, module.DTensor)


@dataclass(frozen=True)
class Layout:
    """A tensor of this shape over a mesh, with a placement for each dimension of the mesh."""

    mesh: Any
    placements: tuple[Any, ...]
    shape: tuple[int, ...]

    @cached_property
    def cuts(self) -> dict[int, int]:
        """The axis that a dimension of the mesh cuts, for those of more than one process."""
        found = {}
        for dim, placement in enumerate(self.placements):
            axis = getattr(placement, "dim", None)
            if axis is not None and self.mesh.size(dim) > 1:
                found[dim] = axis % max(len(self.shape), 1)
        return found

    @property
    def partial(self) -> bool:
        """Whether the values are still to be summed."""
        return any(placement.is_partial() for placement in self.placements)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The dimensions of the mesh in the order in which they cut."""
        plain = [dim for dim in self.cuts if not hasattr(self.placements[dim], "split_factor")]
        strided = [dim for dim in self.cuts if dim not in plain]
        return (*plain, *reversed(strided))

    @cached_property
    def here(self) -> tuple[int, ...]:
        """The coordinate of this process."""
        return tuple(self.mesh.get_coordinate() or ())

    def box(self, coordinate: Sequence[int]) -> Box:
        """What the process at this coordinate holds."""
        ends = [(0, size) for size in self.shape]
        for dim in self.order:
            axis = self.cuts[dim]
            start, stop = ends[axis]
            step = -(-(stop - start) // self.mesh.size(dim))
            ends[axis] = (
                min(stop, start + step * coordinate[dim]), min(stop, start + step * (coordinate[dim] + 1))
            )  # fmt: skip
        return tuple(slice(*both) for both in ends)

    def sizes(self, coordinate: Sequence[int]) -> tuple[int, ...]:
        """The shape of what the process at this coordinate holds."""
        return tuple(part.stop - part.start for part in self.box(coordinate))

    def count(self, coordinate: Sequence[int]) -> int:
        """How many entries that has."""
        return math.prod(self.sizes(coordinate))

    def coordinates(self, dims: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """Those that differ from this process in `dims` alone."""
        for some in product(*(range(self.mesh.size(dim)) for dim in dims)):
            yield moved(self.here, dict(zip(dims, some, strict=True)))


def moved(coordinate: Sequence[int], to: Mapping[int, int]) -> tuple[int, ...]:
    """A coordinate with other entries at some places."""
    return tuple(to.get(dim, place) for dim, place in enumerate(coordinate))


def layout(p: Any) -> Layout:
    """The layout of a DTensor."""
    return Layout(p.device_mesh, tuple(p.placements), tuple(p.shape))


def names(pattern: Pattern, rank: int) -> tuple[str, ...]:
    """The axis of the pattern to which each axis of a tensor belongs.

    >>> names(Pattern("W", ("rows", "cols"), merged=True), 4)
    ('rows', 'cols', 'cols', 'cols')
    """
    axes = pattern.axes
    if REST in axes:
        return (REST,) * (rank - len(axes) + 1) + axes[1:]
    return axes + axes[-1:] * (rank - len(axes)) if pattern.merged else axes[: max(rank, 1)]


def cut_axes(pattern: Pattern, whole: Layout) -> frozenset[str]:
    """The axes of the pattern that are cut."""
    named = names(pattern, len(whole.shape))
    return frozenset(named[axis] for axis in whole.cuts.values())


def beside(pattern: Pattern, axes: tuple[str, ...], shape: tuple[int, ...], whole: Layout) -> Layout | None:
    """The layout of a tensor with these axes and this shape, beside a parameter; None if torch has no word for it.

    It is cut along the axes that both have, and whole along others; a merged axis that is cut, or an axis that stands
    there twice, cannot be.
    """
    from torch.distributed.tensor import Replicate, Shard

    named = names(pattern, len(whole.shape))
    placements: list[Any] = [Replicate()] * len(whole.placements)
    for dim, axis in whole.cuts.items():
        name = named[axis]
        if name not in axes:
            continue
        if axes.count(name) > 1 or (name != REST and named.count(name) > 1):
            return None
        more = len(shape) - len(axes) if REST in axes else 0  # axes that stand behind `…`, but for one
        place = axis if name == REST else axes.index(name) + more
        strided = hasattr(whole.placements[dim], "split_factor")
        if strided and place != axis:
            return None
        placements[dim] = whole.placements[dim] if place == axis else Shard(place)
    return Layout(whole.mesh, tuple(placements), shape)


def in_rows(shape: tuple[int, ...], whole: Layout) -> Layout:
    """A layout for what only the owner of a matrix needs: its rows over the first dimension that cuts the parameter."""
    from torch.distributed.tensor import Replicate, Shard

    first = next(iter(whole.cuts))
    return Layout(
        whole.mesh, tuple(Shard(0) if dim == first else Replicate() for dim in range(len(whole.placements))), shape
    )


def spread(local: Tensor, whole: Layout) -> Any:
    """The DTensor of which `local` is the part in this process."""
    from torch.distributed.tensor import DTensor

    strides = [math.prod(whole.shape[axis + 1 :]) for axis in range(len(whole.shape))]
    return DTensor.from_local(
        local, whole.mesh, whole.placements, run_check=False, shape=torch.Size(whole.shape), stride=tuple(strides)
    )
