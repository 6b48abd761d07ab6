"""Proof that the chunked form of a recurrence is the recurrence, for short stretches and vectors of any size.

The file that computes chunks at run time is run on symbols (see `runtime/sequence/symbols.py`): a vector is one letter,
so sizes do not matter, and matrices do not commute. What it gives is compared, as normal forms of words, with the
equations of the rule written out token by token. Stretches of 1, 2 and 3 tokens in one chunk, and of 3 in chunks of 2,
from any state; since every chunk starts from any state, longer sequences follow chunk by chunk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dotopt.compiler.analysis.affine import kept
from dotopt.compiler.analysis.recurrence import Group, Read, recurrences
from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import TIME, Node, Program, leaf, node, number, substitute
from dotopt.compiler.prove.forms.normal import Normaliser, Unsupported

SHAPES = ((1, 1), (2, 2), (3, 3), (3, 2))  # tokens, and how many make a chunk
WINDOW = 2  # tokens of a window, whose length is a knob


@dataclass(frozen=True, slots=True)
class Parts:
    """What a group is computed from, token by token: starts, mix[t][i][j], and for each term p, u, y.

    Each vector of a term is a tuple: one node, or one for each token of a window.
    """

    starts: tuple[Node, ...]
    mix: tuple[tuple[tuple[Node | None, ...], ...], ...]
    terms: tuple[tuple[tuple[tuple[Node, ...], ...] | None, ...], ...]  # [term][p_0 …, u, y_0 …][t]
    several: tuple[bool, ...]
    reads: tuple[tuple[Read, tuple[Node, ...]], ...]


# the nodes of each read at each token, and of the memories after the last
Compute = Callable[[Parts, Group, int], tuple[Sequence[Sequence[Node]], Sequence[Node]]]


@dataclass(frozen=True, slots=True)
class ChunkProof:
    """The answer for the memories of one group. `proved` lists the stretches; `reason` says what stood in the way."""

    names: tuple[str, ...]
    proved: tuple[tuple[int, int], ...]
    refuted: tuple[int, int] | None
    reason: str
    seconds: float

    @property
    def status(self) -> str:
        """proved, refuted or open."""
        if self.refuted is not None:
            return "refuted"
        return "proved" if len(self.proved) == len(SHAPES) else "open"

    @property
    def sentence(self) -> str:
        """One line for people."""
        who = ", ".join(self.names)
        if self.refuted is not None:
            tokens, chunk = self.refuted
            return f"{who}: chunked form == recurrence: REFUTED for {tokens} tokens in chunks of {chunk}"
        sizes = ", ".join(str(tokens) for tokens, chunk in self.proved if tokens == chunk)
        across = " and across chunks" if (3, 2) in self.proved else ""
        if self.proved:
            rest = f"; open beyond: {self.reason}" if self.reason else ""
            return f"{who}: chunked form == recurrence: proved for C = {sizes}{across}, vectors of any size{rest}"
        return f"{who}: chunked form == recurrence: open, {self.reason}"


def prove_chunks(program: Program, compute: Compute, seconds: float = 5.0) -> tuple[ChunkProof, ...]:
    """An answer for each group of memories that is computed in chunks; none if tokens are read one by one.

    `compute` runs the chunked form on symbols. Each group has `seconds`.
    """
    found = recurrences(program)
    if not found.parallel:
        return ()
    return tuple(_group(program, group, list(found.reads.values()), compute, seconds) for group in found.groups)


def _group(program: Program, group: Group, reads: list[Read], compute: Compute, limit: float) -> ChunkProof:
    begun = time.perf_counter()
    names = tuple(x.name for x in group.states)
    mine = [read for read in reads if read.state in names]
    proved: list[tuple[int, int]] = []
    refuted, reason = None, ""
    for tokens, chunk in SHAPES:
        if time.perf_counter() - begun > limit:
            reason = f"{limit:g} seconds were not enough"
            break
        try:
            if _agree(program, group, mine, compute, tokens, chunk):
                proved.append((tokens, chunk))
            else:
                refuted = (tokens, chunk)
                break
        except (Unsupported, NotImplementedError) as error:
            reason = str(error)
            break
    return ChunkProof(names, tuple(proved), refuted, reason, time.perf_counter() - begun)


def _agree(program: Program, group: Group, reads: list[Read], compute: Compute, tokens: int, chunk: int) -> bool:
    unrolled = _Unrolled.of(program, tokens)
    parts = unrolled.parts(group, reads)
    found, last = compute(parts, group, chunk)
    normal = Normaliser()
    for read, values in zip(reads, found, strict=True):
        for t, value in enumerate(values):
            memory = unrolled.after(read.state, t) if read.after else unrolled.at(read.state, t)
            memory = node("transpose", memory) if read.transposed else memory
            if not _equal(normal, value, node("matmul", memory, unrolled.value(read.q, t))):
                return False
    ends = [unrolled.after(x.name, tokens - 1) for x in group.states]
    if group.transposed:
        last = [node("transpose", x) for x in last]
    return all(_equal(normal, a, b) for a, b in zip(last, ends, strict=True))


def _equal(normal: Normaliser, left: Node, right: Node) -> bool:
    """Whether the normal forms are equal; False only if the values differ somewhere, else raises `Unsupported`."""
    if normal(left) == normal(right):
        return True
    leaves = sorted({here for root in (left, right) for here in root.walk() if here.op == "leaf"}, key=repr)
    axes = sorted({axis for here in leaves for axis in here.type.axes})
    draw = np.random.default_rng(0)
    sizes = {axis: 2 + i for i, axis in enumerate(axes)}
    values = {here: draw.uniform(0.2, 0.8, [sizes[axis] for axis in here.type.axes]) for here in leaves}
    if not np.allclose(evaluate(left, values), evaluate(right, values), rtol=1e-9, atol=1e-12):
        return False
    raise Unsupported("equal where it was tried, but not in normal form")


@dataclass(frozen=True, slots=True)
class _Unrolled:
    """The equations written out from any state: what each leaf stands for at each token."""

    program: Program
    tables: tuple[Mapping[Node, Node], ...]
    nexts: Mapping[str, Node]  # with leaves for windows and for the next values of other states
    windows: Mapping[Node, Node]

    @staticmethod
    def of(program: Program, tokens: int) -> _Unrolled:
        found = recurrences(program)
        frozen = {x.state.name for x in found.solved if x.kind == "frozen"}
        roots = [x.next for x in program.states if x.next is not None]
        sums = [here for root in roots for here in root.walk() if here.op == "window"]
        windows = {here: leaf("free", f"window {i}", here.type) for i, here in enumerate(dict.fromkeys(sums))}
        nexts = {
            x.name: substitute(x.next, windows)
            for x in program.states
            if x.next is not None and x.name not in frozen
        }
        whole = _Unrolled(program, (), nexts, windows)
        table: dict[Node, Node] = {}
        tables: list[Mapping[Node, Node]] = []
        for t in range(tokens):
            here = {**table, **whole.inputs(t)}
            for window, stands in windows.items():
                here[stands] = whole.windowed(window, t)
            tables.append(here)
            table = {
                leaf("state", x.name, x.type): substitute(nexts[x.name], here)
                for x in program.states
                if x.name in nexts
            }
        return _Unrolled(program, tuple(tables), nexts, windows)

    def inputs(self, t: int) -> dict[Node, Node]:
        """The inputs of token t, counted from 0; negative ones came before the stretch."""
        found = {leaf("input", x.name, x.type): leaf("input", f"{x.name}#{t + 1}", x.type) for x in self.program.inputs}
        return found | {TIME: node("add", leaf("free", "start of the stretch"), number(t + 1))}

    def windowed(self, window: Node, t: int) -> Node:
        """A sum over the last tokens, written out."""
        value, _ = window.args
        if any(x.role == "state" for x in value.walk()) or window.attrs[0] != "sum":
            raise NotImplementedError("a window over what states held")
        total = substitute(value, self.inputs(t))
        for earlier in range(1, WINDOW):
            total = node("add", substitute(value, self.inputs(t - earlier)), total)
        return total

    def at(self, name: str, t: int) -> Node:
        """The state before token t."""
        here = next(leaf("state", x.name, x.type) for x in self.program.states if x.name == name)
        return self.tables[t].get(here, here)

    def after(self, name: str, t: int) -> Node:
        """The state after token t."""
        return substitute(self.nexts[name], self.tables[t])

    def value(self, part: Node, t: int, place: int = WINDOW - 1) -> Node:
        """A coefficient at token t; of a window, that of one of its tokens."""
        known = {here: here for here in part.walk() if kept(here) is not None}
        changes = {here: substitute(here.args[0], self.inputs(t - WINDOW + 1 + place)) for here in known}
        for here in part.walk():
            if here.role == "sequence" and here not in known:
                changes[here] = self.after(here.name, t)
        part = substitute(part, self.windows)
        return substitute(substitute(part, changes), self.tables[t])

    def parts(self, group: Group, reads: list[Read]) -> Parts:
        """Everything that the group is computed from."""
        tokens = range(len(self.tables))

        def vectors(part: Node | None, several: bool) -> tuple[tuple[Node, ...], ...] | None:
            if part is None:
                return None
            return tuple(
                tuple(self.value(part, t, place) for place in (range(WINDOW) if several else (WINDOW - 1,)))
                for t in tokens
            )

        mix = tuple(
            tuple(tuple(None if x is None else self.value(x, t) for x in row) for row in group.mix) for t in tokens
        )
        starts = [leaf("state", x.name, x.type) for x in group.states]
        if group.transposed:
            starts = [node("transpose", x) for x in starts]
        terms = tuple(
            tuple(vectors(part, term.window is not None) for part in (*term.p, term.u, *term.y)) for term in group.terms
        )
        several = tuple(term.window is not None for term in group.terms)
        asked = tuple((read, tuple(self.value(read.q, t) for t in tokens)) for read in reads)
        return Parts(tuple(starts), mix, terms, several, asked)
