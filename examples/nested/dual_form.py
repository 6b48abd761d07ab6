"""Learning in context is a step of gradient descent: attention to examples and finetuning on them predict the same.

Linear regression from examples in the context; the number of examples decides how good either is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import InContextLearning


def main() -> None:
    """The two predictions, and the error over the number of examples."""
    given = arguments(__doc__ or "")
    d, tasks = 8, 20 if given.quick else 200
    generator = torch.Generator().manual_seed(0)
    counts, errors, gap = (2, 8, 32, 128, 512), [], 0.0
    for count in counts:
        lost = []
        for _ in range(tasks):
            truth = torch.randn(1, d, generator=generator, dtype=torch.float64)
            X = torch.randn(count, d, generator=generator, dtype=torch.float64)
            x = torch.randn(d, generator=generator, dtype=torch.float64)
            W = torch.zeros(1, d, dtype=torch.float64, requires_grad=True)
            loss = ((X @ W.T - X @ truth.T) ** 2).sum() / (2 * count)
            (slope,) = torch.autograd.grad(loss, W)
            finetuned = (W - slope) @ x
            context = InContextLearning()(W=W, X=X, E=X @ truth.T / count, x=x)
            gap = max(gap, float((finetuned - context).detach().abs().max()))
            lost.append(float((context - truth @ x) ** 2 / (truth**2).sum()))
        errors.append(sum(lost) / tasks)
    said("finetuning against learning in context", gap, "0: they are one computation")
    for count, error in zip(counts, errors, strict=True):
        said(f"squared error with {count} examples", error, f"about {(d + 1) / count:.2g}")
    curves(given.out / "dual_form.png", {"squared error": ([float(c) for c in counts], errors)},
           "One step on the examples", "examples", "error", log=True, points=True)  # fmt: skip


if __name__ == "__main__":
    main()
