"""Compiled rules as blocks of networks: attention rules against torch, Hope against its equations, streaming, masks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import dotopt.stdlib
from dotopt.runtime.blocks import Block, Heads, Level, Levels, hope, hope_attention, squashed
from dotopt.runtime.sequence import Input
from dotopt.stdlib import (
    CMS,
    CausalAttention,
    ContinuumMemory,
    DeltaMemory,
    GatedDelta,
    MomentumAttention,
    MomentumBasedAttention,
    SelfModifyingTitans,
    SelfModifyingTitansMLP,
)

LENGTH = 19


def tokens(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# ---- rules of attention against torch --------------------------------------------------------------------------------


def rotated(x: Tensor) -> Tensor:
    """Rotary positions of interleaved pairs, the first token at 0."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] / 10000 ** (torch.arange(half, dtype=x.dtype) / half)
    turned = torch.view_as_complex(x.unflatten(-1, (half, 2)).contiguous()) * torch.polar(torch.ones_like(angle), angle)
    return torch.view_as_real(turned).flatten(-2)


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def sheared(x: Tensor, gamma: float) -> Tensor:
    """`x_t + γ (x_t - x_{t-1})`, without momentum on the first token."""
    before = torch.cat([x[..., :1, :], x[..., :-1, :]], -2)
    return x + gamma * (x - before)


@pytest.mark.parametrize("positions", ["none", "rotary"])
def test_causal_attention(positions: str) -> None:
    q, k, v = tokens(2, 3, LENGTH, 6), tokens(2, 3, LENGTH, 6, seed=1), tokens(2, 3, LENGTH, 4, seed=2)
    wanted = causal(q, k, v) if positions == "none" else causal(rotated(q), rotated(k), v)
    torch.testing.assert_close(CausalAttention(positions=positions)(q, k, v), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("keys_only", [False, True])
@pytest.mark.parametrize("placement", ["after_rope", "before_rope"])
def test_momentum_attention(placement: str, keys_only: bool) -> None:
    q, k, v = tokens(2, 3, LENGTH, 6), tokens(2, 3, LENGTH, 6, seed=1), tokens(2, 3, LENGTH, 4, seed=2)
    rule = MomentumAttention(gamma=0.4, placement=placement, keys_only=keys_only)
    gamma_q = 0.0 if keys_only else 0.4
    if placement == "after_rope":
        wanted = causal(sheared(rotated(q), gamma_q), sheared(rotated(k), 0.4), v)
    else:
        wanted = causal(rotated(sheared(q, gamma_q)), rotated(sheared(k, 0.4)), v)
    torch.testing.assert_close(rule(q, k, v), wanted, rtol=1e-10, atol=1e-10)


def test_momentum_based_attention() -> None:
    q, k, v = tokens(2, LENGTH, 6), tokens(2, LENGTH, 6, seed=1), tokens(2, LENGTH, 4, seed=2)
    fading = torch.zeros_like(v)
    for t in range(LENGTH):
        for i in range(t):
            fading[:, t] += 0.7 ** (t - i) * v[:, i]
    torch.testing.assert_close(MomentumBasedAttention(eta=0.7)(q, k, v), causal(q, k, v) + fading)


# ---- self-modifying Titans against the equations ---------------------------------------------------------------------


def self_modifying(x: Tensor, q: Tensor, eta: Tensor, alpha: Tensor, start: dict[str, Tensor], c: int) -> Tensor:
    """One sequence, token by token, gradients by autograd; all memories are read as they were at the last boundary."""
    memory = dict(start)
    read = dict(start)
    outputs = []
    for t in range(x.shape[0]):
        k = functional.normalize(read["K"] @ x[t], dim=-1)
        v = read["V"] @ x[t]
        outputs.append(read["M"] @ functional.normalize(q[t], dim=-1))
        for name, held in memory.items():
            at = read[name].detach().requires_grad_()
            target = (read[name] @ v).detach()
            (gradient,) = torch.autograd.grad(0.5 * (at @ k.detach() - target).square().sum(), at)
            decay = alpha[t] * torch.eye(len(k), dtype=k.dtype) - eta[t] * torch.outer(k, k)
            memory[name] = held @ decay - eta[t] * gradient
        if (t + 1) % c == 0:
            read = dict(memory)
    return torch.stack(outputs)


@pytest.mark.parametrize("c", [1, 4])
def test_self_modifying_titans_against_autograd(c: int) -> None:
    x, q = tokens(LENGTH, 5), tokens(LENGTH, 5, seed=1)
    eta, alpha = 0.3 * torch.sigmoid(tokens(LENGTH, seed=2)), torch.sigmoid(3 + tokens(LENGTH, seed=3))
    start = {name: torch.eye(5, dtype=torch.float64) + 0.2 * tokens(5, 5, seed=4 + i) for i, name in enumerate("KVM")}
    rule = SelfModifyingTitans(memory_chunk=c, chunk=c)
    state = rule.initial_state((), like=x, d=5) | start
    wanted = self_modifying(x, q, eta, alpha, start, c)
    torch.testing.assert_close(rule(x, q, eta, alpha, state=state), wanted, rtol=1e-9, atol=1e-9)


def self_modifying_networks(
    x: Tensor, q: Tensor, eta: Tensor, alpha: Tensor, start: dict[str, Tensor], chunks: dict[str, int], factor: float
) -> Tensor:
    """The same with networks `z + W1 gelu(W2 z)`; only `W2` forgets along the key."""

    def answer(w: dict[str, Tensor], of: str, z: Tensor) -> Tensor:
        return z + w[f"{of}1"] @ functional.gelu(w[f"{of}2"] @ z)

    memory, read, outputs = dict(start), dict(start), []
    for t in range(x.shape[0]):
        k = functional.normalize(answer(read, "K", x[t]), dim=-1)
        v = answer(read, "V", x[t])
        outputs.append(answer(read, "M", functional.normalize(q[t], dim=-1)))
        for name in "KVM":
            at = {f"{name}{i}": read[f"{name}{i}"].detach().requires_grad_() for i in (1, 2)}
            loss = factor * (answer(at, name, k) - answer(read, name, v)).square().sum()
            for weight, gradient in zip(at, torch.autograd.grad(loss, list(at.values())), strict=True):
                decay = alpha[t] * torch.eye(memory[weight].shape[1], dtype=x.dtype)
                if weight.endswith("2"):
                    decay = decay - eta[t] * torch.outer(k, k)
                memory[weight] = memory[weight] @ decay - eta[t] * gradient
        for name, c in chunks.items():
            if (t + 1) % c == 0:
                read |= {key: value for key, value in memory.items() if key[0] in name}
    return torch.stack(outputs)


@pytest.mark.parametrize(("c", "d", "loss"), [(1, 1, "half"), (4, 2, "square")])
def test_self_modifying_networks_against_autograd(c: int, d: int, loss: str) -> None:
    x, q = tokens(LENGTH, 5), tokens(LENGTH, 5, seed=1)
    eta, alpha = 0.2 * torch.sigmoid(tokens(LENGTH, seed=2)), torch.sigmoid(3 + tokens(LENGTH, seed=3))
    rule = SelfModifyingTitansMLP(hidden=6, memory_chunk=c, chunk=d, loss=loss, block=4)
    shapes = {"1": (5, 6), "2": (6, 5)}
    start = {f"{n}{i}": 0.4 * tokens(*shapes[i], seed=7 + 2 * j + int(i)) for j, n in enumerate("KVM") for i in "12"}
    state = rule.initial_state((), like=x, d=5) | start
    wanted = self_modifying_networks(x, q, eta, alpha, start, {"KV": d, "M": c}, 0.5 if loss == "half" else 1.0)
    torch.testing.assert_close(rule(x, q, eta, alpha, state=state), wanted, rtol=1e-9, atol=1e-9)


# ---- blocks ----------------------------------------------------------------------------------------------------------


def made(kind: str, dtype: torch.dtype = torch.float64) -> Any:
    torch.manual_seed(0)
    match kind:
        case "hope":
            block: nn.Module = hope(8, heads=2, chunks=(1, 2), memory_chunk=4, chunk=2, expansion=2)
        case "hope_networks":
            block = hope(8, heads=2, chunks=(1, 2), memory_chunk=4, chunk=2, expansion=2, hidden=6)
        case "hope_attention":
            block = hope_attention(8, heads=2, chunks=(1, 2), expansion=2)
        case "delta":
            block = Heads(DeltaMemory(), 8, heads=2, conv=3)
        case _:
            block = Heads(GatedDelta(), 8, heads=4, gates={"alpha": 3.0}, learned=("M",))
    return block.to(dtype)


KINDS = ("hope", "hope_networks", "hope_attention", "delta", "gated")


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_equal_the_whole(kind: str) -> None:
    block, x = made(kind), tokens(2, LENGTH, 8)
    whole, last = block(x, return_state=True)
    state, pieces, at = None, [], 0
    for length in (1, 6, 2, 10):
        y, state = block(x[:, at : at + length], state=state, return_state=True)
        pieces.append(y)
        at += length
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-9, atol=1e-9)
    assert state is not None and state["t"] == last["t"]
    state, singly = None, []
    for t in range(LENGTH):
        y, state = block.step(x[:, t], state)
        singly.append(y)
    torch.testing.assert_close(torch.stack(singly, 1), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_documents_and_padding(kind: str) -> None:
    block, x = made(kind), tokens(2, LENGTH, 8)
    apart = torch.cat([block(x[:, :7]), block(x[:, 7:])], 1)
    torch.testing.assert_close(block(x, resets=[7]), apart, rtol=1e-9, atol=1e-9)
    mask = torch.ones(2, LENGTH, dtype=torch.bool)
    mask[1, 12:] = False
    torch.testing.assert_close(block(x, mask=mask)[1, :12], block(x[1:, :12])[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_learned(kind: str) -> None:
    block, x = made(kind), tokens(2, LENGTH, 8)
    block(x).square().sum().backward()
    assert [name for name, p in block.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_gradients() -> None:
    block, x = made("gated"), tokens(1, 5, 8).requires_grad_()
    assert torch.autograd.gradcheck(block, (x,))


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_bits(kind: str) -> None:
    x = tokens(2, LENGTH, 8)
    low = made(kind, torch.bfloat16)(x.bfloat16())
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.double(), made(kind)(x), rtol=0.1, atol=0.15)


def test_heads_do_not_see_one_another() -> None:
    """Two heads are two rules beside each other; the gates stand in their ranges."""
    torch.manual_seed(0)
    block = Heads(DeltaMemory(), 8, heads=2).double()
    x = tokens(1, LENGTH, 8)
    q, k, v, beta = (block.maps[name](x) for name in ("q", "k", "v", "beta"))
    found = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        gate = 2 * torch.sigmoid(beta[..., head])
        unit = [functional.normalize(z[..., part], dim=-1) for z in (k, q)]
        o = DeltaMemory()(k=unit[0], v=v[..., part], q=unit[1], beta=gate)
        found.append(block.norm(o))
    torch.testing.assert_close(block(x), block.out(torch.cat(found, -1)))


def test_gates_stand_in_their_ranges() -> None:
    x = torch.tensor([-50.0, 0.0, 50.0])
    assert squashed(x, Input("β", "beta", (), 0, 2)).tolist() == pytest.approx([0, 1, 2], abs=1e-6)
    assert squashed(x, Input("θ", "theta", (), 0, None)).tolist() == pytest.approx([0, math.log(2), 50], abs=1e-6)
    assert squashed(x, Input("x", "x", ())) is x
    (alpha, beta) = (x for x in GatedDelta.rule.inputs if not x.axes)
    assert (alpha.low, alpha.high, beta.low, beta.high) == (0, 1, 0, 2)


def test_maps_of_the_user() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.new_zeros(*x.shape[:-1], 2)

    block = Heads(DeltaMemory(), 8, heads=2, given={"beta": Constant(), "v": nn.Identity()})
    assert isinstance(block.maps["v"], nn.Identity)
    assert block(tokens(1, 5, 8, dtype=torch.float32)).shape == (1, 5, 8)


def test_mistakes_of_use() -> None:
    with pytest.raises(ValueError, match="3 heads do not divide 8"):
        Heads(DeltaMemory(), 8, heads=3)
    with pytest.raises(ValueError, match="no input `betta`"):
        Heads(DeltaMemory(), 8, gates={"betta": 1.0})
    with pytest.raises(ValueError, match="no memory `N`; it has M"):
        Heads(DeltaMemory(), 8, learned=("N",))


# ---- levels ----------------------------------------------------------------------------------------------------------


def test_a_continuum_memory_is_a_chain_or_a_sum() -> None:
    levels, x = [nn.Linear(3, 3).double() for _ in range(3)], tokens(4, 3)
    torch.testing.assert_close(ContinuumMemory(levels)(x), levels[2](levels[1](levels[0](x))))
    wanted = sum(level(x) for level in levels)
    torch.testing.assert_close(ContinuumMemory(levels, form="headwise")(x), wanted)


def test_levels_move_at_their_frequencies() -> None:
    """Level l moves at steps C, 2C, … by the sum of the gradients at its frozen weights."""
    torch.manual_seed(0)
    memory = Levels(4, chunks=(1, 3), expansion=1).double()
    optimizer = CMS(memory.groups(lr=(0.1, 0.05)))
    fast, slow = (list(level.parameters()) for level in memory.memory.F)
    total = [torch.zeros_like(p) for p in slow]
    for t in range(1, 8):
        before = [[p.detach().clone() for p in level] for level in (fast, slow)]
        optimizer.zero_grad()
        memory(tokens(2, 4, seed=t)).square().sum().backward()
        total = [a + p.grad for a, p in zip(total, slow, strict=True)]
        gradients = [p.grad.clone() for p in fast]
        optimizer.step()
        for p, old, g in zip(fast, before[0], gradients, strict=True):
            torch.testing.assert_close(p.detach(), old - 0.1 * g)
        for p, old, g in zip(slow, before[1], total, strict=True):
            torch.testing.assert_close(p.detach(), old - 0.05 * g if t % 3 == 0 else old)
        if t % 3 == 0:
            total = [torch.zeros_like(p) for p in slow]


def test_a_block_is_a_residual_layer() -> None:
    torch.manual_seed(0)
    block = Block(8, Heads(DeltaMemory(), 8, 2), Levels(8, (1,), 2)).double()
    x = tokens(2, 5, 8)
    (level,) = block.levels.memory.F
    assert isinstance(level, Level)
    h = x + block.mixer(block.norm(x))
    z = functional.layer_norm(h, (8,))
    torch.testing.assert_close(block(x), h + level.outer(functional.gelu(level.inner(z))))


# ---- every layer of the library in a network -------------------------------------------------------------------------

LAYERS = (
    "Retention", "Mamba", "Mamba2", "RWKV4", "RWKV6", "RWKV7", "HGRN", "HGRN2", "GSA", "KDA", "GatedDelta2", "Comba",
    "GatedDeltaProduct", "Mesa", "MomentumDelta", "PreconditionedKDA", "GeneralisedDelta", "TTTLinear", "LaCT", "Yaad",
    "Moneta", "Memora", "Lattice", "MinGRU", "MinLSTM", "LRU", "S5", "MLSTM", "SLSTM", "MomentumLinearAttention",
    "FastWeights", "WindowedAttention", "StrictlyCausalAttention", "ForgettingAttention",
)  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_by_name(name: str) -> None:
    """At once, token by token and packed: weights of the rule are parameters of the network, one for each head."""
    torch.manual_seed(0)
    rule: Any = getattr(dotopt.stdlib, name)(**({"hidden": 3, "chunk": 4} if name == "LaCT" else {}))
    layer = Heads(rule, 8, 2, conv=2).double()
    assert all(p.shape[0] == 2 for p in rule.parameters())
    x = 0.5 * tokens(2, 9, 8)
    whole, state, steps = layer(x), None, []
    for t in range(9):
        o, state = layer.step(x[:, t], state)
        steps.append(o)
    torch.testing.assert_close(torch.stack(steps, 1), whole, rtol=1e-8, atol=1e-8)
    packed = layer(x[:1], cu_seqlens=torch.tensor([0, 4, 9]))
    torch.testing.assert_close(packed[:, 4:], layer(x[:1, 4:]), rtol=1e-8, atol=1e-8)
    whole.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
