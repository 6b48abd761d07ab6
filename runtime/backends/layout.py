"""How the tensors of a bucket are cut: pieces of one tensor each, gathered into units of about equal size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # every optimizer loads this module, and most have no need of the compiler
    from dotopt.compiler.ir import Param

REST = "…"  # as in `compiler.types`

Integers = npt.NDArray[np.int64]

PIECE = 32768  # entries: many enough to amortise a call, few enough that all arrays of a piece fit the cache


class Changed(Exception):
    """The tensors of a step that was kept cannot be stepped together any more: one has no gradient."""


@dataclass(frozen=True)
class Pieces:
    """Piece p is the entries `start[p]` to `stop[p]` of tensor `tensor[p]`.

    Tensor k has the pieces `first[k]` to `first[k + 1]`, unit u the pieces `unit[u]` to `unit[u + 1]`.
    """

    tensor: npt.NDArray[np.int32]
    start: Integers
    stop: Integers
    first: Integers
    unit: Integers


def cut(sizes: Sequence[int], rows: Sequence[int] | None = None, piece: int = PIECE, unit: int = PIECE) -> Pieces:
    """The pieces of tensors with `sizes` entries, up to `piece` entries each; whole rows if `rows` gives their length.

    >>> cut([5, 0, 2], piece=2, unit=4)  # doctest: +ELLIPSIS
    Pieces(tensor=array([0, 0, 0, 2], dtype=int32), start=array([0, 2, 4, 0]), stop=array([2, 4, 5, 2]), ...
    """
    size = np.asarray(sizes, dtype=np.int64)
    step = np.full_like(size, piece)
    if rows is not None:
        length = np.maximum(np.asarray(rows, dtype=np.int64), 1)
        step = np.maximum(piece // length, 1) * length
    counts = -(-size // step)
    first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    tensor = np.repeat(np.arange(len(size)), counts)
    start = (np.arange(first[-1]) - first[tensor]) * step[tensor]
    stop = np.minimum(start + step[tensor], size[tensor])
    before = np.cumsum(stop - start) - (stop - start)
    number = before // unit  # pieces that begin in the same stretch of `unit` entries go together
    begins = np.flatnonzero(np.diff(number, prepend=-1))
    return Pieces(tensor.astype(np.int32), start, stop, first, np.append(begins, len(start)).astype(np.int64))


def apart(addresses: Sequence[int], sizes: Sequence[int], width: int) -> None:
    """Raises ValueError if two tensors share memory, since nobody says which of two steps comes first.

    `sizes` are in entries of `width` bytes.

    >>> apart([0, 16], [4, 4], 4)
    """
    begin = np.asarray(addresses, dtype=np.int64)
    end = begin + width * np.asarray(sizes, dtype=np.int64)
    order = [int(place) for place in np.argsort(begin, kind="stable") if end[place] > begin[place]]
    for one, other in pairwise(order):
        if end[one] > begin[other]:
            raise ValueError(
                f"two parameters of one group share memory, of {sizes[one]} and {sizes[other]} entries: give tied "
                "weights to the optimizer once"
            )


def axis_sizes(param: Param, shape: Sequence[int]) -> dict[str, int]:
    """The extent of every axis of `param` in a tensor of this shape; a 0-dimensional one is seen as one entry.

    >>> from dotopt.compiler.ir import Param
    >>> from dotopt.compiler.ops.types import Type
    >>> axis_sizes(Param("w", Type("real", ("rows", "cols")), merged=True), (3, 4, 5))
    {'rows': 3, 'cols': 20}
    """
    axes = param.type.axes
    extents = list(shape) or [1]
    if axes[:1] == (REST,):
        named = len(axes) - 1
        split = len(extents) - named
        return {REST: math.prod(extents[:split]), **dict(zip(axes[1:], extents[split:], strict=True))}
    if param.merged:
        last = len(axes) - 1
        return {**dict(zip(axes[:last], extents[:last], strict=True)), axes[last]: math.prod(extents[last:])}
    return dict(zip(axes, extents, strict=True))


def extent(key: tuple[str, Any], sizes: Mapping[str, int], shape: Sequence[int]) -> int:
    """One entry of the table of shapes: ("size", axes) or ("native", axis)."""
    kind, which = key
    if kind == "native":
        return int(shape[which]) if shape else 1
    return math.prod(sizes[axis] for axis in which)
