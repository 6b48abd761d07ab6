"""Consensus-based optimization finds the global minimum among many local ones; more noise, more often.

Rastrigin's function in four dimensions, 100 particles, independent runs side by side.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

from dotopt.stdlib import CBO

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def rastrigin(v: Tensor) -> Tensor:
    return (v**2).sum(-1) + 2.5 * (1 - torch.cos(2 * math.pi * v)).sum(-1)


def main() -> None:
    """The share of runs that end within 0.25 of the minimum, for three strengths of the noise."""
    given = arguments(__doc__ or "")
    runs, steps = (20, 250) if given.quick else (40, 400)
    shares, noises = [], (0.5, 1.0, 2.0, 3.0)
    for sigma in noises:
        rule = CBO(particles=100, sigma=sigma, alpha=1e3, dt=0.02, seed=7)
        found = rule.minimize(
            rastrigin, torch.full((4,), 2.0, dtype=torch.float64), steps=steps, runs=runs, batched=True
        )
        shares.append(float(((found.x.abs().amax(-1)) < 0.25).double().mean()))
        said(f"success at σ = {sigma:g}", shares[-1], ">= 0.8 at σ = 2, less below")
    starts = 2 + 2 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for _ in range(400):
        starts = starts - 0.01 * (2 * starts + 2.5 * 2 * math.pi * torch.sin(2 * math.pi * starts))
    said("success of 100 gradient descents", float((starts.abs().amax(-1) < 0.25).double().mean()), "0")
    curves(
        given.out / "rastrigin.png", {"CBO": (list(noises), shares)}, "Global minima found", "strength of the noise σ",
        "share of runs", points=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
