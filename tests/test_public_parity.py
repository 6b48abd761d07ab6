"""Rules that torch.optim does not have, against pytorch-optimizer 4.1.0: the same trajectory with generic options.

Where the two define a rule differently, the options are chosen so that they agree, and the remark says how.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import pytorch_optimizer as public
import torch

import dotopt.stdlib as stdlib
from dotopt.stdlib import SGD, AdamW, Lookahead

MATRICES = ((5, 4), (3, 6))
ANY = ((5, 4), (7,), (4, 3, 2, 2))
STEPS = 30


class Case(NamedTuple):
    """A rule here and there, what is given to both, what only one needs, and the shapes that both see alike."""

    ours: Any
    theirs: Any
    both: dict[str, Any]
    here: dict[str, Any] = {}
    there: dict[str, Any] = {}
    shapes: tuple[tuple[int, ...], ...] = ANY
    rtol: float = 1e-9
    in_double: bool = False  # the other one casts to bfloat16 on its way; here the cast does nothing


CASES = {
    "AdaBelief": Case(
        "AdaBelief", "AdaBelief", {"lr": 0.02, "betas": (0.83, 0.94), "eps": 1e-6, "weight_decay": 0.1, "rectify": True}
    ),
    "AdaBelief without rectification": Case(
        "AdaBelief",
        "AdaBelief",
        {"lr": 0.02, "betas": (0.83, 0.94), "eps": 1e-6, "weight_decay": 0.1, "rectify": False},
    ),
    # in the next two ε stands elsewhere there: small enough not to be seen
    "AdamP": Case(
        "AdamP",
        "AdamP",
        {"lr": 0.02, "betas": (0.83, 0.94), "eps": 1e-14, "weight_decay": 0.1, "delta": 0.9, "wd_ratio": 0.3},
    ),
    "AdamP nesterov": Case(
        "AdamP",
        "AdamP",
        {"lr": 0.02, "betas": (0.83, 0.94), "eps": 1e-14, "weight_decay": 0.1, "delta": 0.9, "nesterov": True},
    ),
    "SGDP": Case(
        "SGDP",
        "SGDP",
        {"lr": 0.02, "momentum": 0.7, "dampening": 0.2, "weight_decay": 0.1, "delta": 0.9, "wd_ratio": 0.3},
    ),
    "Adan": Case("Adan", "Adan", {"lr": 0.02, "betas": (0.9, 0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "Adan without proximal decay": Case(
        "Adan",
        "Adan",
        {"lr": 0.02, "betas": (0.9, 0.8, 0.95), "weight_decay": 0.1},
        {"no_prox": True},
        {"weight_decouple": True},
    ),
    "Lion": Case("Lion", "Lion", {"lr": 0.02, "betas": (0.83, 0.94), "weight_decay": 0.1}),
    "LAMB": Case(
        "LAMB",
        "Lamb",
        {"lr": 0.02, "betas": (0.83, 0.94), "eps": 1e-5, "weight_decay": 0.1},
        {"variant": "po"},
        {"max_grad_norm": 0.0, "pre_norm": False},
    ),
    "Shampoo": Case(
        "Shampoo",
        "Shampoo",
        {"lr": 0.02, "matrix_eps": 1e-3, "weight_decay": 0.1, "preconditioning_compute_steps": 2},
        shapes=MATRICES,
        rtol=1e-6,
    ),
    "SOAP": Case(
        "SOAP",
        "SOAP",
        {  # there the basis is found in float32
            "lr": 0.02,
            "betas": (0.83, 0.94),
            "eps": 1e-6,
            "weight_decay": 0.1,
            "precondition_frequency": 3,
        },
        shapes=((5, 5), (4, 4)),
        rtol=1e-3,
    ),  # of a wide matrix the first basis would be arbitrary where G is zero
    "Prodigy": Case(
        "Prodigy",
        "Prodigy",
        {"lr": 0.9, "betas": (0.83, 0.94), "eps": 1e-6, "weight_decay": 0.1, "d0": 1e-2, "d_coef": 0.8},
    ),
    "MARS": Case(  # there ε stands inside the bias correction: small enough not to be seen
        "MARS",
        "MARS",
        {"lr": 0.02, "betas": (0.83, 0.94), "gamma": 0.1, "weight_decay": 0.1, "eps": 1e-14},
        there={"lr_1d": 0.02, "betas_1d": (0.9, 0.95), "weight_decay_1d": 0.1},
        shapes=((5, 4), (7,)),
        rtol=1e-8,
    ),
    "MARS Lion": Case(
        "MARS",
        "MARS",
        {"lr": 0.02, "betas": (0.83, 0.94), "gamma": 0.1, "weight_decay": 0.1, "mars_type": "lion"},
        shapes=MATRICES,
    ),
    "ADOPT": Case(
        "ADOPT", "ADOPT", {"lr": 0.02, "betas": (0.83, 0.94), "eps": 1e-4, "weight_decay": 0.1, "weight_decouple": True}
    ),
    "ADOPT coupled": Case("ADOPT", "ADOPT", {"lr": 0.02, "betas": (0.83, 0.94), "eps": 1e-4, "weight_decay": 0.1}),
    "ScheduleFreeAdamW": Case(
        "ScheduleFreeAdamW",
        "ScheduleFreeAdamW",
        {"lr": 0.02, "betas": (0.83, 0.94), "eps": 1e-6, "weight_decay": 0.1, "warmup_steps": 5, "r": 0.3},
    ),
    "SGDSaI": Case(  # there the momentum starts from zero
        "SGDSaI",
        "SGDSaI",
        {"lr": 0.02, "momentum": 0.7, "eps": 1e-6, "weight_decay": 0.1},
        {"one_d": "norm_only"},
        shapes=MATRICES,
    ),
    "SignSGD": Case(  # without memory; with it, Signum
        "SignSGD", "SignSGD", {"lr": 0.02}, there={"momentum": 0.0}
    ),
    "Signum": Case("Signum", "SignSGD", {"lr": 0.02, "momentum": 0.7, "weight_decay": 0.1}),
    "QHM": Case("QHM", "QHM", {"lr": 0.02, "momentum": 0.83, "nu": 0.6, "weight_decay": 0.1}),
    "QHM with decoupled decay": Case(
        "QHM", "QHM", {"lr": 0.02, "momentum": 0.83, "nu": 0.6, "weight_decay": 0.1, "weight_decouple": True}
    ),
    "Lookahead of SGD": Case(
        Lookahead(SGD),
        lambda params, k, alpha, **rest: public.Lookahead(torch.optim.SGD(params, **rest), k, alpha),
        {"lr": 0.02, "momentum": 0.7, "k": 4, "alpha": 0.3},
    ),
    "Lookahead of AdamW": Case(
        Lookahead(AdamW),
        lambda params, k, alpha, **rest: public.Lookahead(torch.optim.AdamW(params, **rest), k, alpha),
        {"lr": 0.02, "weight_decay": 0.1, "k": 4, "alpha": 0.3},
    ),
    "torch.optim.Muon": Case(
        "Muon",
        torch.optim.Muon,
        {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.1, "eps": 1e-30, "ns_steps": 4},
        shapes=MATRICES,
        in_double=True,
    ),
    "torch.optim.Muon like AdamW": Case(
        "Muon",
        torch.optim.Muon,
        {
            "lr": 0.02,
            "momentum": 0.8,
            "weight_decay": 0.1,
            "eps": 1e-30,
            "adjust_lr_fn": "match_rms_adamw",
            "nesterov": False,
        },
        shapes=MATRICES,
        in_double=True,
    ),
}


def train(make: Any, shapes: tuple[tuple[int, ...], ...]) -> list[torch.Tensor]:
    """The parameters after noisy gradients of a quadratic."""
    generator = torch.Generator().manual_seed(5)
    params = [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in shapes]
    targets = [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]
    optimizer = make(params)
    if hasattr(optimizer, "train"):
        optimizer.train()
    for _ in range(STEPS):
        for p, target in zip(params, targets, strict=True):
            p.grad = p.detach() - target + 0.3 * torch.randn(p.shape, dtype=torch.float64, generator=generator)
        optimizer.step()
    return [p.detach() for p in params]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Prodigy keeps its sums over the model in the default dtype there."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("case", CASES)
def test_public_implementation(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs, both, here, there, shapes, rtol, in_double = CASES[case]
    if in_double:
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
        monkeypatch.setattr(torch, "bfloat16", torch.float64)
    first = getattr(stdlib, ours) if isinstance(ours, str) else ours
    second = getattr(public, theirs) if isinstance(theirs, str) else theirs
    got = train(lambda params: first(params, **both, **here, backend="torch"), shapes)
    wanted = train(lambda params: second(params, **both, **there), shapes)
    torch.testing.assert_close(got, wanted, rtol=rtol, atol=rtol * 1e-2)


def test_at_least_twelve_rules() -> None:
    assert len({case.ours for case in CASES.values()}) >= 12
