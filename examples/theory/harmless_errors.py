"""Velocity errors that are no gradient can leave the density alone: particles turn, their law stays.

The flow of a Gaussian to the normal law, with an error of the velocity along level sets.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import GaussianFlow


def main() -> None:
    """The divergence over time, and the particles with and without the error."""
    given = arguments(__doc__ or "")
    m = torch.tensor([1.0, -0.5], dtype=torch.float64)
    S = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    times = torch.linspace(0, 1.5, 16 if given.quick else 61).tolist()
    flows = [GaussianFlow(time=t)(m, S, m) for t in times]
    divergence, fisher = ([float(flow[k]) for flow in flows] for k in (3, 4))
    dt = times[1]
    rates = [(b - a) / (2 * dt) for a, b in zip(divergence, divergence[2:], strict=False)]
    worst = max(abs(r + f) / f for r, f in zip(rates, fisher[1:-1], strict=True))
    said("fall of the divergence against Fisher information", worst, "the same, to the error of differences")
    generator = torch.Generator().manual_seed(0)
    root = torch.linalg.cholesky(S)
    cloud = m + torch.randn(4000, 2, generator=generator, dtype=torch.float64) @ root.T
    turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)

    def moved(strength: float, x: Tensor, parts: int = 150) -> Tensor:
        h = 1.5 / parts
        for k in range(parts):
            middle = (k + 0.5) * h
            _, mean, C, *_ = GaussianFlow(time=middle)(m, S, m)

            def velocity(x: Tensor, mean: Tensor = mean, C: Tensor = C) -> Tensor:
                return -x + torch.linalg.solve(C, (x - mean).T).T @ (torch.eye(2).double() + strength * turn.T)

            x = x + h * velocity(x + h / 2 * velocity(x))
        return x

    plain, turned = moved(0.0, cloud), moved(1.7, cloud)
    change = float((turned.T.cov() - plain.T.cov()).norm() / plain.T.cov().norm())
    apart = float((turned - plain).norm(dim=1).mean())
    said("covariance with the error, relative change", change, "a few percent: that of the sample")
    said("mean distance between the particles", apart, "far from 0: each went elsewhere")
    curves(
        given.out / "harmless_errors.png", {"divergence": (times, divergence), "Fisher information": (times, fisher)},
        "A flow to the normal law", "time", "value", log=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
