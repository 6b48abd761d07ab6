"""Causal attention over the tokens so far, with the keys and values of earlier calls."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


def attend(q: Tensor, k: Tensor, v: Tensor, state: State, later: State, name: str) -> Tensor:
    """Softmax attention of each token to itself and all before it; q, k `[..., T, d]`, v `[..., T, dv]`.

    The scale is 1/√d. `later` receives all keys and values, for the call that continues the sequence.
    """
    if f"{name}_keys" in state:
        k = torch.cat([state[f"{name}_keys"], k], -2)
        v = torch.cat([state[f"{name}_values"], v], -2)
    later[f"{name}_keys"], later[f"{name}_values"] = k, v
    new, old = q.shape[-2], k.shape[-2]
    mask = torch.ones(new, old, dtype=torch.bool, device=q.device).tril(old - new)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_token(q: Tensor, k: Tensor, v: Tensor, state: State, later: State, name: str) -> Tensor:
    """The same for one token: vectors `[..., d]`."""
    return attend(q.unsqueeze(-2), k.unsqueeze(-2), v.unsqueeze(-2), state, later, name).squeeze(-2)
