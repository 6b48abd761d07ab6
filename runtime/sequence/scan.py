"""Recurrences over all tokens at once: elementwise scans, and low-rank transitions in chunks.

Tokens are the last leading axis of every argument: a scalar of a token is `[..., T]`, a vector `[..., T, d]`, a matrix
`[..., T, dv, dk]`. Everything is differentiable and works in any floating-point type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Pair(NamedTuple):
    """One term `(M @ p + u) yᵀ` of a transition; `p` or `u` may be None."""

    p: Tensor | None
    u: Tensor | None
    y: Tensor


class Read(NamedTuple):
    """A product of the memory with `q`, after the token was written or before."""

    q: Tensor
    after: bool = True


def scan(a: Tensor | float | None, b: Tensor, start: Tensor, axes: int) -> Tensor:
    """The values x_1 … x_T of `x_t = a_t*x_{t-1} + b_t`, from x_0 = `start`.

    `b` has shape `[..., T, *sizes]` with `axes` sizes, `start` `[..., *sizes]`; `a` is None (zero), a number, or a
    tensor that broadcasts with `b`. Depth log T, work T log T (doubling).

    >>> scan(0.5, torch.ones(3), torch.tensor(0.0), 0)
    tensor([1.0000, 1.5000, 1.7500])
    """
    if a is None:
        return b
    tokens = b.dim() - axes - 1
    decay = torch.as_tensor(a, dtype=b.dtype, device=b.device)
    decay, total = torch.broadcast_tensors(decay, b)
    first = total.narrow(tokens, 0, 1) + decay.narrow(tokens, 0, 1) * start.unsqueeze(tokens - total.dim())
    total = torch.cat([first, total.narrow(tokens, 1, total.shape[tokens] - 1)], tokens)
    length, reach = total.shape[tokens], 1
    while reach < length:
        rest = length - reach
        later, earlier = decay.narrow(tokens, reach, rest), total.narrow(tokens, 0, rest)
        added = total.narrow(tokens, reach, rest) + later * earlier
        product = later * decay.narrow(tokens, 0, rest)
        total = torch.cat([total.narrow(tokens, 0, reach), added], tokens)
        decay = torch.cat([decay.narrow(tokens, 0, reach), product], tokens)
        reach *= 2
    return total


def before(values: Tensor, start: Tensor, axes: int) -> Tensor:
    """The values before each token: `start`, then all of `values` but the last."""
    tokens = values.dim() - axes - 1
    first = start.unsqueeze(tokens - values.dim()).expand_as(values.narrow(tokens, 0, 1))
    return torch.cat([first, values.narrow(tokens, 0, values.shape[tokens] - 1)], tokens)


def low_rank(
    decay: Tensor | float | None,
    pairs: Sequence[Pair],
    reads: Sequence[Read],
    start: Tensor,
    chunk: int = 64,
) -> tuple[list[Tensor], Tensor]:
    """The reads `M_t @ q_t` of `M_t = decay_t*M_{t-1} + Σ (M_{t-1} @ p_t + u_t) y_tᵀ`, and the last M.

    `decay`: None (one), a number, or `[..., T]`; vectors `[..., T, d]`; `start` `[..., dv, dk]`. In a chunk of C
    tokens the vectors z_t = M_{t-1} @ p_t + u_t solve a unit triangular system (the WY form of Bischof and Van Loan
    1987, as in Yang et al. 2024 for the delta rule); the systems of all chunks are solved together, and only M passes
    from chunk to chunk.
    Work O(T C d + T d²), T/C sequential steps.
    """
    length, rank = pairs[0].y.shape[-2], len(pairs)
    shapes = [start.shape[:-2], *(x.shape[:-2] for pair in pairs for x in pair if x is not None)]
    batch = torch.broadcast_shapes(*shapes, *(read.q.shape[:-2] for read in reads))
    size = max(1, min(chunk, length))
    count = -(-length // size)
    pad = count * size - length
    y = _chunked(_stacked([pair.y for pair in pairs], batch), size * rank, pad * rank)
    u = _optional([pair.u for pair in pairs], batch, size * rank, pad * rank)
    p = _optional([pair.p for pair in pairs], batch, size * rank, pad * rank)
    fading = None if decay is None else Fading.of(decay, batch, length, pad, size, start)
    ends = y if fading is None else y * _repeated(fading.to_end, rank)
    w, z0, step = None, u, None
    if p is not None:
        place = torch.arange(size * rank, device=y.device) // rank
        inside = (place[:, None] > place[None, :]).to(y.dtype)
        if fading is not None:
            inside = inside * fading.earlier_ratios.repeat_interleave(rank, -2).repeat_interleave(rank, -1)
        system = torch.eye(size * rank, dtype=y.dtype, device=y.device) - (p @ y.mT) * inside
        reach = p if fading is None else p * _repeated(fading.before, rank)
        right = reach if u is None else torch.cat([u, reach], -1)
        solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
        w = solved[..., -p.shape[-1] :]
        z0 = None if u is None else solved[..., : u.shape[-1]]
        eye = torch.eye(p.shape[-1], dtype=y.dtype, device=y.device)
        step = w.mT @ ends + (eye if fading is None else eye * fading.through)
    elif fading is not None:
        step = fading.through
    added = None if z0 is None else z0.mT @ ends
    starts, last = _chain(start.expand(*batch, *start.shape[-2:]), step, added, count, matrix=w is not None)
    z = z0
    if w is not None:
        z = w @ starts.mT if z0 is None else z0 + w @ starts.mT
    outputs = []
    for read in reads:
        q = _chunked(read.q.expand(*batch, *read.q.shape[-2:]), size, pad)
        outputs.append(_read(q, read.after, size, rank, y, z, starts, fading)[..., :length, :])
    return outputs, last


class Fading(NamedTuple):
    """Products of decays inside each chunk of C tokens; never quotients, so that a decay of 0 is exact."""

    ratios: Tensor  # [..., N, C, C]: from after token i up to token t, for i <= t
    earlier_ratios: Tensor  # the same up to the token before t
    since: Tensor  # [..., N, C]: from the start of the chunk up to token t
    before: Tensor  # the same up to the token before t

    @property
    def to_end(self) -> Tensor:
        """From after each token to the end of its chunk."""
        return self.ratios[..., -1, :]

    @property
    def through(self) -> Tensor:
        """Through the whole chunk, `[..., N, 1, 1]`."""
        return self.since[..., -1, None, None]

    @staticmethod
    def of(decay: Tensor | float, batch: torch.Size, length: int, pad: int, size: int, like: Tensor) -> Fading:
        """The products for `decay`, a number or `[..., T]`; the padding does not decay."""
        filled = torch.as_tensor(decay, dtype=like.dtype, device=like.device).expand(*batch, length)
        each = torch.nn.functional.pad(filled, (0, pad), value=1.0).unflatten(-1, (-1, size))
        below = torch.ones(size, size, dtype=torch.bool, device=each.device).tril(-1)
        one = torch.ones((), dtype=each.dtype, device=each.device)
        ratios = torch.where(below, each[..., :, None], one).cumprod(-2).tril()
        since = each.cumprod(-1)
        before = torch.cat([torch.ones_like(since[..., :1]), since[..., :-1]], -1)
        earlier = torch.nn.functional.pad(ratios[..., :-1, :-1], (0, 1, 1, 0))
        return Fading(ratios, earlier, since, before)


def _stacked(parts: Sequence[Tensor], batch: torch.Size) -> Tensor:
    """The vectors of all terms, token by token: `[..., T*R, d]`."""
    return torch.stack([part.expand(*batch, *part.shape[-2:]) for part in parts], -2).flatten(-3, -2)


def _optional(parts: Sequence[Tensor | None], batch: torch.Size, size: int, pad: int) -> Tensor | None:
    """The same in chunks, zero where a term lacks the vector; None if all do."""
    known = next((part for part in parts if part is not None), None)
    if known is None:
        return None
    filled = [torch.zeros_like(known) if part is None else part for part in parts]
    return _chunked(_stacked(filled, batch), size, pad)


def _chunked(x: Tensor, size: int, pad: int) -> Tensor:
    if pad:
        x = torch.nn.functional.pad(x, (0, 0, 0, pad))
    chunked: Tensor = x.unflatten(-2, (-1, size))
    return chunked


def _repeated(x: Tensor, rank: int) -> Tensor:
    """A number of each token, once for each of its terms, as a column."""
    return x.repeat_interleave(rank, -1)[..., None]


def _chain(
    start: Tensor, step: Tensor | None, added: Tensor | None, count: int, matrix: bool
) -> tuple[Tensor, Tensor]:
    """The memory at the start of each chunk `[..., N, dv, dk]`, and after the last."""
    if step is None:
        assert added is not None
        totals = added.cumsum(-3)
        earlier = torch.cat([torch.zeros_like(totals[..., :1, :, :]), totals[..., :-1, :, :]], -3)
        return start.unsqueeze(-3) + earlier, start + totals[..., -1, :, :]
    memory, starts = start, []
    for n in range(count):
        starts.append(memory)
        memory = memory @ step[..., n, :, :] if matrix else memory * step[..., n, :, :]
        if added is not None:
            memory = memory + added[..., n, :, :]
    return torch.stack(starts, -3), memory


def _read(
    q: Tensor, after: bool, size: int, rank: int, y: Tensor, z: Tensor | None, starts: Tensor, fading: Fading | None
) -> Tensor:
    place = torch.arange(size, device=q.device)
    sources = place.repeat_interleave(rank)
    weights = ((place[:, None] >= sources) if after else (place[:, None] > sources)).to(q.dtype)
    far = q
    if fading is not None:
        ratios, since = (fading.ratios, fading.since) if after else (fading.earlier_ratios, fading.before)
        weights, far = weights * ratios.repeat_interleave(rank, -1), q * since[..., None]
    result = far @ starts.mT
    if z is not None:
        result = result + ((q @ y.mT) * weights) @ z
    return result.flatten(-3, -2)
