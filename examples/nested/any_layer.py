"""A small language model with any sequence layer of the library, by name, on characters of Python's manual.

    python examples/nested/any_layer.py [--layers KDA,Mamba2] [--quick] [--out FOLDER]

Two blocks of width 64: a short convolution, the layer with its inputs made from each token, and a small network. The
model then writes on, one token at a time, with the state that the layer keeps.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

import dotopt.stdlib
from dotopt.runtime.blocks import Block, Heads, Levels

sys.path += [str(Path(__file__).resolve().parents[n]) for n in (0, 1)]

from figure import curves, said
from hope_characters import HEADS, WIDTH, Network, data, trained

LAYERS = "GatedDelta,KDA,Mamba2,RWKV7,MLSTM,LRU"


def block(name: str) -> Block:
    """A block around the layer of this name; gates begin where they keep most."""
    rule = getattr(dotopt.stdlib, name)()
    gates = {x.keyword: 3.0 for x in rule.rule.inputs if x.start is None and (x.low, x.high) == (0, 1)}
    return Block(WIDTH, Heads(rule, WIDTH, HEADS, gates=gates, conv=4), Levels(WIDTH, (1,), 2))


@torch.no_grad()
def continued(network: Network, tokens: Tensor, many: int) -> list[int]:
    """The most likely next characters, each from the states and the character before."""
    states: list[dict[str, object] | None] = [None] * len(network.blocks)
    written: list[int] = []
    here = int(tokens[0])
    for t in range(len(tokens) + many - 1):
        x = network.embedding(torch.tensor([here]))
        for i, layer in enumerate(network.blocks):
            x, states[i] = layer.step(x, states[i])
        following = int(network.head(network.norm(x)).argmax())
        here = int(tokens[t + 1]) if t + 1 < len(tokens) else following
        written += [here] if t + 1 >= len(tokens) else []
    return written


def main() -> None:
    """Train a model with each layer, on the same pieces."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller size, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("build/experiments"), help="folder of the plot")
    parser.add_argument("--layers", default=LAYERS, help="names of sequence layers, with commas")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    learned, unseen, kinds = data()
    series = {}
    for name in given.layers.split(",")[: 2 if given.quick else None]:
        torch.manual_seed(0)
        network = Network(kinds, lambda name=name: block(name))
        series[name] = trained(network, (learned, unseen), 2 if given.quick else 60)
        said(f"{name}, {sum(p.numel() for p in network.parameters())} parameters: test loss", series[name][1][-1],
             "2.2 to 2.8 after 60 steps, by chance 4.6")  # fmt: skip
        written = nn.functional.one_hot(torch.tensor(continued(network, unseen[:20], 20)), kinds)
        assert written.shape == (20, kinds)
    title, label = "Characters of Python's manual", "test loss, nats a character"
    curves(given.out / "any_layer.png", series, title, "step", label)


if __name__ == "__main__":
    main()
