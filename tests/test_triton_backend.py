"""The Triton backend without a card: every rule in the interpreter against the judge."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")

HERE = Path(__file__).parent

# sums along rows, numbers of the group that follow from sums over the model, and matrix products are not in Triton yet
ELSEWHERE = ()


@pytest.fixture(scope="module")
def interpreted() -> dict[str, dict[str, object]]:
    """What each case gave, by its label."""
    done = subprocess.run(
        [sys.executable, str(HERE / "interpreted.py"), str(HERE)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, done.stderr[-2000:]
    return {line["case"]: line for line in lines}


def test_every_rule_gives_the_numbers_of_the_judge(interpreted) -> None:
    wrong = [line["error"] for line in interpreted.values() if "error" in line]
    assert not wrong, "\n\n".join(map(str, wrong[:3]))
    assert len(interpreted) > 50


def test_all_but_the_ones_named_run_on_kernels(interpreted) -> None:
    elsewhere = {label.split()[0] for label, line in interpreted.items() if not line.get("kernels")}
    assert elsewhere == set(ELSEWHERE)


def test_without_a_device_the_backend_says_so() -> None:
    import torch

    from dotopt.runtime import triton
    from dotopt.stdlib import Lion

    if triton.available():
        pytest.skip("there is a device")
    with pytest.raises(RuntimeError, match="cannot run here"):
        Lion([torch.nn.Parameter(torch.ones(2))], backend="triton")
