"""Memories whose columns decay each by itself: gated linear attention, and a diagonal plus low rank (DPLR)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.resolve import resolve
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source
from dotopt.runtime.sequence import Chunks, Term
from dotopt.runtime.sequence.forms import proofs
from tests.sequence_rules import agree

GATED = '''"""Gated linear attention and its relatives."""
rule Gated
input k : real[dk]
input v : real[dv]
input q : real[dk]
input f : real[dk]
input r : real[dk]
input β
state M : real[dv, dk] = 0
output o : real[dv]
a = sigmoid(f)
{equations}
'''

FORMS = {
    "gla": "M' = a*M + β*outer(v, k + r)\no = M' @ q",
    "hgrn2": "M' = a*M + outer(v, 1 - a)\no = β*(M' @ (q + k + r))",
    "rwkv7": "M' = a*M - outer(M @ k, r*k) + outer(v, k)\no = β*(M' @ q)",
    "kda": "D = a*M\nM' = D - β*outer(D @ k - v, k)\no = M' @ q + M @ r",
    "decay_after": "M' = a*(M - β*outer(M @ k - v, k))\no = M' @ (q + r)",
    "rank_two": "M' = a*M - outer(M @ k, r) - β*outer(M @ r - v, k)\no = M' @ q",
    "from_the_left": "M' = a*M + β*outer(v, k + r)\no = M' @ (M'ᵀ @ v) + M @ q",
}

SLOTS = '''"""Gated slot attention: rows decay, and are read from both sides."""
rule Slots
use softmax
input k : real[d]
input v : real[d]
input q : real[d]
input f : real[n]
state K : real[n, d] = 0
state V : real[n, d] = 0
output o : real[d]
a = sigmoid(f)
K' = a*K + outer(1 - a, k)
V' = a*V + outer(1 - a, v)
o = V'ᵀ @ softmax(K' @ q)
'''


@pytest.mark.parametrize("name", FORMS)
def test_every_form_agrees(tmp_path: Path, name: str) -> None:
    agree(tmp_path, GATED.format(equations=FORMS[name]))


def test_slots_agree(tmp_path: Path) -> None:
    agree(tmp_path, SLOTS)


@pytest.mark.parametrize("name", ["hgrn2", "kda", "decay_after"])
def test_the_emitted_code_is_proved(name: str) -> None:
    file = resolve(parse(Source("gated.opt", GATED.format(equations=FORMS[name])))).file
    memory, token = proofs(lower(file, Static(), Library()))
    assert memory.status == token.status == "proved", memory.sentence


def test_decays_of_0_and_above_1_are_exact() -> None:
    """No quotient of products is taken: 0 is exact, and neither tiny nor large decays overflow."""
    generator = torch.Generator().manual_seed(0)
    length, d = 37, 3
    decay = torch.rand(length, d, generator=generator, dtype=torch.float64) * 1.5
    decay[5] = 0
    decay[11, 1] = 1e-200
    decay[12, 1] = 1e200
    k, v, q = (torch.randn(length, d, generator=generator, dtype=torch.float64) for _ in range(3))
    state, expected = torch.ones(d, d, dtype=torch.float64), []
    for t in range(length):
        state = decay[t] * state - torch.outer(0.1 * (state @ k[t]), k[t]) + torch.outer(v[t], k[t])
        expected.append(state @ q[t])
    term = Term([-0.1 * k], v, [k])
    for chunk in (1, 4, 7, 32, 64):
        chunks = Chunks([torch.ones(d, d, dtype=torch.float64)], [[1]], [term], chunk, decay=decay)
        torch.testing.assert_close(chunks.read(0, q), torch.stack(expected), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(chunks.last[0], state, rtol=1e-9, atol=1e-9)
