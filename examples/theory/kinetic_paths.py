"""Kinetic-optimal paths: the schedule with least energy, against the straight one and the trigonometric one.

Data of two points, where the best denoiser is known in closed form.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import KineticPath


def separation(s: Tensor) -> Tensor:
    """How far two points ±1 can be told apart behind noise of standard deviation 1/s."""
    xi = torch.linspace(-8, 8, 801, dtype=torch.float64)
    weight = torch.exp(-xi * xi / 2)
    weight = weight / weight.sum()
    return (torch.tanh(s[:, None] ** 2 + s[:, None] * xi) ** 2) @ weight


def energy(a: Tensor, m: Tensor, da: Tensor, dm: Tensor, dt: float) -> float:
    """The kinetic energy of a path."""
    beta = da - a * dm / m
    return float(((da**2 + dm**2 - beta**2 * (1 - separation(a / m))) * dt).sum())


def main() -> None:
    """The energies of three schedules."""
    given = arguments(__doc__ or "")
    count = 2000
    t = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    straight = energy(t, 1 - t, torch.ones_like(t), -torch.ones_like(t), 1 / count)
    angle = math.pi / 2
    sine, cosine = (angle * t).sin(), (angle * t).cos()
    circle = energy(sine, cosine, angle * cosine, -angle * sine, 1 / count)
    rule = KineticPath(angles=100, nodes=101)
    points = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    places = torch.linspace(0.02, 0.98, 9 if given.quick else 25, dtype=torch.float64)
    a, m, b = zip(*(rule(points, place) for place in places), strict=True)
    said("energy of the straight path", straight, "0.982")
    said("energy of the trigonometric path", circle, "0.869")
    said("least energy", float(b[0]), "0.459")
    x = places.tolist()
    curves(
        given.out / "kinetic_paths.png",
        {"data, optimal": (x, [float(v) for v in a]), "data, straight": (x, x),
         "noise, optimal": (x, [float(v) for v in m]), "noise, straight": (x, [1 - v for v in x])},
        "Schedules of a Gaussian path", "time", "factor",
    )  # fmt: skip


if __name__ == "__main__":
    main()
