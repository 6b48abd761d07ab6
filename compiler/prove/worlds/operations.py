"""What the operations of the IR are on exact numbers: a table of laws, each of a world, a node and its arguments.

Entry by entry, sums and the like, matrices and their spectra.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np

from dotopt.compiler import ir
from dotopt.compiler.ir import Node
from dotopt.compiler.ops.types import REST
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.prove.worlds.arrays import (
    Undecidable,
    Value,
    align,
    as_array,
    each,
    identity,
    product,
    scalar,
    solve,
)
from dotopt.compiler.prove.worlds.enclosures import around, middle

if TYPE_CHECKING:
    from dotopt.compiler.prove.worlds.world import World

Law = Callable[["World", Node, list[Value]], Value]


# ---- entry by entry ------------------------------------------------------------------------------------------------


def pointwise(world: World, function: Callable[..., Any], a: list[Value]) -> Value:
    """`function` of the entries of arrays whose axes are matched by name."""
    if all(not own for own, _ in a):
        return (), scalar(function(*(array.item() for _, array in a)))
    axes: tuple[str, ...] = max((x[0] for x in a), key=len)
    if all(own == axes for own, _ in a):
        return axes, each(function, *(array for _, array in a))
    for own, _ in a:
        if len(set(own)) == len(own):
            axes = axes + tuple(x for x in own if x not in axes)
    arrays = [np.broadcast_to(align(x, axes), [world.size(y) for y in axes]) for x in a]
    return axes, each(function, *arrays)


def _entrywise(function: Callable[..., Any]) -> Law:
    return lambda world, here, a: pointwise(world, function, a)


def _modulo(x: Any, y: Any) -> Any:
    return None if x is None or y is None or y == 0 else num.sub(x, num.mul(y, num.floor(num.div(x, y))))


def _and(x: Any, y: Any) -> Any:
    return False if x is False or y is False else None if x is None or y is None else bool(x and y)


def _or(x: Any, y: Any) -> Any:
    return True if x is True or y is True else None if x is None or y is None else bool(x or y)


def _negative(x: Any) -> Any:
    return None if x is None else -num.plain(x)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: num.function(name) for name in ir.FUNCTIONS},
    "neg": _negative,
    "abs": num.absolute,
    "sign": num.sign,
    "sqrt": num.sqrt,
    "relu": lambda x: num.largest(x, Fraction(0)),
    "floor": num.floor,
    "ceil": lambda x: _negative(num.floor(_negative(x))),
    "not": lambda x: None if x is None else not x,
    "add": num.add,
    "sub": num.sub,
    "mul": num.mul,
    "div": num.div,
    "pow": num.power,
    "max": num.largest,
    "min": num.smallest,
    "mod": _modulo,
    "and": _and,
    "or": _or,
    **{name: partial(num.compare, name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    "select": lambda c, x, y: None if c is None else x if c else y,
}


# ---- reductions ----------------------------------------------------------------------------------------------------


def _size(world: World, here: Node, a: list[Value]) -> Value:
    array = a[0][1]
    if isinstance(array, list):
        return (), scalar(Fraction(len(array)))
    sizes = [world.size(axis) for axis in here.attrs.axes]
    return (), scalar(reduce(num.mul, map(Fraction, sizes), Fraction(1)))


def _native(world: World, here: Node, a: list[Value]) -> Value:
    """The size of an axis; not defined where there is none, which only a choice by rank may read."""
    axes, axis = here.args[0].type.axes, here.attrs.axis
    return (), scalar(Fraction(world.size(axes[axis])) if -len(axes) <= axis < len(axes) else None)


def _reduction(world: World, here: Node, a: list[Value]) -> Value:
    reduced = tuple(here.attrs.axes)
    axes, array = a[0]
    positions = tuple(i for i, axis in enumerate(axes) if axis in reduced)
    kept = tuple(axis for axis in axes if axis not in reduced)
    count = Fraction(1)
    for axis in dict.fromkeys(reduced):
        count *= world.size(axis) ** max(here.args[0].type.axes.count(axis), 1)
    copies = Fraction(1)
    for axis in reduced:
        if axis not in axes:
            copies *= world.size(axis)

    def fold(function: Callable[[Any, Any], Any], values: Any) -> Any:
        moved = np.moveaxis(values, positions, range(len(positions)))
        flat = moved.reshape((-1, *moved.shape[len(positions) :]))
        return reduce(lambda p, q: each(function, p, q), [as_array(row) for row in flat])

    def total(values: Any) -> Any:
        return each(lambda v: num.mul(v, copies), fold(num.add, values))

    match here.op:
        case "sum":
            return kept, total(array)
        case "mean":
            return kept, each(lambda v: num.div(v, count), total(array))
        case "amax":
            return kept, fold(num.largest, array)
        case "amin":
            return kept, fold(num.smallest, array)
        case "norm" if here.attrs.order is None:
            return kept, fold(num.largest, each(num.absolute, array))
        case "norm" if here.attrs.order == 1:
            return kept, total(each(num.absolute, array))
        case "norm" if here.attrs.order == 2:
            return kept, each(num.sqrt, total(each(lambda v: num.mul(v, v), array)))
        case "std":
            mean = total(array)
            squares = total(each(lambda v: num.mul(v, v), array))
            return kept, each(
                lambda s, m: num.sqrt(num.div(num.sub(s, num.div(num.mul(m, m), count)), count - 1)), squares, mean
            )
        case _:
            raise Undecidable(f"a norm of order {here.attrs.order}")


# ---- matrices ------------------------------------------------------------------------------------------------------


def _eye(world: World, here: Node, _: list[Value]) -> Value:
    return here.type.axes, identity(world.size(here.attrs.axis))


def _matrix(world: World, here: Node, a: list[Value]) -> Value:
    types = [arg.type.axes for arg in here.args]
    if any(REST in t for t in types):
        raise Undecidable("a product of matrices with leading axes")
    arrays = [np.broadcast_to(align(x, t), [world.size(y) for y in t]) for x, t in zip(a, types, strict=True)]
    match here.op:
        case "transpose":
            return here.type.axes, arrays[0].T
        case "trace":
            return (), scalar(reduce(num.add, [arrays[0][i, i] for i in range(len(arrays[0]))]))
        case "diagonal":
            return here.type.axes, as_array([arrays[0][i, i] for i in range(len(arrays[0]))])
        case "tril":
            out = arrays[0].copy()
            for i, j in np.ndindex(out.shape):
                if j > i:
                    out[i, j] = Fraction(0)
            return here.type.axes, out
        case "outer":
            return here.type.axes, as_array([[num.mul(x, y) for y in arrays[1]] for x in arrays[0]])
        case "matmul":
            return here.type.axes, product(arrays[0], arrays[1])
        case "inverse":
            return here.type.axes, solve(arrays[0], identity(len(arrays[0])))
        case _:
            right = arrays[1] if arrays[1].ndim == 2 else arrays[1][:, None]
            solved = solve(arrays[0], right)
            return here.type.axes, solved if arrays[1].ndim == 2 else solved[:, 0]


def _unit(world: World, here: Node, a: list[Value]) -> Value:
    axes, array = a[0]
    length = num.sqrt(reduce(num.add, [num.mul(v, v) for v in array.ravel()]))
    return axes, each(lambda v: num.div(v, length), array)


def _spectral(world: World, here: Node, a: list[Value]) -> Value:
    axes, array = a[0]
    if len(axes) != 2:
        raise Undecidable(f"`{here.op}` of a tensor that is not a matrix")
    if any(v is None for v in array.ravel()):
        return here.type.axes, world.full(here.type.axes, None)
    matrix = mpmath.matrix([[middle(num.real(v)) for v in row] for row in array])
    if here.op == "spectral_radius":
        alone = matrix.rows == 1  # of which mpmath gives vectors as well
        values = [matrix[0, 0]] if alone else mpmath.eig(matrix, left=False, right=False)
        return (), scalar(around(max(abs(v) for v in values)))
    u, s, v = mpmath.svd_r(matrix)
    singular = list(s)
    match here.op:
        case "spectral_norm":
            return (), scalar(around(max(singular)))
        case "svdvals":
            return here.type.axes, as_array([around(v) for v in singular])
        case "polar":
            if min(singular) < num.FAR:
                raise Undecidable("the polar factor of a singular matrix")
            factor = u * v
            rows, columns = array.shape
            return axes, as_array([[around(factor[i, j]) for j in range(columns)] for i in range(rows)])
        case _:
            raise Undecidable(f"`{here.op}` has no exact value here")


def _definite(world: World, here: Node, a: list[Value]) -> Value:
    """Whether all leading minors of a symmetric matrix are positive, by elimination."""
    rows = a[0][1].copy()
    if a[0][1].ndim != 2 or any(not isinstance(x, Fraction) for x in rows.ravel()) or (rows != rows.T).any():
        raise Undecidable("definiteness of a matrix that is not symmetric, or not known exactly")
    for i in range(len(rows)):
        if rows[i, i] <= 0:
            return (), scalar(False)
        for j in range(i + 1, len(rows)):
            rows[j] = rows[j] - rows[i] * (rows[j, i] / rows[i, i])
    return (), scalar(True)


def _constant(world: World, here: Node, _: list[Value]) -> Value:
    return here.type.axes, world.full(here.type.axes, Fraction(int(here.op == "ones")))


LAWS: dict[str, Law] = {
    **{op: _entrywise(function) for op, function in FUNCTIONS.items()},
    "const": lambda world, here, a: ((), scalar(here.attrs.value)),
    "bool": lambda world, here, a: ((), scalar(here.attrs.value)),
    "pi": lambda world, here, a: ((), scalar(num.pi())),
    "stop": lambda world, here, a: a[0],
    "cast": lambda world, here, a: a[0],
    "size": _size,
    **dict.fromkeys(("sum", "mean", "amax", "amin", "norm", "std"), _reduction),
    **dict.fromkeys(("zeros", "ones"), _constant),
    "eye": _eye,
    "positive_definite": _definite,
    **dict.fromkeys(("matmul", "transpose", "outer", "trace", "diagonal", "inverse", "solve", "tril"), _matrix),
    "unit": _unit,
    **dict.fromkeys(("polar", "svdvals", "spectral_norm", "spectral_radius", "eigenvectors"), _spectral),
    "native": _native,
}
