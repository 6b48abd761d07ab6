"""The tangent kernel of a network comes closer to its limit as one over the root of the width.

The empirical tangent kernel by autograd, against `ntk` of the library.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.func import jacrev, vmap

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def empirical(width: int, x: Tensor, seed: int) -> Tensor:
    """The tangent kernel of a ReLU network with one hidden layer, in the parametrisation of the limit."""
    generator = torch.Generator().manual_seed(seed)
    d = x.shape[1]
    W = torch.randn(width, d, generator=generator, dtype=x.dtype)
    v = torch.randn(width, generator=generator, dtype=x.dtype)

    def f(W: Tensor, v: Tensor, x: Tensor) -> Tensor:
        return v @ torch.relu((2 / d) ** 0.5 * (W @ x)) / width**0.5

    jw = vmap(jacrev(f, 0), (None, None, 0))(W, v, x).reshape(len(x), -1)
    jv = vmap(jacrev(f, 1), (None, None, 0))(W, v, x)
    return jw @ jw.T + jv @ jv.T


def main() -> None:
    """The error at three widths."""
    given = arguments(__doc__ or "")
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(6, 5, generator=generator, dtype=torch.float64), dim=1) * 5**0.5
    widths = (64, 256) if given.quick else (64, 256, 1024)
    wide = sum(empirical(16384 if not given.quick else 8192, x, 100 + s) for s in range(4)) / 4
    errors = []
    for width in widths:
        runs = [float((empirical(width, x, s) - wide).norm() / wide.norm()) for s in range(10)]
        errors.append(sum(runs) / len(runs))
        said(f"error of the kernel at width {width}", errors[-1], "halved when the width is four times as large")
    said("error at 256 / at 64", errors[1] / errors[0], "about 0.5")
    curves(given.out / "tangent_kernel.png", {"error": (list(widths), errors)}, "Kernels of finite networks", "width",
           "relative error", log=True, points=True)  # fmt: skip


if __name__ == "__main__":
    main()
