"""Adan needs less than half of Adam's steps on Rosenbrock's function; AdaBelief a tenth fewer.

From (-1.5, 2) with lr 1e-2 until f < 1e-3.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dotopt.stdlib import AdaBelief, Adam, Adan

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said


def path(rule: type, most: int, **given: object) -> list[float]:
    x = torch.tensor([-1.5, 2.0], dtype=torch.float64, requires_grad=True)
    opt = rule([x], lr=1e-2, **given)
    values = []
    for _ in range(most):
        opt.zero_grad()
        f = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        values.append(float(f.detach()))
        if values[-1] < 1e-3:
            break
        f.backward()
        opt.step()
    return values


def main() -> None:
    """Steps of each rule."""
    given = arguments(__doc__ or "")
    runs = {
        "Adam": path(Adam, 4000),
        "AdaBelief": path(AdaBelief, 4000, rectify=False, eps=1e-16, weight_decay=0.0),
        "Adan": path(Adan, 4000, weight_decay=0.0),
    }
    said("steps of Adam", len(runs["Adam"]), "about 2400")
    said("steps of AdaBelief", len(runs["AdaBelief"]), "1900 to 2400")
    said("steps of Adan", len(runs["Adan"]), "< half of Adam's")
    series = {name: (list(range(len(values))), values) for name, values in runs.items()}
    curves(given.out / "rosenbrock.png", series, "Rosenbrock's function from (-1.5, 2)", "steps", "f", log=True)


if __name__ == "__main__":
    main()
