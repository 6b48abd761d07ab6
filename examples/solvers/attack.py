"""Attacks within a small box: repeated steps beat one step, and the box is kept to the last bit.

A ten-class mixture in 64 dimensions and a small network.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from dotopt.stdlib import MIFGSM

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def main() -> None:
    """The error of the network under three attacks, which are settings of one rule."""
    given = arguments(__doc__ or "")
    torch.manual_seed(0)
    centre = 0.5 + 0.4 * (torch.rand(10, 64) - 0.5)
    y = torch.randint(0, 10, (2000,))
    x = (centre[y] + 0.12 * torch.randn(2000, 64)).clamp(0, 1)
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(100 if given.quick else 400):
        opt.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        opt.step()
    eps, images, labels = 0.08, x[:500], y[:500]
    found, distance = {}, 0.0
    for name, how in {
        "none": None,
        "FGSM": {"alpha": eps, "steps": 1, "decay": 0.0},
        "I-FGSM": {"alpha": eps / 10, "steps": 10, "decay": 0.0},
        "MI-FGSM": {"alpha": eps / 10, "steps": 10, "decay": 1.0},
    }.items():
        seen = images if how is None else MIFGSM(eps=eps, **how)(net, images, labels)
        distance = max(distance, float((seen - images).abs().max()))
        with torch.no_grad():
            found[name] = float((net(seen).argmax(1) != labels).float().mean())
        said(f"error under {name}", found[name], "none < FGSM < I-FGSM")
    said("largest change of an entry", distance, f"<= {eps:g}")
    curves(
        given.out / "attack.png", {"error": (list(range(4)), list(found.values()))}, ", ".join(found),
        "attack, in this order", "share of wrong labels", points=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
