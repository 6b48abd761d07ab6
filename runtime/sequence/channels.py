"""What is left of a memory whose columns decay each by itself: gated linear attention, diagonal plus low rank.

The weight of what token s wrote, when token t reads, is a product of the decays between, for each column. In a chunk
the products are taken block by block: a later half of a block sees the earlier half over the border between them,

    decays from s to the border  ×  decays from the border to t

so that both are products, never quotients: a decay of 0 is exact, and nothing overflows. Halves of halves make the
whole in log C products of matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


class Channels:
    """The same answers as `Fading` for one memory, whose decay is a vector: one number a column."""

    scalar = False
    none = False

    def __init__(self, decay: Tensor, size: int) -> None:
        """decay: `[..., T, d]` for T = N*size tokens."""
        self.size = size
        self.width = 1 << (size - 1).bit_length()  # tokens of a chunk, filled up to a power of two
        through = self.filled(decay.unflatten(-2, (-1, size)), 1.0)
        one = torch.ones_like(through)
        # for blocks of 1, 2, 4, … tokens: decays from their start through t, until before t, and after s to their end
        self.levels = [(through, one, one)]
        for level in range(self.width.bit_length() - 1):
            self.levels.append(_doubled(*self.levels[-1], 1 << level))

    def mixes(self, j: int, i: int) -> bool:
        """Whether memory j takes from memory i."""
        return j == i

    def scores(self, left: Tensor, right: Tensor, j: int, i: int, after: bool) -> Tensor:
        """Vectors of tokens (or their terms) against what is written in their chunk, weighted; later tokens get 0."""
        rows, columns = left.shape[-2] // self.size, right.shape[-2] // self.size
        own = self.own(left, right)
        found = own if after else torch.zeros_like(own)
        for reads, writes, x, y in self.halves(left, right, after):
            cross = _flat(x.select(-4, 1) * reads) @ _flat(y.select(-4, 0) * writes).mT
            earlier, later = found.unflatten(-3, (-1, 2)).unbind(-3)
            top = torch.cat([earlier, torch.zeros_like(earlier)], -1)
            found = torch.cat([top, torch.cat([cross, later], -1)], -2)
        whole = found.select(-3, 0)
        return whole.narrow(-2, 0, self.size * rows).narrow(-1, 0, self.size * columns)

    def own(self, left: Tensor, right: Tensor) -> Tensor:
        """The products of the vectors of each token with its own, `[..., N, C, rows, columns]`."""
        a, b = (self.filled(self.by_token(x), 0.0) for x in (left, right))
        return a @ b.mT

    def halves(
        self, left: Tensor, right: Tensor, after: bool
    ) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """For each size of half a block: the decays of later rows and earlier columns, and the vectors by halves."""
        a, b = (self.filled(self.by_token(x), 0.0) for x in (left, right))
        for level in range(len(self.levels) - 1):
            m = 1 << level
            through, until, behind = self.levels[level]
            reads = (through if after else until).unflatten(-2, (-1, 2, m)).select(-3, 1).unsqueeze(-2)
            writes = behind.unflatten(-2, (-1, 2, m)).select(-3, 0).unsqueeze(-2)
            yield reads, writes, a.unflatten(-3, (-1, 2, m)), b.unflatten(-3, (-1, 2, m))

    def spread(self, q: Tensor, z: Tensor, y: Tensor, j: int, i: int, after: bool) -> Tensor:
        """What is read of the columns: Σ (z_s · q_t) y_s with the decays between, `[..., N, C, d]`."""
        vectors = self.filled(self.by_token(y), 0.0)
        total = self.own(q, z) @ vectors if after else torch.zeros_like(vectors.narrow(-2, 0, 1))
        total = total.flatten(-3, -2)
        for reads, writes, x, w in self.halves(q, z, after):
            written = _flat(vectors.unflatten(-3, (-1, 2, writes.shape[-3])).select(-4, 0) * writes)
            later = (_flat(x.select(-4, 1)) @ _flat(w.select(-4, 0)).mT @ written) * reads.squeeze(-2)
            total = total + torch.cat([torch.zeros_like(later), later], -2).flatten(-3, -2)
        return total.narrow(-2, 0, self.size)

    def since(self, x: Tensor, j: int, i: int, after: bool) -> Tensor:
        """Vectors of tokens (or their terms), weighted for what was there at the start of the chunk."""
        through, until, _ = self.levels[-1]
        return self.weighted(x, through if after else until)

    def to_end(self, y: Tensor, j: int, i: int) -> Tensor:
        """What is written at each token, as it is at the end of the chunk."""
        return self.weighted(y, self.levels[-1][2])

    def through(self, count: int) -> dict[tuple[int, int], Sequence[Tensor] | None]:
        """The factors over each of the `count` chunks as a whole, `[..., 1, d]`."""
        whole = self.levels[-1][0].narrow(-2, self.width - 1, 1)
        return {(0, 0): whole.expand(*whole.shape[:-3], count, 1, whole.shape[-1]).unbind(-3)}

    def weighted(self, x: Tensor, weights: Tensor) -> Tensor:
        """Each token's vectors times its weights."""
        cut = weights.narrow(-2, 0, self.size).unsqueeze(-2)
        found: Tensor = (self.by_token(x) * cut).flatten(-3, -2)
        return found

    def by_token(self, x: Tensor) -> Tensor:
        """`[..., N, C*R, d]` as `[..., N, C, R, d]`."""
        found: Tensor = x.unflatten(-2, (self.size, -1))
        return found

    def filled(self, x: Tensor, value: float) -> Tensor:
        """With tokens that change nothing, up to a power of two; tokens are the third axis from behind, or second."""
        lacking = self.width - self.size
        if not lacking:
            return x
        at = -2 if value else -3
        more = torch.ones_like(x.narrow(at, 0, 1)) if value else torch.zeros_like(x.narrow(at, 0, 1))
        return torch.cat([x, *[more] * lacking], at)


def _doubled(through: Tensor, until: Tensor, behind: Tensor, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """The products over blocks of 2m tokens, from those over blocks of m."""
    (first, second), (early, late), (before, later) = (
        x.unflatten(-2, (-1, 2, m)).unbind(-3) for x in (through, until, behind)
    )
    whole, other = first.narrow(-2, m - 1, 1), second.narrow(-2, m - 1, 1)
    parts = ((first, second * whole), (early, late * whole), (before * other, later))
    made = [torch.cat(pair, -2).flatten(-3, -2) for pair in parts]
    return made[0], made[1], made[2]


def _flat(x: Tensor) -> Tensor:
    """The terms of all tokens of half a block, one below the other."""
    return x.flatten(-3, -2)
