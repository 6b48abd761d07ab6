"""A small Hope against a transformer of the same size, on characters of the manual that comes with Python.

All have two blocks of width 64 and the same optimizer. Hope reads with self-modifying Titans and two levels of memory;
Hope-attention with attention and two levels; the transformer with attention and one network as large as both levels.
Hope has a short causal convolution, so the transformer also runs with one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import torch
from torch import Tensor, nn
from torch.nn import functional

from dotopt.runtime.blocks import Block, Heads, Levels, hope, hope_attention
from dotopt.stdlib import AdamW, CausalAttention

sys.path.append(str(Path(__file__).resolve().parents[1]))  # for figure.py

from figure import arguments, curves, said

WIDTH, HEADS, BLOCKS, LENGTH, BATCH = 64, 4, 2, 96, 16


def data() -> tuple[Tensor, Tensor, int]:
    """Characters as numbers, for training and for testing, and how many there are."""
    text = "\n".join(topics[name] for name in sorted(topics))
    kinds = {character: i for i, character in enumerate(sorted(set(text)))}
    numbers = torch.tensor([kinds[character] for character in text])
    cut = len(numbers) * 9 // 10
    return numbers[:cut], numbers[cut:], len(kinds)


def transformer(conv: int) -> Block:
    """A block of a transformer, made of the same parts."""
    return Block(WIDTH, Heads(CausalAttention(), WIDTH, HEADS, conv=conv), Levels(WIDTH, (1,), 4))


class Network(nn.Module):
    """Blocks between an embedding and a linear map."""

    def __init__(self, kinds: int, make: Callable[[], Block]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(kinds, WIDTH)
        self.blocks = nn.ModuleList(make() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, kinds, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next character, `[batch, T, kinds]`."""
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def batch(numbers: Tensor, generator: torch.Generator, size: int = BATCH) -> tuple[Tensor, Tensor]:
    """Pieces of the text, and the same one character later."""
    starts = torch.randint(len(numbers) - LENGTH - 1, (size,), generator=generator)
    pieces = torch.stack([numbers[s : s + LENGTH + 1] for s in starts.tolist()])
    return pieces[:, :-1], pieces[:, 1:]


def loss_of(network: nn.Module, given: tuple[Tensor, Tensor]) -> Tensor:
    """Cross-entropy for a character, in nats."""
    inputs, targets = given
    return functional.cross_entropy(network(inputs).flatten(0, 1), targets.flatten())


def trained(network: nn.Module, texts: tuple[Tensor, Tensor], steps: int) -> tuple[list[int], list[float]]:
    """The test loss after every few steps."""
    generator = torch.Generator().manual_seed(1)
    optimizer = AdamW(network.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.01)
    test = batch(texts[1], torch.Generator().manual_seed(2), 4 * BATCH)
    at, found = [], []
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, step / 20) * (1 - 0.9 * step / steps)
        optimizer.zero_grad()
        loss_of(network, batch(texts[0], generator)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 10 == 0 or step == steps:
            with torch.no_grad():
                at.append(step)
                found.append(float(loss_of(network, test)))
    return at, found


def main() -> None:
    """Train all three on the same pieces."""
    given = arguments(__doc__ or "")
    learned, unseen, kinds = data()
    steps = 3 if given.quick else 150
    makers = {
        "transformer": lambda: transformer(conv=0),
        "transformer with convolution": lambda: transformer(conv=4),
        "Hope": lambda: hope(WIDTH, HEADS, chunks=(1, 4), expansion=2),
        "Hope-attention": lambda: hope_attention(WIDTH, HEADS, chunks=(1, 4), conv=4, expansion=2),
    }
    series = {}
    for name, make in makers.items():
        torch.manual_seed(0)
        network = Network(kinds, make)
        size = sum(p.numel() for p in network.parameters())
        began = time.process_time()
        series[name] = trained(network, (learned, unseen), steps)
        seconds = time.process_time() - began
        said(f"{name}, {size} parameters, {seconds:.0f} s: test loss", series[name][1][-1], "no number is published")
    curves(
        given.out / "hope_characters.png", series, "Characters of Python's manual", "step",
        "test loss, nats a character",
    )  # fmt: skip


if __name__ == "__main__":
    main()
