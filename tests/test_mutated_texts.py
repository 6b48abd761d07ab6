"""Mutated texts end in a result or a diagnostic: a sample of `bench/texts.py`, and what ended otherwise once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bench import texts

OPTIMIZER = "rule A\nobjective f\nparam x : real[...]\nhyper η as lr >= 0 = 0.1\n"
ONCE = {
    "a number is stopped": "rule A\ninput k : real[d]\nhyper η = 0.1\nstate s : real[d] = 0\noutput o : real[d]\n"
    "s' = stop(1)*s + stop(η)*k\no = s'\n",
    "an entry of a number": OPTIMIZER + "state s : real = 0\ns' = s[1] + 1\nx' = x - η*s'*∇f(x)\n",
    "a gradient at no point": OPTIMIZER + "x' = x - η*∇f()\n",
    "a Hessian at no point": OPTIMIZER + "x' = x - η*(∇²f() @ x)\n",
    "a gradient at a truth": OPTIMIZER + "option plain = true\nx' = x - η*∇f(plain)\n",
    "a range that ends in a set": OPTIMIZER + "hyper α >= {0} = 1\nx' = x - α*η*∇f(x)\n\nclaim c:\n  show x' == x' \n",
    "a claim whose shapes do not fit": "formula twice(G : real[rows, cols]) = 2*G\n\nclaim c:\n"
    "  for all U : real[rows, rows], V : real[k, cols]\n"
    "  show twice(U @ G @ Vᵀ) == U @ twice(G) @ V\n",
    "a flow of something else": "rule A\nobjective f\nparam θ : real[...]\nhyper h as lr = 0.1\n\nθ' = θ - h*∇f(θ)\n\n"
    "claim flow:\n  g = ∇f(θ)\n  ddt(h) = -g\n  show θ' == after(θ, h) + O(h²)\n",
    "a family that is no vector": "formula turned(x : real[d]) = y\n"
    "y[k] = x[k] if outer(k, k) == 2 else 0 for k in 0..d - 1\n",
}


@pytest.mark.parametrize("name", ONCE)
def test_what_ended_otherwise_once(name: str, tmp_path: Path) -> None:
    assert texts.ending(ONCE[name], tmp_path / "a.opt", random.Random(0)).wrong == ""


@pytest.mark.parametrize("number", range(60))
def test_a_sample(number: int, tmp_path: Path) -> None:
    """The limit of time is far away here: what takes too long is found by `make test-texts`."""
    text = texts.mutated(0, number)
    assert texts.ending(text, tmp_path / "mutated.opt", random.Random(number), slack=100).wrong == ""


def test_a_text_is_always_the_same() -> None:
    assert texts.mutated(3, 14) == texts.mutated(3, 14)
    assert len({texts.mutated(3, number) for number in range(20)}) == 20


@pytest.mark.parametrize(
    ("work", "wrong"),
    [
        (lambda: [][0], "IndexError: list index out of range"),
        (lambda: (_ for _ in ()).throw(MemoryError), "more than the limit of memory"),
        (lambda: (_ for _ in ()).throw(texts.Internal("internal: x")), "internal: x"),
        (lambda: exec("while True: pass"), "more than"),
    ],
)
def test_what_is_wrong_is_noticed(work, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "limit", lambda: 0.05)
    monkeypatch.setattr(texts, "_stages", lambda path, rng: iter([("lower", work)]))
    found = texts.ending("", tmp_path / "a.opt", random.Random(0))
    assert (found.stage, found.code) == ("lower", "") and found.wrong.startswith(wrong)
