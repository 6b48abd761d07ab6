"""Recurrences of single entries over all tokens at once, as associative scans.

Tokens are the last leading axis of every argument. Everything is differentiable and works in any floating-point type.
"""

from __future__ import annotations

import torch
from torch import Tensor

PIECE = 64  # tokens that are scanned by doubling; their ends are scanned again


def scan(a: Tensor | float | None, b: Tensor, start: Tensor, axes: int, keep: Tensor | None = None) -> Tensor:
    """The values x_1 … x_T of `x_t = a_t*x_{t-1} + b_t`, from x_0 = `start`.

    `b` has shape `[..., T, *sizes]` with `axes` sizes, `start` `[..., *sizes]`; `a` is None (zero), a number, or a
    tensor that broadcasts with `b`; keep: `[..., T]`, False where the value stays. Depth log T, work O(T).

    >>> scan(0.5, torch.ones(3), torch.tensor(0.0), 0)
    tensor([1.0000, 1.5000, 1.7500])
    """
    tokens = b.dim() - axes - 1
    if keep is not None:
        there = keep.reshape(*keep.shape, *([1] * axes))
        one = b.new_ones(())  # of the dtype of the values, not torch's default
        a, b = torch.where(there, 0.0*one if a is None else a, one), torch.where(there, b, torch.zeros_like(b))
    if a is None:
        return b
    if isinstance(a, float | int) and a == 1:
        return b.cumsum(tokens) + start.unsqueeze(tokens - b.dim())
    factor = b.new_full((), a) if isinstance(a, float | int) else a
    decay, total = torch.broadcast_tensors(factor, b)
    tokens = total.dim() - axes - 1
    first = start.unsqueeze(tokens - total.dim())
    left, total = _prefixes(decay, total, tokens)
    return total + left * first


def _prefixes(decay: Tensor, total: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """For each token what is left of the start, and what was added since."""
    length = total.shape[tokens]
    if length > PIECE:
        whole = length // PIECE * PIECE
        cut = [x.narrow(tokens, 0, whole).unflatten(tokens, (-1, PIECE)) for x in (decay, total)]
        left, sums = _prefixes(cut[0], cut[1], tokens + 1)
        ends = _prefixes(left.select(tokens + 1, -1), sums.select(tokens + 1, -1), tokens)
        behind = [_shifted(x, tokens, one).unsqueeze(tokens + 1) for x, one in zip(ends, (True, False), strict=True)]
        sums = (sums + left * behind[1]).flatten(tokens, tokens + 1)
        left = (left * behind[0]).flatten(tokens, tokens + 1)
        if whole == length:
            return left, sums
        tail = length - whole
        rest = _prefixes(decay.narrow(tokens, whole, tail), total.narrow(tokens, whole, tail), tokens)
        last = [x.narrow(tokens, whole - 1, 1) for x in (left, sums)]
        return torch.cat([left, rest[0] * last[0]], tokens), torch.cat([sums, rest[1] + rest[0] * last[1]], tokens)
    reach = 1
    while reach < length:
        rest_length = length - reach
        later, earlier = decay.narrow(tokens, reach, rest_length), total.narrow(tokens, 0, rest_length)
        sums = total.narrow(tokens, reach, rest_length) + later * earlier
        product = later * decay.narrow(tokens, 0, rest_length)
        total = torch.cat([total.narrow(tokens, 0, reach), sums], tokens)
        decay = torch.cat([decay.narrow(tokens, 0, reach), product], tokens)
        reach *= 2
    return decay, total


def _shifted(x: Tensor, at: int, one: bool) -> Tensor:
    """What was there before each piece: first 1 or 0, then all but the last."""
    first = torch.ones_like(x.narrow(at, 0, 1)) if one else torch.zeros_like(x.narrow(at, 0, 1))
    return torch.cat([first, x.narrow(at, 0, x.shape[at] - 1)], at)


def before(values: Tensor, start: Tensor, axes: int) -> Tensor:
    """The values before each token: `start`, then all of `values` but the last."""
    tokens = values.dim() - axes - 1
    first = start.unsqueeze(tokens - values.dim()).expand_as(values.narrow(tokens, 0, 1))
    return torch.cat([first, values.narrow(tokens, 0, values.shape[tokens] - 1)], tokens)


def every(x: Tensor | float, example: Tensor, axes: int, start: Tensor | None = None) -> Tensor:
    """What is the same at all tokens, at each of them: `[..., T, *sizes]` with `axes` sizes.

    x: a number, or `[..., 1, *sizes]` or `[*sizes]`. `example` is `[..., T]`, of which only the shape is used; `start`,
    `[..., *sizes]`, gives the sizes.

    >>> every(0.5, torch.ones(2), 1, torch.zeros(3))
    tensor([[0.5000, 0.5000, 0.5000],
            [0.5000, 0.5000, 0.5000]])
    """
    zero = torch.zeros_like(example)[(..., *[None] * axes)]
    return x + (zero if start is None else zero + torch.zeros_like(start).unsqueeze(-axes - 1))


def held(new: Tensor | float, old: Tensor, axes: int, keep: Tensor | None) -> Tensor:
    """What a state holds after a chunk that ends with its firing: the old value where the last token is not there."""
    new = old.new_full(old.shape, new) if isinstance(new, float | int) else new.expand_as(old)
    if keep is None:
        return new
    there = keep[..., -1]
    return torch.where(there.reshape(*there.shape, *([1] * axes)), new, old)


def times(number: Tensor | float, x: Tensor) -> Tensor:
    """The product, without work if the number is 1, as step sizes of memories often are."""
    return x if isinstance(number, float | int) and number == 1 else number * x


def at_first(x: Tensor, axes: int, keep: Tensor | None = None) -> Tensor:
    """What `[..., T, *sizes]` is at the first token that is there: `[..., *sizes]`.

    >>> at_first(torch.arange(3.0), 0, torch.tensor([False, True, True]))
    tensor(1.)
    """
    tokens = x.dim() - axes - 1
    if keep is None:
        return x.select(tokens, 0)
    place = keep.to(torch.int8).argmax(-1).reshape(*keep.shape[:-1], *([1] * (axes + 1)))
    lead = torch.broadcast_shapes(x.shape[:tokens], keep.shape[:-1])
    whole = x.expand(*lead, *x.shape[tokens:])
    return whole.gather(tokens, place.expand(*lead, 1, *x.shape[tokens + 1 :])).squeeze(tokens)


def choose(first: Tensor | bool, start: Tensor | float, stored: Tensor) -> Tensor:
    """`start` for sequences of which this is the first token, otherwise what is `stored`."""
    begun = stored.new_full(stored.shape, start) if isinstance(start, float | int) else start.expand_as(stored)
    if not isinstance(first, Tensor):
        return begun if first else stored
    return torch.where(first.reshape(*first.shape, *([1] * (stored.dim() - first.dim()))), begun, stored)
