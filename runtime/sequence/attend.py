"""Causal attention over the tokens so far, with the keys and values of earlier calls."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]


def attend(
    q: Tensor, k: Tensor, v: Tensor, state: State, later: State, name: str, keep: Tensor | None = None, *,
    bias: Tensor | None = None, window: int = 0, strict: bool = False,
) -> Tensor:  # fmt: skip
    """Softmax attention of each token to itself and all before it; q, k `[..., T, d]`, v `[..., T, dv]`.

    The scale is 1/√d. bias: `[..., T]`, what is added to the scores of each key. With a window each token sees so many
    tokens, itself included; a strict one does not see itself, and the first token gets 0. `later` receives all keys and
    values, for the call that continues the sequence. Tokens that `keep` (`[..., T]`) excludes are seen by none but
    themselves.
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
        bias = None if bias is None else torch.cat([state[f"{name}_bias"], bias], -1)
    old = k.shape[-2]
    since = max(0, old - window + 1) if window and there is None else 0  # no later token will see what is older
    later[f"{name}_keys"], later[f"{name}_values"] = k[..., since:, :], v[..., since:, :]
    if bias is not None:
        later[f"{name}_bias"] = bias[..., since:]
    if there is None and old == new and bias is None and not window and not strict:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    reach = old - new - strict
    mask = torch.ones(new, old, dtype=torch.bool, device=q.device).tril(reach)
    if there is not None:
        mask = mask & (there[..., None, :] | ~mask.tril(old - new - 1))
    if window:
        mask = mask & _within(mask, there, window, old - new)
    if not strict and bias is None:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = q.new_zeros(()) if bias is None else bias[..., None, :]
    seen = mask.any(-1, keepdim=True)
    found = functional.scaled_dot_product_attention(
        q, k, v, attn_mask=torch.where(mask | ~seen, scores, torch.full_like(scores, -torch.inf))
    )
    return torch.where(seen, found, torch.zeros_like(found))


def _within(mask: Tensor, there: Tensor | None, window: int, before: int) -> Tensor:
    """Which keys are among the last `window` tokens that are there, the token itself included."""
    new, old = mask.shape[-2:]
    if there is None:
        return torch.ones(new, old, dtype=torch.bool, device=mask.device).triu(before - window + 1)
    counted = there.cumsum(-1)
    here = counted[..., before:, None] + (~there[..., before:, None]).to(counted.dtype)
    return here - counted[..., None, :] < window


def attend_token(
    q: Tensor, k: Tensor, v: Tensor, state: State, later: State, name: str, keep: Tensor | None = None, *,
    bias: Tensor | None = None, window: int = 0, strict: bool = False,
) -> Tensor:  # fmt: skip
    """The same for one token: vectors `[..., d]`."""
    here = None if keep is None else keep.unsqueeze(-1)
    one = None if bias is None else bias.unsqueeze(-1)
    found = attend(
        q.unsqueeze(-2), k.unsqueeze(-2), v.unsqueeze(-2), state, later, name, here,
        bias=one, window=window, strict=strict,
    )  # fmt: skip
    return found.squeeze(-2)
