"""Momentum decoding: golden data, a reference written by hand, the logits processor alone and inside transformers."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dotopt
from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library
from dotopt.stdlib import MomentumDecoding

GOLDEN = Path(__file__).parent / "golden" / "B-momentum_decoding.json.gz"
TABLE = {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 5.0}  # the resistance of the paper


def by_hand(p: list[float], tokens: list[int], k: int, alpha: float, longest: int) -> int:
    """The step of the authors' code, as methods are described: graph, repeat lengths, resistance."""
    candidates = np.argsort(-np.array(p), kind="stable")[:k].tolist()
    nodes = set(tokens)
    scores = []
    for c in candidates:
        repeat = 0
        if c in nodes:
            repeat = 1
            for i in range(longest, 1, -1):
                grams = {tuple(tokens[j : j + i]) for j in range(len(tokens) - i + 1)}
                if len(tokens) >= i - 1 and (*tokens[len(tokens) - i + 1 :], c) in grams:
                    repeat = i
                    break
        scores.append(p[c] - alpha * TABLE[repeat])
    return int(candidates[int(np.argmax(scores))])


@pytest.mark.parametrize("alpha", [0.2, 0.0])
def test_golden_tokens(alpha: float) -> None:
    with gzip.open(GOLDEN, "rt") as file:
        data = json.load(file)
    table = data["inputs"]["P"]
    decoder = MomentumDecoding(k=data["params"]["k"], alpha=alpha, n=data["params"]["max_len"])
    found = decoder.continued(lambda tokens: table[tokens[-1]], data["inputs"]["prefix"], data["params"]["steps"])
    assert found == data["expected"]["tokens" if alpha else "greedy_tokens"]


@pytest.mark.parametrize(("k", "alpha", "n"), [(5, 0.2, 5), (3, 0.07, 3), (8, 0.5, 4)])
def test_against_the_reference_and_the_judge(k: int, alpha: float, n: int) -> None:
    chance = random.Random(k)
    decoder = MomentumDecoding(k=k, alpha=alpha, n=n)
    file = Library().file("MomentumDecoding")
    assert file is not None
    program = lower(file, Static())
    for trial in range(150):
        tokens = [chance.randrange(4) for _ in range(chance.randrange(1, 14))]
        p = [chance.random() for _ in range(8)]
        p = [x / sum(p) for x in p]
        found = decoder.next(p, tokens)
        assert found == by_hand(p, tokens, k, alpha, n), (tokens, p)
        if trial < 20:  # prompts shorter than the longest repeat are among them
            run = Simulation(program, hypers={"k": k, "α": alpha, "n": n})
            assert int(run.step(inputs={"p": p, "prompt": tokens})["y"]) == found


def test_a_new_token_that_is_likeliest_is_taken() -> None:
    decoder = MomentumDecoding(alpha=0.2)
    assert decoder.next(torch.tensor([0.2, 0.7, 0.1]), [0, 2]) == 1


def test_as_a_logits_processor() -> None:
    torch.manual_seed(0)
    decoder = MomentumDecoding(k=4, alpha=0.3, pad_token_id=0)
    ids = torch.tensor([[0, 0, 3, 1, 3, 1], [2, 2, 2, 4, 2, 2]])
    scores = 2 * torch.randn(2, 6)
    found = decoder(ids, scores)
    assert found.shape == scores.shape and found.dtype == scores.dtype
    for row, tokens, result in zip(scores.softmax(-1).tolist(), ([3, 1, 3, 1], [2, 2, 2, 4, 2, 2]), found, strict=True):
        chosen = by_hand(row, tokens, 4, 0.3, 5)
        assert int(result.argmax()) == chosen and int(torch.isfinite(result).sum()) == 1
    low = decoder(ids, scores.bfloat16())
    assert low.dtype == torch.bfloat16
    assert repr(decoder) == "MomentumDecoding(k=4, alpha=0.3, n=5)"


def test_it_stops_at_the_end() -> None:
    found = MomentumDecoding(alpha=0).continued(lambda tokens: [0.0, 0.1, 0.9], [1], 9, end=2)
    assert found == [1, 2]


def test_transformers_is_not_imported() -> None:
    code = "import sys; from dotopt.stdlib import MomentumDecoding; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_inside_transformers() -> None:
    """`generate` of a small random model gives the same tokens as the plain function."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=23, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config).eval()
    prompt = torch.tensor([[3, 1, 4, 1, 5]])
    decoder = MomentumDecoding(k=4, alpha=0.05)
    found = model.generate(
        prompt, logits_processor=transformers.LogitsProcessorList([decoder]), max_new_tokens=20, do_sample=False,
        pad_token_id=0, eos_token_id=None,
    )  # fmt: skip

    def probabilities(tokens: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return model(torch.tensor([tokens])).logits[0, -1].softmax(-1)

    assert found[0].tolist() == decoder.continued(probabilities, prompt[0].tolist(), 20)


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="did you mean `alpha`"):
        MomentumDecoding(alfa=0.1)
    with pytest.raises(ValueError, match="out of range"):
        MomentumDecoding(alpha=2)
    (tmp_path / "other.opt").write_text(
        "rule Other\ninput x : real[n]\ninput prompt : list[int]\nstate s : list[int] = first prompt\n"
        "output y : int\n\ny = argmax(x[c] for c in top(x, 2))\ns' = append(append(s, y), y)\n"
    )
    with pytest.raises(OptError, match="does not choose the next token"):
        dotopt.load(tmp_path / "other.opt")
