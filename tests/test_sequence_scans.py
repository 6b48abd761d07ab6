"""Scans of pairs that mix, and in max and plus, and kinds of attention: every form agrees, masked and in pieces too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dotopt.runtime.sequence import peaks, together
from tests.sequence_rules import agree, loaded

HEAD = '''"""Recurrences that are scanned."""
rule Scanned
input x : real[d]
input f : real[d]
input g
'''

FORMS = {
    "a complex number": """state a : real[d] = first x
state b : real[d] = 1
output o : real[d]
a' = g*cos(f)*a - g*sin(f)*b + x
b' = g*sin(f)*a + g*cos(f)*b - x
o  = a'*b' + b""",
    "three that mix, one through the next of another": """state together = 0
state s = 0.5
state keep = 0
output o : real[d]
together' = g*together - 0.3*s + sum(x)
s'    = s + 0.5*together'
keep' = 0.2*keep + s' - together
o     = keep'*x + s*f""",
    "a stabiliser": """state m : real[d] = first f
state peaks : real[d] = 0
output o : real[d]
m'     = max(m + f, x)
peaks' = exp(m + f - m')*peaks + exp(x - m')*g
o      = peaks' + m""",
    "two bounds": """state m = -1
state n : real[d] = 0
output o : real[d]
m' = max(sum(x), m - g, sum(f))
n' = max(n, m'*x)
o  = n' - m""",
}


@pytest.mark.parametrize("name", FORMS)
def test_scans_agree(tmp_path: Path, name: str) -> None:
    agree(tmp_path, HEAD + FORMS[name] + "\n")


@pytest.mark.parametrize("tokens", [0, 1, 2, 63, 64, 65, 130])
def test_any_length(tmp_path: Path, tokens: int) -> None:
    module = loaded(tmp_path, HEAD + FORMS["a complex number"] + "\n")()
    x, f, g = torch.randn(2, tokens, 3).double(), torch.randn(2, tokens, 3).double(), torch.rand(2, tokens).double()
    state, slow = None, []
    for t in range(tokens):
        o, state = module.step(x[:, t], f[:, t], g[:, t], state=state)
        slow.append(o)
    whole = module(x, f, g)
    assert whole.shape == (2, tokens, 3)
    torch.testing.assert_close(whole, torch.stack(slow, 1) if slow else whole, rtol=1e-10, atol=1e-10)


def test_matrices_that_mix_are_read_token_by_token(tmp_path: Path) -> None:
    """Maps of pairs of matrices, for every token, would be slower than the loop."""
    text = HEAD + """state A : real[d, n] = 0
state B : real[d, n] = 0
input y : real[n]
output o : real[d]
A' = g*A - B + outer(x + f, y)
B' = A + g*B
o  = sum(A'*B', over=n)"""
    agree(tmp_path, text + "\n", parallel=False)


def test_nothing_overflows() -> None:
    up = torch.full((500,), 5.0)
    found = peaks(up, torch.zeros(500), torch.tensor(-1e38), 0)
    torch.testing.assert_close(found, torch.arange(500.0) * 5)
    turned = together([[0.0, -1.0], [1.0, 0.0]], [torch.zeros(500)] * 2, [torch.tensor(1.0), torch.tensor(0.0)], 0)
    torch.testing.assert_close(turned[0] ** 2 + turned[1] ** 2, torch.ones(500))


ATTENTION = '''"""Attention in a window, to earlier tokens only, with scores that the key brings."""
rule Looking
input q : real[d]
input k : real[d]
input v : real[n]
input b
hyper W : int > 0 = 3
output o : real[n]
o = attention({given})
'''


@pytest.mark.parametrize(
    "given",
    ["q, k, v, window=W", "q, k, v, strict=true", "q, k, v, bias=b", "q, k, b*v, window=W, strict=true, bias=b"],
)
def test_attention_agrees(tmp_path: Path, given: str) -> None:
    text = ATTENTION.replace("{given}", given)
    unused = (["input b\n"] if "b*v" not in given and "bias" not in given else []) + ["hyper W : int > 0 = 3\n"] * (
        "W" not in given
    )
    for line in unused:
        text = text.replace(line, "")
    agree(tmp_path, text)
