"""Triton kernels for a memory that is written with one term a token: linear attention, the delta rule, the gated one.

Three launches, as `Chunks` has three steps, specialised by what the recurrence has: `prepare` solves the triangular
system of each chunk, `carry` takes the memory through the chunks, `look` reads it at every token. All in float32; the
products of decays come from `Fading` as tables. EXACT is how products are made: three of tf32 where a card has them.
Nothing is imported before a card is used.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def prepare(  # type: ignore[no-untyped-def]
    P, U, Y, TABLE, W, V, C: tl.constexpr, K: tl.constexpr, D: tl.constexpr,
    BK: tl.constexpr, BD: tl.constexpr, FADES: tl.constexpr, ADDS: tl.constexpr, DOUBLINGS: tl.constexpr,
    TABLES: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Of one chunk: w = A⁻¹ (p from the start of the chunk), v = A⁻¹ u, for A = 1 - strictly lower (p yᵀ)."""
    chunk = tl.program_id(0).to(tl.int64)
    row, k, d = tl.arange(0, C), tl.arange(0, BK), tl.arange(0, BD)
    at_k = chunk * C * K + row[:, None] * K + k[None, :]
    p = tl.load(P + at_k, mask=k[None, :] < K, other=0.0)
    y = tl.load(Y + at_k, mask=k[None, :] < K, other=0.0)
    a = tl.dot(p, tl.trans(y), input_precision=EXACT)
    if FADES:
        table = TABLE + (chunk % TABLES) * (C + 1) * (C + 1)
        a = a * tl.load(table + row[:, None] * (C + 1) + row[None, :] + 1)
        p = p * tl.load(table + row * (C + 1))[:, None]
    a = tl.where(row[:, None] > row[None, :], a, 0.0)
    inverse = tl.where(row[:, None] == row[None, :], 1.0, 0.0) + a
    for _ in tl.static_range(DOUBLINGS):  # 1 + a + a² + …, which ends
        a = tl.dot(a, a, input_precision=EXACT)
        inverse += tl.dot(inverse, a, input_precision=EXACT)
    tl.store(W + at_k, tl.dot(inverse, p, input_precision=EXACT), mask=k[None, :] < K)
    if ADDS:
        at_d = chunk * C * D + row[:, None] * D + d[None, :]
        u = tl.load(U + at_d, mask=d[None, :] < D, other=0.0)
        tl.store(V + at_d, tl.dot(inverse, u, input_precision=EXACT), mask=d[None, :] < D)


@triton.jit  # type: ignore[untyped-decorator]
def carry(  # type: ignore[no-untyped-def]
    START, W, V, Y, TABLE, STARTS, Z, LAST, count,
    C: tl.constexpr, K: tl.constexpr, D: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, FADES: tl.constexpr,
    ADDS: tl.constexpr, READS: tl.constexpr, TABLES: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Some rows of one memory through all chunks: z = v + w Mᵀ, M' = through*M + zᵀ y."""
    one = tl.program_id(0).to(tl.int64)
    row, k, d = tl.arange(0, C), tl.arange(0, BK), tl.program_id(1) * BV + tl.arange(0, BV)
    inside = (d[:, None] < D) & (k[None, :] < K)
    place = d[:, None] * K + k[None, :]
    memory = tl.load(START + one * D * K + place, mask=inside, other=0.0)
    for n in range(count):
        chunk = one * count + n
        at_k = chunk * C * K + row[:, None] * K + k[None, :]
        at_d = chunk * C * D + row[:, None] * D + d[None, :]
        tl.store(STARTS + chunk * D * K + place, memory, mask=inside)
        y = tl.load(Y + at_k, mask=k[None, :] < K, other=0.0)
        z = tl.zeros((C, BV), tl.float32)
        if ADDS:
            z += tl.load(V + at_d, mask=d[None, :] < D, other=0.0)
        if READS:
            w = tl.load(W + at_k, mask=k[None, :] < K, other=0.0)
            z += tl.dot(w, tl.trans(memory), input_precision=EXACT)
        tl.store(Z + at_d, z, mask=d[None, :] < D)
        if FADES:
            table = TABLE + (chunk % TABLES) * (C + 1) * (C + 1) + C * (C + 1)
            y = y * tl.load(table + row + 1)[:, None]
            memory = memory * tl.load(table)
        memory += tl.dot(tl.trans(z), y, input_precision=EXACT)
    tl.store(LAST + one * D * K + place, memory, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def look(  # type: ignore[no-untyped-def]
    Q, STARTS, Z, Y, TABLE, O, C: tl.constexpr, K: tl.constexpr, D: tl.constexpr,
    BK: tl.constexpr, BD: tl.constexpr, FADES: tl.constexpr, AFTER: tl.constexpr, TABLES: tl.constexpr,
    EXACT: tl.constexpr,
):  # fmt: skip
    """Of one chunk: what the memory held at its start, and what was written in it since, at q."""
    chunk = tl.program_id(0).to(tl.int64)
    row, k, d = tl.arange(0, C), tl.arange(0, BK), tl.arange(0, BD)
    at_k = chunk * C * K + row[:, None] * K + k[None, :]
    at_d = chunk * C * D + row[:, None] * D + d[None, :]
    q = tl.load(Q + at_k, mask=k[None, :] < K, other=0.0)
    y = tl.load(Y + at_k, mask=k[None, :] < K, other=0.0)
    z = tl.load(Z + at_d, mask=d[None, :] < D, other=0.0)
    inside = (d[:, None] < D) & (k[None, :] < K)
    memory = tl.load(STARTS + chunk * D * K + d[:, None] * K + k[None, :], mask=inside, other=0.0)
    scores = tl.dot(q, tl.trans(y), input_precision=EXACT)
    if AFTER:
        scores = tl.where(row[:, None] >= row[None, :], scores, 0.0)
    else:
        scores = tl.where(row[:, None] > row[None, :], scores, 0.0)
    if FADES:
        table = TABLE + (chunk % TABLES) * (C + 1) * (C + 1) + AFTER * (C + 1)
        scores = scores * tl.load(table + row[:, None] * (C + 1) + row[None, :] + 1)
        q = q * tl.load(table + row * (C + 1))[:, None]
    near = tl.dot(scores, z, input_precision=EXACT)
    tl.store(O + at_d, near + tl.dot(q, tl.trans(memory), input_precision=EXACT), mask=d[None, :] < D)
