"""Every operation in NumPy float64, (node, values of the arguments) -> value, from the meanings in its row.

A value is an array whose dimensions are the axes of the type in order (`…` stands for any number of them), a tuple,
a list of the host, or an opaque sample. Arrays meet by axis name: `aligned` is the one place where that happens.
Singular matrices give NaN, as division by zero does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from dotopt.compiler.ir import Node
from dotopt.compiler.ops import OPERATIONS, Absent, Operation, present
from dotopt.compiler.ops.row import COMPARED
from dotopt.compiler.ops.types import REST, Type

Value = Any
Row = Callable[[Node, Sequence[Value]], Value]


def spelled(type: Type, rank: int) -> list[str] | None:
    """A name for each dimension of an array of this type and rank; None if it cannot be.

    >>> spelled(Type("real", ("…", "rows")), 3)
    ['…0', '…1', 'rows']
    """
    if REST not in type.axes:
        return list(type.axes) if len(type.axes) == rank else None
    extra = rank - len(type.axes) + 1
    if extra < 0:
        return None
    at = type.axes.index(REST)
    return [*type.axes[:at], *(f"{REST}{i}" for i in range(extra)), *type.axes[at + 1 :]]


def positions(type: Type, rank: int, axes: tuple[str, ...]) -> tuple[int, ...]:
    """The dimensions that `axes` name."""
    names = spelled(type, rank)
    if names is None or tuple(axes) == type.axes:
        return tuple(range(rank))
    return tuple(i for i, name in enumerate(names) if name in axes or (name.startswith(REST) and REST in axes))


def aligned(args: Sequence[Node], values: Sequence[Value], result: Type) -> list[np.ndarray[Any, Any]]:
    """The values with their dimensions in the order of `result`, of size 1 where they lack an axis."""
    arrays = [np.asarray(value) for value in values]
    named = [
        None if a.ndim == 0 or arg.type.any else spelled(arg.type, a.ndim) for arg, a in zip(args, arrays, strict=True)
    ]
    rank = max(
        (a.ndim - len(arg.type.axes) for arg, a in zip(args, arrays, strict=True) if REST in arg.type.axes), default=0
    )
    target = spelled(result, len(result.axes) + rank)
    if target is None or len(set(target)) < len(target):
        return arrays
    made = []
    for array, names in zip(arrays, named, strict=True):
        if names is None or names == target or not set(names) <= set(target) or len(set(names)) < len(names):
            made.append(array)
            continue
        ordered = np.transpose(array, [names.index(name) for name in target if name in names])
        made.append(ordered[tuple(slice(None) if name in names else None for name in target)])
    return made


def entrywise(function: Callable[..., Any]) -> Row:
    """A function of numbers, on arrays that are aligned and on tuples part by part."""

    def row(here: Node, values: Sequence[Value]) -> Value:
        if any(isinstance(value, tuple) for value in values):
            length = next(len(value) for value in values if isinstance(value, tuple))
            parts = [value if isinstance(value, tuple) else (value,) * length for value in values]
            return tuple(np.asarray(function(*part)) for part in zip(*parts, strict=True))
        if len(values) == 1:
            return np.asarray(function(values[0]))
        return np.asarray(function(*aligned(here.args, values, here.type)))

    return row


def _number(x: Any) -> Any:
    return np.asarray(x) + 0.0 if np.asarray(x).dtype == bool else np.asarray(x)


def _arithmetic(function: Callable[..., Any]) -> Row:
    return entrywise(lambda *values: function(*(_number(value) for value in values)))


# ---- reductions --------------------------------------------------------------------------------------------------


def reduced(here: Node, parts: Sequence[Value]) -> Value:
    """A reduction of one array, or over the arrays of all tensors of the model."""
    axes = here.attrs.axes
    if len(parts) > 1:
        flat = np.concatenate([np.ravel(_number(part)) for part in parts])
        return _reduce(here, flat, (0,))
    array = _number(parts[0])
    return _reduce(here, array, positions(here.args[0].type, array.ndim, axes))


def _reduce(here: Node, array: Any, axis: tuple[int, ...]) -> Value:
    if here.op == "size":
        return np.asarray(float(np.prod([array.shape[i] for i in axis], dtype=int)))
    if not axis and here.op in ("sum", "mean", "amax", "amin"):
        return array
    order = (here.attrs.order,) if here.op == "norm" else ()
    return present(OPERATIONS[here.op].numpy)(np, array, axis, *order)


def _size(here: Node, values: Sequence[Value]) -> Value:
    if isinstance(values[0], tuple | list):
        return np.asarray(float(len(values[0])))
    return reduced(here, values)


# ---- matrices ----------------------------------------------------------------------------------------------------


def _safe(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, with NaN where there is no answer."""

    def guarded(*values: Any) -> Any:
        try:
            return function(*values)
        except np.linalg.LinAlgError:
            shaped = values[-1] if np.ndim(values[-1]) else values[0]  # of a power the exponent comes last
            return np.full_like(np.asarray(shaped, dtype=float), np.nan)

    return guarded


def _matrix(function: Callable[..., Any]) -> Row:
    guarded = _safe(function)
    return lambda here, values: np.asarray(guarded(*(_number(value) for value in values)))


def _transpose(here: Node, values: Sequence[Value]) -> Value:
    return np.swapaxes(values[0], -1, -2) if np.ndim(values[0]) >= 2 and here.type.axes[-2:-1] != (REST,) else values[0]


def _matmul(here: Node, values: Sequence[Value]) -> Value:
    a, b = (_number(value) for value in values)
    ranks = [len([axis for axis in arg.type.axes if axis != REST]) for arg in here.args]
    if any(arg.type.any for arg in here.args) or REST not in here.args[0].type.axes + here.args[1].type.axes:
        return a @ b
    wide = a[..., None, :] if ranks[0] == 1 else a
    tall = b[..., :, None] if ranks[1] == 1 else b
    product = wide @ tall
    product = product[..., 0] if ranks[1] == 1 else product
    return product[..., 0, :] if ranks[0] == 1 and ranks[1] > 1 else product[..., 0] if ranks[0] == 1 else product


def _outer(here: Node, values: Sequence[Value]) -> Value:
    a, b = (_number(value) for value in values)
    right = len([axis for axis in here.args[1].type.axes if axis != REST]) if not here.args[1].type.any else b.ndim
    left = len([axis for axis in here.args[0].type.axes if axis != REST]) if not here.args[0].type.any else a.ndim
    a = a[(..., *(None,) * right)]
    b = b.reshape(b.shape[: b.ndim - right] + (1,) * left + b.shape[b.ndim - right :])
    return a * b


# ---- sets, lists, indices: positions on an axis count from 0, elements of ranges are themselves ------------------


def _range(here: Node, values: Sequence[Value]) -> Value:
    return tuple(range(int(values[0]), int(values[1]) + 1))


def _contains(here: Node, values: Sequence[Value]) -> Value:
    return np.asarray(any(_plain(element) == _plain(values[1]) for element in values[0]))


def _plain(value: Value) -> Value:
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _element(here: Node, values: Sequence[Value]) -> Value:
    vector = np.asarray(values[0])
    index = np.asarray(values[1]).astype(int)
    # the branch that is not taken may point outside: it is clamped, and its value is thrown away
    return vector[..., np.clip(index, -vector.shape[-1], vector.shape[-1] - 1)]


def _host(here: Node, values: Sequence[Value]) -> Value:
    first = values[0]
    match here.attrs.name:
        case "append":
            return [*first, _plain(values[1])]
        case "suffix":
            length = int(values[1])
            return list(first)[max(0, len(first) - length) :]
        case "occurs":
            part, whole = [_plain(x) for x in first], [_plain(x) for x in values[1]]
            places = range(len(whole) - len(part) + 1)
            return np.asarray(any(whole[i : i + len(part)] == part for i in places))
        case "top":
            return tuple(int(i) for i in np.argsort(-np.asarray(first), kind="stable")[: int(values[1])])
    raise NotImplementedError(f"the host function {here.attrs.name}")


def _item(here: Node, values: Sequence[Value]) -> Value:
    if not isinstance(values[0], tuple):
        indices = tuple(int(index) for index in values[1:])
        return values[0][indices or here.attrs.position]
    member = values[0][here.attrs.position]
    return member[tuple(_element_key(index) for index in values[1:])] if isinstance(member, dict) else member


def _element_key(index: Value) -> Value:
    plain = _plain(index)
    return int(plain) if isinstance(plain, float) else plain


def _row(row: Operation) -> Row | None:
    """The meaning of an operation on values, from that of its row on arrays."""
    if isinstance(row.numpy, Absent):
        return None
    function = partial(row.numpy, np)
    match row.kind:
        case "number":
            return _arithmetic(function)
        case "truth":
            return _arithmetic(function) if row.degree == COMPARED else entrywise(function)
        case "complex":
            return _arithmetic(function) if row.name == "cis" else entrywise(function)
        case "reduction":
            return reduced
        case "matrix":
            return _matrix(function)
        case "constant" if row.arity == 0 and row.name not in ("eye", "arange"):  # their sizes are known to the frame
            return lambda here, values: function(here.attrs)
        case "control":
            return entrywise(function)
        case _:
            return None


# what takes more of a node than its arguments as arrays, or takes values that are no arrays
SPECIAL: dict[str, Row] = {
    "stop": lambda here, values: values[0],
    "cast": lambda here, values: values[0],
    "size": _size,
    "matmul": _matmul,
    "outer": _outer,
    "transpose": _transpose,
    "tuple": lambda here, values: tuple(values),
    "set": lambda here, values: tuple(_plain(value) for value in values),
    "range": _range,
    "contains": _contains,
    "element": _element,
    "host": _host,
    "item": _item,
}

NUMERIC: dict[str, Row] = {
    **{name: found for name, row in OPERATIONS.items() if (found := _row(row)) is not None},
    **SPECIAL,
}
