"""Property tests of a user's own files of every kind: draws, operators, objectives by any name, sequences, loops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dotopt
from dotopt import stdlib
from dotopt.compiler.emit.torch.optimizer import module
from dotopt.runtime.backends.build import compiler
from dotopt.runtime.loading import load as loading
from dotopt.runtime.property import Failed, Passed, Untested
from dotopt.runtime.property import test_file as properties  # pytest would collect it by its name
from dotopt.runtime.property.agreement import agreement
from dotopt.runtime.property.equations import equations
from dotopt.runtime.property.interpreted import interpreted
from dotopt.runtime.property.search import Budget
from dotopt.runtime.property.sequences import sequences

FEW = Budget(examples=8, shrinking=1.0)

NOISY = """rule Noisy
objective loss
param θ : real[...]
hyper η as lr > 0 = 0.1
n : like θ ~ normal(0, 1)
u ~ uniform(1, 2)
θ' = θ - η*(u*∇loss(θ) + n)

claim mean_of_nothing:
  given η == 0.5
  show θ' == θ - (u*∇loss(θ) + n)/2

claim quiet:
  show θ' == θ - η*u*∇loss(θ)
"""
FIELD = """rule Field
operator V : monotone
param z : real[...]
hyper η as lr >= 0 = 0.1
z' = z - η*V(z - η*V(z))
"""
MEMORY = """rule Memory
input  k : real[dk]
input  v : real[dv]
input  q : real[dk]
input  β in [0, 1]
hyper  α in (0, 1] = 0.5
state  M : real[dv, dk] = 0
output o : real[dv]
M' = α*M - β*outer(M @ k - v, k)
o  = M' @ q

claim forgets:
  given β == 0
  show M' == α*M

claim never_forgets:
  show M' == M
"""
PASSES = """rule Passes
objective f
param  W : real[rows, cols]
hyper  η as lr >= 0     = 0.1
hyper  n as passes : int > 0 = 3
iterate X from ∇f(W) repeat n:
  X' = 1.5*X - 0.5*X @ Xᵀ @ X
W' = W - η*X
"""


def written(folder: Path, text: str) -> Path:
    path = folder / f"{text.split()[1].lower()}.opt"
    path.write_text(text, encoding="utf-8")
    return path


def ran(failed: Failed) -> str:
    """What the reproducer prints."""
    done = subprocess.run(
        [sys.executable, "-c", failed.reproducer], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_draws_are_those_of_the_reference(tmp_path: Path) -> None:
    outcomes = {
        r.name: r.outcome
        for r in properties(written(tmp_path, NOISY), FEW, lambda label: "triton" not in label).results
    }
    assert all(isinstance(o, Passed) for name, o in outcomes.items() if name.startswith("torch")), outcomes
    assert isinstance(outcomes["claim mean_of_nothing"], Passed)
    quiet = outcomes["claim quiet"]
    assert isinstance(quiet, Failed) and "show θ' == θ - η*u*∇loss(θ)" in quiet.message
    # torch's code takes the steps of rules with draws, and nobody is told that C did
    assert isinstance(outcomes.get("cpu, float64", outcomes.get("cpu")), Untested)


@pytest.mark.parametrize("text", [FIELD, FIELD.replace("operator V : monotone", "objective V").replace("V(", "∇V(")])
def test_what_is_asked_elsewhere(text: str, tmp_path: Path) -> None:
    cls = dotopt.load(written(tmp_path, text)).Field
    assert isinstance(agreement(cls, "torch", "float64", FEW), Passed)
    assert isinstance(equations(cls, {}, FEW), Passed)


def test_loops_are_written_out_for_sympy(tmp_path: Path) -> None:
    cls = dotopt.load(written(tmp_path, PASSES)).Passes
    assert isinstance(equations(cls, {}, FEW), Passed)


def test_sequences_agree_and_their_claims_are_tried(tmp_path: Path) -> None:
    outcomes = {r.name: r.outcome for r in properties(written(tmp_path, MEMORY), FEW).results}
    assert isinstance(outcomes["sequences, float64"], Passed) and isinstance(outcomes["sequences, float32"], Passed)
    assert isinstance(outcomes["claim forgets"], Passed)
    failed = outcomes["claim never_forgets"]
    assert isinstance(failed, Failed) and "[[" in ran(failed)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('later["M"] = M_chunks.last[0]', 'later["M"] = state["M"]'),  # what is handed on
        ("M_chunks.read(0, q)", "M_chunks.read(0, k)"),
        ("Term([k], -v,", "Term([k], v,"),
        ('"...ij,...j->...i", M_next, q', '"...ij,...j->...i", M, q'),  # one token: the old memory is read
    ],
)
def test_bugs_in_a_memory_are_caught(right: str, wrong: str) -> None:
    cls = stdlib.DeltaMemory
    text = module(*loading._parsed(loading.library_root() / cls.origin[1]), cls.origin)
    assert right in text
    mutant = loading._executed(text.replace(right, wrong), f"mutant_{abs(hash(wrong))}", "").DeltaMemory
    found = sequences(mutant, "float64", Budget(examples=25, shrinking=1.0))
    assert isinstance(found, Failed) and "`o[" in found.message and "o    = M' @ q" in found.message
    assert "reference" in ran(found)


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_triton_kernels_are_interpreted_where_there_is_no_device() -> None:
    pytest.importorskip("triton")
    outcome = interpreted(stdlib.Signum, "float32", Budget(examples=4))
    assert isinstance(outcome, Passed) and outcome.note == "in Triton's interpreter"


def test_programs_that_reproduce_are_not_wrapped(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    from dotopt.runtime.commands.test import show
    from dotopt.runtime.property.outcome import Report, Result

    monkeypatch.setenv("COLUMNS", "60")
    line = "values = " + "1 + " * 60 + "1"
    failed = [
        Result("R", f"torch, {dtype}", Failed(f"R, {dtype}: wrong\n  more", line)) for dtype in ("float64", "float32")
    ]
    show(Report("r.opt", tuple(failed)))
    out = capsys.readouterr().out
    assert out.count(line) == 1 and "R, float32: wrong" in out  # the second dtype of a backend in a line
