"""Rules of other kinds that are not in the library, written from the manual, against what is known of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dotopt

FOLDER = Path(__file__).parent / "strangers_kinds"
DOUBLE = torch.float64


def rule(file: str, name: str) -> Any:
    return getattr(dotopt.load(FOLDER / f"{file}.opt"), name)


def test_imtl_g_has_equal_projections() -> None:
    J = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    projections = J @ rule("imtlg", "IMTLG")()(J) / J.norm(dim=1)
    torch.testing.assert_close(projections, projections.mean().expand(3), rtol=1e-8, atol=1e-8)


def test_an_evolution_strategy_descends() -> None:
    found = rule("es", "ES")(seed=1).minimize(lambda x: (x**2).sum(-1), torch.ones(3, dtype=DOUBLE), steps=300)
    assert found.fun < 0.2


def test_least_squares_of_the_user() -> None:
    def residual(x: Tensor) -> Tensor:
        return torch.stack([x[0] - 3, x[0] * x[1] - 6])

    found = rule("gauss_newton", "GaussNewton")()(residual, torch.ones(2, dtype=DOUBLE))
    torch.testing.assert_close(found, torch.tensor([3.0, 2.0], dtype=DOUBLE), rtol=1e-8, atol=1e-8)


def test_metropolis_has_the_moments_of_its_law() -> None:
    sampler = rule("metropolis", "Metropolis")(particles=2000, h=1.0, seed=2)
    sampler.minimize(lambda x: (x**2).sum(-1) / 2, torch.zeros(2, dtype=DOUBLE), steps=150)
    V = sampler.state["V"]
    assert float(V.mean(0).abs().max()) < 0.1
    torch.testing.assert_close(V.var(0), torch.ones(2, dtype=DOUBLE), rtol=0.1, atol=0.1)


def test_an_augmented_lagrangian_meets_its_constraint() -> None:
    found = rule("auglag", "AugLag")()(lambda x: x.sum() - 1, lambda x: (x**2).sum(), torch.zeros(2, dtype=DOUBLE))
    torch.testing.assert_close(found, torch.full((2,), 0.5, dtype=DOUBLE), rtol=1e-6, atol=1e-6)


def test_an_attack_in_the_euclidean_ball() -> None:
    x = torch.rand(2, 3, 2, dtype=DOUBLE)
    found = rule("fgsm2", "PGD2")(eps=0.5)(lambda u, y: (u**2).sum(), x, torch.tensor([0, 1]))
    lengths = (found - x).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((2,), 0.5, dtype=DOUBLE), rtol=1e-6, atol=1e-6)
    assert bool(((found**2).flatten(1).sum(1) > (x**2).flatten(1).sum(1)).all())
