"""Tensors in 8 bits and back, in torch: the same codes and scales, to the bit, as the kernels write.

    codes, scales = encode(v, "uint8")        scales: one for every 256 entries, in the order of memory
    decode(codes, scales, "uint8")            float32

`compiler/schedule/storage.py` says what the formats are. A block whose largest magnitude is below the smallest scale
is stored as 0; one that holds a NaN or an infinity comes back as NaN altogether, so that it is seen.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from dotopt.compiler.schedule.storage import BLOCK, FORMATS, value

SMALLEST = 2.0**-126  # a normal scale, whose reciprocal is finite
CHUNK = 1 << 20  # entries that are worked on at a time, so that what lies between is small beside the tensor


def encode(tensor: Tensor, format: str) -> tuple[Tensor, Tensor]:
    """The codes of a tensor, in its shape, and the scales of its blocks.

    >>> codes, scales = encode(torch.tensor([1.0, -0.5, 0.0, 1e-9]), "int8")
    >>> codes
    tensor([127, -91,   0,   0], dtype=torch.int8)
    >>> decode(codes, scales, "int8")
    tensor([ 1.0000, -0.5044,  0.0000,  0.0000])
    """
    flat = tensor.detach().reshape(-1)
    codes = torch.empty(tensor.shape, dtype=getattr(torch, FORMATS[format].dtype), device=tensor.device)
    scales = torch.empty(-(-flat.numel() // BLOCK), dtype=torch.float32, device=tensor.device)
    written = codes.view(-1)
    for start in range(0, flat.numel(), CHUNK):
        part = flat[start : start + CHUNK].float()
        blocks = torch.nn.functional.pad(part, (0, -part.numel() % BLOCK)).view(-1, BLOCK)
        found, scale = _encode(blocks, format)
        written[start : start + CHUNK] = found.view(-1)[: part.numel()]
        scales[start // BLOCK : start // BLOCK + scale.numel()] = scale
    return codes, scales


def decode(codes: Tensor, scales: Tensor, format: str) -> Tensor:
    """What the codes stand for, in float32."""
    each = scales.repeat_interleave(BLOCK)[: codes.numel()].view(codes.shape)
    if format == "fp8":
        return codes.float() * each
    found = _values(format, codes.device)[codes.to(torch.uint8).long()] * each
    return found * found if format == "sqrt8" else found


def _encode(blocks: Tensor, format: str) -> tuple[Tensor, Tensor]:
    """The codes of rows of 256 entries, and the scale of each row."""
    if format == "sqrt8":
        blocks = blocks.sqrt()
    last = FORMATS[format].last
    assert last is not None
    scale = blocks.abs().amax(1) * float(1 / last)
    inverse = torch.where(scale >= SMALLEST, 1 / scale, torch.zeros_like(scale))
    x = blocks * inverse[:, None]
    match format:
        case "fp8":
            return x.to(torch.float8_e4m3fn), scale
        case "log8":
            return ((_bits(x) + 0x80000 >> 20) - 768).clamp(0, 255).to(torch.uint8), scale
        case "int8":
            return _number(x.abs()).copysign(x).to(torch.int8), scale
        case _:
            return _number(x).to(torch.uint8), scale


def _number(x: Tensor) -> Tensor:
    """The dynamic code of which `x` is in the cell, as a whole number in float32."""
    level = (_bits(x.clamp(min=0.125)) >> 23) - 124
    level = level * 171 >> 9  # a third of it
    middle = (level + 126 << 23 | 0x400000).view(torch.float32)  # 3/4 2^level
    down = (127 - 2 * level << 23).view(torch.float32)  # 4^-level
    return ((x * down + middle) * (8 / 7)).trunc()


def _bits(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.int32)


@cache
def _values(format: str, device: torch.device) -> Tensor:
    """What each byte stands for, before it is scaled."""
    codes = range(256)
    match format:
        case "int8":
            found = [float(value(c) if c < 128 else -value(256 - c)) for c in codes]
        case "log8":
            found = [0.0] + [float(2.0 ** ((c >> 3) - 31) * (1 + (c & 7) / 8)) for c in codes[1:]]
        case _:
            found = [float(value(c)) for c in codes]
    return torch.tensor(found, dtype=torch.float32, device=device)
