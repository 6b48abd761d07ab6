"""How the tensors of a bucket are cut: pieces of one tensor each, gathered into units of about equal size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

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


def apart(tensors: Sequence[Tensor]) -> None:
    """Raises ValueError if two tensors that one step writes share memory, since nobody says which comes last.

    >>> import torch
    >>> apart([torch.zeros(3), torch.zeros(3)])
    """
    if any(turns(tensors)):
        raise ValueError("two tensors that a step writes share memory: a state is that of another tensor, or a view")


def turns(tensors: Sequence[Tensor]) -> list[int]:
    """0 for each dense tensor that shares no memory with an earlier one; one more than the last that it shares with.

    >>> import torch
    >>> memory = torch.zeros(10)
    >>> turns([memory[:6], memory[5:], memory[:2]])
    [0, 1, 1]
    """
    begin = np.array(list(map(_address, tensors)), dtype=np.int64)
    bytes_ = np.array([tensor.numel() * tensor.element_size() for tensor in tensors], dtype=np.int64)
    end = begin + np.where(begin == 0, 0, bytes_)
    order = np.argsort(begin, kind="stable")
    order = order[end[order] > begin[order]]
    reach = np.maximum.accumulate(end[order])
    found = [0] * len(tensors)
    if not (begin[order][1:] < reach[:-1]).any():
        return found
    for place in range(len(tensors)):
        before = (begin[:place] < end[place]) & (begin[place] < end[:place]) & (end[place] > begin[place])
        found[place] = max((found[int(other)] + 1 for other in np.flatnonzero(before)), default=0)
    return found


def _address(tensor: Tensor) -> int:
    """Where a tensor lies; 0 if it stands for others and has no memory."""
    try:
        return tensor.data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


def axis_sizes(param: Param, shape: Sequence[int]) -> dict[str, int]:
    """The extent of every axis of `param` in a tensor of this shape; a 0-dimensional one is seen as one entry.

    >>> from dotopt.compiler.ir import Param
    >>> from dotopt.compiler.ops.types import Type
    >>> axis_sizes(Param("w", Type("real", ("rows", "cols")), merged=True), (3, 4, 5))
    {'rows': 3, 'cols': 20}
    """
    axes = param.type.axes
    extents = list(shape) or [1] * bool(axes)
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
