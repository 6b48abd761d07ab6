"""The benchmarks run from end to end; what they measure is not looked at here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dotopt.runtime import bench
from dotopt.runtime.backends import cpu
from dotopt.runtime.contestants import OTHERS, contestants

HERE = Path(__file__).parent


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
def test_everybody_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ENTRIES", 1000)
    monkeypatch.setattr(bench, "workloads", lambda: {"tiny": [(8, 4)] * 11})  # more than heavyball is given
    for rule in ("AdamW", "AdamP", "Muon"):
        rows = bench.measure(rule, "tiny", threads=1, rounds=2, warm=1)
        assert rows[0].who == "dotopt" and rows[0].passes is not None
        assert {row.who for row in rows} == {who for who, _, _ in contestants(rule, 11, "cpu")}
        assert all(row.milliseconds > 0 and row.floor > 0 for row in rows)


def test_who_is_measured() -> None:
    """Every name in the table is one that its library has, where it is installed."""
    for rule, known in OTHERS.items():
        found = {who for who, _, _ in contestants(rule, 1, "torch")}
        for package in ("pytorch_optimizer", "optimi", "heavyball"):
            if getattr(known, package) and importlib.util.find_spec(package):
                assert package in found
    assert {"torch fused", "torch foreach", "torch for loop"} < {who for who, _, _ in contestants("AdamW", 1, "torch")}


def test_gradients_that_are_taken_away_are_given_again() -> None:
    from dotopt.runtime.contestants import stepping

    class Greedy(torch.optim.SGD):
        def step(self, closure=None):
            assert all(p.grad is not None for p in self.param_groups[0]["params"])
            super().step(closure)
            self.zero_grad()

    p = torch.nn.Parameter(torch.ones(2))
    step = stepping("heavyball", Greedy, {"lr": 0.5}, [p], [torch.ones(2)])
    step(), step()
    assert p.tolist() == [0.0, 0.0]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_the_benchmark_of_a_card_on_a_pretended_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "pretended_card.py"), str(tmp_path)],
        capture_output=True, text=True, check=False,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    text = (tmp_path / "gpu-pretended-card-9000.md").read_text()
    for line in ("| SGD | torch fused |", "| LAMB | dotopt |", "| Muon | torch |", "| 2 x 16 x 24 |", "## 1B"):
        assert line in text
    assert "Not measured" not in text
