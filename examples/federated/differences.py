"""What survives compression: workers with different minima, and messages of a few bytes.

Ten workers with least squares of their own. A compressed gradient never settles, since the workers' gradients do not
vanish at the common minimum; compressed differences do (EF21, DIANA).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dotopt.stdlib import DIANA, EF21, QSGD, LocalSGD, SignSGDMajority

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

RULES: dict[str, tuple[Any, dict[str, Any], int, str]] = {
    "gradients, whole": (LocalSGD, {"lr": 0.3, "K": 1}, 1, "< 1e-8"),
    "four local steps": (LocalSGD, {"lr": 0.3, "K": 4}, 1, "> 1e-3: it stops short"),
    "signs, by majority": (SignSGDMajority, {"lr": 0.003, "momentum": 0.9}, 1, "> 1e-3"),
    "QSGD, four levels": (QSGD, {"lr": 0.1, "levels": 4}, 1, "> 1e-3"),
    "EF21, 2 of 40": (EF21, {"lr": 0.06, "k": 2}, 3, "< 1e-6"),
    "DIANA, 2 of 40": (DIANA, {"lr": 0.04, "alpha": 0.05, "k": 2}, 5, "< 1e-3 (quick: < 0.2)"),
}


def main() -> None:
    """The distance to the common minimum against the megabytes that the workers have sent."""
    given = arguments(__doc__ or "")
    rounds = 100 if given.quick else 400
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(10, 60, 40, generator=generator, dtype=torch.float64)
    b = torch.randn(10, 60, generator=generator, dtype=torch.float64) + torch.linspace(-3, 3, 10).double()[:, None]
    best = torch.linalg.lstsq(A.reshape(-1, 40), b.reshape(-1, 1)).solution[:, 0]
    workers = [lambda x, i=i: 0.5 * (A[i] @ x - b[i]).square().mean() for i in range(10)]

    def far(x: Tensor) -> float:
        return float((x - best).norm() / best.norm())

    series = {}
    for name, (rule, settings, longer, expected) in RULES.items():
        sim = rule.simulate(torch.zeros(40, dtype=torch.float64), workers, **settings)
        found: list[float] = []
        sim.run(rounds * longer, callback=lambda s, found=found: found.append(far(s.x)))
        sent = torch.tensor([r.up for r in sim.history]).cumsum(0) / 1e6
        series[name] = (sent.tolist(), found)
        said(f"{name}: distance after {float(sent[-1]):.2f} MB", found[-1], expected)
    place = given.out / "differences.png"
    curves(place, series, "Ten workers that disagree", "megabytes sent up", "relative distance", log=True)


if __name__ == "__main__":
    main()
