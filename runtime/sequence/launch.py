"""When chunks run on Triton kernels, and how: forward by `kernels.py`, backward by the torch form of the same step."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

LARGEST = 128  # entries of a vector that a kernel holds


def usable(starts: Sequence[Tensor], size: int, terms: int, given: Sequence[Tensor | None]) -> bool:
    """Whether the kernels fit: one memory, one term a token, float32 on a card, chunks of 16, 32 or 64 tokens."""
    return (
        len(starts) == 1
        and terms == size
        and size in (16, 32, 64)
        and max(starts[0].shape[-2:]) <= LARGEST
        and all(x is None or (getattr(x, "is_cuda", False) and x.dtype == torch.float32) for x in (*starts, *given))
        and importlib.util.find_spec("triton") is not None
    )


def carried(
    start: Tensor, table: Tensor | None, p: Tensor | None, u: Tensor | None, y: Tensor,
    torch_form: Callable[..., tuple[Tensor, ...]],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The memory at the start of each chunk, z, and the memory after the last; `torch_form` takes the tensors."""
    given = [start, table, p, u, y]
    starts, z, last = _Run.apply(_carried, torch_form, *given)  # type: ignore[no-untyped-call]
    return starts, z, last


def looked(
    q: Tensor, starts: Tensor, z: Tensor, y: Tensor, table: Tensor | None, after: bool,
    torch_form: Callable[..., tuple[Tensor, ...]],
) -> Tensor:  # fmt: skip
    """`M @ q` at every token of every chunk, `[..., N, C, dv]`."""

    def run(q: Tensor, starts: Tensor, z: Tensor, y: Tensor, table: Tensor | None) -> tuple[Tensor, ...]:
        return (_looked(q, starts, z, y, table, after),)

    (found,) = _Run.apply(run, torch_form, q, starts, z, y, table)  # type: ignore[no-untyped-call]
    result: Tensor = found
    return result


class _Run(torch.autograd.Function):
    """Kernels forward; backward through the torch form, computed again."""

    @staticmethod
    def forward(context: Any, run: Any, torch_form: Any, *given: Any) -> Any:
        context.torch_form = torch_form
        context.save_for_backward(*given)
        return run(*given)

    @staticmethod
    def backward(context: Any, *slopes: Any) -> Any:
        with torch.enable_grad():
            given = [None if x is None else x.detach().requires_grad_() for x in context.saved_tensors]
            found = context.torch_form(*given)
            leaves = [x for x in given if x is not None]
            total = torch.autograd.grad(found, leaves, slopes, allow_unused=True)
        slopes_of = iter(total)
        return (None, None, *(None if x is None else next(slopes_of) for x in given))


def _carried(
    start: Tensor, table: Tensor | None, p: Tensor | None, u: Tensor | None, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    from dotopt.runtime.sequence import kernels

    known = [x.shape[:-3] for x in (p, u, y, table) if x is not None]
    batch = torch.broadcast_shapes(start.shape[:-2], *known)
    count, size, columns = y.shape[-3:]
    rows = start.shape[-2]

    def whole(x: Tensor | None) -> Tensor | None:
        return None if x is None else x.expand(*batch, *x.shape[-3:]).contiguous()

    p, u, y = whole(p), whole(u), whole(y)  # type: ignore[assignment]
    table, tables = _table(table, batch, count)
    start = start.expand(*batch, rows, columns).contiguous()
    memories = batch.numel()
    padded = max(16, triton_size(columns)), max(16, triton_size(rows))
    given: dict[str, Any] = {"C": size, "K": columns, "D": rows, "BK": padded[0], "EXACT": exact()}
    given |= {"FADES": table is not None, "TABLES": tables}
    w = v = None
    if p is not None:
        w, v = torch.empty_like(p), None if u is None else torch.empty_like(u)
        doublings = size.bit_length() - 2  # of the powers of a matrix whose C-th is zero
        kernels.prepare[(memories * count,)](
            p, u, y, table, w, v, BD=padded[1], ADDS=u is not None, DOUBLINGS=doublings, **given
        )
    else:
        v = u
    starts = start.new_empty(*batch, count, rows, columns)
    z, last = y.new_empty(*batch, count, size, rows), torch.empty_like(start)
    block = min(padded[1], 32)
    kernels.carry[(memories, -(-rows // block))](
        start, w, v, y, table, starts, z, last, count, BV=block, ADDS=u is not None, READS=p is not None, **given
    )
    return starts, z, last


def _looked(q: Tensor, starts: Tensor, z: Tensor, y: Tensor, table: Tensor | None, after: bool) -> Tensor:
    from dotopt.runtime.sequence import kernels

    batch = torch.broadcast_shapes(q.shape[:-3], starts.shape[:-3])
    q, starts, z, y = (x.expand(*batch, *x.shape[-3:]).contiguous() for x in (q, starts, z, y))
    count, size, columns = q.shape[-3:]
    rows = starts.shape[-2]
    table, tables = _table(table, batch, count)
    found = q.new_empty(*batch, count, size, rows)
    kernels.look[(batch.numel() * count,)](
        q, starts, z, y, table, found, C=size, K=columns, D=rows, BK=max(16, triton_size(columns)),
        BD=max(16, triton_size(rows)), FADES=table is not None, AFTER=after, TABLES=tables, EXACT=exact(),
    )  # fmt: skip
    return found


def _table(table: Tensor | None, batch: torch.Size, count: int) -> tuple[Tensor | None, int]:
    """The products of decays, one table a chunk, or one for all; and how many there are."""
    if table is None:
        return None, 1
    if table.dim() == 3 and table.shape[-3] == 1:
        return table.contiguous(), 1
    return table.expand(*batch, count, *table.shape[-2:]).contiguous(), batch.numel() * count


def exact() -> str:
    """How kernels make products of float32: on tensor cores of NVIDIA as three products of tf32, else as they are."""
    return "ieee" if torch.version.hip else "tf32x3"


def triton_size(x: int) -> int:
    """The next power of two."""
    return 1 << (x - 1).bit_length()
