"""`dotopt test`: right rules pass; bugs put into the emitted code are caught, each with numbers and a reproducer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sympy as sp

import dotopt
from dotopt.compiler.analysis import symbolic
from dotopt.runtime.loading import load as loading
from dotopt.runtime.property import Failed, Passed
from dotopt.runtime.property import test_file as properties  # pytest would collect it by its name
from dotopt.runtime.property.agreement import agreement
from dotopt.runtime.property.equations import equations
from dotopt.runtime.property.search import Budget

RULES = Path(__file__).resolve().parent.parent / "stdlib" / "optimizers"
FEW = Budget(examples=12, shrinking=1.0)

# (rule, text of the emitted step, the bug in its place)
BUGS = [
    ("lion", "lerp(m, g, 1 - beta1)", "lerp(m, g, 1 - beta2)", "swapped betas"),
    ("lion", "mul_(x, 1 - eta * lam)", "mul_(x, 1 + eta * lam)", "sign of the decay"),
    ("lion", "sign_(c), -eta", "sign_(c), -eta * eta", "learning rate twice"),
    ("adamw", "lerp_(m, g, 1 - beta1)", "lerp_(m, g, 1 - beta2)", "swapped betas"),
    ("adamw", "scalars.complement(beta1, t)", "1", "missing bias correction"),
    ("adamw", "1 - eta * lam", "1 - eta * lam * eta", "decay by the wrong factor"),
    ("signum", "lerp_(m, g, 1 - beta)", "lerp_(m, g, beta)", "swapped weights"),
]


@pytest.mark.parametrize("name", ["lion", "adamw", "signum"])
def test_right_rules_pass(name: str) -> None:
    def wanted(label: str) -> bool:  # the interpreter is slow: one rule in one dtype
        return "triton" not in label or (name == "adamw" and "float32" in label)

    report = properties(RULES / f"{name}.opt", FEW, wanted)
    assert report.code == 0, report.failures
    passed = [result.name for result in report.results if isinstance(result.outcome, Passed)]
    assert {"torch, float64", "torch, float32", "torch, bfloat16"} <= set(passed)
    assert any(label.startswith("lambdify") for label in passed)


def broken(name: str, right: str, wrong: str) -> Any:
    """The class of a rule with its emitted text changed."""
    cls = getattr(dotopt.load(RULES / f"{name}.opt"), {"lion": "Lion", "adamw": "AdamW", "signum": "Signum"}[name])
    file, library = loading._parsed(RULES / f"{name}.opt")
    from dotopt.compiler.emit.torch.optimizer import module

    text = module(file, library, cls.origin)
    assert right in text, "the emitted text has changed: change this table"
    made = loading._executed(text.replace(right, wrong), f"broken_{name}_{abs(hash(wrong))}", "")
    return getattr(made, cls.__name__)


@pytest.mark.parametrize(("name", "right", "wrong", "bug"), BUGS, ids=[f"{b[0]}: {b[3]}" for b in BUGS])
def test_injected_bugs_are_caught(name: str, right: str, wrong: str, bug: str) -> None:
    outcome = agreement(broken(name, right, wrong), "torch", "float64", Budget(examples=40, shrinking=1.0))
    assert isinstance(outcome, Failed), bug
    assert "reference" in outcome.message and "is wrong after step" in outcome.message


def test_a_false_claim_fails_with_numbers_and_a_reproducer(tmp_path: Path) -> None:
    path = tmp_path / "mine.opt"
    path.write_text(
        "rule Mine\nobjective f\nparam x : real[...]\nhyper η as lr > 0 = 0.1\ng = ∇f(x)\nx' = x - η*g\n"
        "claim wrong:\n  show ‖x'‖ <= ‖x‖\n"
    )
    report = properties(path, FEW, lambda label: label == "claim wrong")
    (failure,) = [result for result in report.results if result.name == "claim wrong"]
    assert isinstance(failure.outcome, Failed)
    assert "import" in failure.outcome.reproducer
    done = subprocess.run(
        [sys.executable, "-c", failure.outcome.reproducer], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_broken_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "bad.opt").write_text("rule Bad\nparam x : real[...]\nx' = y\n")
    assert properties(tmp_path / "bad.opt", FEW).errors[0].code == "E201"


def test_sympy_and_the_reference_differing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(symbolic.MEANING, "sqrt", lambda x: sp.sqrt(x) * sp.Rational(1001, 1000))
    outcome = equations(dotopt.load(RULES / "adamw.opt").AdamW, {"amsgrad": False}, FEW)
    assert isinstance(outcome, Failed) and "the reference and SymPy differ on `θ'`" in outcome.message
    done = subprocess.run(
        [sys.executable, "-c", outcome.reproducer], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "SymPy" in done.stdout, done.stderr
