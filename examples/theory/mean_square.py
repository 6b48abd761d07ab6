"""Stability of SGD in mean square: beyond the largest stable rate the mean loss grows, while a typical run still falls.

Linear regression at an interpolating minimum: the second moment by its exact operator, and many runs beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import MeanSquareStability


def losses(X: Tensor, lr: float, steps: int) -> list[float]:
    """The expected loss, one sample a step."""
    n, d = X.shape
    H, S = X.T @ X / n, torch.eye(d, dtype=X.dtype) / d
    found = [float((H * S).sum() / 2)]
    for _ in range(steps):
        fourth = X.T @ (((X @ S) * X).sum(1)[:, None] * X) / n
        S = S - lr * (H @ S + S @ H) + lr**2 * fourth
        found.append(float((H * S).sum() / 2))
    return found


def main() -> None:
    """Below and above the threshold."""
    given = arguments(__doc__ or "")
    X = torch.randn(12, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    lr, bound = MeanSquareStability(steps=500)(X)
    steps = 100 if given.quick else 200
    below, above = losses(X, 0.9 * float(lr), steps), losses(X, 1.1 * float(lr), steps)
    runs = torch.randn(2000, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 2
    drawn = torch.Generator().manual_seed(2)
    for _ in range(steps):
        x = X[torch.randint(12, (len(runs),), generator=drawn)]
        runs = runs - 1.1 * lr * (runs * x).sum(1, keepdim=True) * x
    said("mean loss at 0.9 of the threshold, end / start", below[-1] / below[0], "below 1")
    said("mean loss at 1.1 of the threshold, end / start", above[-1] / above[0], "above 1")
    said("median of the runs at 1.1, end", float(runs.norm(dim=1).median()), "below 1: typical runs still fall")
    trace = float((X * X).sum() / 12)
    said("threshold times trace", float(lr) * trace, "at most 2, with one sample a step")
    said("threshold of gradient descent / of SGD", float(bound / lr), "above 1")
    series = {"0.9 of the threshold": (range(steps + 1), below), "1.1 of the threshold": (range(steps + 1), above)}
    curves(given.out / "mean_square.png", series, "Mean loss of SGD", "step", "loss", log=True)


if __name__ == "__main__":
    main()
