"""The chunked forms are proved from the code that runs: every rule of the library, and bugs that must be found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dotopt.compiler.emit.sequence.stretch import functions
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.prove.procedures import chunks
from dotopt.compiler.prove.procedures.chunks import SHAPES, ChunkProof, prove_chunks
from dotopt.compiler.resolve import resolve
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source
from dotopt.runtime.cli import main
from dotopt.runtime.sequence import lifted
from dotopt.runtime.sequence.fading import Fading
from dotopt.runtime.sequence.forms import forms, proofs
from dotopt.runtime.sequence.lifted import run

LIBRARY = Library()
PROVED = "chunked form == recurrence: proved for C = 1, 2, 3 and across chunks, vectors of any size"
RULES: list[tuple[str, dict[str, Any], int]] = [
    ("LinearAttention", {}, 1), ("GatedLinearAttention", {}, 1), ("DeltaMemory", {}, 1), ("GatedDelta", {}, 1),
    ("Longhorn", {}, 1), ("Oja", {}, 1), ("OmegaRule", {}, 1), ("Titans", {"at": "token"}, 1),
    ("Titans", {"at": "chunk"}, 1), ("TitansMLP", {"activation": "tanh"}, 2), ("SelfModifyingTitans", {}, 3),
]  # fmt: skip


def program(name: str, options: dict[str, Any]) -> Any:
    file = LIBRARY.file(name)
    assert file is not None
    defaults = {option.name: option.default for option in lower(file, Static(), LIBRARY).options}
    return lower(file, Static({**defaults, **options}), LIBRARY)


def answers(name: str, **options: Any) -> tuple[ChunkProof, ...]:
    return prove_chunks(program(name, options), run, 40_000_000)


@pytest.mark.parametrize(("name", "options", "groups"), RULES)
def test_the_chunked_form_is_proved(name: str, options: dict[str, Any], groups: int) -> None:
    found = answers(name, **options)
    assert len(found) == groups
    for proof in found:
        assert proof.status == "proved" and proof.proved == SHAPES, proof.sentence


def test_a_wrong_mask_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Fading.inside
    monkeypatch.setattr(Fading, "inside", lambda self, scores, j, i, after: right(self, scores, j, i, not after))
    assert {proof.status for proof in answers("DeltaMemory")} == {"refuted"}


def test_a_decay_that_is_one_token_late_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Fading.since
    monkeypatch.setattr(Fading, "since", lambda self, x, j, i, after: right(self, x, j, i, False))
    assert {proof.status for proof in answers("GatedDelta")} == {"refuted"}
    assert {proof.status for proof in answers("DeltaMemory")} == {"proved"}, "nothing fades there"


def test_what_is_written_with_the_wrong_weight_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fading, "to_end", lambda self, y, j, i: y)
    (proof,) = answers("Titans", at="token")
    assert proof.status == "refuted" and "REFUTED" in proof.sentence


def test_a_wrong_inverse_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.linalg.solve_triangular
    wrong = lambda system, *given, **named: right(-system, *given, **named)  # noqa: E731
    monkeypatch.setattr(torch.linalg, "solve_triangular", wrong)
    assert {proof.status for proof in answers("Longhorn")} == {"refuted"}


CLASHING = '''"""A formula whose local names are those of the file."""
rule Clashing
use newton_schulz
input A : real[d, d]
input w : real[d, d]
state M : real[d, d] = first w
output o : real[d, d]
M' = 0.5*M + newton_schulz(A, 2)
o = M' + A
'''


def stated(text: str) -> Any:
    return lower(resolve(parse(Source("stated.opt", text))).file, Static(), LIBRARY)


def test_the_emitted_text_is_what_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local of a formula that overwrites the name of an input, as generated code once had it, is refuted."""
    found = proofs(stated(CLASHING), 40_000_000)
    assert [proof.status for proof in found] == ["proved", "proved"], [proof.sentence for proof in found]
    monkeypatch.setattr(chunks, "functions", lambda program: functions(program).replace("A_2", "A"))
    assert {proof.status for proof in proofs(stated(CLASHING), 40_000_000)} == {"refuted"}


def test_a_start_that_is_ignored_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(lifted.WORDS, "choose", lambda first, start, stored: stored)
    for proof in proofs(stated(CLASHING), 40_000_000):
        assert proof.status == "refuted" and "where it begins" in proof.reason, proof.sentence


def test_a_mask_that_is_ignored_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dotopt.runtime.sequence.chunks._kept", lambda x, keep, same, like: x)
    (proof,) = answers("GatedDelta")
    assert proof.status == "refuted" and proof.reason == "where tokens are missing"


SOFT = '''"""A delta rule with softplus features, and a frozen copy that is read from the left."""
rule Soft
use softplus
input k : real[d]
input v : real[d]
state M : real[d, d] = 0
state A : real[d, d] = 0
state P : real[d, d] = first A
output o : real[d]
φ(x) = softplus(x)/sum(softplus(x))
M' = M - 0.5*outer(M @ φ(k) - v, φ(k))
A' = A - outer((Pᵀ @ (P @ (k + A @ k)) + P @ k)*k, k)
P' = A' every 4
o = M' @ φ(v) + A' @ k
'''


def test_what_is_not_found_out_is_said() -> None:
    """Neither an internal error nor a search without end."""
    found = proofs(stated(SOFT), 40_000_000)
    assert {proof.status for proof in found} <= {"proved", "open"}
    assert all(proof.reason for proof in found if proof.status == "open")
    alone = SOFT.replace("state A : real[d, d] = 0\n", "").replace("state P : real[d, d] = first A\n", "")
    lines = [line for line in alone.splitlines() if not line.startswith(("A' =", "P' ="))]
    (memory, token) = proofs(stated("\n".join(lines).replace(" + A' @ k", "") + "\n"), 40_000_000)
    assert memory.status == token.status == "proved", memory.sentence


def test_explain_says_form_work_depth_and_proof() -> None:
    (form,) = forms(program("Titans", {"at": "token"}))
    assert form.states == ("S", "M") and form.kind == "low rank"
    assert form.work == "O(2·T·C·(dv + dk) + 2·T·dv·dk + T·C²)" and form.depth == "O(T/C + C)"
    assert form.transition[0] == "S' = η*S + outer(M @ k - v, -2*θ*k)"
    proof, token = proofs(program("DeltaMemory", {}), 40_000_000)
    assert proof.sentence == f"M: {PROVED}"
    assert token.sentence == "one token == equations: proved, vectors of any size"
    assert {form.kind for form in forms(program("SelfModifyingTitans", {}))} == {"frozen", "low rank"}


def test_a_full_check_reports_the_proof_too(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("DeltaMemory", "SelfModifyingTitans"):  # the second has options, which are those of the compiled class
        assert main(["check", "--full", name]) in (0, 3)
    out = " ".join(capsys.readouterr().out.split())  # lines are broken at the width of the console
    assert out.count(PROVED) == 4
