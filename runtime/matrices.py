"""Matrix words of emitted steps: functions of lists of matrices of one shape, leading axes carried along.

Many small matrices go through one batched call; large ones go one by one, since stacking them would only cost memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Tensors = Sequence[Tensor]

SMALL = 128 * 128  # entries below which a launch costs more than a copy


def matmul(x: Tensors, y: Tensors) -> Tensors:
    """`x @ y`; a vector is one axis.

    >>> matmul([torch.eye(2)], [torch.ones(2)])
    [tensor([1., 1.])]
    """
    if len(x) > 1 and x[0].ndim == y[0].ndim == 2 and max(x[0].numel(), y[0].numel()) <= SMALL:
        return torch.bmm(torch.stack(list(x)), torch.stack(list(y))).unbind()
    return [a @ b for a, b in zip(x, y, strict=True)]


def transpose(x: Tensors) -> list[Tensor]:
    """The last two axes exchanged: views."""
    return [a.mT for a in x]


def outer(x: Tensors, y: Tensors) -> list[Tensor]:
    """The products of the entries of two vectors; leading axes are shared."""
    return [a.unsqueeze(-1) * b.unsqueeze(-2) for a, b in zip(x, y, strict=True)]


def eye(size: int, like: Tensors) -> list[Tensor]:
    """Identity matrices, in the dtype and on the device of `like`."""
    return [torch.eye(size, dtype=a.dtype, device=a.device) for a in like]


def tame(function: Callable[[Tensor], Any], a: Tensor) -> Any:
    """`function(a)`, a decomposition into parts, and NaN in every part where an entry of `a` is not finite.

    LAPACK raises there, and would do so in the middle of a step. One matrix of a stack does not touch the others.
    """
    finite = a.isfinite().flatten(-2).all(-1)
    safe = torch.where(finite[..., None, None], a, torch.eye(*a.shape[-2:], dtype=a.dtype, device=a.device))
    found = function(safe)
    parts = [found] if isinstance(found, Tensor) else list(found)
    lead = finite.ndim
    nan = [torch.where(finite.reshape(finite.shape + (1,) * (b.ndim - lead)), b, torch.nan) for b in parts]
    return nan[0] if isinstance(found, Tensor) else nan


def matrix_power(x: Tensors, exponent: float) -> list[Tensor]:
    """`x^exponent` of symmetric positive matrices, by their eigenvalues."""
    return each(lambda a: _power(a, exponent))(x)


def _power(a: Tensor, exponent: float) -> Tensor:
    values, vectors = tame(torch.linalg.eigh, a)
    values = values.abs()  # rounding may leave a small eigenvalue below zero
    powered: Tensor = (vectors * values.pow(exponent).unsqueeze(-2)) @ vectors.mT
    return powered


def eigenvectors(x: Tensors) -> list[Tensor]:
    """Eigenvectors of symmetric matrices as columns, by falling eigenvalue."""
    return each(lambda a: tame(torch.linalg.eigh, a)[1].flip(-1))(x)


def top_eigenvector(x: Tensors) -> list[Tensor]:
    """The eigenvector of the largest eigenvalue."""
    return each(lambda a: tame(torch.linalg.eigh, a)[1][..., -1])(x)


def polar(x: Tensors) -> list[Tensor]:
    """`U Vᵀ` of the singular value decomposition."""
    return each(_polar)(x)


def _polar(a: Tensor) -> Tensor:
    u, _, vh = tame(lambda b: torch.linalg.svd(b, full_matrices=False), a)
    product: Tensor = u @ vh
    return product


def columns(x: Tensors, order: Tensors) -> list[Tensor]:
    """The columns in a given order."""
    return [a.index_select(-1, index) for a, index in zip(x, order, strict=True)]


def rank_of(x: Tensors) -> list[Tensor]:
    """The place of each entry of a vector when sorted by falling value, from 1; the earlier of equals first."""
    return [a.argsort(descending=True, stable=True).argsort() + 1 for a in x]


def solve(x: Tensors, y: Tensors) -> list[Tensor]:
    """The solution z of `x @ z == y`; y is a vector or a matrix."""
    return [
        _solve(a, b.unsqueeze(-1)).squeeze(-1) if b.ndim < a.ndim else _solve(a, b) for a, b in zip(x, y, strict=True)
    ]


def _solve(a: Tensor, b: Tensor) -> Tensor:
    found, info = torch.linalg.solve_ex(a, b)
    return _regular(found, info)


def _inverse(a: Tensor) -> Tensor:
    found, info = torch.linalg.inv_ex(a)
    return _regular(found, info)


def _regular(found: Tensor, info: Tensor) -> Tensor:
    """NaN for singular matrices, as 0/0 is: an exception would stop a step in the middle."""
    return torch.where((info == 0)[..., None, None], found, torch.nan)


def keep_largest(x: Tensors, count: float) -> list[Tensor]:
    """All but the `count` largest entries replaced by 0."""
    return each(lambda a: a * (a >= a.flatten().topk(max(1, round(count))).values[-1]))(x)


def each(single: Callable[[Tensor], Tensor]) -> Callable[[Tensors], list[Tensor]]:
    """`single` on every entry of a list."""
    return lambda x: [single(a) for a in x]


inverse = each(_inverse)
qr = each(lambda a: torch.linalg.qr(a).Q)
svdvals = each(lambda a: tame(torch.linalg.svdvals, a))
spectral_norm = each(lambda a: tame(lambda b: torch.linalg.matrix_norm(b, 2), a))
spectral_radius = each(lambda a: tame(torch.linalg.eigvals, a).abs().amax(-1))
trace = each(lambda a: a.diagonal(dim1=-2, dim2=-1).sum(-1))
diagonal = each(lambda a: a.diagonal(dim1=-2, dim2=-1))
tril = each(torch.tril)
argsort = each(lambda a: a.argsort(stable=True))
cumsum = each(lambda a: a.cumsum(-1))
