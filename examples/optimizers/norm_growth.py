"""Momentum makes the weights of scale-invariant layers grow; AdamP and SGDP take the radial part out.

Four channels of 50 weights, each with a loss of its direction only, and noise on the gradients.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dotopt.stdlib import SGD, SGDP, Adam, AdamP

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def growth(rule: type, steps: int, **given: float) -> float:
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(4, 50, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.nn.functional.normalize(torch.randn(4, 50, generator=generator, dtype=torch.float64), dim=1)
    start = w.detach().norm(dim=1)
    opt = rule([w], **given)
    for _ in range(steps):
        opt.zero_grad()
        unit = torch.nn.functional.normalize(w, dim=1)
        noise = 0.3 * torch.randn(4, 50, generator=generator, dtype=torch.float64)
        (0.5 * (unit - target).square().sum() + (unit * noise).sum()).backward()
        opt.step()
    return float((w.detach().norm(dim=1) / start).mean())


def main() -> None:
    """The ratio of norms after training, for each rule."""
    given = arguments(__doc__ or "")
    steps = 100 if given.quick else 500
    found = {
        "SGD": growth(SGD, steps, lr=1.0),
        "SGD, momentum 0.9": growth(SGD, steps, lr=1.0, momentum=0.9),
        "SGDP, momentum 0.9": growth(SGDP, steps, lr=1.0, momentum=0.9, weight_decay=0.0),
        "Adam": growth(Adam, steps, lr=0.05),
        "AdamP": growth(AdamP, steps, lr=0.05, weight_decay=0.0),
    }
    for name, ratio in found.items():
        said(f"growth of the norm, {name}", ratio, "SGDP < 0.8 of momentum, AdamP < Adam")
    curves(
        given.out / "norm_growth.png", {"norm at the end / at the start": (list(range(5)), list(found.values()))},
        ", ".join(found), "rule, in this order", "ratio", points=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
