"""Every rule that torch.optim has: the same numbers over 100 steps, with hyperparameters that nobody has as a
default.
"""

from __future__ import annotations

import pytest
import torch

import dotopt.stdlib as stdlib

SHAPES = ((5, 4), (7,), (3, 2, 3, 3), (), (1, 6))
STEPS = 100

# ours, torch's, what is given to both
CASES = {
    "sgd": ("SGD", "SGD", {"lr": 0.03}),
    "sgd decay": ("SGD", "SGD", {"lr": 0.03, "weight_decay": 0.07}),
    "sgd momentum": ("SGD", "SGD", {"lr": 0.03, "momentum": 0.83, "dampening": 0.21, "weight_decay": 0.02}),
    "sgd nesterov": ("SGD", "SGD", {"lr": 0.03, "momentum": 0.77, "nesterov": True, "weight_decay": 0.02}),
    "adagrad": (
        "Adagrad",
        "Adagrad",
        {"lr": 0.04, "lr_decay": 0.03, "weight_decay": 0.05, "initial_accumulator_value": 0.2, "eps": 1e-5},
    ),
    "adadelta": ("Adadelta", "Adadelta", {"lr": 0.7, "rho": 0.83, "eps": 1e-4, "weight_decay": 0.03}),
    "adamax": ("Adamax", "Adamax", {"lr": 0.01, "betas": (0.83, 0.97), "eps": 1e-6, "weight_decay": 0.03}),
    "asgd": ("ASGD", "ASGD", {"lr": 0.02, "lambd": 3e-3, "alpha": 0.6, "t0": 40, "weight_decay": 0.03}),
    "rprop": ("Rprop", "Rprop", {"lr": 0.02, "etas": (0.6, 1.3), "step_sizes": (1e-4, 3.0)}),
    "rmsprop": ("RMSprop", "RMSprop", {"lr": 0.01, "alpha": 0.93, "eps": 1e-6, "weight_decay": 0.02}),
    "rmsprop centered": (
        "RMSprop",
        "RMSprop",
        {"lr": 0.01, "alpha": 0.93, "eps": 1e-4, "weight_decay": 0.02, "momentum": 0.4, "centered": True},
    ),
    "adam": ("Adam", "Adam", {"lr": 0.01, "betas": (0.83, 0.97), "eps": 1e-6, "weight_decay": 0.03}),
    "adam amsgrad": ("Adam", "Adam", {"lr": 0.01, "betas": (0.83, 0.9), "eps": 1e-6, "amsgrad": True}),
    "adam without memory": ("Adam", "Adam", {"lr": 0.01, "betas": (0.0, 0.0), "eps": 1e-3}),
    "adamw": ("AdamW", "AdamW", {"lr": 0.01, "betas": (0.83, 0.97), "eps": 1e-6, "weight_decay": 0.3}),
    "adamw amsgrad": ("AdamW", "AdamW", {"lr": 0.01, "betas": (0.83, 0.9), "weight_decay": 0.3, "amsgrad": True}),
    "nadam": (
        "NAdam",
        "NAdam",
        {"lr": 0.01, "betas": (0.83, 0.97), "eps": 1e-6, "weight_decay": 0.03, "momentum_decay": 0.02},
    ),
    "nadam decoupled": (
        "NAdam",
        "NAdam",
        {"lr": 0.01, "betas": (0.83, 0.97), "weight_decay": 0.3, "decoupled_weight_decay": True},
    ),
    "radam": ("RAdam", "RAdam", {"lr": 0.01, "betas": (0.83, 0.97), "eps": 1e-6, "weight_decay": 0.03}),
    "radam decoupled": (
        "RAdam",
        "RAdam",
        {"lr": 0.01, "betas": (0.83, 0.97), "weight_decay": 0.3, "decoupled_weight_decay": True},
    ),
    "adafactor": (
        "Adafactor",
        "Adafactor",
        {"lr": 0.03, "beta2_decay": -0.7, "eps": (1e-6, 2e-3), "d": 1.3, "weight_decay": 0.1},
    ),
}


def train(make, shapes=SHAPES, steps=STEPS, dtype=torch.float64, seed=0):
    """The parameters after `steps` steps on noisy quadratics, in two groups with different learning rates."""
    generator = torch.Generator().manual_seed(seed)
    targets = [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes]
    params = [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes]
    optimizer = make([{"params": params[:2]}, {"params": params[2:], "lr": 0.017}])
    for _ in range(steps):
        for p, target in zip(params, targets, strict=True):
            p.grad = (p.detach() - target) * 1.3 + 0.3 * torch.randn(p.shape, dtype=dtype, generator=generator)
        optimizer.step()
    return [p.detach() for p in params]


@pytest.fixture(autouse=True)
def double():
    """torch keeps the scalars of NAdam and ASGD in the default dtype: in float32 it is torch that is off by 1e-8."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("foreach", [None, False])
def test_torch_optim(case: str, foreach: bool | None) -> None:
    ours, theirs, options = CASES[case]
    got = train(lambda groups: getattr(stdlib, ours)(groups, **options, foreach=foreach, backend="torch"))
    wanted = train(lambda groups: getattr(torch.optim, theirs)(groups, **options, foreach=False))
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-13)


def test_asgd_is_evaluated_at_the_average_that_torch_keeps() -> None:
    from dotopt.stdlib import ASGD

    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64)) for _ in range(2))
    options = {"lr": 0.02, "lambd": 3e-3, "alpha": 0.6, "t0": 5, "weight_decay": 0.03}
    mine, reference = ASGD([ours], **options), torch.optim.ASGD([theirs], **options)
    for t in range(20):
        for p, optimizer in ((ours, mine), (theirs, reference)):
            p.grad = torch.sin(p.detach() * 3 + t)
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    mine.eval()
    average = reference.state[theirs]["ax"]
    torch.testing.assert_close(ours.detach(), average, rtol=1e-7, atol=1e-9)  # torch keeps mu in float32
    mine.train()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
