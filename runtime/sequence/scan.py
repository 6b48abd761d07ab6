"""Recurrences of single entries over all tokens at once, as associative scans.

    scan      x' = a*x + b
    peaks     x' = max(x + a, b)               the stabilisers of exponential gates
    together  x_i' = Σ_j a_ij*x_j + b_i        complex numbers, and what moves with momentum

Tokens are the last leading axis of every argument. Everything is differentiable and works in any floating-point type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    left, total = _prefixes((decay, total), tokens, _after, (1.0, 0.0))
    return total + left * start.unsqueeze(tokens - total.dim())


def peaks(a: Tensor | float | None, b: Tensor, start: Tensor, axes: int, keep: Tensor | None = None) -> Tensor:
    """The values of `x_t = max(x_{t-1} + a_t, b_t)`; arguments as of `scan`, with None for 0.

    >>> peaks(-1.0, torch.tensor([0.0, 3.0, 1.0]), torch.tensor(2.0), 0)
    tensor([1., 3., 2.])
    """
    tokens = b.dim() - axes - 1
    if keep is not None:
        there = keep.reshape(*keep.shape, *([1] * axes))
        zero, low = b.new_zeros(()), b.new_full((), -torch.inf)
        a, b = torch.where(there, zero if a is None else zero + a, zero), torch.where(there, b, low)
    more = b.new_zeros(()) if a is None else b.new_full((), a) if isinstance(a, float | int) else a
    added, highest = torch.broadcast_tensors(more, b)
    tokens = highest.dim() - axes - 1
    added, highest = _prefixes((added, highest), tokens, _higher, (0.0, -torch.inf))
    return torch.maximum(added + start.unsqueeze(tokens - highest.dim()), highest)


def together(
    mix: Sequence[Sequence[Tensor | float | None]], plus: Sequence[Tensor], starts: Sequence[Tensor], axes: int,
    keep: Tensor | None = None,
) -> list[Tensor]:  # fmt: skip
    """The values of several recurrences that mix entry by entry: `x_i,t = Σ_j mix[i][j]_t*x_j,t-1 + plus[i]_t`.

    Arguments as of `scan`, with None for 0; complex numbers are two such recurrences.

    >>> turn = [[0.0, -1.0], [1.0, 0.0]]
    >>> x, y = together(turn, [torch.zeros(3), torch.zeros(3)], [torch.tensor(1.0), torch.tensor(0.0)], 0)
    >>> x.tolist(), y.tolist()
    ([0.0, -1.0, 0.0], [1.0, 0.0, -1.0])
    """
    many = range(len(starts))
    zero = plus[0].new_zeros(())
    flat = [zero if x is None else zero + x for row in mix for x in row]
    added = list(plus)
    if keep is not None:
        there = keep.reshape(*keep.shape, *([1] * axes))
        flat = [torch.where(there, x, zero + float(n % (len(many) + 1) == 0)) for n, x in enumerate(flat)]
        added = [torch.where(there, x, zero) for x in added]
    parts = torch.broadcast_tensors(*flat, *added)
    tokens = parts[0].dim() - axes - 1
    neutral = (*(float(i == j) for i in many for j in many), *(0.0 for _ in many))
    found = _prefixes(parts, tokens, _mixed, neutral)
    first = [x.unsqueeze(tokens - parts[0].dim()) for x in starts]
    return [
        found[len(many) * len(many) + i] + sum(found[i * len(many) + j] * first[j] for j in many) for i in many
    ]


Parts = Sequence[Tensor]


def _after(later: Parts, earlier: Parts) -> Parts:
    """`x -> a*x + b` after another such map."""
    return later[0] * earlier[0], later[1] + later[0] * earlier[1]


def _higher(later: Parts, earlier: Parts) -> Parts:
    """`x -> max(x + a, b)` after another such map."""
    return later[0] + earlier[0], torch.maximum(later[0] + earlier[1], later[1])


def _mixed(later: Parts, earlier: Parts) -> Parts:
    """`x -> A x + b` after another such map; the entries of A row by row, then those of b."""
    many = range(next(n for n in range(len(later)) if n * (n + 1) == len(later)))
    size = len(many)
    a, b = [later[i * size : (i + 1) * size] for i in many], later[size * size :]
    c, d = [earlier[i * size : (i + 1) * size] for i in many], earlier[size * size :]
    products = [_total([a[i][n] * c[n][j] for n in many]) for i in many for j in many]
    return *products, *(_total([a[i][n] * d[n] for n in many]) + b[i] for i in many)


def _total(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for x in terms[1:]:
        total = total + x
    return total


def _prefixes(
    parts: Parts, tokens: int, combine: Callable[[Parts, Parts], Parts], neutral: Sequence[float]
) -> Parts:
    """For each token the map from before the first token to after it, from the maps of the tokens.

    parts: what a map consists of, each `[..., T, *sizes]` of one shape; neutral: the map that changes nothing.
    """
    length = parts[0].shape[tokens]
    if length > PIECE:
        whole = length // PIECE * PIECE
        inner = _prefixes([x.narrow(tokens, 0, whole).unflatten(tokens, (-1, PIECE)) for x in parts],
                          tokens + 1, combine, neutral)  # fmt: skip
        ends = _prefixes([x.select(tokens + 1, -1) for x in inner], tokens, combine, neutral)
        behind = [_shifted(x, tokens, one).unsqueeze(tokens + 1) for x, one in zip(ends, neutral, strict=True)]
        joined = [x.flatten(tokens, tokens + 1) for x in combine(inner, behind)]
        if whole == length:
            return joined
        rest = _prefixes([x.narrow(tokens, whole, length - whole) for x in parts], tokens, combine, neutral)
        last = [x.narrow(tokens, whole - 1, 1) for x in joined]
        return [torch.cat([x, y], tokens) for x, y in zip(joined, combine(rest, last), strict=True)]
    reach = 1
    while reach < length:
        later = [x.narrow(tokens, reach, length - reach) for x in parts]
        earlier = [x.narrow(tokens, 0, length - reach) for x in parts]
        made = combine(later, earlier)
        parts = [torch.cat([x.narrow(tokens, 0, reach), y], tokens) for x, y in zip(parts, made, strict=True)]
        reach *= 2
    return parts


def _shifted(x: Tensor, at: int, first_value: float) -> Tensor:
    """What was there before each piece: first the value that changes nothing, then all but the last."""
    first = x.new_full((), first_value).expand_as(x.narrow(at, 0, 1))
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
