"""A few sweeps, then Newton with a thinned Hessian: optimal transport to 1e-12 where sweeps need thousands.

A uniform random cost; the same plan by Sinkhorn's sweeps alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from dotopt.stdlib import SinkhornNewtonSparse

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def sweeps(C: Tensor, r: Tensor, c: Tensor, eta: float, most: int) -> list[float]:
    """The error of the row sums after each sweep, in the log domain."""
    y, errors = torch.zeros_like(c), []
    for _ in range(most):
        x = (r.log() - torch.logsumexp(eta * (y - C), 1)) / eta
        y = (c.log() - torch.logsumexp(eta * (x[:, None] - C), 0)) / eta
        errors.append(float((torch.exp(eta * (x[:, None] + y - C)).sum(1) - r).abs().sum()))
        if errors[-1] < 1e-12:
            break
    return errors


def main() -> None:
    """The marginal errors."""
    given = arguments(__doc__ or "")
    n, eta = (60, 120.0) if given.quick else (100, 200.0)
    generator = torch.Generator().manual_seed(0)
    C = torch.rand(n, n, generator=generator, dtype=torch.float64)
    r = c = torch.full((n,), 1 / n, dtype=torch.float64)
    errors = sweeps(C, r, c, eta, 6000)
    P = SinkhornNewtonSparse(eta=eta, N=20, lam=0.05, tol=1e-12)(C, r, c)
    found = float((P.sum(1) - r).abs().sum() + (P.sum(0) - c).abs().sum())
    said("sweeps to 1e-12", len(errors), "> 500")
    said("Newton, after 20 sweeps: error of the sums", found, "< 1e-11")
    said("cost of the plan, Newton", float((P * C).sum()), "as by sweeps")
    series = {
        "Sinkhorn": (list(range(1, len(errors) + 1)), errors),
        "Newton, after 20 sweeps": ([20, 120], [errors[19], found]),
    }
    curves(given.out / "transport.png", series, "Optimal transport", "sweeps", "error of the sums", log=True)


if __name__ == "__main__":
    main()
