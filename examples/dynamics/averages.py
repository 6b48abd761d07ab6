"""On a hard landscape the average of a Langevin path finds the signal that no single iterate shows.

Tensor PCA: a symmetric Gaussian tensor plus 30 copies of a planted direction, noise at a temperature of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dotopt.stdlib import SphericalLangevin

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def main() -> None:
    """The overlap with the planted direction, of the path and of its average."""
    given = arguments(__doc__ or "")
    d, steps = (12, 4000) if given.quick else (25, 40000)
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(d, d, d, generator=generator, dtype=torch.float64)
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    Y = sum((raw.permute(*p) for p in orders), torch.zeros_like(raw)) / 6
    star = torch.nn.functional.normalize(torch.randn(d, generator=generator, dtype=torch.float64), dim=0)
    Y = Y + 30 * torch.einsum("i,j,k->ijk", star, star, star)
    theta = torch.nn.functional.normalize(torch.randn(d, generator=generator, dtype=torch.float64), dim=0)
    theta.requires_grad_()
    opt = SphericalLangevin([theta], lr=0.01, inverse_temperature=0.1, seed=0)
    overlaps, total, averages = [], torch.zeros(d, dtype=torch.float64), []
    for _ in range(steps):
        with torch.no_grad():
            theta.grad = -3 * torch.einsum("ijk,j,k->i", Y, theta, theta)
        opt.step()
        overlaps.append(abs(float(theta.detach() @ star)))
        total += theta.detach()
        averages.append(abs(float(total @ star) / float(total.norm())))
    half = len(overlaps) // 2
    said("overlap of the average", averages[-1], "0.75 to 0.97 (full size)")
    said("mean overlap of the iterates", sum(overlaps[half:]) / (len(overlaps) - half), "< 0.35")
    shown = range(0, steps, max(1, steps // 500))
    curves(
        given.out / "averages.png",
        {
            "iterate": (list(shown), [overlaps[k] for k in shown]),
            "average": (list(shown), [averages[k] for k in shown]),
        },
        "Overlap with the planted direction", "steps", "overlap",
    )  # fmt: skip


if __name__ == "__main__":
    main()
