"""Heavy ball and Nesterov's momentum in their own forms take the steps of torch.optim.SGD."""

from __future__ import annotations

import pytest
import torch

import dotopt.stdlib as stdlib

STEPS, LR, MOMENTUM = 30, 0.013, 0.83


def loss(x: torch.Tensor) -> torch.Tensor:
    scale = torch.linspace(0.3, 3, x.numel(), dtype=x.dtype)
    return (scale * (x - 1) ** 2).sum() + torch.sin(3 * x).sum()


def run(make, point=lambda x, optimizer: x) -> list[torch.Tensor]:
    """Where the parameter is after every step, as `point` reads it."""
    x = torch.tensor([0.2, -1.3, 2.1, 0.7], dtype=torch.float64, requires_grad=True)
    optimizer = make([x])

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        return value

    seen = []
    for _ in range(STEPS):
        optimizer.step(closure)
        seen.append(point(x.detach(), optimizer).clone())
    return seen


def sgd(nesterov: bool) -> list[torch.Tensor]:
    return run(lambda params: torch.optim.SGD(params, lr=LR, momentum=MOMENTUM, nesterov=nesterov))


def looked_ahead(x: torch.Tensor, optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """What torch calls the parameter: Nesterov's point from which the next gradient is taken."""
    (state,) = optimizer.state.values()
    return x - LR * MOMENTUM * state["momentum_buffer"]


@pytest.mark.parametrize(("name", "nesterov"), [("HeavyBall", False), ("NesterovDifferences", True)])
def test_the_same_points(name: str, nesterov: bool) -> None:
    ours = run(lambda params: getattr(stdlib, name)(params, lr=LR, momentum=MOMENTUM))
    torch.testing.assert_close(ours, sgd(nesterov), rtol=1e-10, atol=1e-12)


def test_nesterov_looks_ahead_where_torch_already_is() -> None:
    ours = run(lambda params: stdlib.Nesterov(params, lr=LR, momentum=MOMENTUM), looked_ahead)
    torch.testing.assert_close(ours, sgd(True), rtol=1e-10, atol=1e-12)
