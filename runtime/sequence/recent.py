"""The last tokens of a sequence, kept between calls: windows over sequences."""

from __future__ import annotations

import torch
from torch import Tensor

State = dict[str, Tensor]


def recent(x: Tensor, length: int, axes: int, state: State, later: State, key: str) -> Tensor:
    """For every token the values of the last `length` tokens, the oldest first: `[..., T, length, *sizes]`.

    x: `[..., T, *sizes]` with `axes` sizes; before the sequence there are zeros. `later` receives what the next call
    needs under `key`.
    """
    at = x.dim() - axes - 1
    whole = torch.cat([_past(x, length, at, state, key), x], at)
    later[key] = whole.narrow(at, whole.shape[at] - length + 1, length - 1)
    return whole.unfold(at, length, 1).movedim(-1, at + 1)


def recent_token(
    x: Tensor, length: int, axes: int, state: State, later: State, key: str, keep: Tensor | None = None
) -> Tensor:
    """The same for one token, `[..., length, *sizes]`; rows that `keep` excludes remember what they did."""
    at = x.dim() - axes
    past = _past(x.unsqueeze(at), length, at, state, key)
    whole = torch.cat([past, x.unsqueeze(at)], at)
    new = whole.narrow(at, 1, length - 1)
    if keep is not None:
        new = torch.where(keep.reshape(*keep.shape, *([1] * (axes + 1))), new, past)
    later[key] = new
    return whole


def _past(x: Tensor, length: int, at: int, state: State, key: str) -> Tensor:
    """What was kept, or zeros; x has an axis of tokens at `at`."""
    if key in state:
        past = state[key]
        lead = torch.broadcast_shapes(past.shape[:at], x.shape[:at])
        return past.expand(*lead, *past.shape[at:])
    return x.new_zeros(()).expand(*x.shape[:at], length - 1, *x.shape[at + 1 :])
