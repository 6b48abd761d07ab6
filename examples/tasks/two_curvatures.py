"""Two tasks whose gradients differ a thousandfold: similarity-aware surgery trains the slow one too.

Separable tasks with curvatures 1 and 1e-3, clipped steps of 0.1, against the plain sum.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dotopt import aggregate
from dotopt.stdlib import MGDA, SAMGS, PCGrad

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def main() -> None:
    """The loss of the slow task."""
    given = arguments(__doc__ or "")
    steps = 400
    curvature = torch.tensor([1.0, 1e-3], dtype=torch.float64)
    series = {}
    for name, rule in {"sum": None, "PCGrad": PCGrad(), "MGDA": MGDA(), "SAM-GS": SAMGS(gamma=0.5)}.items():
        x = torch.ones(2, 5, dtype=torch.float64, requires_grad=True)
        found = []
        for _ in range(steps):
            losses = [0.5 * c * row.square().sum() for c, row in zip(curvature, x, strict=True)]
            found.append(float(losses[1].detach()))
            x.grad = None
            if rule is None:
                sum(losses).backward()  # type: ignore[union-attr]
            else:
                aggregate(losses, [x], rule)
            torch.nn.utils.clip_grad_norm_([x], 1.0)
            with torch.no_grad():
                x -= 0.1 * x.grad
        series[name] = (list(range(steps)), found)
        said(f"loss of the slow task, {name}", found[-1], "SAM-GS < 1e-8, the sum > 1e-4")
    curves(given.out / "two_curvatures.png", series, "The slow one of two tasks", "steps", "loss", log=True)


if __name__ == "__main__":
    main()
