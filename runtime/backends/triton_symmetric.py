"""`β*C + α*X Xᵀ` for a stack of matrices, where the result is known to be symmetric: half of it is computed.

    symmetric_product(x)                         X Xᵀ
    symmetric_product(x, added, beta, alpha)     β*C + α*X Xᵀ, with C symmetric

Two of the three products of a Newton-Schulz pass are of this kind: A = X Xᵀ, and A A, since A is its own transpose. A
program makes one tile on or below the diagonal and writes it twice, the second time with rows and columns exchanged.
Products are of 16-bit numbers, sums are float32, and the result is rounded once. X may be any view: a transposed one is
read where it lies.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE, DEPTH, WARPS, STAGES = 128, 64, 8, 3
SMALLEST = 2 * TILE  # rows from which half a product is worth a kernel of its own


@triton.jit  # type: ignore[untyped-decorator]
def product(  # type: ignore[no-untyped-def]
    x, added, out, rows, cols, tiles, x_matrix, x_row, x_col, added_matrix, added_row, alpha, beta,
    ADD: tl.constexpr, WHOLE: tl.constexpr, TILE: tl.constexpr, DEPTH: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """The tile (down, across) of matrix `matrix`; `out` lies densely. WHOLE: tiles fill the matrices, so no masks.

    WIDE: Triton's interpreter cannot multiply bfloat16; in float32 these products are the same.
    """
    down, across = tl.program_id(0) // tiles, tl.program_id(0) % tiles
    if across > down:  # the other half
        return
    matrix = tl.program_id(1).to(tl.int64)
    r = down * TILE + tl.arange(0, TILE)
    c = across * TILE + tl.arange(0, TILE)
    depth = tl.arange(0, DEPTH)
    left_at = x + matrix * x_matrix + r[:, None].to(tl.int64) * x_row + depth[None, :].to(tl.int64) * x_col
    right_at = x + matrix * x_matrix + depth[:, None].to(tl.int64) * x_col + c[None, :].to(tl.int64) * x_row
    total = tl.zeros((TILE, TILE), tl.float32)
    for done in range(0, cols, DEPTH):
        if WHOLE:
            left, right = tl.load(left_at), tl.load(right_at)
        else:
            left = tl.load(left_at, mask=(r < rows)[:, None] & (done + depth < cols)[None, :], other=0.0)
            right = tl.load(right_at, mask=(done + depth < cols)[:, None] & (c < rows)[None, :], other=0.0)
        if WIDE:
            left, right = left.to(tl.float32), right.to(tl.float32)
        total = tl.dot(left, right, total)
        left_at += DEPTH * x_col
        right_at += DEPTH * x_col
    total = alpha * total
    there = (r < rows)[:, None] & (c < rows)[None, :]
    if ADD:
        added_at = added + matrix * added_matrix + r[:, None].to(tl.int64) * added_row + c[None, :]
        total += beta * (tl.load(added_at) if WHOLE else tl.load(added_at, mask=there, other=0.0)).to(tl.float32)
    made = total.to(out.dtype.element_ty)
    first = out + matrix * rows * rows
    here = first + r[:, None].to(tl.int64) * rows + c[None, :]
    there_too = first + c[:, None].to(tl.int64) * rows + r[None, :]
    if WHOLE:
        tl.store(here, made)
        if across < down:
            tl.store(there_too, tl.trans(made))
    else:
        tl.store(here, made, mask=there)
        if across < down:
            tl.store(there_too, tl.trans(made), mask=tl.trans(there))


def symmetric_product(
    x: Tensor, added: Tensor | None = None, beta: float = 0.0, alpha: float = 1.0, tile: int = TILE, depth: int = DEPTH
) -> Tensor:
    """`beta*added + alpha*(x @ x.mT)` in the dtype of `x`, for `x` (count, rows, cols) in any layout.

    `added` (count, rows, rows) must be symmetric. Small matrices go to the library.
    """
    count, rows, cols = x.shape
    if rows < SMALLEST:
        return alpha * (x @ x.mT) if added is None else torch.baddbmm(added, x, x.mT, beta=beta, alpha=alpha)
    out = torch.empty((count, rows, rows), dtype=x.dtype, device=x.device)
    if not out.numel():
        return out
    other: Any = out if added is None else added
    if other.stride(2) != 1:
        other = other.mT if other.stride(1) == 1 else other.contiguous()  # it is its own transpose
    tiles = triton.cdiv(rows, tile)
    whole = rows % tile == 0 and cols % depth == 0
    product[(tiles * tiles, count)](
        x, other, out, rows, cols, tiles, *x.stride(), other.stride(0), other.stride(1), alpha, beta,
        ADD=added is not None, WHOLE=whole, TILE=tile, DEPTH=depth, WIDE=x.device.type == "cpu",
        num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return out
