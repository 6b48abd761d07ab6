"""Tensors of symbols: the chunked form of a recurrence, run on nodes of the IR instead of numbers.

A vector is one entry, whatever its size, so axes of entries have size 1 and axes of tokens their true size. Entries are
multiplied as matrices are; those that two tokens have in common are never looked at one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dotopt.compiler.analysis.recurrence import Group
from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.prove.procedures.chunks import Parts
from dotopt.runtime.sequence.chunks import Chunks, Term


@dataclass(frozen=True, slots=True)
class Entry:
    """A value with the axes of its rows and columns; None for both is a number. No node is zero."""

    value: Node | None
    row: str | None = None
    column: str | None = None

    def __add__(self, other: Entry) -> Entry:
        if self.value is None or other.value is None:
            return other if self.value is None else self
        if (self.row, self.column) != (other.row, other.column):
            raise NotImplementedError("a sum of different shapes")
        return Entry(node("add", self.value, other.value), self.row, self.column)

    def __neg__(self) -> Entry:
        return self if self.value is None else Entry(node("neg", self.value), self.row, self.column)

    def __mul__(self, other: Entry) -> Entry:
        """The product as matrices."""
        a, b = self.value, other.value
        if a is None or b is None:
            return ZERO
        if a.value == 1 or b.value == 1:
            return other if a.value == 1 else self
        left, right = (self.row, self.column), (other.row, other.column)
        if left == (None, None) or right == (None, None):
            return Entry(node("mul", a, b), self.row or other.row, self.column or other.column)
        if self.column != other.row:
            raise NotImplementedError("a product that does not fit")
        if self.column is None:
            return Entry(node("outer", a, b), self.row, other.column)
        return Entry(node("matmul", a, b), self.row, other.column)

    @property
    def transposed(self) -> Entry:
        whole = self.value is not None and self.row is not None and self.column is not None
        return Entry(node("transpose", self.value) if whole else self.value, self.column, self.row)  # type: ignore[arg-type]


ZERO, ONE = Entry(None), Entry(number(1))


def _entry(x: float) -> Entry:
    if x not in (0, 1, -1):
        raise NotImplementedError("a number among symbols")
    return ZERO if x == 0 else ONE if x == 1 else Entry(number(-1))


class Symbols:
    """An array of entries that answers to the operations that the chunked form uses."""

    dtype, device = torch.float64, torch.device("cpu")

    def __init__(self, entries: Any) -> None:
        self.entries = np.asarray(entries, dtype=object)

    @staticmethod
    def of(x: Any) -> Symbols:
        """Numbers among them: only 0, 1 and -1."""
        if isinstance(x, Symbols):
            return x
        values = np.asarray(x.tolist() if isinstance(x, torch.Tensor) else x, dtype=float)
        made = np.empty(values.shape, dtype=object)
        for place in np.ndindex(values.shape):
            made[place] = _entry(float(values[place]))
        return Symbols(made)

    @property
    def shape(self) -> torch.Size:
        return torch.Size(self.entries.shape)

    def dim(self) -> int:
        return self.entries.ndim

    @property
    def mT(self) -> Symbols:
        turned = np.swapaxes(self.entries, -1, -2)
        return Symbols(_each(lambda entry: entry.transposed, turned))

    def __add__(self, other: Any) -> Symbols:
        return Symbols(self.entries + Symbols.of(other).entries)

    def __mul__(self, other: Any) -> Symbols:
        return Symbols(self.entries * Symbols.of(other).entries)

    def __rmul__(self, other: Any) -> Symbols:
        return Symbols(Symbols.of(other).entries * self.entries)

    def __neg__(self) -> Symbols:
        return Symbols(_each(lambda entry: -entry, self.entries))

    def __matmul__(self, other: Any) -> Symbols:
        a, b = self.entries, Symbols.of(other).entries
        total = None
        for k in range(a.shape[-1]):
            product = a[..., :, k, None] * b[..., None, k, :]
            total = product if total is None else total + product
        return Symbols(total)

    def __getitem__(self, place: Any) -> Symbols:
        return Symbols(self.entries[place])

    def unsqueeze(self, at: int) -> Symbols:
        return Symbols(np.expand_dims(self.entries, at))

    def select(self, at: int, place: int) -> Symbols:
        return Symbols(np.take(self.entries, place, at))

    def narrow(self, at: int, start: int, length: int) -> Symbols:
        return Symbols(np.take(self.entries, range(start, start + length), at))

    def unbind(self, at: int) -> list[Symbols]:
        return [self.select(at, i) for i in range(self.entries.shape[at])]

    def expand(self, *shape: int) -> Symbols:
        return Symbols(np.broadcast_to(self.entries, shape))

    def expand_as(self, other: Symbols) -> Symbols:
        return self.expand(*other.shape)

    def reshape(self, *shape: int) -> Symbols:
        return Symbols(self.entries.reshape(shape))

    def flatten(self, start: int, end: int) -> Symbols:
        shape = list(self.entries.shape)
        start, end = start % len(shape), end % len(shape)
        return Symbols(self.entries.reshape((*shape[:start], -1, *shape[end + 1 :])))

    def unflatten(self, at: int, sizes: Sequence[int]) -> Symbols:
        shape = list(self.entries.shape)
        at %= len(shape)
        return Symbols(self.entries.reshape((*shape[:at], *sizes, *shape[at + 1 :])))

    def repeat_interleave(self, times: int, at: int) -> Symbols:
        return Symbols(np.repeat(self.entries, times, at))

    def tril(self, diagonal: int = 0) -> Symbols:
        rows, columns = self.entries.shape[-2:]
        inside = np.tri(rows, columns, diagonal, dtype=bool)
        zero = np.empty((), dtype=object)
        zero[()] = ZERO
        return Symbols(np.where(inside, self.entries, zero))

    def cumprod(self, at: int) -> Symbols:
        return self._running(at, lambda a, b: a * b)

    def cumsum(self, at: int) -> Symbols:
        return self._running(at, lambda a, b: a + b)

    def _running(self, at: int, join: Callable[[Any, Any], Any]) -> Symbols:
        found: list[Any] = []
        for x in self.unbind(at):
            found.append(x.entries if not found else join(found[-1], x.entries))
        return Symbols(np.stack(found, at))

    def new_full(self, shape: Sequence[int], value: float) -> Symbols:
        return Symbols.of(np.full(shape, value))

    def new_zeros(self, shape: Sequence[int]) -> Symbols:
        return self.new_full(shape, 0.0)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = FUNCTIONS.get(getattr(function, "__name__", ""))
        if made is None:
            raise NotImplementedError(f"`{getattr(function, '__name__', function)}` on symbols")
        return made(*args, **(kwargs or {}))


def _each(change: Callable[[Entry], Entry], entries: Any) -> Any:
    made = np.empty(entries.shape, dtype=object)
    for place in np.ndindex(entries.shape):
        made[place] = change(entries[place])
    return made


def _where(condition: torch.Tensor, a: Any, b: Any) -> Symbols:
    return Symbols(np.where(condition.numpy(), Symbols.of(a).entries, Symbols.of(b).entries))


def _solve_triangular(system: Symbols, right: Any, upper: bool, unitriangular: bool) -> Symbols:
    """Forward substitution; what stands on the diagonal and above is not looked at."""
    if upper or not unitriangular:
        raise NotImplementedError("another triangular system")
    rows: list[Any] = []
    given = Symbols.of(right).entries
    for i in range(system.shape[-2]):
        row = given[..., i, :]
        for j in range(i):
            row = row + _each(lambda entry: -entry, system.entries[..., i, j, None] * rows[j])
        rows.append(row)
    return Symbols(np.stack(rows, -2))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "cat": lambda parts, at: Symbols(np.concatenate([Symbols.of(x).entries for x in parts], at)),
    "stack": lambda parts, at: Symbols(np.stack([Symbols.of(x).entries for x in parts], at)),
    "where": _where,
    "ones_like": lambda x: Symbols.of(np.ones(x.shape)),
    "zeros_like": lambda x: Symbols.of(np.zeros(x.shape)),
    "linalg_solve_triangular": _solve_triangular,
    "expand_as": lambda x, other: Symbols.of(x).expand_as(other),
    "mul": lambda a, b: Symbols.of(a) * b,
    "add": lambda a, b: Symbols.of(a) + b,
    "matmul": lambda a, b: Symbols.of(a) @ b,
}


def compute(parts: Parts, group: Group, chunk: int) -> tuple[list[list[Node]], list[Node]]:
    """What `Chunks` gives for these symbols: each read at each token, and the memories after the last."""
    memories = len(parts.starts)
    starts = [Symbols([[Entry(x, *x.type.axes)]]) for x in parts.starts]

    def scalars(i: int, j: int) -> Any:
        found = [rows[i][j] for rows in parts.mix]
        if found[0] is None:
            return None
        if all(x is not None and x.value == 1 for x in found):
            return 1
        return Symbols([Entry(x) for x in found])

    def vectors(rows: Any, several: bool) -> Symbols | None:
        if rows is None:
            return None
        entries = [[[Entry(x, None, x.type.axes[0])] for x in row] for row in rows]
        return Symbols(entries) if several else Symbols([row[0] for row in entries])

    mix: Any = [[scalars(i, j) for j in range(memories)] for i in range(memories)]
    terms: list[Any] = []
    rank = 0
    for term, several in zip(parts.terms, parts.several, strict=True):
        made = [vectors(part, several) for part in term]
        terms.append(Term(made[:memories], made[memories], made[memories + 1 :], several))  # type: ignore[arg-type]
        rank += next(len(part[0]) for part in term[memories + 1 :] if part is not None)
    chunks = Chunks(starts, mix, terms, chunk * rank)  # type: ignore[arg-type]
    found = []
    for read, queries in parts.reads:
        q: Any = Symbols([[Entry(x, None, x.type.axes[0])] for x in queries])
        turned = read.transposed != group.transposed
        values: Any = chunks.read(group.index(read.state), q, read.after, turned)
        found.append([_node(values.entries[t, 0]) for t in range(len(queries))])
    return found, [_node(x.entries[0, 0]) for x in chunks.last]  # type: ignore[attr-defined]


def _node(entry: Entry) -> Node:
    if entry.value is None:
        raise NotImplementedError("a memory that stays zero")
    return entry.value
