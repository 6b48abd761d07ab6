"""The messages of a step: sums of all tensors in one, and matrices to their owners and back.

Every process takes part in every message, also with nothing to say, and in the same order, that of the parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dotopt.runtime.shards.layout import Layout, moved

Line = tuple[Any, int]  # a mesh and one of its dimensions: the processes of one message


def joined(parts: Sequence[tuple[Tensor, Sequence[Line]]], how: str) -> None:
    """Sum up parts (`how`: "sum", or the largest: "amax") over the processes of their lines, in place.

    One message a line and dtype: those of several lines go through one after the other.
    """
    operation = dist.ReduceOp.SUM if how == "sum" else dist.ReduceOp.MAX
    for mesh, dim in dict.fromkeys(line for _, lines in parts for line in lines):
        every = [part for part, lines in parts if (mesh, dim) in lines and part.numel()]
        for dtype, device in dict.fromkeys((part.dtype, part.device) for part in every):
            some = [part for part in every if part.dtype == dtype and part.device == device]
            packed = torch.cat([part.reshape(-1) for part in some])
            dist.all_reduce(packed, operation, group=mesh.get_group(dim))
            for part, value in zip(some, packed.split([part.numel() for part in some]), strict=True):
                part.copy_(value.view(part.shape))


@dataclass(eq=False)
class Matrix:
    """Tensors that go to one process together: their layouts, and the owner along the dimensions that cut them."""

    layouts: Sequence[Layout]
    owner: Mapping[int, int]
    held: dict[tuple[int, ...], Tensor] = field(default_factory=dict)  # parts by coordinate

    @property
    def here(self) -> tuple[int, ...]:
        """The coordinate of this process."""
        return self.layouts[0].here

    def mine(self, dims: Iterable[int]) -> bool:
        """Whether this process stands where the owner does, along these dimensions."""
        return all(self.here[dim] == self.owner[dim] for dim in dims)

    def count(self, coordinate: Sequence[int]) -> int:
        """The entries of all parts at a coordinate."""
        return sum(layout.count(coordinate) for layout in self.layouts)

    def assembled(self) -> list[Tensor]:
        """The whole tensors, from the parts that the owner holds."""
        first = next(iter(self.held.values()))  # the owner holds a part of each process, if an empty one
        whole = [first.new_empty(layout.shape) for layout in self.layouts]
        for coordinate, flat in self.held.items():
            parts = flat.split([layout.count(coordinate) for layout in self.layouts])
            for tensor, layout, part in zip(whole, self.layouts, parts, strict=True):
                tensor[layout.box(coordinate)] = part.view(layout.sizes(coordinate))
        return whole

    def take_apart(self, whole: Sequence[Tensor], dims: Sequence[int]) -> None:
        """Hold the parts of these tensors, for every process of `dims`."""
        self.held = {
            coordinate: torch.cat([
                tensor[layout.box(coordinate)].reshape(-1)
                for tensor, layout in zip(whole, self.layouts, strict=True)
            ])
            for coordinate in self.layouts[0].coordinates(dims)
        }  # fmt: skip


def to_owners(matrices: Sequence[Matrix], mesh: Any, dims: Sequence[int], like: Tensor) -> None:
    """What each process holds of the matrices goes to their owners: an all-to-all along each dimension."""
    for place, dim in enumerate(dims):
        before, size = dims[:place], mesh.size(dim)
        sent: list[list[Tensor]] = [[] for _ in range(size)]
        expected: list[list[tuple[Matrix, tuple[int, ...]]]] = [[] for _ in range(size)]
        for matrix in matrices:
            if matrix.mine(before):
                coordinates = list(matrix.layouts[0].coordinates(before))
                sent[matrix.owner[dim]] += [matrix.held[c] for c in coordinates]
                if matrix.here[dim] == matrix.owner[dim]:
                    for peer in range(size):
                        expected[peer] += [(matrix, moved(c, {dim: peer})) for c in coordinates]
                matrix.held = {}
        _exchange(sent, expected, mesh.get_group(dim), like)


def from_owners(matrices: Sequence[Matrix], mesh: Any, dims: Sequence[int], like: Tensor) -> None:
    """What the owners hold of the matrices goes to the processes to which it belongs."""
    for place, dim in reversed(list(enumerate(dims))):
        before, size = dims[:place], mesh.size(dim)
        sent: list[list[Tensor]] = [[] for _ in range(size)]
        expected: list[list[tuple[Matrix, tuple[int, ...]]]] = [[] for _ in range(size)]
        for matrix in matrices:
            if matrix.mine(before):
                coordinates = list(matrix.layouts[0].coordinates(before))
                if matrix.here[dim] == matrix.owner[dim]:
                    for peer in range(size):
                        sent[peer] += [matrix.held[moved(c, {dim: peer})] for c in coordinates]
                expected[matrix.owner[dim]] += [(matrix, c) for c in coordinates]
                matrix.held = {}
        _exchange(sent, expected, mesh.get_group(dim), like)


def _exchange(
    sent: list[list[Tensor]], expected: list[list[tuple[Matrix, tuple[int, ...]]]], group: Any, like: Tensor
) -> None:
    """One all-to-all of entries like those of `like`; what comes is held by its matrix."""
    packed = [torch.cat(some) if some else like.new_empty(0) for some in sent]
    sizes = [sum(matrix.count(c) for matrix, c in some) for some in expected]
    coming = like.new_empty(sum(sizes))
    dist.all_to_all_single(coming, torch.cat(packed), sizes, [part.numel() for part in packed], group=group)
    for some, part in zip(expected, coming.split(sizes), strict=True):
        for (matrix, coordinate), value in zip(some, part.split([m.count(c) for m, c in some]), strict=True):
            matrix.held[coordinate] = value


def owners(costs: Sequence[float], mesh: Any, dims: Sequence[int]) -> list[dict[int, int]]:
    """The owner of each matrix, so that all have about the same to do: the dearest first, each to who has least."""
    loads = dict.fromkeys(product(*(range(mesh.size(dim)) for dim in dims)), 0.0)
    found: list[dict[int, int]] = [{} for _ in costs]
    for index in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        place = min(loads, key=lambda where: (loads[where], where))
        loads[place] += costs[index]
        found[index] = dict(zip(dims, place, strict=True))
    return found

