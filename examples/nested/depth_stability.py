"""Momentum over layers: a deep stack of experts that explodes without it.

Linear experts f(x) = -H x with eigenvalues of H from 0.1 to 3: a step of 1 is stable up to 2, with momentum μ up to
2 (1 + μ).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dotopt.stdlib import MomentumSMoE, RobustMomentumSMoE

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

LAYERS, SIZE = 60, 16


def sizes(network: torch.nn.Module, x: torch.Tensor) -> list[float]:
    """‖x_l‖/‖x_0‖ after each layer."""
    found, state, h = [], None, x
    for _ in range(LAYERS):
        h, state = network.step(h, state)
        found.append(float(h.norm() / x.norm()))
    return found


def main() -> None:
    """The plain stack, momentum, and the robust variant."""
    given = arguments(__doc__ or "")
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64))
    curvature = basis @ torch.diag(torch.linspace(0.1, 3, SIZE, dtype=torch.float64)) @ basis.T
    x = torch.randn(4, SIZE, generator=generator, dtype=torch.float64)
    experts = [lambda h: -h @ curvature] * LAYERS
    networks = {
        "no momentum (SMoE)": MomentumSMoE(experts, mu=0.0),
        "MomentumSMoE, μ = 0.7": MomentumSMoE(experts, mu=0.7),
        "Robust MomentumSMoE": RobustMomentumSMoE(experts, smoothness=3.0, condition=30.0, rate=0.85),
    }
    with torch.no_grad():
        series = {name: (list(range(1, LAYERS + 1)), sizes(network, x)) for name, network in networks.items()}
    plain, momentum = (series[name][1][-1] for name in list(networks)[:2])
    said("‖x₆₀‖/‖x₀‖ without momentum", plain, "about 1e17, > 1e6")
    said("‖x₆₀‖/‖x₀‖ with μ = 0.7", momentum, "about 2e-5, < 1e-2")
    curves(
        given.out / "depth_stability.png", series, "A stack of 60 linear experts", "layer", "‖x‖ relative to the input",
        log=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
