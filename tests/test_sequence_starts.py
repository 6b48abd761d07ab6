"""Rules over sequences whose memories start from an input, and whose names clash with those of generated code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.sequence_rules import agree, loaded, token_by_token

PLAIN = '''"""Memories that start from an input."""
rule Learned
input k : real[d]
input q : real[d]
input w : real[d, d]
state M : real[d, d] = first {start}
output o : real[d]
{equations}
o = M' @ q
'''

TTT_LINEAR = '''"""TTT-Linear with a learned start, in mini-batches of 4."""
rule TTTLinear
input k : real[d]
input v : real[d]
input q : real[d]
input W0 : real[d, d]
state W : real[d, d] = first W0
state P : real[d, d] = first {pace}
output o : real[d]
W' = W - 0.3*outer(P @ k - v, k)
P' = W' every 4
o = W' @ q
'''

TTT_MLP = '''"""TTT-MLP with learned starts."""
rule TTTMLP
input k : real[d]
input v : real[d]
input q : real[d]
input A0 : real[n, d]
input B0 : real[d, n]
state A : real[n, d] = first A0
state B : real[d, n] = first B0
state PA : real[n, d] = first {a}
state PB : real[d, n] = first {b}
output o : real[d]
h = tanh(PA @ k)
e = PB @ h - v
A' = A - 0.3*outer((1 - h^2)*(PBᵀ @ e), k)
B' = B - 0.3*outer(e, h)
PA' = A' every 4
PB' = B' every 4
o = B' @ tanh(A' @ q)
'''

CLASHING = '''"""A formula whose local names are those of the file."""
rule Clashing
use newton_schulz
input {name} : real[d, d]
input k : real[d]
state M : real[d, d] = 0
output o : real[d, d]
M' = 0.5*tanh(M) + newton_schulz({name}, 2) + outer(k, k)
o = M' + {name}
'''


@pytest.mark.parametrize(
    ("start", "equations"),
    [
        ("w", "M' = M + outer(k, k)"),
        ("w", "M' = 0.9*M - outer(M @ k - q, k)"),
        ("w", "M' = 0.9*M + outer(k, q) + w"),
        ("wᵀ @ w/2", "M' = M - outer(k, Mᵀ @ k)"),
        ("0.5", "M' = M + outer(k, k)*trace(w)"),
    ],
)
def test_a_memory_that_starts_from_an_input(tmp_path: Path, start: str, equations: str) -> None:
    agree(tmp_path, PLAIN.format(start=start, equations=equations))


@pytest.mark.parametrize("pace", ["W", "W0"])
def test_ttt_linear_with_a_learned_start(tmp_path: Path, pace: str) -> None:
    agree(tmp_path, TTT_LINEAR.format(pace=pace))


@pytest.mark.parametrize(("a", "b"), [("A", "B"), ("A0", "B0")])
def test_ttt_mlp_with_learned_starts(tmp_path: Path, a: str, b: str) -> None:
    agree(tmp_path, TTT_MLP.format(a=a, b=b))


def test_a_start_that_reads_the_start_of_a_later_state(tmp_path: Path) -> None:
    text = TTT_LINEAR.format(pace="W")
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("state W"))
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    agree(tmp_path, "\n".join(lines) + "\n")


@pytest.mark.parametrize("name", ["A", "X", "n", "state", "keep", "chunk", "later", "torch", "M_next", "hyper"])
def test_names_never_meet(tmp_path: Path, name: str) -> None:
    agree(tmp_path, CLASHING.format(name=name), parallel=False)


def test_a_function_like_its_argument(tmp_path: Path) -> None:
    """The line that docs/nested.md shows."""
    text = '''"""A map in front of a memory."""
rule Mapped
input k : real[d]
function G(x) : like x
state M : real[d, d] = 0
output o : real[d]
M' = 0.9*M + outer(G(k), k)
o = M' @ k
'''
    cls = loaded(tmp_path, text)
    k = torch.eye(3).repeat(2, 1)
    found = cls(torch.nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        torch.testing.assert_close(found(k), token_by_token(found, {"k": k}, 0, 6)[0])


PACED = '''"""A copy of what fires, in the same token."""
rule Paced
input b : real[dv]
input k : real[dk]
input q : real[dk]
state G : real[dv, dk] = 1
state N : real[dv, dk] = 0
output o1 : real[dv]
output o2 : real[dv]
output o3 : real[dv]
G' = outer(b, k) every 3
N' = G' every 3
o1 = G @ q
o2 = N @ q
o3 = G' @ q
'''

WEIGHED = '''"""Weights of rows and of columns."""
rule Weighed
input w : real[dv, dk]
input v : real[dv]
input k : real[dk]
input q : real[dk]
state S : real[dv, dk] = first w
output o : real[dv]
S' = v*S*k + w
o = S @ q
'''


def test_the_next_value_of_what_fires_is_read_in_the_same_token(tmp_path: Path) -> None:
    agree(tmp_path, PACED)


def test_weights_of_rows_and_columns_at_once(tmp_path: Path) -> None:
    agree(tmp_path, WEIGHED)


def test_masked_decay_is_of_the_dtype_of_the_inputs(tmp_path: Path) -> None:
    """0.9 was rounded to float32 where a mask was given."""
    agree(tmp_path, PLAIN.format(start="w", equations="M' = 0.9*M + outer(k, q)*trace(w)"))
