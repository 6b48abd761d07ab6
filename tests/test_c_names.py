"""Names of the user that mean something in C, and rules that C once refused: the C backend steps them as torch does."""

from __future__ import annotations

import pytest
import torch

import dotopt
from dotopt.runtime.backends import cpu

pytestmark = pytest.mark.skipif(not cpu.available(), reason="no C compiler")

HEAD = "rule A\nobjective f\nparam x : real[...]\nhyper η as lr >= 0 = 0.1\n"
MATRIX = HEAD.replace("[...]", "[rows, cols]")


def stepped(folder, text, backend, shapes):
    (folder / "a.opt").write_text(text)
    cls = dotopt.load(folder / "a.opt").A
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(s, generator=generator, dtype=torch.float64)) for s in shapes]
    optimizer = cls(params, backend=backend)

    def closure():
        optimizer.zero_grad()
        loss = sum((p * p / 2 + p.cos()).sum() for p in params)
        loss.backward()
        return loss

    for _ in range(4):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        optimizer.step(closure if cls.rule.reasons else None)
    return [p.detach() for p in params], optimizer


def agree(folder, text, shapes=((3, 4), (2, 2))):
    wanted, _ = stepped(folder, text, "torch", shapes)
    got, optimizer = stepped(folder, text, "cpu", shapes)
    assert optimizer._buckets
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-11)


WORDS = [
    "INFINITY", "M_PI", "M_PI_2", "NAN", "BLOCK", "SUMS", "ROWS", "DIMENSIONS", "OWN", "FMA", "ALL", "linux", "unix",
    "i", "w", "p", "piece", "tensor", "start", "end", "block", "cols", "scale", "work", "word", "bf16", "fp16", "high",
    "s0", "s1", "s2", "ts0", "s0_block", "s0_nan", "x_at", "x_block", "x_next", "load_fp64", "store_fp64", "exp_double",
    "fabs", "int64_t", "signed", "struct", "register", "scratch0", "u", "k", "g_2", "value_s2", "asm", "typeof", "y0",
]  # fmt: skip


@pytest.mark.parametrize("words", [WORDS[k : k + 9] for k in range(0, len(WORDS), 9)], ids=lambda words: words[0])
def test_a_state_may_be_called_as_one_likes(words, tmp_path) -> None:
    """Macros, keywords, types and functions of C, and what the text itself is made of: vectors and numbers."""
    for kind, value in (("like x", "exp(-|{0}|)*g"), ("real", "tanh(sum(|x|) + ‖g‖) + max(|g|)")):
        states = "".join(f"state {word} : {kind}\n" for word in words)
        steps = "".join(f"{word}' = 0.9*{word} + {value.format(word)}\n" for word in words)
        agree(tmp_path, HEAD + states + "g = ∇f(x)\n" + steps + f"x' = x - η*g*({' + '.join(words)})\n")


@pytest.mark.parametrize("word", ["M_PI", "s0", "x_at", "register"])
def test_so_may_a_definition_and_a_knob(word, tmp_path) -> None:
    agree(tmp_path, HEAD + f"g = ∇f(x)\n{word} = g*sum(x)\nx' = x - η*{word}\n")
    agree(tmp_path, HEAD + f"hyper {word} >= 0 = 0.3\ng = ∇f(x)\nx' = x - η*{word}*g*sum(g)\n")


def test_a_sum_beside_a_state_that_is_called_like_one(tmp_path) -> None:
    agree(tmp_path, HEAD + "state s2 : real = 1\ng = ∇f(x)\ns2' = 0.9*s2 + sum(|x|)\n"
          "u = mean(3*x) if ‖g*s2‖[∞] < 3 else sum(x)\nx' = x - η*g*u\n")  # fmt: skip


def test_parts_of_arrays_meet_no_state(tmp_path) -> None:
    """The scales of `m`, in 8 bits, beside a state called `m_scale`, on the host and in the optimizer."""
    text = HEAD + "state m as {key} : like x\nstate m_scale : like x\ng = ∇f(x)\nm' = 0.9*m + g\n"
    text += "m_scale' = 0.5*m_scale + m'\nx' = x - η*m_scale'\n"
    (tmp_path / "a.opt").write_text(text.format(key="m"))
    with pytest.raises(ValueError, match="`m_scale`, which is the key of another state"):
        dotopt.load(tmp_path / "a.opt").A([torch.zeros(5000)], state_dtype={"m": "int8"})
    (tmp_path / "a.opt").write_text(text.format(key="momentum"))
    cls = dotopt.load(tmp_path / "a.opt").A
    found = []
    for backend in ("cpu", "torch"):
        p = torch.nn.Parameter(torch.linspace(-1, 1, 5000))
        optimizer = cls([p], backend=backend, state_dtype={"m": "int8"})
        for step in range(3):
            p.grad = torch.linspace(-1, 2, 5000) * (step + 1)
            optimizer.step()
        found.append(p.detach())
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("body", [
    "relu(v*0.5 + x)", "erf(v*0.5)", "v/(1 + ‖v‖)", "sin(v) + tanh(v)", "v - mean(v)", "v/(1 + std(v) + max(|v|))",
    "clip(v*x, -1, 1)", "v if v > 0 and x < 1 else 0.5*v", "sigmoid(v) + gelu(v) - log(1 + v^2)", "floor(v) + 0.5*v",
])  # fmt: skip
def test_functions_inside_loops(body, tmp_path) -> None:
    agree(tmp_path, HEAD + f"g = ∇f(x)\niterate v from g repeat 2:\n  v' = {body}\nx' = x - η*v\n")


@pytest.mark.parametrize("text", [
    HEAD + "g = ∇f(x)\nh = ∇f(x - η*g) if sum(g) > 0 else g\nx' = x - η*h\n",
    HEAD + "hyper a >= 0 = 1\nstate s : real = 0\ng = ∇f(x)\ns' = tanh(s + a)\nx' = x - η*tanh(s')*g\n",
    HEAD + "hyper a >= 0 = 1\ng = ∇f(x)\niterate s from a repeat 3:\n  s' = tanh(s) + 0.1\nx' = x - η*s*g\n",
    HEAD + "g = ∇f(x)\niterate s from sum(g) repeat 3:\n  s' = tanh(s) + 0.1\nx' = x - η*s*g\n",
    MATRIX + "g = ∇f(x)\nn = norm(g, over=model)\nB = g @ gᵀ\nx' = x - η*(B @ g)/n\n",
    MATRIX + "g = ∇f(x)\nx' = x - η*(g + norm(g, over=rows) + std(g, over=cols))\n",
    HEAD + "g = ∇f(x)\nx' = x - η*g*(std(g) > x)\n",
], ids=["oracle", "tanh", "loop of numbers", "loop of a sum", "matrix and model", "rows", "std"])  # fmt: skip
def test_what_was_refused_once(text, tmp_path) -> None:
    agree(tmp_path, text)
    if "cols" in text:
        agree(tmp_path, text, shapes=((5, 2), (3, 3), (2, 1)) if "std" not in text else ((5, 2), (3, 3)))


def test_a_parameter_that_is_a_number(tmp_path) -> None:
    text = HEAD.replace("real[...]", "real") + "state m : like x\ng = ∇f(x)\nm' = 0.9*m + g\nx' = x - η*m'\n"
    agree(tmp_path, text, shapes=((), ()))


def test_what_has_no_kernels_runs_torch_or_says_why(tmp_path) -> None:
    text = MATRIX + "g = ∇f(x)\nn = norm(g, over=model)\nx' = x - η*polar(g/n)\n"
    wanted, _ = stepped(tmp_path, text, "torch", ((3, 4),))
    got, optimizer = stepped(tmp_path, text, "auto", ((3, 4),))
    assert not optimizer._buckets
    torch.testing.assert_close(got, wanted)
    with pytest.raises(RuntimeError, match="backend='cpu' cannot step.*matrix work needs"):
        stepped(tmp_path, text, "cpu", ((3, 4),))
