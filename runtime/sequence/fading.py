"""What is left of a memory after the tokens between: products of decays, and of matrices that mix several memories.

Never quotients, so that a decay of 0 is exact, and neither long chunks nor small decays overflow.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Number = Tensor | float | int
Mix = Sequence[Sequence[Number | None]]


class Fading:
    """The factors with which memory i, as it was after token s of a chunk, is in memory j after token t.

    Row t and column s of a table `[..., N, C + 1, C + 1]` for each pair of memories; 0 is the start of the chunk. So
    rows 1 to C are for what is read after each token, rows 0 to C - 1 for before, and the last row is for the end.
    """

    scalar = True

    def __init__(self, mix: Mix, size: int, like: Tensor) -> None:
        """mix: numbers, or `[..., T]` for T = N*C tokens; None for zero, and nothing right of the diagonal.

        `like` gives dtype and device.
        """
        self.size = size
        self.tables: dict[tuple[int, int], Tensor | None] = {}
        if len(mix) == 1 and isinstance(mix[0][0], float | int) and mix[0][0] == 1:
            self.tables[0, 0] = None  # nothing fades
            return

        def chunks(x: Number | None) -> Tensor:
            """`[..., N, C]`, with N = 1 for what is the same at all tokens."""
            given = like.new_full((), float(x or 0.0)) if x is None or isinstance(x, float | int) else x
            if given.dim() and given.shape[-1] == size * (given.shape[-1] // size) > 1:
                chunked: Tensor = given.unflatten(-1, (-1, size))
                return chunked
            return given.reshape(*given.shape[:-1], 1, 1).expand(*given.shape[:-1], 1, size)

        for j, row in enumerate(mix):
            own = _products(chunks(row[j]))
            self.tables[j, j] = own
            for i in range(j):
                total: Tensor | None = None
                for middle in range(i, j):  # what comes over `middle`, and is then kept by j
                    before, factor = self.tables.get((middle, i)), row[middle]
                    if before is not None and factor is not None:
                        part = own[..., 1:] @ (chunks(factor)[..., None] * before[..., :-1, :])
                        total = part if total is None else total + part
                if total is not None:
                    self.tables[j, i] = total

    def replaced(self, table: Tensor | None) -> Fading:
        """The same of one memory, with another table."""
        made = object.__new__(Fading)
        made.size, made.tables = self.size, {(0, 0): table}
        return made

    @property
    def none(self) -> bool:
        """Whether nothing fades."""
        return self.tables.get((0, 0)) is None

    def mixes(self, j: int, i: int) -> bool:
        """Whether memory j takes from memory i."""
        return (j, i) in self.tables

    def inside(self, scores: Tensor, j: int, i: int, after: bool) -> Tensor:
        """Scores of tokens (or their R terms) against what is written in their chunk, weighted; later tokens get 0.

        The scores are overwritten if no gradient needs them.
        """
        rows, columns = scores.shape[-2] // self.size, scores.shape[-1] // self.size
        table = self.tables[j, i]
        if table is None and rows == columns == 1:
            last = 0 if after else -1
            return scores.tril(last) if getattr(scores, "requires_grad", True) else scores.tril_(last)
        if table is None:
            weights = torch.ones(self.size, self.size, dtype=scores.dtype, device=scores.device)
            weights = weights.tril() if after else weights.tril(-1)
        else:
            weights = table[..., 1:, 1:] if after else table[..., :-1, 1:]
        if rows > 1:
            weights = weights.repeat_interleave(rows, -2)
        return scores * (weights.repeat_interleave(columns, -1) if columns > 1 else weights)

    def scores(self, left: Tensor, right: Tensor, j: int, i: int, after: bool) -> Tensor:
        """Vectors of tokens (or their terms) against what is written in their chunk, weighted; later tokens get 0."""
        return self.inside(left @ right.mT, j, i, after)

    def spread(self, q: Tensor, z: Tensor, y: Tensor, j: int, i: int, after: bool) -> Tensor:
        """What is read of the columns: Σ (z_s · q_t) y_s, weighted."""
        return self.scores(q, z, j, i, after) @ y

    def since(self, x: Tensor, j: int, i: int, after: bool) -> Tensor:
        """Vectors of tokens (or their terms), weighted for what was there at the start of the chunk."""
        table = self.tables[j, i]
        if table is None:
            return x
        return x * _column(table[..., 1:, 0] if after else table[..., :-1, 0], x.shape[-2] // self.size)

    def to_end(self, y: Tensor, j: int, i: int) -> Tensor:
        """What is written at each token, as it is at the end of the chunk."""
        table = self.tables[j, i]
        return y if table is None else y * _column(table[..., -1, 1:], y.shape[-2] // self.size)

    def through(self, count: int) -> dict[tuple[int, int], Sequence[Tensor] | None]:
        """The factors over each of the `count` chunks as a whole, `[..., 1, 1]`; None for one."""
        found: dict[tuple[int, int], Sequence[Tensor] | None] = {}
        for pair, table in self.tables.items():
            if table is None:
                found[pair] = None
            else:
                whole = table[..., -1, 0]
                found[pair] = whole.expand(*whole.shape[:-1], count)[..., None, None].unbind(-3)
        return found


def _products(decay: Tensor) -> Tensor:
    """From `[..., N, C]` the table of one memory by itself: the product of the decays of tokens s + 1 to t."""
    size = decay.shape[-1]
    one = torch.ones((), dtype=decay.dtype, device=decay.device)
    below = torch.ones(size, size + 1, dtype=torch.bool, device=decay.device).tril()
    rows = torch.where(below, decay[..., None], one).cumprod(-2)
    return torch.cat([torch.ones_like(rows[..., :1, :]), rows], -2).tril()


def _column(factors: Tensor, rank: int) -> Tensor:
    """A number for each token, once for each of its terms, as a column."""
    return (factors.repeat_interleave(rank, -1) if rank > 1 else factors)[..., None]
