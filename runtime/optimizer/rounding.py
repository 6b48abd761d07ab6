"""Parameters of 16 bits that lose nothing, or nothing on average, when a step is rounded to them.

    kahan        a second number of 16 bits beside each entry: what rounding took away, added before the next step
    low_word     the other half of a float32 beside each entry: parameter and word together are the float32, exactly
    stochastic   rounded up or down by chance, so that the mean is right; the noise is a function of a key of the
                 tensor, the step and the entry, the same on every backend

The rule sees the joined float32. A parameter that somebody changed between two steps keeps what stands beside it, which
is less than one unit in its last place.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASK = 0xFFFFFFFF
GOLDEN = 0x9E3779B9


def beside(p: Tensor, word: str, seed: int, number: int) -> Tensor:
    """What is kept beside a new parameter, the `number`-th of its optimizer."""
    match word:
        case "kahan":
            return torch.zeros_like(p)
        case "low_word":
            return torch.zeros_like(p, dtype=torch.int16)
        case _:
            key = mix(mix(seed & MASK) + number)
            return torch.tensor(key - (1 << 32) if key >> 31 else key, dtype=torch.int32, device=p.device)


def mix(x: int) -> int:
    """A bijection of 32-bit words that leaves no trace of the order (Wellons, "Prospecting for hash functions", 2018).

    >>> hex(mix(1)), hex(mix(2))
    ('0x688990c0', '0xd1132181')
    """
    x &= MASK
    x = (x ^ x >> 16) * 0x7FEB352D & MASK
    x = (x ^ x >> 15) * 0x846CA68B & MASK
    return x ^ x >> 16


def joined(p: Tensor, more: Tensor, word: str) -> Tensor:
    """The parameter in float32, with what stands beside it."""
    match word:
        case "kahan":
            return p.float() + more.float()
        case "low_word":
            return ((p.view(torch.int16).int() << 16) + more.int()).view(torch.float32)
        case _:
            return p.float()


def split(p: Tensor, more: Tensor, value: Tensor, word: str, t: int | Tensor) -> None:
    """Write the float32 `value` of step `t` into a parameter and what stands beside it."""
    match word:
        case "kahan":
            p.copy_(value)
            more.copy_(value - p.float())
        case "low_word":
            bits = value.contiguous().view(torch.int32)
            high = torch.where(value.isnan(), 0x7FC0, (bits.long() + 0x8000 >> 16).to(torch.int16))
            p.view(torch.int16).copy_(high)
            more.copy_((bits.long() - (p.view(torch.int16).long() << 16)).to(torch.int16))
        case _:
            p.view(torch.int16).copy_(_by_chance(value, more, t))


def _by_chance(value: Tensor, key: Tensor, t: int | Tensor) -> Tensor:
    """The bits of bf16, rounded up with the probability of what is cut off."""
    count = value.numel()
    start = _mix(key.long() + t * GOLDEN)
    noise = (_mix(torch.arange(count, device=value.device) + start) & 0xFFFF).view(value.shape)
    bits = value.contiguous().view(torch.int32).long()
    return torch.where(value.isnan(), 0x7FC0, bits + noise >> 16).to(torch.int16)


def _mix(x: Tensor) -> Tensor:
    """`mix` of int64 tensors; products wrap, which leaves the low words right."""
    x = x & MASK
    x = (x ^ x >> 16) * 0x7FEB352D & MASK
    x = (x ^ x >> 15) * 0x846CA68B & MASK
    return x ^ x >> 16
