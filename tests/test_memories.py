"""Optimizers as memories, on a model: the derived update is the published one, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dotopt import stdlib

Step = Callable[[Tensor, Tensor, dict[str, Tensor], int], Tensor]


def gradients(model: nn.Module, steps: int) -> Iterator[None]:
    random = torch.Generator().manual_seed(5)
    for _ in range(steps):
        x, y = (torch.randn(s, generator=random, dtype=torch.float64) for s in ((16, 5), (16, 2)))
        model.zero_grad()
        (model(x) - y).square().mean().backward()
        yield


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2)).double()


def walk(make: Callable[[Any], Any], steps: int = 30, bias: bool = True) -> list[Tensor]:
    found = model()
    params = [p for p in found.parameters() if bias or p.ndim == 2]
    optimizer = make(params)
    for _ in gradients(found, steps):
        optimizer.step()
    return [p.detach() for p in params]


PUBLISHED = {
    "MomentumMemory": (
        lambda p: stdlib.MomentumMemory(p, lr=0.07, momentum=0.8),
        lambda p: torch.optim.SGD(p, lr=0.07, momentum=0.8),
    ),
    "PreconditionedMomentum": (
        lambda p: stdlib.PreconditionedMomentum(p, lr=0.07, momentum=0.8),
        lambda p: torch.optim.SGD(p, lr=0.07, momentum=0.8),
    ),
    "AdagradMemory": (
        lambda p: stdlib.AdagradMemory(p, lr=0.05, ridge=1e-30),
        lambda p: torch.optim.Adagrad(p, lr=0.05, eps=0.0),
    ),
    "NonlinearMomentum": (
        lambda p: stdlib.NonlinearMomentum(p, lr=0.07, momentum=0.8, output="plain"),
        lambda p: torch.optim.SGD(p, lr=0.07, momentum=0.8),
    ),
    "EMAMemory": (
        lambda p: stdlib.EMAMemory(p, lr=0.07, beta=0.0),
        lambda p: torch.optim.SGD(p, lr=0.07),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_memory_steps_as_published(name: str) -> None:
    mine, theirs = PUBLISHED[name]
    bias = name != "PreconditionedMomentum"
    for a, b in zip(walk(mine, bias=bias), walk(theirs, bias=bias), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def orthogonal(x: Tensor, passes: int, eps: float) -> Tensor:
    """Cubic Newton-Schulz, as methods B section 8 states it."""
    x = x / (x.norm() + eps)
    for _ in range(passes):
        x = (3 * x - x @ x.T @ x) / 2
    return x


def average(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    s["m"] = 0.8 * s.get("m", 0 * g) + 0.2 * g
    return p - 0.07 * s["m"] / (1 - 0.8**t)


def adam(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    """Adam with one β, without bias correction, and with the ridge of the memory for its ε."""
    s["m"] = 0.9 * s.get("m", 0 * g) + 0.1 * g
    s["v"] = 0.9 * s.get("v", 0 * g) + 0.1 * g * g
    return p - 0.03 * s["v"].sqrt() * s["m"] / (s["v"] + 1e-6)


def muon(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    s["m"] = 0.8 * s.get("m", 0 * g) - g
    return p + 0.05 * orthogonal(s["m"], 4, 1e-7)


def squashed(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    s["m"] = 0.8 * s.get("m", 0 * g) - g
    return p + 0.05 * torch.tanh(s["m"])


def delta(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    m = s.get("m", 0 * g)
    s["m"] = m @ (0.8 * torch.eye(g.shape[1], dtype=g.dtype) - 0.05 * g.T @ g) - 0.05 * g
    return p + s["m"]


def implicit_delta(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    m, eye = s.get("m", 0 * g), torch.eye(g.shape[1], dtype=g.dtype)
    s["m"] = (0.8 * m - 0.05 * g) @ torch.linalg.inv(eye + 0.05 * g.T @ g)
    return p + s["m"]


def featured(p: Tensor, g: Tensor, s: dict[str, Tensor], t: int) -> Tensor:
    s["m"] = 0.8 * s.get("m", 0 * g) - 0.07 * torch.tanh(g)
    return p + s["m"]


BY_HAND: dict[str, tuple[Callable[[Any], Any], Step]] = {
    "EMAMemory": (lambda p: stdlib.EMAMemory(p, lr=0.07, beta=0.8), average),
    "AdamMemory": (lambda p: stdlib.AdamMemory(p, lr=0.03, beta=0.9, ridge=1e-6), adam),
    "Muon": (lambda p: stdlib.NonlinearMomentum(p, lr=0.05, momentum=0.8, ns_steps=4), muon),
    "tanh": (lambda p: stdlib.NonlinearMomentum(p, lr=0.05, momentum=0.8, output="tanh"), squashed),
    "DeltaMomentum": (lambda p: stdlib.DeltaMomentum(p, lr=0.05, momentum=0.8), delta),
    "implicit": (lambda p: stdlib.DeltaMomentum(p, lr=0.05, momentum=0.8, form="implicit"), implicit_delta),
    "features": (lambda p: stdlib.PreconditionedMomentum(p, lr=0.07, momentum=0.8, features="tanh"), featured),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_a_memory_steps_as_by_hand(name: str) -> None:
    make, step = BY_HAND[name]
    found = model()
    weights = [p for p in found.parameters() if p.ndim == 2]
    states: list[dict[str, Tensor]] = [{} for _ in weights]
    for t, _ in enumerate(gradients(found, 30), start=1):
        for p, state in zip(weights, states, strict=True):
            assert p.grad is not None
            with torch.no_grad():
                p.copy_(step(p, p.grad, state, t))
    for a, b in zip(walk(make, bias=False), weights, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-10, atol=1e-11)
