"""SKA: layers that lower the entropy of their own steps; the result depends on learning rate times steps.

No labels and no backward pass; two layers on random inputs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

from dotopt.stdlib import SKA


def trained(x: Tensor, weights: list[Tensor], lr: float, steps: int) -> tuple[list[Tensor], list[Tensor]]:
    """The entropy of each step and the weights after the last, for each layer."""
    seen, entropies, after = x.expand(steps, *x.shape), [], []
    for W in weights:
        rule = SKA(lr=lr)
        state = rule.initial_state(like=W, n=W.shape[0], units=W.shape[1], samples=len(x))
        (seen, entropy), state = rule(seen, state=state | {"W": W}, return_state=True)
        entropies.append(entropy)
        after.append(state["W"])
    return entropies, after


def main() -> None:
    """Entropies over steps, and the same time in smaller steps."""
    given = arguments(__doc__ or "")
    generator = torch.Generator().manual_seed(0)
    samples, steps = (50, 40) if given.quick else (500, 100)
    x = torch.rand(samples, 30, generator=generator, dtype=torch.float64)
    weights = [0.01 * torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((30, 16), (16, 8))]
    entropies, after = trained(x, weights, 0.1, steps)
    falls = sum(float((e[2:] < 0).double().mean()) for e in entropies) / 2
    said("share of steps that lower the entropy", falls, "1")
    said("growth of the first layer's weights", float(after[0].norm() / weights[0].norm()), "above 1")
    finest = trained(x, weights, 0.1 / 8, steps * 8)[1][0]
    errors = [float((trained(x, weights, 0.1 / k, steps * k)[1][0] - finest).norm()) for k in (1, 2, 4)]
    said("error of half the step / of the step", errors[1] / errors[0], "about 0.43: first order in the step")
    series = {f"layer {k}": (list(range(1, steps)), e[1:].tolist()) for k, e in enumerate(entropies, start=1)}
    curves(given.out / "entropy_steps.png", series, "Entropy of a step", "step", "bits")


if __name__ == "__main__":
    main()
