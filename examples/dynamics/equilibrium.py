"""Equilibrium propagation: nudges on a circle in the complex plane give the gradient to high order in their strength.

A small network with symmetric weights; then weights without symmetry, which the homeostatic term makes symmetric.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import EqProp

UNITS = 5


def act(u: Tensor) -> Tensor:
    """A logistic function, of complex numbers too."""
    return 1 / (1 + torch.exp(2 - 4 * u))


def propagated(start: Tensor, b: Tensor, y: Tensor, beta: float, phases: int) -> Tensor:
    """The estimate of the gradient."""
    W = torch.nn.Parameter(start.clone())
    opt = EqProp(
        [W], lambda r, x: W.to(r.dtype) @ r + b, lambda r, y: 0.5 * ((r[-2:] - y) ** 2).sum(), act,
        lr=1.0, beta=beta, N=phases, T=300, K=150, tol=1e-13, sizes={"units": UNITS},
    )  # fmt: skip
    opt.step(None, y)
    return start - W.detach()


def true(start: Tensor, b: Tensor, y: Tensor) -> Tensor:
    """The gradient of the loss at the equilibrium, by differentiating through the settling."""
    W = start.clone().requires_grad_()
    u = torch.zeros(UNITS, dtype=start.dtype)
    for _ in range(200):
        u = W @ act(u) + b
    (0.5 * ((act(u)[-2:] - y) ** 2).sum()).backward()
    assert W.grad is not None
    return W.grad


def main() -> None:
    """Errors for several numbers of nudges, and the asymmetry over homeostatic steps."""
    given = arguments(__doc__ or "")
    generator = torch.Generator().manual_seed(0)
    R = 0.3 * torch.randn(UNITS, UNITS, generator=generator, dtype=torch.float64)
    start = (R + R.T) / 2
    b = torch.tensor([0.05, 0.2, -0.5, 0.2, -0.2], dtype=torch.float64)
    y = torch.tensor([0.9, 0.7], dtype=torch.float64)
    exact = true(start, b, y)
    strengths = (0.1, 0.3) if given.quick else (0.05, 0.1, 0.2, 0.3)
    series: dict[str, tuple[list[float], list[float]]] = {}
    for phases in (1, 2, 4, 6):
        errors = [float((propagated(start, b, y, beta, phases) - exact).norm() / exact.norm()) for beta in strengths]
        series[f"{phases} nudges"] = (list(strengths), errors)
        said(f"error with {phases} nudges of strength 0.3", errors[-1], "less with more of them")
    said("order of the error with 4 nudges", _order(strengths, series["4 nudges"][1]), "about 4")
    W = torch.nn.Parameter(start + 0.2 * torch.randn(UNITS, UNITS, generator=generator, dtype=torch.float64))
    before = float((W - W.T).detach().norm())
    opt = EqProp(
        [W], lambda r, x: W.to(r.dtype) @ r + b, lambda r, y: 0.5 * ((r[-2:] - y) ** 2).sum(), act,
        lr=0.05, N=2, T=60, K=20, sizes={"units": UNITS}, homeostatic=True, homeostasis=1.0,
    )  # fmt: skip
    for _ in range(60 if given.quick else 200):
        opt.step(None, y)
    said("asymmetry after homeostatic steps / before", float((W - W.T).detach().norm()) / before, "below 0.5")
    curves(given.out / "equilibrium.png", series, "Error of the gradient", "strength of the nudge", "relative error",
           log=True, points=True)  # fmt: skip


def _order(x: tuple[float, ...], y: list[float]) -> float:
    logs = torch.tensor([x[0], x[-1], y[0], y[-1]]).log()
    return float((logs[3] - logs[2]) / (logs[1] - logs[0]))


if __name__ == "__main__":
    main()
