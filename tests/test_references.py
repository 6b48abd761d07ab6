"""Rules of the library beside implementations that nobody here wrote: the same trajectory on every backend.

`references.py` holds the comparisons. `make test` takes `FEW` of them, and two on kernels in `interpreted_rules.py`;
`make test-references` takes all, also on kernels in Triton's interpreter.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytorch_optimizer
import torch

import dotopt.stdlib as stdlib
from dotopt.runtime.backends import choice as backends

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("references", HERE / "references.py")
assert _spec is not None and _spec.loader is not None
references = importlib.util.module_from_spec(_spec)
sys.modules["references"] = references
_spec.loader.exec_module(references)

REFERENCES = references.REFERENCES
FEW = (
    "a2_grad inc", "ada_bound scheduled", "adai dampened", "ademamix warm", "aida", "alig", "amos", "came", "ftrl",
    "msvag", "nero", "yogi",
)  # fmt: skip
BACKENDS = ["torch"] + [name for name in ("cpu",) if backends.module(name) is not None]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """The other library keeps some numbers in the default dtype."""
    with references.in_double_precision():
        yield


def agrees(key: str, backend: str) -> None:
    reference = REFERENCES[key]
    rule = references.ours(reference)
    expected = references.expected(reference)
    found = references.trajectory(
        lambda params: rule(params, **reference.both, **reference.here, backend=backend), reference
    )
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x, y, rtol=reference.rtol, atol=reference.rtol / 100)
    assert (expected[-1] - expected[0]).abs().max() > 1e-3, "it moved"


def kernels(key: str) -> bool:
    """Whether there are kernels: only for what asks for no more than the gradient, and draws nothing."""
    return not (REFERENCES[key].closure or REFERENCES[key].draws)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "key", [*FEW, *(pytest.param(key, marks=pytest.mark.thorough) for key in REFERENCES if key not in FEW)]
)
def test_same_trajectory(key: str, backend: str) -> None:
    if backend != "torch" and not kernels(key):
        pytest.skip("no kernels")
    if REFERENCES[key].needs:
        pytest.importorskip(REFERENCES[key].needs)
    agrees(key, backend if kernels(key) else "auto")


def test_the_few_exist() -> None:
    assert set(FEW) < set(REFERENCES)


def interpreted(keys: list[str]) -> None:
    """In a process of its own, since Triton looks for the interpreter when it is imported."""
    done = subprocess.run(
        [sys.executable, str(HERE / "interpreted_references.py"), *keys],
        capture_output=True, text=True, check=False, env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [line["case"] for line in found] == keys
    assert not [line["case"] for line in found if line["error"]], "\n\n".join(line["error"] for line in found)


@pytest.mark.thorough
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize("part", range(4))
def test_kernels_in_the_interpreter(part: int) -> None:
    there = [key for key, reference in REFERENCES.items() if not reference.needs or find_spec(reference.needs)]
    interpreted([key for key in there if kernels(key)][part::4])


def test_second_derivatives() -> None:
    """Sophia: random signs give the diagonal exactly where the Hessian is diagonal."""
    settings = {"lr": 0.05, "betas": (0.9, 0.95), "p": 0.3, "eps": 1e-9, "weight_decay": 0.1, "update_period": 3}
    generator = torch.Generator().manual_seed(3)
    starts = [torch.randn(shape, generator=generator) for shape in ((4, 3), (5,))]
    mine, other = ([torch.nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    ours, theirs = stdlib.SophiaH(mine, **settings), pytorch_optimizer.SophiaH(other, **settings)

    def loss() -> torch.Tensor:
        return torch.stack([(p**4).sum() + (p**2).sum() for p in mine]).sum()

    for step in range(12):
        ours.zero_grad()
        ours.step(loss)
        for p in other:
            p.grad = 4 * p.detach() ** 3 + 2 * p.detach()
        theirs.step(hessian=[12 * p.detach() ** 2 + 2 for p in other] if step % 3 == 0 else None)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
