"""Compressed messages without losing the solution: MASHA sends differences, and keeps what compression lost.

A bilinear game with a little monotonicity over five workers; four of forty entries travel.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from dotopt.stdlib import MASHA1, MASHA2

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def main() -> None:
    """The distance to the solution against the bytes sent."""
    given = arguments(__doc__ or "")
    rounds = 800 if given.quick else 6000
    generator = torch.Generator().manual_seed(0)
    d, M = 40, 5
    skew = torch.randn(M, d, d, generator=generator, dtype=torch.float64) / d**0.5
    J = skew - skew.mT + 0.1 * torch.eye(d, dtype=torch.float64)
    a = torch.randn(M, d, generator=generator, dtype=torch.float64)
    best = torch.linalg.solve(J.mean(0), -a.mean(0))
    workers = [lambda z, m=m: J[m] @ z + a[m] for m in range(M)]

    def error(z: Tensor) -> float:
        return float((z - best).norm() / best.norm())

    def naive() -> tuple[list[float], list[float]]:
        """Extragradient that sends a random part of the operator itself."""
        z, found, sent = torch.zeros(d, dtype=torch.float64), [], []
        draw = torch.Generator().manual_seed(1)

        def part(z: Tensor) -> Tensor:
            total = torch.zeros_like(z)
            for m in range(M):
                keep = torch.randperm(d, generator=draw)[:4]
                total[keep] += d / 4 * (J[m] @ z + a[m])[keep] / M
            return total

        for k in range(rounds):
            z = z - 0.02 * part(z - 0.02 * part(z))
            found.append(error(z))
            sent.append((k + 1) * 2 * 4 * 12 * M / 1e6)
        return sent, found

    series = {"naive": naive()}
    said("naive compression: relative error", series["naive"][1][-1], "> 0.3")
    for name, rule, given_rule in (
        ("MASHA1, server whole", MASHA1, {"lr": 0.03, "tau": 0.9, "k": 4, "sampled": M, "down": "none"}),
        ("MASHA2", MASHA2, {"lr": 0.05, "tau": 0.9, "k": 4}),
    ):
        sim = rule.simulate(torch.zeros(d, dtype=torch.float64), workers, seed=3, **given_rule)
        found: list[float] = []
        sim.run(rounds, callback=lambda s, found=found: found.append(error(s.x)))
        total, sent = 0.0, []
        for r in sim.history:
            total += r.up / 1e6
            sent.append(total)
        series[name] = (sent, found)
        said(f"{name}: relative error", found[-1], "< 0.5 (quick), < 1e-6")
    curves(given.out / "compressed.png", series, "A game over five workers", "megabytes sent up", "error", log=True)


if __name__ == "__main__":
    main()
