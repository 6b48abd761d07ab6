"""What gradient descent really follows: flows that are corrected for the step, and a rate that follows the curvature.

Ten steps on a polynomial against four flows; then DAL on a valley in which no fixed rate is right for long.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.func import grad, hessian, jvp

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import DAL, PrincipalFlow

Field = Callable[[Tensor], Tensor]


def energy(z: Tensor) -> Tensor:
    """A polynomial in two variables."""
    x, y = z
    return x**4 / 4 - x * y + y**2 + 0.3 * x**2 * y


def flowed(field: Field, z: Tensor, time: float, parts: int) -> Tensor:
    """Runge-Kutta steps along a field."""
    h = time / parts
    for _ in range(parts):
        a = field(z)
        b = field(z + h / 2 * a)
        c = field(z + h / 2 * b)
        z = z + h / 6 * (a + 2 * b + 2 * c + field(z + h * c))
    return z


def main() -> None:
    """The distances of the flows from the steps, and the rates of DAL."""
    given = arguments(__doc__ or "")
    start, count = torch.tensor([1.2, -0.6], dtype=torch.float64), 10
    slope, curvature = grad(energy), hessian(energy)

    def fields(h: float) -> dict[str, Field]:
        def second(z: Tensor) -> Tensor:
            g, H = slope(z), curvature(z)
            third = jvp(lambda w: hessian(energy)(w) @ g, (z,), (g,))[1]
            return -g - h / 2 * H @ g - h * h * (H @ H @ g / 3 + third / 12)

        principal = PrincipalFlow(lr=h)
        return {
            "gradient flow": lambda z: -slope(z),
            "with the regulariser": lambda z: -slope(z) - h / 2 * curvature(z) @ slope(z),
            "to second order": second,
            "principal flow": lambda z: principal(curvature(z), slope(z))[0],
        }

    series: dict[str, tuple[list[float], list[float]]] = {}
    for h in (0.05, 0.1) if given.quick else (0.025, 0.05, 0.1, 0.15):
        z = start.clone()
        for _ in range(count):
            z = z - h * slope(z)
        for label, field in fields(h).items():
            xs, ys = series.setdefault(label, ([], []))
            xs.append(h)
            ys.append(float((flowed(field, start, h * count, 40) - z).norm()))
            if h == 0.1:
                said(f"{label}: distance from ten steps", ys[-1], "each closer than the one before")
    x = torch.nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))
    opt, losses = DAL([x], power=1.0, max_lr=5.0), []
    for _ in range(30):

        def closure() -> Tensor:
            return 25 * x[0] ** 2 + x[1] ** 2 / 2 + x[0] ** 4

        losses.append(float(closure().detach()))
        opt.step(closure)
    said("DAL on a valley, end / start", losses[-1] / losses[0], "below 1")
    curves(given.out / "drift.png", series, "Flows against ten steps", "step size", "distance", log=True, points=True)


if __name__ == "__main__":
    main()
