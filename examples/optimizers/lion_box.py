"""Lion solves a problem with a box: with weight decay λ it minimises f over |x| <= 1/λ.

A quadratic whose minimum lies outside the box; the same by projected gradients; AdamW with the same decay beside.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from dotopt.stdlib import AdamW, Lion

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def trained(rule: type, A: Tensor, c: Tensor, steps: int, lr: float, decay: float) -> Tensor:
    x = torch.full_like(c, 5.0).requires_grad_()
    opt = rule([x], lr=lr, weight_decay=decay)
    for k in range(steps):
        opt.param_groups[0]["lr"] = lr * (1 - k / steps)
        opt.zero_grad()
        (0.5 * (x - c) @ A @ (x - c)).backward()
        opt.step()
    return x.detach()


def projected(A: Tensor, c: Tensor, bound: float) -> Tensor:
    x, step = torch.zeros_like(c), 1 / torch.linalg.eigvalsh(A)[-1]
    for _ in range(20000):
        x = (x - step * (A @ (x - c))).clamp(-bound, bound)
    return x


def main() -> None:
    """Two boxes."""
    given = arguments(__doc__ or "")
    steps = 3000 if given.quick else 4000
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(20, 20, generator=generator, dtype=torch.float64)
    A, c = (
        root @ root.T / 20 + 0.1 * torch.eye(20, dtype=torch.float64),
        3 * torch.randn(20, generator=generator, dtype=torch.float64),
    )
    series = {}
    for decay in (1.0, 0.5):
        best = projected(A, c, 1 / decay)
        lion, adamw = trained(Lion, A, c, steps, 0.02, decay), trained(AdamW, A, c, steps, 0.02, decay)
        said(f"Lion, λ = {decay:g}: distance to the constrained minimum", float((lion - best).abs().max()), "< 5e-3")
        said(f"AdamW, λ = {decay:g}: distance", float((adamw - best).abs().max()), "> 0.1")
        place = list(range(20))
        series[f"minimum in the box, λ = {decay:g}"] = (place, best.sort().values.tolist())
        series[f"Lion, λ = {decay:g}"] = (place, lion[best.argsort()].tolist())
    curves(
        given.out / "lion_box.png", series, "Lion and the minimum in the box |x| <= 1/λ", "coordinate, sorted", "value"
    )


if __name__ == "__main__":
    main()
