"""Compiled rules as blocks of a network: projections to heads around a rule over sequences, and levels of memory.

    Heads(rule, d, heads)              [..., T, d] -> [..., T, d]: projections, gates, heads, a norm
    Levels(d, chunks)                  networks in a chain, each with a frequency of its own
    Block(d, mixer, levels)            x + mixer(norm(x)), and then the levels
    hope(d, …), hope_attention(d, …)   the two blocks of Nested Learning (arXiv:2512.24695)

What a rule remembers and how it learns stands in its `.opt` file; here is only what feeds it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dotopt.runtime.sequence.module import SequenceModule
from dotopt.runtime.sequence.rule import Input

State = dict[str, Any]


class Heads(nn.Module):
    """A rule over sequences between linear maps: every input of the rule is made from the `d` numbers of a token.

    An input with axes is a linear projection, of `d / heads` numbers a head. An input that is a number is a gate: a
    linear map. What has a range in the file is squashed into it (a sigmoid between two ends, softplus above one).
    Weights of the rule stay its own, one for each head. The outputs of the heads are normalised, joined and projected
    back to `d`.

    >>> import torch
    >>> from dotopt.stdlib import GatedDelta
    >>> layer = Heads(GatedDelta(), d=32, heads=4, gates={"alpha": 4.0})     # begins with little forgetting
    >>> layer(torch.zeros(2, 10, 32)).shape
    torch.Size([2, 10, 32])
    """

    def __init__(
        self, rule: SequenceModule, d: int, heads: int = 1, *, gates: Mapping[str, float] | None = None,
        unit: Sequence[str] | None = None, given: Mapping[str, nn.Module] | None = None, learned: Sequence[str] = (),
        conv: int = 0,
    ) -> None:
        """The block of `rule`.

        gates: the bias of a gate at the start, before it is squashed. unit: inputs that are scaled to length 1; left
        out, the queries and keys of a rule that keeps a matrix. given: maps of your own from `[..., d]` to
        `[..., heads·n]` (`[..., heads]` for a gate), by input. learned: memories whose start is a parameter; it begins
        with small random numbers where the file says 0. conv: width of a causal convolution before the projections, 0
        for none. Raises ValueError if `heads` does not divide `d`, and for names that the rule does not have.
        """
        super().__init__()
        inputs = [x for x in rule.rule.inputs if x.start is None]
        keywords = [x.keyword for x in inputs]
        if d % heads:
            raise ValueError(f"{heads} heads do not divide {d} numbers")
        memories = [memory.name for memory in rule.functions.memories]
        for name in learned:
            if name not in memories:
                raise ValueError(f"{rule.rule.name} has no memory `{name}`; it has {', '.join(memories) or 'none'}")
        for name in (*(gates or {}), *(unit or ()), *(given or {})):
            if name not in keywords:
                raise ValueError(f"{rule.rule.name} has no input `{name}`; its inputs are {', '.join(keywords)}")
        self.rule, self.d, self.heads, self.size, self.width = rule, d, heads, d // heads, conv
        matrices = any(len(memory.axes) > 1 for memory in rule.functions.memories)
        self.unit = tuple(unit) if unit is not None else tuple(k for k in keywords if matrices and k in ("q", "k"))
        self.maps = nn.ModuleDict()
        for x in inputs:
            out = heads * self.size if x.axes else heads
            gate = not x.axes or x.low is not None or x.high is not None
            made = nn.Linear(d, out, bias=gate)
            if gate:
                nn.init.constant_(made.bias, (gates or {}).get(x.keyword, 0.0))
            self.maps[x.keyword] = (given or {}).get(x.keyword, made)
        self.conv = nn.Conv1d(d, d, conv, groups=d, bias=False) if conv else None
        rule.weights.complete(rule, heads, self._axes())
        self.starts = nn.ParameterDict(self._starts(learned))
        self.norm = nn.RMSNorm(self.size)
        self.out = nn.Linear(d, d, bias=False)

    def _starts(self, learned: Sequence[str]) -> dict[str, nn.Parameter]:
        state = self.rule.initial_state((self.heads,), like=torch.zeros(()), **self._axes())
        starts = {name: state[name].clone() for name in learned}
        for value in starts.values():
            if not value.any():
                value.normal_(0, value.shape[-1] ** -0.5)
        return {name: nn.Parameter(value) for name, value in starts.items()}

    def _axes(self) -> dict[str, int]:
        return {axis: self.size for x in self.rule.rule.inputs for axis in x.axes}

    def initial_state(self, batch: Sequence[int], like: Tensor) -> State:
        """The state before the first token, with the learned starts in it; the same for every sequence of a batch."""
        one = self.rule.initial_state((self.heads,), like=like, **self._axes())
        one |= {n: v.to(like.dtype) for n, v in self.starts.items()}
        return {n: v.expand(*batch, *v.shape) if isinstance(v, Tensor) else v for n, v in one.items()}

    def forward(
        self, x: Tensor, *, state: State | None = None, mask: Tensor | None = None, resets: Sequence[int] = (),
        cu_seqlens: Tensor | None = None, return_state: bool = False,
    ) -> Any:
        """The outputs `[..., T, d]` for `x` `[..., T, d]`; with `return_state` also the state after the last token.

        mask: `[..., T]`, False where there is no token. resets: positions where a new document begins; cu_seqlens: the
        same as a tensor, with the end, as packed documents have it elsewhere.
        """
        length = x.shape[-2]
        resets = (*resets, *(() if cu_seqlens is None else cu_seqlens.tolist()))
        cuts = sorted({0, length, *(r for r in resets if 0 < r < length)})
        if len(cuts) > 2:  # also the convolution begins anew
            parts = []
            for begin, end in itertools.pairwise(cuts):
                part, state = self(
                    x[..., begin:end, :], state=None if begin else state, return_state=True,
                    mask=None if mask is None else mask[..., begin:end],
                )
                parts.append(part)
            return (torch.cat(parts, -2), state) if return_state else torch.cat(parts, -2)
        work = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
        state = self.initial_state(x.shape[:-2], x.new_zeros((), dtype=work)) if state is None else dict(state)
        mixed, recent = self._convolved(x if mask is None else x * mask[..., None], state.pop("conv", None))
        inputs = {name: self._input(name, mixed) for name in self.maps}
        beside = None if mask is None else mask[..., None, :].expand(*mask.shape[:-1], self.heads, length)
        o, later = self.rule(**inputs, state=state, mask=beside, return_state=True)
        o = self.out(self.norm(o.to(x.dtype)).transpose(-3, -2).flatten(-2))
        if recent is not None:
            later["conv"] = recent
        return (o, later) if return_state else o

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The output `[..., d]` for one token `[..., d]`, and the next state."""
        o, later = self(x.unsqueeze(-2), state=state, return_state=True)
        return o.squeeze(-2), later

    def _convolved(self, x: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The tokens mixed with those just before, and the last ones, for the call that goes on."""
        if self.conv is None:
            return x, None
        if seen is None:
            seen = x.new_zeros(*x.shape[:-2], self.width - 1, self.d)
        whole = torch.cat([seen, x], -2)
        flat = self.conv(whole.flatten(0, -3).transpose(-2, -1) if x.dim() > 2 else whole.T[None])
        mixed = functional.silu(flat.transpose(-2, -1)).reshape(x.shape)
        return mixed, whole[..., whole.shape[-2] - self.width + 1 :, :]

    def _input(self, name: str, x: Tensor) -> Tensor:
        """One input of the rule: `[..., heads, T, n]`, or `[..., heads, T]` for a gate."""
        declared = next(i for i in self.rule.rule.inputs if i.keyword == name)
        value = self.maps[name](x)
        if not declared.axes:
            return squashed(value.transpose(-2, -1), declared)
        value = value.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
        return functional.normalize(value, dim=-1) if name in self.unit else squashed(value, declared)


def squashed(value: Tensor, into: Input) -> Tensor:
    """`value` mapped into the range of an input: a sigmoid between two ends, softplus from one.

    >>> squashed(torch.tensor(0.0), Input("β", "beta", (), 0, 2))
    tensor(1.)
    """
    low, high = into.low, into.high
    if low is not None and high is not None:
        return low + (high - low) * torch.sigmoid(value)
    if low is not None:
        return low + functional.softplus(value)
    return value if high is None else high - functional.softplus(value)


class Level(nn.Module):
    """One network of a continuum memory: `z + W₂ gelu(W₁ norm(z))`, hidden layers `expansion` times as wide."""

    def __init__(self, d: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.inner = nn.Linear(d, expansion * d)
        self.outer = nn.Linear(expansion * d, d)

    def forward(self, z: Tensor) -> Tensor:
        """`[..., d]` for `[..., d]`."""
        out: Tensor = z + self.outer(functional.gelu(self.inner(self.norm(z))))
        return out


class Levels(nn.Module):
    """The Continuum Memory System: networks in a chain, the weights of level l moved every `chunks[l]` steps.

    Give `groups()` to the optimizer `CMS`, which moves each level at its own pace by the sum of its gradients:

    >>> import torch
    >>> from dotopt.stdlib import CMS
    >>> memory = Levels(8, chunks=(1, 4))
    >>> optimizer = CMS(memory.groups(lr=0.1))
    >>> [group["chunk"] for group in optimizer.param_groups]
    [1, 4]
    """

    def __init__(self, d: int, chunks: Sequence[int] = (1, 4, 16), expansion: int = 4, form: str = "chain") -> None:
        """form: `chain`, or `headwise`, where all levels read the same and are added up."""
        super().__init__()
        from dotopt.stdlib import ContinuumMemory

        self.chunks = tuple(chunks)
        self.memory = ContinuumMemory([Level(d, expansion) for _ in chunks], form=form)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., d]` for `[..., d]`."""
        out: Tensor = self.memory(x)
        return out

    def groups(self, lr: float | Sequence[float] = 1e-2) -> list[dict[str, Any]]:
        """Parameter groups for `CMS`, one a level; `lr` for each, or for all."""
        rates = [lr] * len(self.chunks) if isinstance(lr, int | float) else list(lr)
        members = zip(self.memory.F, rates, self.chunks, strict=True)
        return [{"params": list(level.parameters()), "lr": rate, "chunk": chunk} for level, rate, chunk in members]


class Block(nn.Module):
    """`h = x + mixer(norm(x))`, and then the levels: a layer of a network. `mixer` is a `Heads`."""

    def __init__(self, d: int, mixer: Heads, levels: Levels) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.mixer = mixer
        self.levels = levels

    def forward(
        self, x: Tensor, *, state: State | None = None, mask: Tensor | None = None, resets: Sequence[int] = (),
        return_state: bool = False,
    ) -> Any:
        """`[..., T, d]` for `[..., T, d]`; the other arguments as for `Heads`."""
        o, later = self.mixer(self.norm(x), state=state, mask=mask, resets=resets, return_state=True)
        y = self.levels(x + o)
        return (y, later) if return_state else y

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """`[..., d]` for one token `[..., d]`, and the next state."""
        o, later = self.mixer.step(self.norm(x), state)
        return self.levels(x + o), later


def hope(
    d: int, heads: int = 1, chunks: Sequence[int] = (1, 4, 16), *, memory_chunk: int = 16, chunk: int = 16,
    conv: int = 4, expansion: int = 4, inner: str = "regression", hidden: int | None = None,
) -> Block:
    """A Hope block: self-modifying Titans, then a continuum memory (arXiv:2512.24695, eq. 94-97).

    The memories of keys, values and of the output are linear, or with `hidden` networks with that many hidden numbers;
    step sizes and retentions are gates of the token. memory_chunk, chunk: after how many tokens the memory of the
    output, and those of keys and values, are read anew. inner: `regression` or, of linear memories, `dot`.
    """
    from dotopt.stdlib import SelfModifyingTitans, SelfModifyingTitansMLP

    pace = {"memory_chunk": memory_chunk, "chunk": chunk}
    rule = SelfModifyingTitans(**pace, inner=inner) if hidden is None else SelfModifyingTitansMLP(**pace, hidden=hidden)
    learned = ("K", "M") if hidden is None else ("K1", "K2", "M1", "M2")
    gates = {"eta": -3.0, "alpha": 4.0}  # small steps, long retention
    mixer = Heads(rule, d, heads, gates=gates, unit=("x",), learned=learned, conv=conv)
    return Block(d, mixer, Levels(d, chunks, expansion))


def hope_attention(
    d: int, heads: int = 1, chunks: Sequence[int] = (1, 4, 16), *, conv: int = 0, expansion: int = 4
) -> Block:
    """The attention variant of Hope: causal softmax attention, then a continuum memory (arXiv:2512.24695)."""
    from dotopt.stdlib import CausalAttention

    return Block(d, Heads(CausalAttention(), d, heads, conv=conv), Levels(d, chunks, expansion))
