"""Causal attention over the tokens so far, with the keys and values of earlier calls."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


def attend(
    q: Tensor, k: Tensor, v: Tensor, state: State, later: State, name: str, keep: Tensor | None = None
) -> Tensor:
    """Softmax attention of each token to itself and all before it; q, k `[..., T, d]`, v `[..., T, dv]`.

    The scale is 1/√d. `later` receives all keys and values, for the call that continues the sequence. Tokens that
    `keep` (`[..., T]`) excludes are seen by none but themselves.
    """
    new, there = q.shape[-2], state.get(f"{name}_there")
    if there is not None or keep is not None:
        here = torch.ones(q.shape[:-1], dtype=torch.bool, device=q.device) if keep is None else keep
        if there is None and f"{name}_keys" in state:
            there = torch.ones(state[f"{name}_keys"].shape[:-1], dtype=torch.bool, device=q.device)
        there = here if there is None else torch.cat([there, here], -1)
        later[f"{name}_there"] = there
    if f"{name}_keys" in state:
        k = torch.cat([state[f"{name}_keys"], k], -2)
        v = torch.cat([state[f"{name}_values"], v], -2)
    later[f"{name}_keys"], later[f"{name}_values"] = k, v
    old = k.shape[-2]
    if there is None and old == new:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    mask = torch.ones(new, old, dtype=torch.bool, device=q.device).tril(old - new)
    if there is not None:
        mask = mask & (there[..., None, :] | ~mask.tril(old - new - 1))
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_token(
    q: Tensor, k: Tensor, v: Tensor, state: State, later: State, name: str, keep: Tensor | None = None
) -> Tensor:
    """The same for one token: vectors `[..., d]`."""
    here = None if keep is None else keep.unsqueeze(-1)
    return attend(q.unsqueeze(-2), k.unsqueeze(-2), v.unsqueeze(-2), state, later, name, here).squeeze(-2)
