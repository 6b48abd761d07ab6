"""Arrays of exact numbers with named axes, and the linear algebra of such numbers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from dotopt.compiler.prove.worlds import numbers as num

Value = tuple[tuple[str, ...], Any]  # axes, object array


class Undecidable(Exception):
    """The value of a node cannot be had here; the message says which."""


def scalar(value: Any) -> Any:
    """The array without axes that holds this value."""
    array = np.empty((), dtype=object)
    array[()] = value
    return array


def as_array(values: Any) -> Any:
    """Nested lists, or one value, as an object array."""
    if isinstance(values, np.ndarray):
        return values
    if not isinstance(values, list):
        return scalar(values)
    shape: list[int] = []
    probe: Any = values
    while isinstance(probe, list):
        shape.append(len(probe))
        probe = probe[0] if probe else None
    array = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        here = values
        for i in index:
            here = here[i]
        array[index] = here
    return array


def each(function: Callable[..., Any], *arrays: Any) -> Any:
    """`function` of the entries at each place."""
    if all(array.ndim == 0 for array in arrays):
        return scalar(function(*(array.item() for array in arrays)))
    if len({array.shape for array in arrays}) == 1:
        out = np.empty(arrays[0].shape, dtype=object)
        out.ravel()[:] = list(map(function, *(array.ravel().tolist() for array in arrays)))
        return out
    return np.frompyfunc(function, len(arrays), 1)(*arrays)


def align(x: Value, axes: tuple[str, ...]) -> Any:
    """The array with its axes in this order, of size 1 where it has none of that name."""
    own, array = x
    if own == axes:
        return array
    order = [own.index(axis) for axis in axes if axis in own]
    moved = np.transpose(array, order) if len(order) > 1 else array
    return moved.reshape(
        [moved.shape[[a for a in axes if a in own].index(axis)] if axis in own else 1 for axis in axes]
    )


def product(left: Any, right: Any) -> Any:
    """The product of two matrices or vectors."""
    rows = left if left.ndim == 2 else left[None, :]
    columns = right if right.ndim == 2 else right[:, None]
    out = np.empty((rows.shape[0], columns.shape[1]), dtype=object)
    for i, j in np.ndindex(out.shape):
        out[i, j] = reduce(num.add, [num.mul(rows[i, k], columns[k, j]) for k in range(rows.shape[1])], Fraction(0))
    if left.ndim == 1:
        out = out[0]
    return out[..., 0] if right.ndim == 1 else as_array(out)


def identity(n: int) -> Any:
    """The identity matrix."""
    out = np.empty((n, n), dtype=object)
    out[...] = Fraction(0)
    for i in range(n):
        out[i, i] = Fraction(1)
    return out


def solve(matrix: Any, right: Any) -> Any:
    """The solution of matrix @ x = right, by elimination; None everywhere if the matrix is singular.

    >>> two = as_array([[Fraction(2), Fraction(0)], [Fraction(0), Fraction(4)]])
    >>> [str(x) for x in solve(two, identity(2)).ravel()]
    ['1/2', '0', '0', '1/4']
    """
    n = len(matrix)
    a = np.concatenate([matrix, right], axis=1).astype(object)
    for column in range(n):
        pivot = next((r for r in range(column, n) if a[r, column] is not None and a[r, column] != 0), None)
        if pivot is None:
            out = np.empty(right.shape, dtype=object)
            out[...] = None
            return out
        a[[column, pivot]] = a[[pivot, column]]
        scale = a[column, column]
        a[column] = [num.div(v, scale) for v in a[column]]
        for r in range(n):
            if r != column:
                factor = a[r, column]
                a[r] = [num.sub(v, num.mul(factor, w)) for v, w in zip(a[r], a[column], strict=True)]
    return a[:, n:]
