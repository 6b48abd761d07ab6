"""Lion-K with every K of the library: its step is along the gradient of K, as torch.autograd finds it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dotopt.stdlib import Lion, LionK

K: dict[str, Callable[[Tensor], Tensor]] = {
    "norm1": lambda m: m.abs().sum(),
    "norm2": lambda m: torch.linalg.vector_norm(m),
    "norm_p": lambda m: torch.linalg.vector_norm(m, 4),
    "quadratic": lambda m: m.square().sum() / 2,
    "group_norm": lambda m: torch.linalg.vector_norm(m.flatten(1), dim=1).sum(),
    "nuclear": lambda m: torch.linalg.svdvals(m.flatten(1)).sum(),
    "dead_zone": lambda m: (m.abs() - 1e-3).clamp(min=0).sum(),
    "huber": lambda m: torch.where(m.abs() <= 1e-3, m.square() / 2e-3, m.abs() - 5e-4).sum(),
    "log_cosh": lambda m: m.cosh().log().sum(),
    "pseudo_huber": lambda m: (m.square() + 1e-6).sqrt().sum(),
}


def tensors() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((4, 3), (3, 2, 2, 2))]


def test_every_k_is_a_choice() -> None:
    (option,) = LionK.rule.options
    assert set(option.values) == set(K) and option.default == "norm1"


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("name", K)
def test_the_step_is_along_the_gradient_of_k(name: str, backend: str) -> None:
    lr, beta1, beta2, decay = 0.03, 0.8, 0.95, 0.2
    params = [p.requires_grad_() for p in tensors()]
    optimizer = LionK(params, lr=lr, betas=(beta1, beta2), weight_decay=decay, K=name, backend=backend)
    expected, momenta = tensors(), [torch.zeros_like(p) for p in params]
    generator = torch.Generator().manual_seed(5)  # generic: the nuclear norm has one gradient at full rank only
    for _ in range(6):
        for k, p in enumerate(params):
            p.grad = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            mixed = (beta1 * momenta[k] + (1 - beta1) * p.grad).requires_grad_()
            (slope,) = torch.autograd.grad(K[name](mixed), mixed)
            expected[k] = expected[k] - lr * (slope + decay * expected[k])
            momenta[k] = beta2 * momenta[k] + (1 - beta2) * p.grad
        optimizer.step()
    torch.testing.assert_close([p.detach() for p in params], expected, rtol=1e-9, atol=1e-12)


def test_the_1_norm_is_lion() -> None:
    one, two = [p.requires_grad_() for p in tensors()], [p.requires_grad_() for p in tensors()]
    for optimizer, params in (
        (LionK(one, lr=0.01, weight_decay=0.1), one),
        (Lion(two, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1), two),
    ):
        for t in range(5):
            for p in params:
                p.grad = torch.cos(torch.arange(p.numel(), dtype=p.dtype) * (t + 1)).reshape(p.shape)
            optimizer.step()
    torch.testing.assert_close(one, two, rtol=1e-12, atol=0)
