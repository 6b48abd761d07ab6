"""Matrix words of emitted steps: functions of lists of matrices of one shape, leading axes carried along.

Many small matrices go through one batched call; large ones go one by one, since stacking them would only cost memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def matrix_power(x: Tensors, exponent: float) -> list[Tensor]:
    """`x^exponent` of symmetric positive matrices, by their eigenvalues."""
    return each(lambda a: _power(a, exponent))(x)


def _power(a: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(a)
    values = values.abs()  # rounding may leave a small eigenvalue below zero
    powered: Tensor = (vectors * values.pow(exponent).unsqueeze(-2)) @ vectors.mT
    return powered


def eigenvectors(x: Tensors) -> list[Tensor]:
    """Eigenvectors of symmetric matrices as columns, by falling eigenvalue."""
    return each(lambda a: torch.linalg.eigh(a).eigenvectors.flip(-1))(x)


def top_eigenvector(x: Tensors) -> list[Tensor]:
    """The eigenvector of the largest eigenvalue."""
    return each(lambda a: torch.linalg.eigh(a).eigenvectors[..., -1])(x)


def polar(x: Tensors) -> list[Tensor]:
    """`U Vᵀ` of the singular value decomposition."""
    return each(_polar)(x)


def _polar(a: Tensor) -> Tensor:
    u, _, vh = torch.linalg.svd(a, full_matrices=False)
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
        torch.linalg.solve(a, b.unsqueeze(-1)).squeeze(-1) if b.ndim < a.ndim else torch.linalg.solve(a, b)
        for a, b in zip(x, y, strict=True)
    ]


def keep_largest(x: Tensors, count: float) -> list[Tensor]:
    """All but the `count` largest entries replaced by 0."""
    return each(lambda a: a * (a >= a.flatten().topk(max(1, round(count))).values[-1]))(x)


def each(single: Callable[[Tensor], Tensor]) -> Callable[[Tensors], list[Tensor]]:
    """`single` on every entry of a list."""
    return lambda x: [single(a) for a in x]


inverse = each(torch.linalg.inv)
qr = each(lambda a: torch.linalg.qr(a).Q)
svdvals = each(torch.linalg.svdvals)
spectral_norm = each(lambda a: torch.linalg.matrix_norm(a, 2))
spectral_radius = each(lambda a: torch.linalg.eigvals(a).abs().amax(-1))
trace = each(lambda a: a.diagonal(dim1=-2, dim2=-1).sum(-1))
diagonal = each(lambda a: a.diagonal(dim1=-2, dim2=-1))
tril = each(torch.tril)
argsort = each(lambda a: a.argsort(stable=True))
cumsum = each(lambda a: a.cumsum(-1))
