"""Gradients at a look-ahead have less error than an average: implicit gradient transport on a noisy quadratic.

The direction that each rule keeps, against the true gradient; the samples are functions of the parameters as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from dotopt.stdlib import NHARPG, NPGIGT

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def main() -> None:
    """The squared error of the direction, averaged over steps and seeds."""
    given = arguments(__doc__ or "")
    steps, seeds = (300, 2) if given.quick else (1500, 4)
    errors: dict[str, list[float]] = {"gradient": [], "average": [], "N-PG-IGT": [], "N-HARPG": []}
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        A = torch.diag(torch.linspace(0.2, 1.0, 20, dtype=torch.float64))

        def noise(generator: torch.Generator = generator) -> Tensor:
            return 0.5 * torch.randn(20, generator=generator, dtype=torch.float64)

        for name, rule in {"N-PG-IGT": NPGIGT, "N-HARPG": NHARPG}.items():
            x = nn.Parameter(torch.ones(20, dtype=torch.float64))
            opt = rule([x], lr=0.5, seed=seed)

            def played(x: nn.Parameter = x, A: Tensor = A, noise: Callable[[], Tensor] = noise) -> dict[str, Tensor]:
                e = noise()
                return {"J": 0.5 * x @ A @ x + e @ x, "ell": 0.0 * x.sum()}

            total = 0.0
            for _ in range(steps):
                before = x.detach().clone()
                opt.step(played)
                total += float((opt.state[x]["d"] - A @ before).square().sum()) / steps
            errors[name].append(total)
        x, d = torch.ones(20, dtype=torch.float64), torch.zeros(20, dtype=torch.float64)
        plain = average = 0.0
        for t in range(1, steps + 1):
            eta = min(1.0, (2 / (t + 1)) ** 0.8)
            g = A @ x + noise()
            d = (1 - eta) * d + eta * g
            plain += float((g - A @ x).square().sum()) / steps
            average += float((d - A @ x).square().sum()) / steps
            x = x - 0.5 * 2 / (t + 1) * d / d.norm()
        errors["gradient"].append(plain)
        errors["average"].append(average)
    mean = {name: sum(values) / len(values) for name, values in errors.items()}
    for name, value in mean.items():
        said(f"squared error of the direction, {name}", value, "look-ahead below the average, both below the gradient")
    curves(
        given.out / "look_ahead.png", {"error": (list(range(4)), list(mean.values()))}, ", ".join(mean),
        "rule, in this order", "squared error", log=True, points=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
