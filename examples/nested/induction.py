"""Induction with one layer: attention to the token after the last occurrence of the present one, without training.

A random sequence of distinct tokens is shown twice, with other tokens of random number between. Queries and keys are
one-hot tokens times c. Momentum on the keys is what one layer needs; momentum on both has a mirror term that spoils it,
and a second head in the same layer takes that away.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from dotopt.stdlib import CausalAttention, MomentumAttention

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

LENGTH = 12


def sequence(generator: torch.Generator) -> tuple[Tensor, int]:
    """Tokens, and where the second showing begins."""
    gap = int(torch.randint(1, 9, (), generator=generator))
    order = torch.randperm(2 * LENGTH + 10, generator=generator)
    shown, between = order[:LENGTH], order[LENGTH : LENGTH + gap]
    return torch.cat([shown, between, shown]), LENGTH + gap


def accuracy(head: Callable[[Tensor], Tensor], trials: int) -> float:
    """How often the largest output in the second showing is the next token."""
    generator = torch.Generator().manual_seed(0)
    right = []
    for _ in range(trials):
        tokens, begin = sequence(generator)
        guess = head(functional.one_hot(tokens, 2 * LENGTH + 10).double()).argmax(-1)
        right.append((guess[begin:-1] == tokens[begin + 1 :]).double().mean())
    return float(torch.stack(right).mean())


def momentum(gamma: float, c: float, keys_only: bool) -> Callable[[Tensor], Tensor]:
    """One head; the rule divides scores by √d."""
    rule = MomentumAttention(gamma=gamma, keys_only=keys_only, rotary=False)
    return lambda x: rule(c * x.shape[-1] ** 0.5 * x, x, x)


def previous(x: Tensor) -> Tensor:
    """A head that looks at the token before, by its position."""
    place = torch.eye(len(x), dtype=x.dtype)
    earlier = torch.cat([place[:1], place[:-1]])
    return CausalAttention(positions="none")(100.0 * len(x) ** 0.5 * earlier, place, x)


def two_heads(gamma: float, c: float) -> Callable[[Tensor], Tensor]:
    """Momentum on queries and keys, and two thirds of the token before taken away."""
    head = momentum(gamma, c, keys_only=False)
    return lambda x: head(x) - 2 / 3 * previous(x)


def main() -> None:
    """The four constructions, and how strong the momentum has to be."""
    given = arguments(__doc__ or "")
    trials = 5 if given.quick else 40
    said("no momentum, c = 20", accuracy(momentum(0, 20, False), trials), "0.0")
    said("no momentum, c = -20", accuracy(momentum(0, -20, False), trials), "0.0")
    said("momentum on keys only, γ = 1, c = -20", accuracy(momentum(1, -20, True), trials), "1.0")
    said("momentum on both, γ = 1, c = -20", accuracy(momentum(1, -20, False), trials), "0.0")
    said("… and a second head", accuracy(two_heads(1, -20), trials), "1.0")
    said("… and a second head, γ = 0.15, c = -60", accuracy(two_heads(0.15, -60), trials), "1.0")
    gammas = [0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0]
    curves(
        given.out / "induction.png",
        {
            "queries and keys, and a second head": (gammas, [accuracy(two_heads(g, -20), trials) for g in gammas]),
            "keys only": (gammas, [accuracy(momentum(g, -20, True), trials) for g in gammas]),
            "queries and keys": (gammas, [accuracy(momentum(g, -20, False), trials) for g in gammas]),
        },
        "Induction with one layer, c = -20", "momentum γ", "accuracy", points=True,
    )  # fmt: skip


if __name__ == "__main__":
    main()
