"""Stochastic dimensions: a physics-informed network in many dimensions learns from a few of them at a time.

Poisson's equation on the unit ball with a known solution; the cost of a step is counted in second derivatives.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import SDGD, Adam


def points(count: int, d: int, generator: torch.Generator) -> Tensor:
    """Points of the ball: any direction, a radius from 0 to 1."""
    x = nn.functional.normalize(torch.randn(count, d, generator=generator), dim=1)
    return x * torch.rand(count, 1, generator=generator)


class Solution(nn.Module):
    """A network that is 0 on the boundary, and the second derivatives that were asked of it."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.asked = 0

    def forward(self, x: Tensor) -> Tensor:
        """The values, [samples]."""
        return (1 - (x * x).sum(1)) * self.net(x)[:, 0]

    def second(self, i: int, x: Tensor) -> Tensor:
        """The second derivative along axis i."""
        self.asked += 1
        params = dict(self.named_parameters())
        along = torch.zeros_like(x)
        along[:, i] = 1.0

        def u(x: Tensor) -> Tensor:
            return functional_call(self, params, (x,))

        return jvp(lambda z: jvp(u, (z,), (along,))[1], (x,), (along,))[1]


def truth(x: Tensor) -> Tensor:
    """The solution."""
    return (1 - (x * x).sum(1)) * torch.sin(x.sum(1) / x.shape[1] ** 0.5)


def source(x: Tensor) -> Tensor:
    """Its Laplacian."""
    d = x.shape[1]
    s = x.sum(1) / d**0.5
    return -2 * d * torch.sin(s) - 4 * s * torch.cos(s) - (1 - (x * x).sum(1)) * torch.sin(s)


def main() -> None:
    """The error for different numbers of sampled dimensions."""
    given = arguments(__doc__ or "")
    d, steps = (6, 60) if given.quick else (20, 250)
    test = points(2000, d, torch.Generator().manual_seed(9))
    sampled = (1, d // 3, d) if given.quick else (1, d // 4, d)
    series, ends, calls = {}, [], []
    for m in sampled:
        torch.manual_seed(0)
        net, generator = Solution(d), torch.Generator().manual_seed(1)
        pieces = [partial(net.second, i) for i in range(d)]
        opt = SDGD(Adam)(net.parameters(), pieces, lambda x: -source(x), lr=1e-3, sampled=m, seed=2)
        errors = []
        for step in range(steps):
            opt.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
            opt.step(points(100, d, generator))
            if step % 10 == 9:
                with torch.no_grad():
                    errors.append(float((net(test) - truth(test)).norm() / truth(test).norm()))
        series[f"{m} of {d} dimensions"] = (list(range(10, steps + 1, 10)), errors)
        ends.append(errors[-1])
        calls.append(net.asked / steps)
    for m, error, asked in zip(sampled, ends, calls, strict=True):
        said(f"error with {m} of {d} dimensions", error, "less with more of them; far below 1")
        said("second derivatives a step, for each dimension", asked / m, "the same number")
    curves(given.out / "sampled_dimensions.png", series, "Poisson's equation", "step", "relative error", log=True)


if __name__ == "__main__":
    main()
