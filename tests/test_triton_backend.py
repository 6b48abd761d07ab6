"""The Triton backend without a card: every rule in the interpreter against the judge."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")

HERE = Path(__file__).parent

_spec = importlib.util.spec_from_file_location("kernel_cases", HERE / "kernel_cases.py")
assert _spec is not None and _spec.loader is not None
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)


def runs_in_the_interpreter(half: int, what: str) -> None:
    """In a process of its own, since Triton looks for the interpreter when it is imported."""
    done = subprocess.run(
        [sys.executable, str(HERE / "interpreted.py"), str(HERE), str(half), what],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    wrong = [line["error"] for line in lines if "error" in line]
    assert not wrong, "\n\n".join(wrong[:3])
    assert len(lines) > (100 if what == "all" else 38)
    assert not [line["case"] for line in lines if not line["kernels"]]


@pytest.mark.parametrize("half", [0, 1])
def test_every_rule_runs_on_kernels_and_gives_the_numbers_of_the_judge(half: int) -> None:
    """At odd sizes, on views; with a loss scale, with clocks on the device; each in one dtype. See interpreted.py."""
    runs_in_the_interpreter(half, "sample")


@pytest.mark.thorough
@pytest.mark.parametrize("half", [0, 1])
def test_every_rule_in_every_dtype(half: int) -> None:
    runs_in_the_interpreter(half, "all")


def test_rules_that_kernels_once_got_wrong() -> None:
    """See interpreted_rules.py."""
    done = subprocess.run(
        [sys.executable, str(HERE / "interpreted_rules.py")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 20
    assert not [label for label, error in found if error], "\n\n".join(error for _, error in found if error)


def _replayed():
    """Rules that `test_references.py` runs in the interpreter, beside other implementations."""
    text = (HERE / "references.py").read_text(encoding="utf-8")
    return set(re.findall(r'\bReference\(\s*"(\w+)"', text)) | {"SophiaH"}


def test_the_cases_leave_no_rule_out() -> None:
    closures = {"SAM", "Nesterov"}  # these ask at a second point
    assert {name for name, _ in cases.OPTIONS} | closures == set(cases.library_rules()) - _replayed()


def test_without_a_device_the_backend_says_so() -> None:
    import torch

    from dotopt.runtime.backends import triton
    from dotopt.stdlib import Lion

    if triton.available():
        pytest.skip("there is a device")
    with pytest.raises(RuntimeError, match="cannot run here"):
        Lion([torch.nn.Parameter(torch.ones(2))], backend="triton")


def test_without_kernels_a_step_cannot_be_captured() -> None:
    import torch

    from dotopt.stdlib import Lion

    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="needs Triton kernels"):
        Lion([p], backend="torch", capturable=True).step()
    assert p.tolist() == [1, 1]
