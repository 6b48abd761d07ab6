"""Times sequence layers of the library against fla's chunked torch code; writes bench/results/layers.md.

    python -m bench.layers [--rounds 5]

4 heads, d = 64, T = 2048, one thread, processor clock, contestants turn by turn, the best of the rounds; `fla-core` and
`einops` must be installed. Both must give the same outputs to 1e-3 of the largest: fla's chunked Comba does not (it
reads the memory before the decay, its recurrence after), and is left out.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

import dotopt.stdlib
from bench.cpu import machine
from bench.sequence import published

HEADS, LENGTH, SIZE = 4, 2048, 64
Inputs = dict[str, Tensor]


def cases() -> dict[str, tuple[Inputs, Callable[[Inputs], Tensor]]]:
    """For each rule its inputs, and the published function of them."""
    generator = torch.Generator().manual_seed(0)

    def vector() -> Tensor:
        return torch.randn(1, HEADS, LENGTH, SIZE, generator=generator)

    def gate(low: float, *sizes: int) -> Tensor:
        return low + (1 - low) * torch.rand(1, HEADS, LENGTH, *sizes, generator=generator)

    def turned(*tensors: Tensor) -> list[Tensor]:
        return [x.transpose(1, 2) for x in tensors]

    qkv = {"q": vector(), "k": normalize(vector(), dim=-1), "v": vector()}
    kda, gdn2 = published("kda"), published("gdn2")
    dplr, momentum = published("generalized_delta_rule/dplr"), published("momentum_delta_rule")

    return {
        "KDA": ({**qkv, "alpha": gate(0.9, SIZE), "beta": gate(0)}, lambda x: kda.naive_chunk_kda(
            *turned(x["q"], x["k"], x["v"], x["alpha"].log(), x["beta"]), scale=1.0)[0].transpose(1, 2)),
        "GatedDelta2": ({**qkv, "alpha": gate(0.9, SIZE), "erase": gate(0, SIZE), "write": gate(0, SIZE)},
            lambda x: gdn2.naive_chunk_gdn2(*turned(
                x["q"], x["k"], x["v"], x["alpha"].log(), x["erase"], x["write"]), scale=1.0)[0].transpose(1, 2)),
        "GeneralisedDelta": (
            {**qkv, "k": 0.1 * qkv["k"], "a": -qkv["k"], "b": 0.5 * qkv["k"], "w": gate(0.9, SIZE)},
            lambda x: dplr.dplr_chunkwise(
                x["q"] * SIZE**0.5, x["k"], x["v"], x["a"], x["b"], x["w"].log(), chunk_size=32)[0]),
        "MomentumDelta": (
            {**qkv, "p": qkv["k"], "alpha": gate(0.9), "mu": 0.9 * gate(0.9), "beta": 0.3 * gate(0), "lr": gate(0) / 2},
            lambda x: momentum.chunk_momentum_delta_rule_ref(*turned(
                x["q"], x["k"], x["v"], x["p"], x["alpha"].log(), x["mu"].log(), x["beta"], x["lr"]),
                scale=1.0)[0].transpose(1, 2)),
    }  # fmt: skip


def seconds(call: Callable[[Inputs], Tensor], given: Inputs, training: bool) -> float:
    """Processor seconds of one reading."""
    leaves = {name: x.clone().requires_grad_(training) for name, x in given.items()}
    start = time.process_time()
    found = call(leaves)
    if training:
        found.sum().backward()
    return time.process_time() - start


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rows = []
    for name, (given, theirs) in cases().items():
        module = getattr(dotopt.stdlib, name)()
        calls = (lambda x, module=module: module(**x), theirs)
        with torch.no_grad():
            ours, right = (call(given) for call in calls)
        error = float((ours - right).abs().max() / right.abs().max())
        assert error < 1e-3, f"{name} differs by {error:.1e}"
        best = {(who, training): min(found) for training in (False, True) for who, found in enumerate(zip(*(
            [seconds(call, given, training) for call in calls] for _ in range(rounds)), strict=True))}  # fmt: skip
        cells = [
            f"{1e3 * best[0, t]:.0f} | {1e3 * best[1, t]:.0f} | {best[1, t] / best[0, t]:.2f}x" for t in (False, True)
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    load = os.getloadavg()[0]
    text = [
        "# Sequence layers against fla's chunked torch code", "",
        f"Written by `python -m bench.layers --rounds {rounds}` on {machine()}; the machine's load was {load:.1f}.", "",
        f"Milliseconds of a reading, {HEADS} heads, d = {SIZE}, T = {LENGTH}, one thread, processor clock, best of the "
        "rounds.", "",
        "| rule | forward | fla | ratio | with backward | fla | ratio |", "|---|---|---|---|---|---|---|", *rows, "",
    ]  # fmt: skip
    (Path(__file__).parent / "results" / "layers.md").write_text("\n".join(text))


if __name__ == "__main__":
    main()
