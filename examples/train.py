"""Train a small network with rules of the library: the classes are torch optimizers.

    python examples/train.py
"""

from __future__ import annotations

import torch
from torch import nn

import dotopt
from dotopt.stdlib import AdamW, Lion, Lookahead, Muon


def train(name: str, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 300) -> float:
    """Fit a noisy sine; returns the last loss."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    x = torch.linspace(-3, 3, 256).unsqueeze(1)
    y = torch.sin(2 * x) + 0.05 * torch.randn(256, 1, generator=torch.Generator().manual_seed(0))
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"{name:<24} {loss.item():.4f}")
    return loss.item()


def network() -> nn.Module:
    """The same network each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))


def main() -> None:
    """A rule, a transform around a rule, and two rules for the parts of one network."""
    model = network()
    train("Lion", model, Lion(model.parameters(), lr=2e-3, weight_decay=1e-2))
    model = network()
    train("Lookahead(Lion)", model, Lookahead(Lion)(model.parameters(), lr=2e-3, k=5))
    model = network()
    mixed = dotopt.route(model, {Muon: "matrices", AdamW: "rest"}, Muon={"lr": 0.02}, AdamW={"lr": 5e-3})
    train("Muon and AdamW", model, mixed)


if __name__ == "__main__":
    main()
