"""Momentum decoding: greedy search walks in circles, resistance to repeats leaves them.

The language model is a random Markov chain over 40 tokens; the measure is the share of 4-grams that came before.
"""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import torch

from dotopt.stdlib import MomentumDecoding

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

VOCABULARY, LENGTH = 40, 80


def repeated(tokens: list[int], n: int = 4) -> float:
    """The share of n-grams that are not new."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams)


def written(alpha: float, seed: int) -> tuple[list[int], float]:
    """A text, and its mean log-probability for a token."""
    torch.manual_seed(seed)
    chain = torch.distributions.Dirichlet(torch.full((VOCABULARY,), 0.1)).sample((VOCABULARY,))
    tokens = MomentumDecoding(alpha=alpha).continued(lambda text: chain[text[-1]], [seed % VOCABULARY], LENGTH)
    pairs = list(itertools.pairwise(tokens))
    return tokens, sum(math.log(float(chain[a, b]) + 1e-12) for a, b in pairs) / len(pairs)


def main() -> None:
    """Twenty chains for each resistance α; α = 0 is greedy search."""
    given = arguments(__doc__ or "")
    seeds = range(4 if given.quick else 20)
    alphas = (0.0, 0.1, 0.2, 0.4)
    found = {alpha: [written(alpha, seed) for seed in seeds] for alpha in alphas}
    repeats = {alpha: sum(repeated(text) for text, _ in runs) / len(runs) for alpha, runs in found.items()}
    likely = {alpha: sum(score for _, score in runs) / len(runs) for alpha, runs in found.items()}
    said("repeated 4-grams, greedy", repeats[0.0], "0.90, > 0.7")
    said("repeated 4-grams, momentum decoding (α = 0.2)", repeats[0.2], "0.001, < 0.1")
    said("mean log-probability, greedy", likely[0.0], "-1.10")
    said("mean log-probability, momentum decoding", likely[0.2], "-1.39")
    curves(
        given.out / "repetition.png",
        {
            "repeated 4-grams": (list(alphas), [repeats[alpha] for alpha in alphas]),
            "minus mean log-probability": (list(alphas), [-likely[alpha] for alpha in alphas]),
        },
        "Greedy search that resists repeats", "resistance α (0: greedy)", "", points=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
