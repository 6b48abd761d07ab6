"""Inner loops of a known number of passes: a few steps of a memory at each token are one step of higher rank."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sequence_rules import agree

HEAD = '''"""Several steps at each token."""
rule Product
input k : real[dk]
input r : real[dk]
input v : real[dv]
input q : real[dk]
input β : real[5]
input α
state M : real[dv, dk] = 0
output o : real[dv]
'''

FORMS = {
    "two keys": "S = α*M - outer(M @ k - v, k)\nM' = S - 0.3*outer(S @ r - v, r)\no = M' @ (q + β[0]*q)",
    "a count": "iterate S from α*M repeat 2:\n  S' = S - 0.3*outer(S @ k - v, k + r)\nM' = S\no = M' @ q + β[1]*v",
    "a range": "iterate S from α*M for j in 1..3:\n  S' = S - β[j]*outer(S @ (k + β[j]*r) - v, k)\nM' = S\no = M' @ q",
}


@pytest.mark.parametrize("name", FORMS)
def test_inner_steps_run_in_chunks(tmp_path: Path, name: str) -> None:
    agree(tmp_path, HEAD + FORMS[name] + "\n")
