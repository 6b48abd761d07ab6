"""Overwriting: a memory that corrects itself keeps the second value of a key, one that adds keeps the sum.

12 random unit keys in 16 dimensions are written twice, with different values; then all are read.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from dotopt.stdlib import DeltaMemory, GatedDelta, LinearAttention

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

PAIRS, SIZE = 12, 16


def recalled(memory: Tensor, keys: Tensor, values: Tensor) -> float:
    """Mean of ‖M k - v‖²/‖v‖² over the pairs."""
    wrong = (keys @ memory.T - values).square().sum(-1) / values.square().sum(-1)
    return float(wrong.mean())


def errors(seed: int) -> dict[str, list[float]]:
    """The error of the last values written, after each token of the second pass."""
    generator = torch.Generator().manual_seed(seed)
    keys = torch.nn.functional.normalize(torch.randn(PAIRS, SIZE, generator=generator), dim=-1)
    old, new = torch.randn(2, PAIRS, SIZE, generator=generator)
    back = keys.flip(0)  # the second time in reverse order
    k, v = torch.cat([keys, back]), torch.cat([old, new])
    ones = torch.ones(2 * PAIRS)
    forget = ones.clone()
    forget[PAIRS] = 0.0  # the gate closes where the second context begins
    rules = {
        "linear attention": (LinearAttention(), {}),
        "delta rule": (DeltaMemory(), {"beta": ones}),
        "gated delta rule, reset at the switch": (GatedDelta(), {"beta": ones, "alpha": forget}),
    }
    found: dict[str, list[float]] = {name: [] for name in rules}
    for name, (rule, gates) in rules.items():
        for seen in range(1, PAIRS + 1):
            upto = PAIRS + seen
            given = {gate: value[:upto] for gate, value in gates.items()}
            _, state = rule(k=k[:upto], v=v[:upto], q=k[:upto], **given, return_state=True)
            found[name].append(recalled(state["M"], back[:seen], new[:seen]))
    return found


def main() -> None:
    """Five seeds, and the curves of their means."""
    given = arguments(__doc__ or "")
    runs = [errors(seed) for seed in range(2 if given.quick else 5)]
    means = {name: torch.tensor([run[name] for run in runs]).mean(0).tolist() for name in runs[0]}
    said("recall error of linear attention", means["linear attention"][-1], "1.8 to 3.0, mean 2.4")
    said("recall error of the delta rule", means["delta rule"][-1], "0.44 to 0.82, mean 0.58 (reverse order: 0.54)")
    said("… with a gate that resets", means["gated delta rule, reset at the switch"][-1], "0.49, a fresh memory's")
    steps = list(range(1, PAIRS + 1))
    curves(
        given.out / "overwrite_recall.png", {name: (steps, ys) for name, ys in means.items()},
        "Keys written a second time", "keys written again", "relative recall error", points=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
