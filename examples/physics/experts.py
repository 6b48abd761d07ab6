"""Hard constraints with a mixture of experts: each block fits the equation for itself, so more experts fit it better.

A sine basis on a travelling shock; the last layer is the solution of an inner problem, block by block.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import HardConstraint


def main() -> None:
    """The residual for 1, 2, 4 and 8 experts, and a derivative through the fit."""
    given = arguments(__doc__ or "")
    x = torch.linspace(0, 1, 64 if given.quick else 256, dtype=torch.float64)
    target = torch.tanh(30 * (x - 0.4)) + 0.1 * torch.tanh(30 * (x - 0.4)) ** 3
    basis = torch.stack([torch.sin(torch.pi * (k + 0.5) * x + 0.3) for k in range(4)], 1)
    series, residuals = {"solution": (x.tolist(), torch.tanh(30 * (x - 0.4)).tolist())}, []
    for experts in (1, 2, 4, 8):
        parts, sides = basis.chunk(experts), target.chunk(experts)
        equations = [lambda u, side=side: u + 0.1 * u**3 - side for side in sides]
        fitted = HardConstraint(equations, ridge=0.0, tol=1e-9)(list(parts))
        residuals.append(sum(float((r(u) ** 2).sum()) for r, u in zip(equations, fitted, strict=True)) ** 0.5)
        series[f"{experts} experts"] = (x.tolist(), torch.cat(list(fitted)).tolist())
        said(f"residual with {experts} experts", residuals[-1], "never more than with fewer")
    moved = basis.clone().requires_grad_()
    equation = [lambda u: u + 0.1 * u**3 - target]
    HardConstraint(equation, ridge=0.0, tol=1e-11)([moved])[0][5].backward()
    step = torch.zeros_like(basis)
    step[3, 1] = 1e-6
    ends = [HardConstraint(equation, ridge=0.0, tol=1e-11)([basis + s * step])[0][5] for s in (1, -1)]
    slope = float(ends[0] - ends[1]) / 2e-6
    said("derivative through the fit, relative error", abs(float(moved.grad[3, 1]) - slope) / abs(slope), "below 1e-4")
    curves(given.out / "experts.png", series, "A shock, fitted block by block", "x", "u")


if __name__ == "__main__":
    main()
