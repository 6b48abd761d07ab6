"""Epoch-wise double descent: weak features are learnt late, and the error falls, rises and falls again.

Gradient descent on linear regression in closed form, the mean over teachers; with equal features there is one descent.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import DoubleDescent


def main() -> None:
    """The error over time for features of two strengths, and of one."""
    given = arguments(__doc__ or "")
    n, d, p = 120, 100, 70
    steps = torch.logspace(0, 5.5, 40 if given.quick else 120).round().unique().tolist()
    series, extremes = {}, {}
    for k in (30.0, 1.0):
        f = torch.cat([torch.ones(p), torch.full((d - p,), 1 / k)]).double()
        total = torch.zeros(len(steps), dtype=torch.float64)
        teachers = 4 if given.quick else 20
        for seed in range(teachers):
            generator = torch.Generator().manual_seed(seed)
            Z = torch.randn(n, d, generator=generator, dtype=torch.float64) / d**0.5
            w = torch.randn(d, generator=generator, dtype=torch.float64)
            w = w * (d**0.5 / w.norm())
            total += torch.stack([DoubleDescent()(Z, f, w, Z @ w, torch.tensor(t).double())[0] for t in steps])
        error = total / teachers
        series[f"weak features {1 / k:.2g}"] = (steps, error.tolist())
        early = int(error[: len(steps) // 2].argmin())
        extremes[k] = (float(error[early]), float(error[early:].max()), float(error[-1]))
    low, peak, last = extremes[30.0]
    said("first minimum of the error", low, "about 0.27")
    said("peak after it / minimum", peak / low, "at least 1.2")
    said("error at the end / minimum", last / low, "below 1")
    curve = series["weak features 1"][1]
    said("largest rise with equal features", max(b - a for a, b in pairwise(curve)), "0: it falls")
    logs = {label: ([torch.tensor(x).log10().item() for x in xs], ys) for label, (xs, ys) in series.items()}
    curves(given.out / "double_descent.png", logs, "Generalisation error over time", "log10 of the steps", "error")


if __name__ == "__main__":
    main()
