"""Sequence layers of the library against published code (golden/layers.json.gz), and against a second formulation.

Each is read in chunks of several sizes, in pieces and token by token; outputs and gradients.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dotopt.stdlib
from dotopt.runtime.sequence import SequenceModule
from tests.sequence_rules import gradients, outputs

PLACE = Path(__file__).parent / "golden" / "layers.json.gz"
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@cache
def recorded() -> dict[str, Any]:
    """The table of rules (see golden/record_layers.py)."""
    with gzip.open(PLACE, "rt") as stream:
        table: dict[str, Any] = json.load(stream)
    return table


NAMES = (
    "LinearAttention", "DeltaMemory", "GatedDelta", "GatedLinearAttention", "Retention", "Mamba2", "RWKV4", "RWKV6",
    "RWKV7", "GeneralisedDelta", "HGRN", "HGRN2", "GSA", "KDA", "GatedDelta2", "Comba", "GatedDeltaProduct", "Mesa",
    "MomentumDelta", "PreconditionedKDA", "TTTLinear", "MLSTM", "ForgettingAttention", "WindowedAttention",
)  # fmt: skip


def test_every_record_is_replayed() -> None:
    assert set(NAMES) == set(recorded())


@pytest.mark.parametrize("name", NAMES)
def test_a_published_layer(name: str) -> None:
    case = recorded()[name]
    inputs = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in case["inputs"].items()}
    right = torch.tensor(case["output"], dtype=torch.float64)
    slopes = {k: torch.tensor(v, dtype=torch.float64) for k, v in case["gradients"].items()}
    agree(name, inputs, right, slopes, **case["hypers"])


def agree(name: str, inputs: dict[str, Tensor], right: Tensor, slopes: dict[str, Tensor], **given: Any) -> None:
    """Fails unless every form of the rule gives this output, and these gradients."""
    cls: type[SequenceModule] = getattr(dotopt.stdlib, name)
    for block in (1, 4, 64):
        module = cls(block=block, **given)
        found = outputs(module(**inputs))[0]
        torch.testing.assert_close(found, right, **CLOSE)
        for name, slope in zip(inputs, gradients((found,), inputs), strict=True):
            torch.testing.assert_close(slope, slopes.get(name, slope), **CLOSE)
    slow = one_by_one(module, inputs, right.shape[1])
    torch.testing.assert_close(slow, right, **CLOSE)
    for name, slope in zip(inputs, gradients((slow,), inputs), strict=True):
        torch.testing.assert_close(slope, slopes.get(name, slope), **CLOSE)
    head, state = module(**cut(inputs, 0, 5, right.shape[1]), return_state=True)
    tail = module(**cut(inputs, 5, right.shape[1], right.shape[1]), state=state)
    torch.testing.assert_close(torch.cat([outputs(head)[0], outputs(tail)[0]], 1), right, **CLOSE)


def cut(inputs: dict[str, Tensor], begin: int, end: int, tokens: int) -> dict[str, Tensor]:
    """The tokens from `begin` to `end`; what is the same at all of them has one."""
    return {k: v[:, begin:end] if v.shape[1] == tokens else v for k, v in inputs.items()}


def one_by_one(module: SequenceModule, inputs: dict[str, Tensor], tokens: int) -> Tensor:
    state, steps = None, []
    for t in range(tokens):
        part = {k: v[:, 0] for k, v in cut(inputs, t, t + 1, tokens).items()}
        found, state = module.step(**part, state=state)
        steps.append(outputs(found)[0])
    return torch.stack(steps, 1)


# ---- a second formulation, where there is no public code to record ------------------------------------------------

HEADS, TOKENS, SIZE, SLOTS = 2, 11, 3, 4


class Draws:
    """Numbers for the inputs of the second formulations."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, *sizes: int, low: float | None = None, tokens: int = TOKENS) -> Tensor:
        shape = (HEADS, tokens, *sizes)
        if low is None:
            return torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return low + (1 - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)


def mamba(x: dict[str, Tensor]) -> Tensor:
    """Sums over earlier tokens, with the products of the decays between."""
    total = torch.zeros(HEADS, TOKENS, SIZE, dtype=torch.float64)
    for t in range(TOKENS):
        for s in range(t + 1):
            decay = (x["dt"][:, s + 1 : t + 1, :, None] * x["A"]).sum(1).exp()
            kernel = (decay * x["B"][:, s, None, :] * x["C"][:, t, None, :]).sum(-1)
            total = total + torch.zeros_like(total).index_add(1, torch.tensor([t]), (
                kernel * x["dt"][:, s] * x["x"][:, s])[:, None])  # fmt: skip
    return total + x["D"] * x["x"]


def fading(keep: Tensor, new: Tensor) -> Tensor:
    """`h' = keep*h + new` from 0, by cumulative products and sums."""
    through = keep.cumprod(1)
    return through * (new / through).cumsum(1)


def mingru(x: dict[str, Tensor]) -> Tensor:
    return fading(torch.sigmoid(-x["z"]), torch.sigmoid(x["z"]) * x["x"])


def minlstm(x: dict[str, Tensor]) -> Tensor:
    share = torch.softmax(torch.stack([x["f"].sigmoid().log(), x["i"].sigmoid().log()]), 0)
    return fading(share[0], share[1] * x["x"])


def turning(turn: Tensor, driven: Tensor, x: dict[str, Tensor]) -> Tensor:
    """A diagonal system in complex numbers, as a sum of powers."""
    ages = torch.arange(TOKENS)
    powers = turn[..., None] ** ages  # [H, 1, n, T]
    kernel = torch.stack([torch.nn.functional.pad(powers[:, 0, :, : t + 1].flip(-1), (0, TOKENS - t - 1))
                          for t in range(TOKENS)], 1)  # fmt: skip
    state = torch.einsum("htns,hsn->htn", kernel, driven)
    read = torch.complex(x["C"], x["F"])
    return torch.einsum("hxdn,htn->htd", read, state).real + x["D"] * x["x"]


def lru(x: dict[str, Tensor]) -> Tensor:
    turn = torch.exp(torch.complex(-x["nu"].exp(), x["theta"].exp()))
    driven = torch.einsum("hxnd,htd->htn", torch.complex(x["B"], x["E"]), x["x"].to(torch.complex128))
    return turning(turn, (1 - turn.abs() ** 2).sqrt() * driven, x)


def s5(x: dict[str, Tensor]) -> Tensor:
    rate = torch.complex(x["real_part"], x["imaginary_part"])
    turn = torch.exp(rate * x["step"])
    driven = torch.einsum("hxnd,htd->htn", torch.complex(x["B"], x["E"]), x["x"].to(torch.complex128))
    return turning(turn, (turn - 1) / rate * driven, x)


def slstm(x: dict[str, Tensor]) -> Tensor:
    """Without the stabiliser, which starts at 0 and changes nothing."""
    c = n = h = torch.zeros(HEADS, SIZE, dtype=torch.float64)
    steps = []
    for t in range(TOKENS):
        z, i, f, r = (x[a][:, t] + torch.einsum("hij,hj->hi", x[w][:, 0], h)
                      for a, w in (("z", "Z"), ("i", "G"), ("f", "F"), ("r", "R")))  # fmt: skip
        c = f.exp() * c + i.exp() * z.tanh()
        n = f.exp() * n + i.exp()
        h = r.sigmoid() * c / n
        steps.append(h)
    return torch.stack(steps, 1)


def momentum_linear_attention(x: dict[str, Tensor]) -> Tensor:
    """Scores of all pairs, weighted by how much of a write has come in by then: Σ β^i."""
    age = torch.arange(TOKENS)[:, None] - torch.arange(TOKENS)
    weight = torch.where(age >= 0, (1 - 0.6 ** (age.double() + 1)) / (1 - 0.6), 0.0)
    return ((x["q"] @ x["k"].mT) * weight) @ x["v"]


def by_gradient(x: dict[str, Tensor], start: Tensor, read: Any, loss: Any, step: Any) -> Tensor:
    """One memory after the other: `step(memory, gradient of the loss at what is read, token)`."""
    memory, steps = start, []
    for t in range(TOKENS):
        token = {k: v[:, t] if v.shape[1] == TOKENS else v[:, 0] for k, v in x.items()}
        point = read(memory)
        errors = torch.einsum("hij,hj->hi", point, token["k"]) - token["v"]
        memory = step(memory, torch.einsum("hi,hj->hij", loss(errors), token["k"]), token)
        steps.append(torch.einsum("hij,hj->hi", read(memory), token["q"]))
    return torch.stack(steps, 1)


def fast_weights(x: dict[str, Tensor]) -> Tensor:
    def positive(y: Tensor) -> Tensor:
        return torch.nn.functional.softplus(y) / torch.nn.functional.softplus(y).sum(-1, keepdim=True)

    features = {**x, "k": positive(x["k"]), "q": positive(x["q"])}
    return by_gradient(features, torch.zeros(HEADS, SIZE, SLOTS).double(), lambda m: m, lambda e: e,
                       lambda m, g, token: m - token["beta"][:, None, None] * g)  # fmt: skip


def gated_step(m: Tensor, g: Tensor, token: dict[str, Tensor]) -> Tensor:
    return token["alpha"][:, None, None] * m - token["eta"][:, None, None] * g


def yaad(x: dict[str, Tensor]) -> Tensor:
    return by_gradient(x, torch.zeros(HEADS, SIZE, SLOTS).double(), lambda m: m, lambda e: e.clamp(-1, 1), gated_step)


def memora(x: dict[str, Tensor]) -> Tensor:
    return by_gradient(x, torch.zeros(HEADS, SIZE, SLOTS).double(), lambda m: m.softmax(-1), lambda e: e, gated_step)


def moneta(x: dict[str, Tensor]) -> Tensor:
    def read(m: Tensor) -> Tensor:
        return m / ((m**4).sum((-2, -1), keepdim=True) + 1e-6) ** 0.5

    return by_gradient(x, torch.zeros(HEADS, SIZE, SLOTS).double(), read,
                       lambda e: 3 * e * (e**2 + 1e-6).sqrt(), gated_step)  # fmt: skip


def lattice(x: dict[str, Tensor]) -> Tensor:
    """The published form: what is written goes through the projector at right angles to each slot."""
    slots, steps = x["start"][:, 0], []
    for t in range(TOKENS):
        length = slots.norm(dim=1, keepdim=True)
        unit = slots / length
        error = torch.einsum("hij,hj->hi", unit, x["k"][:, t]) - x["v"][:, t]
        across = error[..., None] - unit * torch.einsum("hij,hi->hj", unit, error)[:, None, :]
        slots = slots - x["lr"][:, t, None, None] * across * x["k"][:, t, None, :] / length
        steps.append(torch.einsum("hij,hj->hi", slots / slots.norm(dim=1, keepdim=True), x["q"][:, t]))
    return torch.stack(steps, 1)


def memories(d: Draws, *gates: str) -> dict[str, Tensor]:
    return {"k": d(SLOTS), "v": d(SIZE), "q": d(SLOTS), **{gate: d(low=0.1) for gate in gates}}


def linear_system(d: Draws) -> dict[str, Tensor]:
    maps = {"B": d(SLOTS, SIZE, tokens=1), "E": d(SLOTS, SIZE, tokens=1), "C": d(SIZE, SLOTS, tokens=1)}
    return {"x": d(SIZE), **maps, "F": d(SIZE, SLOTS, tokens=1), "D": d(SIZE, tokens=1)}


SECOND = {
    "Mamba": (mamba, lambda d: {
        "x": d(SIZE), "dt": d(SIZE, low=0.1), "B": d(SLOTS), "C": d(SLOTS),
        "A": -d(SIZE, SLOTS, low=0.2, tokens=1), "D": d(SIZE, tokens=1)}),
    "MinGRU": (mingru, lambda d: {"x": d(SIZE), "z": d(SIZE)}),
    "MinLSTM": (minlstm, lambda d: {"x": d(SIZE), "f": d(SIZE), "i": d(SIZE)}),
    "LRU": (lru, lambda d: {**linear_system(d), "nu": d(SLOTS, tokens=1) - 1, "theta": d(SLOTS, tokens=1)}),
    "S5": (s5, lambda d: {
        **linear_system(d), "step": d(SLOTS, low=0.1, tokens=1), "real_part": -d(SLOTS, low=0.2, tokens=1),
        "imaginary_part": 3 * d(SLOTS, tokens=1)}),
    "SLSTM": (slstm, lambda d: {
        **{a: d(SIZE) for a in "zifr"}, **{a: 0.3 * d(SIZE, SIZE, tokens=1) for a in "ZGFR"}}),
    "MomentumLinearAttention": (momentum_linear_attention, lambda d: memories(d)),
    "FastWeights": (fast_weights, lambda d: memories(d, "beta")),
    "Yaad": (yaad, lambda d: memories(d, "alpha", "eta")),
    "Memora": (memora, lambda d: memories(d, "alpha", "eta")),
    "Moneta": (moneta, lambda d: memories(d, "alpha", "eta")),
    "Lattice": (lattice, lambda d: {**memories(d, "lr"), "start": d(SIZE, SLOTS, tokens=1)}),
}  # fmt: skip


@pytest.mark.parametrize("name", SECOND)
def test_a_second_formulation(name: str) -> None:
    function, given = SECOND[name]
    inputs = {k: v.requires_grad_() for k, v in given(Draws()).items()}
    right = function(inputs)
    slopes = dict(zip(inputs, gradients((right,), inputs), strict=True))
    agree(name, inputs, right.detach(), slopes)
