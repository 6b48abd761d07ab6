"""Proximal against explicit steps: solving each regression exactly is stable for every step size.

A memory learns y = A x from unit inputs, one token each, with steps far beyond the stability of the explicit rule.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from dotopt.stdlib import DeltaMemory, Longhorn

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

SIZE = 6


def learned(rule: torch.nn.Module, steps: int, given: dict[str, Tensor], truth: Tensor) -> list[float]:
    """‖M - A‖/‖A‖ after each token."""
    generator = torch.Generator().manual_seed(1)
    x = torch.nn.functional.normalize(torch.randn(steps, SIZE, generator=generator, dtype=truth.dtype), dim=-1)
    y = x @ truth.T
    found, state = [], None
    for t in range(steps):
        gates = {name: value[t] for name, value in given.items()}
        _, state = rule.step(k=x[t], v=y[t], q=x[t], **gates, state=state)
        found.append(float((state["M"] - truth).norm() / truth.norm()))
    return found


def main() -> None:
    """Two step sizes, both rules."""
    given = arguments(__doc__ or "")
    steps = 400
    truth = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    series = {}
    for eta in (3.0, 10.0):
        size = torch.full((steps,), eta, dtype=truth.dtype)
        proximal = learned(Longhorn(), steps, {"eta": size}, truth)
        explicit = learned(DeltaMemory(), steps, {"beta": size}, truth)
        said(f"proximal step, η = {eta:g}: relative error", proximal[-1], "< 1e-9")
        said(f"explicit step, η = {eta:g}: relative error", explicit[-1], "> 1e11")
        count = list(range(1, steps + 1))
        series[f"proximal, η = {eta:g}"] = (count, proximal)
        shown = [error for error in explicit if error < 1e20]  # the plot ends there
        series[f"explicit, η = {eta:g}"] = (count[: len(shown)], shown)
    curves(
        given.out / "proximal_stability.png", series, "Learning y = A x, one token at a time", "tokens",
        "relative error of the memory", log=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
