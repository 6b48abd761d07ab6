"""Every operation in NumPy float64: one row an operation, (node, values of the arguments) -> value.

A value is an array whose dimensions are the axes of the type in order (`…` stands for any number of them), a tuple,
a list of the host, or an opaque sample. Arrays meet by axis name: `aligned` is the one place where that happens.
Singular matrices give NaN, as division by zero does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dotopt.compiler.ir import Node
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


def _erf(x: Any) -> Any:
    from math import erf

    return np.vectorize(erf, otypes=[float])(np.asarray(x, dtype=float))


def _gelu(x: Any) -> Any:
    return x * 0.5 * (1 + _erf(x / np.sqrt(2.0)))


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1 / (1 + e), e / (1 + e))


def _power(a: Any, b: Any) -> Any:
    return np.square(a) if np.ndim(b) == 0 and b == 2 else np.power(np.asarray(a) * 1.0, b)


def _number(x: Any) -> Any:
    return np.asarray(x) + 0.0 if np.asarray(x).dtype == bool else np.asarray(x)


def _arithmetic(function: Callable[..., Any]) -> Row:
    return entrywise(lambda *values: function(*(_number(value) for value in values)))


# ---- reductions --------------------------------------------------------------------------------------------------


def reduced(here: Node, parts: Sequence[Value]) -> Value:
    """A reduction of one array, or over the arrays of all tensors of the model."""
    axes = here.attrs[0]
    if len(parts) > 1:
        flat = np.concatenate([np.ravel(_number(part)) for part in parts])
        return _reduce(here, flat, (0,))
    array = _number(parts[0])
    return _reduce(here, array, positions(here.args[0].type, array.ndim, axes))


def _reduce(here: Node, array: Any, axis: tuple[int, ...]) -> Value:
    count = int(np.prod([array.shape[i] for i in axis], dtype=int))
    if not axis and here.op in ("sum", "mean", "amax", "amin"):
        return array
    match here.op:
        case "sum":
            return np.sum(array, axis=axis)
        case "mean":
            return np.mean(array, axis=axis) if count else np.full(_left(array, axis), np.nan)
        case "amax":
            return np.max(array, axis=axis, initial=-np.inf)
        case "amin":
            return np.min(array, axis=axis, initial=np.inf)
        case "std":
            centred = array - np.mean(array, axis=axis, keepdims=True)
            return np.sqrt(np.sum(np.abs(centred) ** 2, axis=axis) / (count - 1))
        case "size":
            return np.asarray(float(count))
    order = here.attrs[2]
    size = np.abs(array)
    if order is None:
        return np.max(size, axis=axis, initial=0.0)
    if order == 2:
        return np.sqrt(np.sum(size**2, axis=axis))
    return np.sum(size ** float(order), axis=axis) ** (1 / float(order))


def _left(array: Any, axis: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for i, size in enumerate(array.shape) if i not in axis)


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


def _solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b[..., None])[..., 0] if b.ndim < a.ndim else np.linalg.solve(a, b)


def _eigenvectors(a: Any) -> Any:
    return np.linalg.eigh(a)[1][..., ::-1]


def _polar(x: Any) -> Any:
    u, _, v = np.linalg.svd(x, full_matrices=False)
    return u @ v


def _matrix_power(a: Any, p: Any) -> Any:
    if float(p).is_integer():
        return np.linalg.matrix_power(a, int(p))
    values, vectors = np.linalg.eigh(a)
    return (vectors * values[..., None, :] ** float(p)) @ np.swapaxes(vectors, -1, -2)


def _columns(a: Any, order: Any) -> Any:
    return np.take(a, np.asarray(order, dtype=int), axis=-1)


def _keep_largest(x: Any, count: Any) -> Any:
    flat = np.ravel(x)
    kept = np.zeros(flat.size, dtype=bool)
    kept[np.argsort(-flat, kind="stable")[: round(float(count))]] = True
    return np.where(kept, flat, 0.0).reshape(np.shape(x))


def _rank_of(x: Any) -> Any:
    flat = np.ravel(x)
    order = np.argsort(-flat, kind="stable")
    rank = np.empty(flat.size)
    rank[order] = np.arange(1.0, flat.size + 1)
    return rank.reshape(np.shape(x))


def _unit(x: Any) -> Any:
    length = np.sqrt(np.sum(np.abs(x) ** 2))
    return x / length if length != 0 else np.zeros_like(x)


def _positive_definite(a: Any) -> Any:
    try:
        np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        return np.asarray(False)
    return np.asarray(True)


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
    match here.attrs[0]:
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
    raise NotImplementedError(f"the host function {here.attrs[0]}")


def _item(here: Node, values: Sequence[Value]) -> Value:
    if not isinstance(values[0], tuple):
        return values[0][tuple(int(index) for index in values[1:])] if len(values) > 1 else values[0][here.attrs[0]]
    member = values[0][here.attrs[0]]
    return member[tuple(_element_key(index) for index in values[1:])] if isinstance(member, dict) else member


def _element_key(index: Value) -> Value:
    plain = _plain(index)
    return int(plain) if isinstance(plain, float) else plain


NUMERIC: dict[str, Row] = {
    "bool": lambda here, values: np.asarray(here.attrs[0]),
    "const": lambda here, values: np.asarray(float(here.attrs[0])),
    "inf": lambda here, values: np.asarray(np.inf),
    "pi": lambda here, values: np.asarray(np.pi),
    "neg": _arithmetic(np.negative),
    "abs": _arithmetic(np.abs),
    "sign": _arithmetic(np.sign),
    "relu": _arithmetic(lambda x: np.maximum(x, 0.0)),
    "floor": _arithmetic(np.floor),
    "ceil": _arithmetic(np.ceil),
    "sqrt": _arithmetic(np.sqrt),
    "exp": _arithmetic(np.exp),
    "log": _arithmetic(np.log),
    "sin": _arithmetic(np.sin),
    "cos": _arithmetic(np.cos),
    "tan": _arithmetic(np.tan),
    "tanh": _arithmetic(np.tanh),
    "acos": _arithmetic(np.arccos),
    "atanh": _arithmetic(np.arctanh),
    "sigmoid": _arithmetic(_sigmoid),
    "erf": _arithmetic(_erf),
    "gelu": _arithmetic(_gelu),
    "cis": _arithmetic(lambda x: np.exp(1j * x)),
    "re": entrywise(np.real),
    "im": entrywise(np.imag),
    "conj": entrywise(np.conj),
    "stop": lambda here, values: values[0],
    "cast": lambda here, values: values[0],
    "add": _arithmetic(np.add),
    "sub": _arithmetic(np.subtract),
    "mul": _arithmetic(np.multiply),
    "div": _arithmetic(np.divide),
    "pow": _arithmetic(_power),
    "mod": _arithmetic(np.mod),
    "min": _arithmetic(np.minimum),
    "max": _arithmetic(np.maximum),
    "lt": _arithmetic(np.less),
    "le": _arithmetic(np.less_equal),
    "gt": _arithmetic(np.greater),
    "ge": _arithmetic(np.greater_equal),
    "eq": _arithmetic(np.equal),
    "ne": _arithmetic(np.not_equal),
    "and": entrywise(np.logical_and),
    "or": entrywise(np.logical_or),
    "not": entrywise(np.logical_not),
    "select": entrywise(np.where),
    **dict.fromkeys(("sum", "mean", "amax", "amin", "norm", "std"), reduced),
    "size": _size,
    "matmul": _matmul,
    "outer": _outer,
    "transpose": _transpose,
    "trace": _matrix(lambda a: np.trace(a, axis1=-2, axis2=-1)),
    "diagonal": _matrix(lambda a: np.diagonal(a, axis1=-2, axis2=-1)),
    "tril": _matrix(np.tril),
    "inverse": _matrix(np.linalg.inv),
    "solve": _matrix(_solve),
    "qr": _matrix(lambda a: np.linalg.qr(a)[0]),
    "eigenvectors": _matrix(_eigenvectors),
    "top_eigenvector": _matrix(lambda a: np.linalg.eigh(a)[1][..., -1]),
    "svdvals": _matrix(lambda a: np.linalg.svd(a, compute_uv=False)),
    "polar": _matrix(_polar),
    "matrix_power": _matrix(_matrix_power),
    "spectral_norm": _matrix(lambda a: np.linalg.svd(a, compute_uv=False)[..., 0]),
    "spectral_radius": _matrix(lambda a: np.max(np.abs(np.linalg.eigvals(a)), axis=-1)),
    "positive_definite": _matrix(_positive_definite),
    "columns": _matrix(_columns),
    "unit": _matrix(_unit),
    "argmax": _matrix(lambda x: float(np.argmax(x))),
    "argsort": _matrix(lambda x: np.argsort(x, axis=-1, kind="stable").astype(float)),
    "rank_of": _matrix(_rank_of),
    "keep_largest": _matrix(_keep_largest),
    "cumsum": _matrix(lambda x: np.cumsum(x, axis=-1)),
    "tuple": lambda here, values: tuple(values),
    "set": lambda here, values: tuple(_plain(value) for value in values),
    "range": _range,
    "contains": _contains,
    "element": _element,
    "host": _host,
    "item": _item,
}
