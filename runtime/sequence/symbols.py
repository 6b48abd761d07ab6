"""Tensors of symbols: what the code of a rule over sequences computes, on nodes of the IR instead of numbers.

An axis of the rule (`d`, `dv`, …) has one entry, whatever its size, and a name; axes of tokens have their true size. So
an entry is a number, a vector or a matrix of any size, its node has the named axes, and products of entries are those
of matrices. `lifted.py` runs emitted code on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from dotopt.compiler.ir import FUNCTIONS as ENTRYWISE
from dotopt.compiler.ir import Node, leaf, node, number
from dotopt.compiler.ops.types import INT, Type

Axes = tuple["str | None", ...]


class Extent(int):
    """The size of an axis of the rule: 1 among symbols, and in formulas a number that is not known."""

    axis: str

    def __new__(cls, axis: str) -> Extent:
        made = super().__new__(cls, 1)
        made.axis = axis
        return made

    @property
    def symbol(self) -> Symbols:
        """The size as a number in a formula."""
        return Symbols(_array(leaf("axis", self.axis, INT)), ())

    def __add__(self, other: Any) -> Any:
        return self.symbol + other

    def __mul__(self, other: Any) -> Any:
        return self.symbol * other

    def __rmul__(self, other: Any) -> Any:
        return self.symbol * other

    def __rtruediv__(self, other: Any) -> Any:
        return Symbols.of(other) / self.symbol


class Unknown(NotImplementedError, AttributeError):
    """What symbols do not answer to."""


class Symbols:
    """An array of nodes that answers to the operations that emitted code uses; None is zero.

    `axes` names the axes of the rule among those of the array, which have size 1.
    """

    dtype, device = torch.float64, torch.device("cpu")

    def __init__(self, entries: Any, axes: Axes) -> None:
        self.entries: Any = entries if isinstance(entries, np.ndarray) else _array(entries)
        self.axes = axes
        if self.entries.ndim != len(axes):
            raise NotImplementedError(f"{self.entries.ndim} axes, of which {axes} are named")

    @staticmethod
    def of(x: Any) -> Symbols:
        """Numbers among them."""
        if isinstance(x, Extent):
            return x.symbol
        if isinstance(x, Symbols):
            return x
        values = np.asarray(x.tolist() if isinstance(x, torch.Tensor) else x, dtype=object)
        made = np.empty(values.shape, dtype=object)
        for place in np.ndindex(values.shape):
            made[place] = _number(values[place])
        return Symbols(made, (None,) * values.ndim)

    @property
    def names(self) -> tuple[str, ...]:
        """The axes of each entry."""
        return tuple(axis for axis in self.axes if axis is not None)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(n if a is None else Extent(a) for n, a in zip(self.entries.shape, self.axes, strict=True))

    def dim(self) -> int:
        return int(self.entries.ndim)

    def is_floating_point(self) -> bool:
        return True

    # ---- entry by entry ----------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Symbols:
        return joined("add", self, Symbols.of(other))

    def __radd__(self, other: Any) -> Symbols:
        return joined("add", Symbols.of(other), self)

    def __sub__(self, other: Any) -> Symbols:
        return joined("sub", self, Symbols.of(other))

    def __rsub__(self, other: Any) -> Symbols:
        return joined("sub", Symbols.of(other), self)

    def __mul__(self, other: Any) -> Symbols:
        return joined("mul", self, Symbols.of(other))

    def __rmul__(self, other: Any) -> Symbols:
        return joined("mul", Symbols.of(other), self)

    def __truediv__(self, other: Any) -> Symbols:
        return joined("div", self, Symbols.of(other))

    def __rtruediv__(self, other: Any) -> Symbols:
        return joined("div", Symbols.of(other), self)

    def __pow__(self, other: Any) -> Symbols:
        return joined("pow", self, Symbols.of(other))

    def __rpow__(self, other: Any) -> Symbols:
        return joined("pow", Symbols.of(other), self)

    def __mod__(self, other: Any) -> Symbols:
        return joined("mod", self, Symbols.of(other))

    def __lt__(self, other: Any) -> Symbols:
        return joined("lt", self, Symbols.of(other))

    def __le__(self, other: Any) -> Symbols:
        return joined("le", self, Symbols.of(other))

    def __gt__(self, other: Any) -> Symbols:
        return joined("gt", self, Symbols.of(other))

    def __ge__(self, other: Any) -> Symbols:
        return joined("ge", self, Symbols.of(other))

    def __and__(self, other: Any) -> Symbols:
        return joined("and", self, Symbols.of(other))

    def __or__(self, other: Any) -> Symbols:
        return joined("or", self, Symbols.of(other))

    def __invert__(self) -> Symbols:
        return self.each(lambda x: node("not", _sure(x)))

    def __neg__(self) -> Symbols:
        return self.each(lambda x: None if x is None else node("neg", x))

    def square(self) -> Symbols:
        return joined("pow", self, Symbols.of(2))

    def detach(self) -> Symbols:
        return self.each(lambda x: None if x is None else node("stop", x))

    def clamp(self, min: Any = None, max: Any = None) -> Symbols:
        least = self if min is None else joined("max", self, Symbols.of(min))
        return least if max is None else joined("min", least, Symbols.of(max))

    def each(self, change: Callable[[Node | None], Node | None]) -> Symbols:
        """The same change for every entry, of the same type."""
        made = np.empty(self.entries.shape, dtype=object)
        for place in np.ndindex(made.shape):
            made[place] = change(self.entries[place])
        return Symbols(made, self.axes)

    def function(self, op: str) -> Symbols:
        """An entrywise function."""
        return self.each(lambda x: node(op, number(0) if x is None else x))

    # ---- reductions and products -------------------------------------------------------------------------------------

    def reduced(self, op: str, dim: Any, *more: Any) -> Symbols:
        """The reduction along axes of the array: named ones inside the entries, sums also over tokens."""
        places = sorted({d % self.dim() for d in ((dim,) if isinstance(dim, int) else dim)}, reverse=True)
        named = tuple(str(self.axes[d]) for d in reversed(places) if self.axes[d] is not None)
        found = self
        if named:
            attrs = (tuple(dict.fromkeys(named)), False, *more)
            found = self.each(lambda x: None if x is None else node(op, x, attrs=attrs))
        for d in places:
            if self.axes[d] is not None:
                found = Symbols(found.entries.squeeze(d), found.axes[:d] + found.axes[d + 1 :])
            elif op == "sum":
                parts = found.unbind(d)
                found = parts[0]
                for part in parts[1:]:
                    found = found + part
            else:
                raise NotImplementedError(f"`{op}` over tokens")
        return found

    def sum(self, dim: Any = (-1,)) -> Symbols:
        return self.reduced("sum", dim)

    def mean(self, dim: Any) -> Symbols:
        return self.reduced("mean", dim)

    def amax(self, dim: Any) -> Symbols:
        return self.reduced("amax", dim)

    def amin(self, dim: Any) -> Symbols:
        return self.reduced("amin", dim)

    def std(self, dim: Any) -> Symbols:
        return self.reduced("std", dim)

    def diagonal(self, dim1: int, dim2: int) -> Symbols:
        return Symbols(self.each(lambda x: x and node("diagonal", x)).entries[..., 0], self.axes[:-1])

    def __matmul__(self, other: Any) -> Symbols:
        a, b = self, Symbols.of(other)
        inner, below = a.axes[-1], b.axes[-2]
        if inner != below:
            raise NotImplementedError("a product that does not fit")
        lead = _broadcast(a.axes[:-2], b.axes[:-2])
        axes = (*lead, a.axes[-2], b.axes[-1])
        total: Symbols | None = None
        for k in range(a.entries.shape[-1]):
            left, right = a.entries[..., :, k, None], b.entries[..., None, k, :]
            x, y = _side_by_side(left, right)
            made = np.empty(x.shape, dtype=object)
            for place in np.ndindex(made.shape):
                made[place] = _product(x[place], y[place], a.axes[-2], inner, b.axes[-1])
            part = Symbols(made, axes)
            total = part if total is None else total + part
        assert total is not None
        return total

    # ---- shapes ------------------------------------------------------------------------------------------------------

    @property
    def mT(self) -> Symbols:
        both = self.axes[-1] is not None and self.axes[-2] is not None
        turned = self.each(lambda x: node("transpose", x) if both and x is not None else x)
        return Symbols(np.swapaxes(turned.entries, -1, -2), (*self.axes[:-2], self.axes[-1], self.axes[-2]))

    def __getitem__(self, place: Any) -> Symbols:
        keys = place if isinstance(place, tuple) else (place,)
        if ... not in keys:
            keys = (*keys, ...)
        used = sum(key is not None and key is not ... for key in keys)
        old, axes = list(self.axes), list[str | None]()
        for key in keys:
            if key is ...:
                many = self.dim() - used
                axes += old[:many]
                old = old[many:]
            elif key is None:
                axes.append(None)
            elif isinstance(key, slice):
                axes.append(old.pop(0))
            elif isinstance(key, int) and old[0] is None:
                old.pop(0)
            else:
                raise NotImplementedError("an element of a vector")
        return Symbols(_array(self.entries[keys]), tuple(axes))

    def unsqueeze(self, at: int) -> Symbols:
        at %= self.dim() + 1
        return Symbols(np.expand_dims(self.entries, at), (*self.axes[:at], None, *self.axes[at:]))

    def squeeze(self, at: int) -> Symbols:
        return self.select(at, 0)

    def select(self, at: int, place: int) -> Symbols:
        at %= self.dim()
        return Symbols(_array(np.take(self.entries, place, at)), self.axes[:at] + self.axes[at + 1 :])

    def narrow(self, at: int, start: int, length: int) -> Symbols:
        return Symbols(np.take(self.entries, range(start, start + length), at), self.axes)

    def unbind(self, at: int) -> list[Symbols]:
        return [self.select(at, i) for i in range(self.entries.shape[at])]

    def expand(self, *shape: int) -> Symbols:
        return _expanded(self, shape)

    def expand_as(self, other: Any) -> Symbols:
        return _expanded(self, other.shape)

    def reshape(self, *shape: int) -> Symbols:
        if any(self.axes):
            raise NotImplementedError("a change of shape across axes of the rule")
        return Symbols(self.entries.reshape(shape), (None,) * len(shape))

    def flatten(self, start: int, end: int) -> Symbols:
        start, end = start % self.dim(), end % self.dim()
        shape, middle = self.entries.shape, self.axes[start : end + 1]
        if any(middle):
            raise NotImplementedError("a change of shape across axes of the rule")
        made = self.entries.reshape((*shape[:start], -1, *shape[end + 1 :]))
        return Symbols(made, (*self.axes[:start], None, *self.axes[end + 1 :]))

    def unflatten(self, at: int, sizes: Sequence[int]) -> Symbols:
        at %= self.dim()
        shape = self.entries.shape
        made = self.entries.reshape((*shape[:at], *sizes, *shape[at + 1 :]))
        return Symbols(made, (*self.axes[:at], *[None] * len(sizes), *self.axes[at + 1 :]))

    def movedim(self, old: int, new: int) -> Symbols:
        order = list(range(self.dim()))
        order.insert(new % self.dim(), order.pop(old))
        return Symbols(self.entries.transpose(order), tuple(self.axes[i] for i in order))

    def unfold(self, at: int, size: int, step: int) -> Symbols:
        starts = range(0, self.entries.shape[at] - size + 1, step)
        cut = [self.narrow(at, start, size).movedim(at, -1) for start in starts]
        return _stack(cut, at)

    def repeat_interleave(self, times: int, at: int) -> Symbols:
        return Symbols(np.repeat(self.entries, times, at), self.axes)

    def gather(self, at: int, index: torch.Tensor) -> Symbols:
        return Symbols(np.take_along_axis(self.entries, index.numpy(), at), self.axes)

    def tril(self, diagonal: int = 0) -> Symbols:
        rows, columns = self.entries.shape[-2:]
        inside: Any = np.tri(rows, columns, diagonal, dtype=bool)
        return Symbols(np.where(inside, self.entries, np.full((), None, dtype=object)), self.axes)

    def cumprod(self, at: int) -> Symbols:
        return self._running(at, lambda a, b: a * b)

    def cumsum(self, at: int) -> Symbols:
        return self._running(at, lambda a, b: a + b)

    def _running(self, at: int, join: Callable[[Symbols, Symbols], Symbols]) -> Symbols:
        found: list[Symbols] = []
        for x in self.unbind(at):
            found.append(x if not found else join(found[-1], x))
        return _stack(found, at)

    def new_full(self, shape: Sequence[int], value: float) -> Symbols:
        axes = tuple(n.axis if isinstance(n, Extent) else None for n in shape)
        return Symbols(np.full(tuple(map(int, shape)), _number(value), dtype=object), axes)

    def new_zeros(self, shape: Sequence[int]) -> Symbols:
        return self.new_full(shape, 0)

    def new_ones(self, shape: Sequence[int]) -> Symbols:
        return self.new_full(shape, 1)

    def to(self, *_: Any, **__: Any) -> Symbols:
        return self

    def __getattr__(self, name: str) -> Any:
        raise Unknown(f"`{name}` on symbols")

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = FUNCTIONS.get(getattr(function, "__name__", ""))
        if made is None:
            raise NotImplementedError(f"`{getattr(function, '__name__', function)}` on symbols")
        return made(*args, **(kwargs or {}))


# ---- entries ---------------------------------------------------------------------------------------------------------


def _array(entry: Any) -> Any:
    """An array of objects without axes, for a single entry."""
    if isinstance(entry, np.ndarray):
        return entry
    made = np.empty((), dtype=object)
    made[()] = entry
    return made


def _side_by_side(*arrays: Any) -> list[Any]:
    return list(np.broadcast_arrays(*arrays))


def _number(x: Any) -> Node | None:
    """A number as it was written: 0.1 is a tenth."""
    if isinstance(x, bool):
        return number(int(x)) if x else None
    exact = x if isinstance(x, int | Fraction) else Fraction(str(x))
    return number(exact) if exact else None


def _broadcast(left: Axes, right: Axes) -> Axes:
    """The names of the axes of a result; raises NotImplementedError where two meet."""
    length = max(len(left), len(right))
    pairs = zip((None,) * (length - len(left)) + left, (None,) * (length - len(right)) + right, strict=True)
    axes = []
    for a, b in pairs:
        if a is not None and b is not None and a != b:
            raise NotImplementedError(f"axis {a} meets {b}")
        axes.append(a if a is not None else b)
    return tuple(axes)


def joined(op: str, a: Symbols, b: Symbols) -> Symbols:
    """An operation on two entries at each place; where each has an axis that the other lacks, products are outer."""
    axes = _broadcast(a.axes, b.axes)
    x, y = _side_by_side(a.entries, b.entries)
    left = tuple(n for n in (None,) * (len(axes) - len(a.axes)) + a.axes)
    right = tuple(n for n in (None,) * (len(axes) - len(b.axes)) + b.axes)
    whole = tuple(n for n in axes if n is not None)
    made = np.empty(x.shape, dtype=object)
    for place in np.ndindex(made.shape):
        made[place] = _entry(op, x[place], y[place], left, right, whole)
    return Symbols(made, axes)


def _entry(op: str, x: Node | None, y: Node | None, left: Axes, right: Axes, whole: tuple[str, ...]) -> Node | None:
    match op:
        case "mul" if x is None or y is None:
            return None
        case "add" if x is None or y is None:
            return _spread(y if x is None else x, right if x is None else left, whole, left, right)
        case "sub" if y is None:
            return _spread(x, left, whole, left, right)
        case "sub" if x is None:
            return node("neg", _sure(_spread(y, right, whole, left, right)))
        case "div" if x is None:
            return None
        case "mul" if x is not None and x.value == 1:
            return _spread(y, right, whole, left, right)
        case "mul" if y is not None and y.value == 1:
            return _spread(x, left, whole, left, right)
    a, b = (number(0) if z is None else z for z in (x, y))
    mine, theirs = (tuple(n for n in axes if n is not None) for axes in (left, right))
    if op == "mul" and len(mine) == len(theirs) == 1 and len(whole) == 2:
        first, second = (a, b) if left.index(mine[0]) < right.index(theirs[0]) else (b, a)
        return node("outer", first, second)
    if op == "mul" and len(set(whole)) == 2 and whole in (mine, theirs):  # by the names of the axes
        return node("mul", *((a, b) if mine == whole else (b, a)))
    fitted = [z if not axes or axes == whole else _sure(_spread(z, full, whole, left, right))
              for z, axes, full in ((a, mine, left), (b, theirs, right))]  # fmt: skip
    return node(op, *fitted)


def _spread(x: Node | None, own: Axes, whole: tuple[str, ...], left: Axes, right: Axes) -> Node | None:
    """An entry along axes that it lacks: times ones."""
    if x is None or x.type.axes == whole:
        return x
    places = [i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a is not None or b is not None]
    lacking = [i for i in places if own[i] is None]
    if not x.type.axes:
        return node("mul", x, node("ones", attrs=(Type("real", whole),)))
    if len(whole) != 2 or len(lacking) != 1:
        raise NotImplementedError(f"{x.type} along {whole}")
    missing = whole[0] if lacking[0] == places[0] else whole[1]
    ones = node("ones", attrs=(Type("real", (missing,)),))
    return node("outer", ones, x) if lacking[0] == places[0] else node("outer", x, ones)


def _sure(x: Node | None) -> Node:
    return number(0) if x is None else x


def _product(x: Node | None, y: Node | None, row: str | None, inner: str | None, column: str | None) -> Node | None:
    """One term of a product of matrices."""
    if x is None or y is None:
        return None
    if inner is not None:
        return node("matmul", x, y)
    if row is not None and column is not None:
        return node("outer", x, y)
    if x.value == 1 or y.value == 1:
        return y if x.value == 1 else x
    return node("mul", x, y)


def _expanded(x: Symbols, shape: Sequence[int]) -> Symbols:
    sizes = [int(n) for n in shape]
    axes = tuple(n.axis if isinstance(n, Extent) else None for n in shape)
    own = (None,) * (len(axes) - x.dim()) + x.axes
    whole = tuple(n for n in axes if n is not None)
    named = tuple(a if b is None else b for a, b in zip(axes, own, strict=True))
    spread = x.each(lambda entry: _spread(entry, own, whole or x.names, own, named))
    return Symbols(np.broadcast_to(spread.entries, sizes), named)


# ---- functions of torch ----------------------------------------------------------------------------------------------


def _stack(parts: Sequence[Any], at: int) -> Symbols:
    whole = [Symbols.of(x) for x in parts]
    at %= whole[0].dim() + 1
    axes = whole[0].axes
    return Symbols(np.stack([x.entries for x in whole], at), (*axes[:at], None, *axes[at:]))


def _cat(parts: Sequence[Any], at: int) -> Symbols:
    whole = [Symbols.of(x) for x in parts]
    axes = whole[0].axes
    for x in whole:
        axes = _broadcast(axes, x.axes)
    return Symbols(np.concatenate([x.entries for x in whole], at), axes)


def _where(condition: Any, a: Any, b: Any) -> Symbols:
    left, right = Symbols.of(a), Symbols.of(b)
    if isinstance(condition, Symbols):
        axes = _broadcast(condition.axes, _broadcast(left.axes, right.axes))
        c, x, y = _side_by_side(condition.entries, left.entries, right.entries)
        made = np.empty(c.shape, dtype=object)
        for place in np.ndindex(made.shape):
            made[place] = node("select", _sure(c[place]), _sure(x[place]), _sure(y[place]))
        return Symbols(made, axes)
    axes = _broadcast(left.axes, right.axes)
    length = max(condition.dim(), len(axes))
    axes = (None,) * (length - len(axes)) + axes
    c, x, y = _side_by_side(condition.numpy(), left.entries, right.entries)
    return Symbols(np.where(c, x, y), axes)


def _solve_triangular(system: Symbols, right: Any, upper: bool, unitriangular: bool) -> Symbols:
    """Forward substitution; what stands on the diagonal and above is not looked at."""
    if upper or not unitriangular:
        raise NotImplementedError("another triangular system")
    rows: list[Symbols] = []
    given = Symbols.of(right)
    for i in range(system.shape[-2]):
        row = given[..., i, :]
        for j in range(i):
            row = row - system[..., i, j, None] * rows[j]
        rows.append(row)
    return _stack(rows, -2)


def _broadcast_tensors(*parts: Any) -> list[Symbols]:
    whole = [Symbols.of(x) for x in parts]
    axes: Axes = ()
    for x in whole:
        axes = _broadcast(axes, x.axes)
    sizes = np.broadcast_shapes(*(x.entries.shape for x in whole))
    shape = tuple(n if a is None else Extent(a) for n, a in zip(sizes, axes, strict=True))
    return [x.expand(*shape) for x in whole]


def _einsum(formula: str, a: Any, b: Any) -> Symbols:
    match formula:
        case "...ij,...j->...i":
            return (Symbols.of(a) @ Symbols.of(b)[..., :, None])[..., 0]
        case "...i,...ij->...j":
            return (Symbols.of(a)[..., None, :] @ Symbols.of(b))[..., 0, :]
    raise NotImplementedError(f"einsum {formula}")


def _vector_norm(x: Any, order: Any, dim: Any) -> Symbols:
    return Symbols.of(x).reduced("norm", dim, None if order == float("inf") else Fraction(str(order)))


def _eye(size: Any, **_: Any) -> Symbols:
    if isinstance(size, Extent):
        made = np.empty((1, 1), dtype=object)
        made[0, 0] = node("eye", attrs=(size.axis,))
        return Symbols(made, (size.axis, size.axis))
    return Symbols.of(np.eye(int(size), dtype=int))


def _arange(start: int, stop: Any, **_: Any) -> Symbols:
    """`arange(1, d + 1)`: the places along an axis."""
    if not isinstance(stop, Symbols):
        return Symbols.of(np.arange(start, int(stop)))
    axis = next((x for x in stop.entries.reshape(-1)[0].walk() if x.role == "axis"), None)
    if axis is None or stop.entries.reshape(-1)[0] not in (axis, node("add", axis, number(start))):
        raise NotImplementedError("a range that is not that of an axis")
    made = np.empty((1,), dtype=object)
    made[0] = node("arange", attrs=(axis.name, start))
    return Symbols(made, (axis.name,))


def _filled(value: int) -> Callable[..., Symbols]:
    return lambda *shape, **_: Symbols.of(0).new_full(shape, value)


def _entrywise(op: str) -> Callable[..., Symbols]:
    """A function of the language by its name in torch, which is the same; how torch computes it is not looked at."""
    return lambda x, **_: Symbols.of(x).function(op)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cat": _cat,
    "stack": _stack,
    "where": _where,
    "ones_like": lambda x: Symbols.of(x).new_full(x.shape, 1),
    "zeros_like": lambda x: Symbols.of(x).new_full(x.shape, 0),
    "linalg_solve_triangular": _solve_triangular,
    "solve_triangular": _solve_triangular,
    "expand_as": lambda x, other: Symbols.of(x).expand_as(other),
    "mul": lambda a, b: Symbols.of(a) * b,
    "add": lambda a, b: Symbols.of(a) + b,
    "sub": lambda a, b: Symbols.of(a) - b,
    "div": lambda a, b: Symbols.of(a) / b,
    "rsub": lambda a, b: Symbols.of(b) - a,
    "matmul": lambda a, b: Symbols.of(a) @ b,
    "broadcast_tensors": _broadcast_tensors,
    "einsum": _einsum,
    "vector_norm": _vector_norm,
    "eye": _eye,
    "arange": _arange,
    "ones": _filled(1),
    "zeros": _filled(0),
    "inv": lambda x: Symbols.of(x).each(lambda entry: node("inverse", _sure(entry))),
    "maximum": lambda a, b: joined("max", Symbols.of(a), Symbols.of(b)),
    "minimum": lambda a, b: joined("min", Symbols.of(a), Symbols.of(b)),
    **{op: _entrywise(op) for op in ENTRYWISE if op != "neg"},
}
