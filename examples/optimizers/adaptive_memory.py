"""Adaptive memory: the weight of the momentum follows a model of two planes, and beats a fixed one by some percent.

A diagonal quadratic with 30 curvatures between 1e-3 and 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dotopt.stdlib import AMSGD, QHM

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def losses(rule: type, lr: float, steps: int, **given: float) -> list[float]:
    a = torch.logspace(-3, 0, 30, dtype=torch.float64)
    x = torch.ones(30, dtype=torch.float64, requires_grad=True)
    opt, found = rule([x], lr=lr, **given), []
    for _ in range(steps):
        opt.zero_grad()
        f = 0.5 * (a * x * x).sum()
        found.append(float(f.detach()))
        f.backward()
        opt.step()
    return found


def main() -> None:
    """Three learning rates."""
    given = arguments(__doc__ or "")
    series = {}
    for lr in (0.5, 3.0, 8.0):
        fixed = losses(QHM, lr, 400, momentum=0.9, nu=1.0)
        adaptive = losses(AMSGD, lr, 400)
        said(f"loss with adaptive / fixed memory, lr {lr:g}", adaptive[-1] / fixed[-1], "0.75 to 0.98")
        series[f"fixed, lr {lr:g}"] = (list(range(400)), fixed)
        series[f"adaptive, lr {lr:g}"] = (list(range(400)), adaptive)
    curves(given.out / "adaptive_memory.png", series, "A quadratic of condition 1000", "steps", "loss", log=True)


if __name__ == "__main__":
    main()
