"""Memories that are written with terms of low rank, over all tokens at once, in chunks.

    M_i,t = Σ_j mix[i][j]_t*M_j,t-1 + Σ z_t y_i,tᵀ          z_t = Σ_j M_j,t-1 @ p_j,t + u_t

In a chunk of C tokens the vectors z solve a unit triangular system (the WY form of Bischof and Van Loan 1987, as in
Yang et al. 2024 for the delta rule). The systems of all chunks are inverted together; only the memories pass from chunk
to chunk. Work O(T C d + T d²) for T tokens, depth O(T/C + C); kept for the backward pass: O(T (C + d) + T d²/C).

Tokens are the last leading axis of every argument: a scalar of a token is `[..., T]`, a vector `[..., T, d]`.
`compiler/prove/procedures/chunks.py` runs this file on symbols, and so proves that it computes the recurrence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dotopt.runtime.sequence import launch
from dotopt.runtime.sequence.channels import Channels
from dotopt.runtime.sequence.fading import Fading, Mix, Number


class Term(NamedTuple):
    """One term `(Σ_j M_j @ p_j + u) y_iᵀ` for memories j and i in order; None is zero.

    With `several` it is a sum of such terms, and each vector is `[..., T, w, d]`.
    """

    p: Sequence[Tensor | None]
    u: Tensor | None
    y: Sequence[Tensor | None]
    several: bool = False


class Chunks:
    """Memories over a stretch of tokens: `read` gives products with vectors at every token, `last` what is left.

    >>> k = torch.eye(3)
    >>> memory = Chunks([torch.zeros(1, 3)], [[0.5]], [Term([None], torch.ones(3, 1), [k])], 2)
    >>> memory.read(0, k)[:, 0], memory.last[0]
    (tensor([1., 1., 1.]), tensor([[0.2500, 0.5000, 1.0000]]))
    """

    def __init__(
        self, starts: Sequence[Tensor], mix: Mix, terms: Sequence[Term], chunk: int = 64, keep: Tensor | None = None,
        decay: Tensor | None = None,
    ) -> None:  # fmt: skip
        """starts: `[..., dv, d_i]`; mix: numbers or `[..., T]`, None for zero, and nothing right of the diagonal.

        keep: `[..., T]`, False where there is no token; the memories stay what they are. decay: `[..., T, d]`, of one
        memory whose columns decay each by itself, in place of the mix.
        """
        memories = range(len(starts))
        written = [x.shape[-3 if term.several else -2] for term in terms for x in term.y if x is not None]
        self.length = length = max(written)
        p = [_side_by_side([(term.p[i], term) for term in terms], length) for i in memories]
        u = _side_by_side([(term.u, term) for term in terms], length)
        y = [_side_by_side([(term.y[i], term) for term in terms], length) for i in memories]
        rank = next(x.shape[-2] for x in y if x is not None)
        if keep is not None:
            y = [None if x is None else x * keep[..., None, None].to(x.dtype) for x in y]
            decay = None if decay is None else torch.where(keep[..., None], decay, torch.ones_like(decay))
            mix = [[_kept(x, keep, i == j, starts[0]) for j, x in enumerate(row)] for i, row in enumerate(mix)]
        size = max(1, min(chunk // rank, length))
        whole = length // size * size
        self.parts: list[_Part] = []
        self.last = list(starts)
        for begin, end, many in ((0, whole, size), (whole, length, length - whole)):
            if begin < end:

                def cut(x: Tensor | None, begin: int = begin, end: int = end, many: int = many) -> Tensor | None:
                    """The vectors of these tokens by chunks, `[..., N, C*R, d]`."""
                    if x is None:
                        return None
                    if end - begin < length:
                        x = x.narrow(-3, begin, end - begin)
                    chunked: Tensor = x.flatten(-3, -2).unflatten(-2, (-1, many * rank))
                    return chunked

                fading: Fading | Channels
                if decay is None:
                    cut_mix = [[_tokens(x, begin, end, length) for x in row] for row in mix]
                    fading = Fading(cut_mix, many, self.last[0])
                else:
                    fading = Channels(_spans(decay, length).narrow(-2, begin, end - begin), many)
                self.parts.append(_part(self.last, fading, [cut(x) for x in p], cut(u), [cut(x) for x in y]))
                self.last = self.parts[-1].last

    def read(self, memory: int, q: Tensor, after: bool = True, transposed: bool = False) -> Tensor:
        """`M @ q` at every token, `[..., T, dv]`, with the memory after the token was written or before.

        With `transposed` `Mᵀ @ q`, `[..., T, d]`.
        """
        found, at = [], 0
        if q.shape[-2] == 1 != self.length:
            q = q.expand(*q.shape[:-2], self.length, q.shape[-1])
        for part in self.parts:
            here = q if part.length == self.length else q.narrow(-2, at, part.length)
            found.append(part.read(memory, here.unflatten(-2, (-1, part.size)), after, transposed))
            at += part.length
        return found[0] if len(found) == 1 else torch.cat(found, -2)


@dataclass(frozen=True, eq=False, slots=True)
class _Part:
    """N whole chunks of C tokens, each with R terms. starts: `[..., N, dv, d]`; z, y: `[..., N, C*R, d]`."""

    starts: Sequence[Tensor]
    z: Tensor
    y: Sequence[Tensor | None]
    fading: Fading | Channels
    last: list[Tensor]
    kernels: bool = False  # whether Triton computed it, and reads it

    @property
    def size(self) -> int:
        return self.fading.size

    @property
    def length(self) -> int:
        return int(self.z.shape[-3]) * self.size

    def read(self, j: int, q: Tensor, after: bool, transposed: bool) -> Tensor:
        """What the memory held at the start of the chunk, and what was written in it since."""
        written = self.y[0]
        if self.kernels and not transposed and written is not None and isinstance(self.fading, Fading):
            fading = self.fading

            def torch_form(*x: Tensor) -> tuple[Tensor, ...]:
                part = _Part([x[1]], x[2], [x[3]], fading.replaced(x[4]), self.last)
                return (part.by_torch(0, x[0], after, False),)

            table = fading.tables[0, 0]
            found = launch.looked(q, self.starts[0], self.z, written, table, after, torch_form)
            return found.flatten(-3, -2)
        return self.by_torch(j, q, after, transposed).flatten(-3, -2)

    def by_torch(self, j: int, q: Tensor, after: bool, transposed: bool) -> Tensor:
        """The same as sums of products of torch, `[..., N, C, d]`."""
        fading, total = self.fading, None
        scores: Tensor | None = None
        for i, (start, y) in enumerate(zip(self.starts, self.y, strict=True)):
            if not fading.mixes(j, i):
                continue
            far = fading.since(q @ start, j, i, after) if transposed else fading.since(q, j, i, after) @ start.mT
            total = _plus(total, far)
            if y is not None and transposed:
                total = _plus(total, fading.spread(q, self.z, y, j, i, after))
            elif y is not None:
                scores = _plus(scores, fading.scores(q, y, j, i, after))
        assert total is not None
        if scores is not None:
            near = scores @ self.z
            free = not getattr(near, "requires_grad", True) and near.shape == total.shape
            total = near.add_(total) if free and not total.requires_grad else total + near
        return total


def _part(
    starts: Sequence[Tensor], fading: Fading | Channels, p: Sequence[Tensor | None], u: Tensor | None,
    y: Sequence[Tensor | None],
) -> _Part:
    """The chunks, from what the memories are at the start of the first."""
    written = y[0]
    if isinstance(fading, Channels) or written is None:
        return _solved(starts, fading, p, u, y)
    if launch.usable(starts, fading.size, written.shape[-2], (p[0], u, written)):
        table = fading.tables[0, 0]

        def torch_form(*x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            part = _solved([x[0]], fading.replaced(x[1]), [x[2]], x[3], [x[4]])
            return part.starts[0], part.z, part.last[0]

        first, z, last = launch.carried(starts[0], table, p[0], u, written, torch_form)
        return _Part([first], z, y, fading, [last], kernels=True)
    return _solved(starts, fading, p, u, y)


def _solved(
    starts: Sequence[Tensor], fading: Fading | Channels, p: Sequence[Tensor | None], u: Tensor | None,
    y: Sequence[Tensor | None],
) -> _Part:
    """The same by torch."""
    memories = range(len(starts))
    pairs = [(j, i) for j in memories for i in memories if fading.mixes(j, i)]
    reach: list[Tensor | None] = [None for _ in memories]
    ends: list[Tensor | None] = [None for _ in memories]
    system: Tensor | None = None
    for j, i in pairs:
        left, right = p[j], y[i]
        if left is not None:
            reach[i] = _plus(reach[i], fading.since(left, j, i, False))
            if right is not None:
                system = _plus(system, fading.scores(left, right, j, i, False))
        if right is not None:
            ends[j] = _plus(ends[j], fading.to_end(right, j, i))
    if system is not None:  # z = system @ z + u + Σ_i reach_i @ M_iᵀ, and the system is strictly lower triangular
        inverse = torch.linalg.solve_triangular(-system, _identity(system), upper=False, unitriangular=True)
        u = None if u is None else inverse @ u
        reach = [None if x is None else inverse @ x for x in reach]
    kept, z, last = _passed(starts, fading, reach, u, ends)
    return _Part(kept, z, y, fading, last)


def _passed(
    starts: Sequence[Tensor], fading: Fading | Channels, reach: Sequence[Tensor | None], u: Tensor | None,
    ends: Sequence[Tensor | None],
) -> tuple[list[Tensor], Tensor, list[Tensor]]:  # fmt: skip
    """The memories at the start of each chunk, the vectors z, and the memories after the last chunk."""
    memories = range(len(starts))
    reads = any(x is not None for x in reach)
    written: list[Sequence[Tensor] | None] = [None for _ in memories]
    if not reads:
        assert u is not None
        total = [None if x is None else u.mT @ x for x in ends]
        if fading.none and total[0] is not None:  # nothing fades: sums of what is written
            first = starts[0].unsqueeze(-3).expand_as(total[0][..., :1, :, :])
            sums = torch.cat([first, total[0][..., :-1, :, :]], -3).cumsum(-3)
            return [sums], u, [sums[..., -1, :, :] + total[0][..., -1, :, :]]
        written = [None if x is None else x.unbind(-3) for x in total]
    count = next(x.shape[-3] for x in (*reach, *ends, u) if x is not None and x.shape[-3])
    rows = [None if x is None else x.unbind(-3) for x in reach]
    columns = [None if x is None else x.unbind(-3) for x in ends]
    own = None if u is None else u.unbind(-3)
    through = fading.through(count)
    current, kept, z = list(starts), [], []
    for n in range(count):
        kept.append(current)
        here = None if own is None else own[n]
        for x, memory in zip(rows, current, strict=True):
            here = here if x is None else _plus(here, x[n] @ memory.mT)
        if reads:
            assert here is not None
            z.append(here)
        following = []
        for j in memories:
            new: Tensor | None = None
            for i in memories:
                if fading.mixes(j, i):
                    factor = through[j, i]
                    new = _plus(new, current[i] if factor is None else factor[n] * current[i])
            column, done = columns[j], written[j]
            if done is not None:
                new = _plus(new, done[n])
            elif column is not None and here is not None:
                new = _plus(new, here.mT @ column[n])
            assert new is not None
            following.append(new)
        current = following
    batch = current[-1].shape[:-2]
    held = [torch.stack([x[i].expand(*batch, *x[i].shape[-2:]) for x in kept], -3) for i in memories]
    vectors = torch.stack(z, -3) if reads else u
    assert vectors is not None
    return held, vectors, current


def _side_by_side(vectors: Sequence[tuple[Tensor | None, Term]], length: int) -> Tensor | None:
    """The vectors of all terms, token by token: `[..., T, R, d]`, zero where a term lacks one; None if all do."""
    if all(x is None for x, _ in vectors):
        return None
    found = [None if x is None else x if term.several else x.unsqueeze(-2) for x, term in vectors]
    known = next(x for x in found if x is not None)
    if len(found) == 1 and known.shape[-3] == length:
        return known
    batch = torch.broadcast_shapes(*(x.shape[:-3] for x in found if x is not None))
    ranks = [next(y.shape[-2] for y in term.y if y is not None) if term.several else 1 for _, term in vectors]
    zero = known.new_zeros(())
    filled = [
        (zero if x is None else x).expand(*batch, length, rank, known.shape[-1])
        for x, rank in zip(found, ranks, strict=True)
    ]
    return torch.cat(filled, -2)


def _tokens(x: Number | None, begin: int, end: int, length: int) -> Number | None:
    """A number as it is; of one for each token, those from `begin` to `end`."""
    if x is None or isinstance(x, float | int) or x.dim() == 0 or x.shape[-1] == 1 or end - begin == length:
        return x
    return x.narrow(-1, begin, end - begin)


def _spans(decay: Tensor, length: int) -> Tensor:
    """`[..., T, d]`, also of what is the same at all tokens."""
    if decay.shape[-2] == length:
        return decay
    return decay.expand(*decay.shape[:-2], length, decay.shape[-1])


def _kept(x: Number | None, keep: Tensor, same: bool, like: Tensor) -> Number | None:
    """A factor of the mix, where tokens that are not there change nothing."""
    if x is None or (same and isinstance(x, float | int) and x == 1):
        return x
    return torch.where(keep, x, like.new_full((), float(same)))  # of the dtype of the memories, not torch's default


def _identity(system: Tensor) -> Tensor:
    eye = torch.eye(system.shape[-1], dtype=system.dtype, device=system.device)
    return eye.expand_as(system)


def _plus(a: Tensor | None, b: Tensor) -> Tensor:
    return b if a is None else a + b
