"""Muon and its cheap kin on a small network: orthogonalised steps win; a normalised momentum is what AuON does.

A network 16-64-64-10 learns the labels of a random teacher, with badly scaled inputs; the best of four learning rates.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import dotopt
from dotopt.stdlib import SGD, AdamW, AuON, Lion, Muon, SGDSaI

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 16, generator=generator) * torch.logspace(0, -1.5, 16)
    W1, W2 = torch.randn(16, 32, generator=generator), torch.randn(32, 10, generator=generator)
    return x, (torch.tanh(4 * x @ W1) @ W2).argmax(1)


def trained(make: object, x: Tensor, y: Tensor, steps: int) -> float:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    opt, generator = make(net), torch.Generator().manual_seed(1)  # type: ignore[operator]
    for _ in range(steps):
        batch = torch.randint(0, len(x), (64,), generator=generator)
        opt.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        opt.step()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(net(x), y))


def mixed(rule: type, lr: float) -> object:
    return lambda net: dotopt.route(net, {rule: "matrices", AdamW: "rest"}, lr=lr)


def main() -> None:
    """Six rules, four learning rates each."""
    given = arguments(__doc__ or "")
    steps = 60 if given.quick else 200
    x, y = data()
    rates = (0.03, 0.1) if given.quick else (0.003, 0.01, 0.03, 0.1)
    found = {}
    for name, make in {
        "SGD, momentum": lambda lr: lambda net: SGD(net.parameters(), lr=10 * lr, momentum=0.9),
        "SGD-SaI": lambda lr: lambda net: SGDSaI(net.parameters(), lr=lr, weight_decay=0.0),
        "AdamW": lambda lr: lambda net: AdamW(net.parameters(), lr=lr),
        "Lion": lambda lr: lambda net: Lion(net.parameters(), lr=lr / 10),
        "AuON": lambda lr: mixed(AuON, lr),
        "Muon": lambda lr: mixed(Muon, lr),
    }.items():
        found[name] = min(trained(make(lr), x, y, steps) for lr in rates)
        said(f"loss, {name}", found[name], "Muon lowest, AuON above it")
    curves(
        given.out / "one_layer_of_many.png", {"loss": (list(range(6)), list(found.values()))},
        ", ".join(found), "rule, in this order", "loss after training, best rate", points=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
