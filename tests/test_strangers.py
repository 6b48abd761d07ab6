"""Rules that are not in the library, written from the manual alone, against a library that nobody here wrote.

One `.opt` file each in `tests/strangers`; 40 steps in float64, several shapes, generic hyperparameters, every backend
that can run here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import pytorch_optimizer
import torch

import dotopt
from dotopt.runtime.backends import choice as backends

FOLDER = Path(__file__).parent / "strangers"
SHAPES = ((4, 3), (5,), (2, 3, 2), (1, 6))
STEPS = 40

# file: (name there, arguments of both, arguments of theirs alone)
RULES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "ada_bound": (
        "AdaBound",
        {"lr": 0.02, "final_lr": 0.05, "betas": (0.85, 0.97), "gamma": 0.01, "weight_decay": 0.1},
        {},
    ),
    "ada_mod": ("AdaMod", {"lr": 0.02, "betas": (0.85, 0.95, 0.9), "eps": 1e-6, "weight_decay": 0.1}, {}),
    "ademamix": (
        "AdEMAMix",
        {"lr": 0.02, "betas": (0.85, 0.97, 0.99), "alpha": 2.5, "eps": 1e-6, "weight_decay": 0.1},
        {"weight_decouple": True},
    ),
    "agg_mo": ("AggMo", {"lr": 0.02, "betas": (0.1, 0.8, 0.97), "weight_decay": 0.1}, {}),
    "fromage": ("Fromage", {"lr": 0.02}, {}),
    "grams": ("Grams", {"lr": 0.02, "betas": (0.85, 0.97), "eps": 1e-5, "weight_decay": 0.1}, {}),
    "gravity": ("Gravity", {"lr": 0.02, "beta": 0.8}, {"alpha": 0.0}),
    "kate": ("Kate", {"lr": 0.02, "delta": 0.3, "eps": 1e-6}, {}),
    "lars": ("LARS", {"lr": 0.2, "momentum": 0.8, "weight_decay": 0.1, "trust_coefficient": 0.05}, {}),
    "novo_grad": ("NovoGrad", {"lr": 0.02, "betas": (0.85, 0.9), "eps": 1e-6, "weight_decay": 0.1}, {}),
    "pid": (
        "PID",
        {"lr": 2e-3, "momentum": 0.8, "dampening": 0.1, "integral": 3.0, "derivative": 7.0, "weight_decay": 0.1},
        {},
    ),
    "qhadam": ("QHAdam", {"lr": 0.02, "betas": (0.85, 0.97), "nus": (0.7, 0.9), "eps": 1e-6}, {}),
    "srmm": ("SRMM", {"lr": 0.02, "beta": 0.6, "memory_length": 7}, {}),
    "tiger": ("Tiger", {"lr": 0.02, "beta": 0.9, "weight_decay": 0.1}, {}),
    "yogi": (
        "Yogi",
        {"lr": 0.02, "betas": (0.85, 0.97), "initial_accumulator": 1e-4, "eps": 1e-4, "weight_decay": 0.1},
        {},
    ),
}
LOOSER = {"qhadam": 1e-6}  # its weights of the means are float32 there
BACKENDS = ["torch"] + [name for name in ("cpu",) if backends.module(name) is not None]


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in SHAPES]


def walk(optimizer: torch.optim.Optimizer, params: list[torch.nn.Parameter]) -> list[torch.Tensor]:
    """The parameters after `STEPS` steps with the same random gradients for everybody."""
    generator = torch.Generator().manual_seed(4)
    for _ in range(STEPS):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64)
        optimizer.step()
    return [p.detach() for p in params]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("file", RULES)
def test_agrees_with_another_library(file: str, backend: str) -> None:
    name, both, theirs = RULES[file]
    module = dotopt.load(FOLDER / f"{file}.opt")
    cls = getattr(module, module.__all__[0])
    start, mine, other = parameters(), parameters(), parameters()
    found = walk(cls(mine, **both, backend=backend), mine)
    expected = walk(getattr(pytorch_optimizer, name)(other, **both, **theirs), other)
    for a, b, before in zip(found, expected, start, strict=True):
        torch.testing.assert_close(a, b, rtol=LOOSER.get(file, 1e-9), atol=LOOSER.get(file, 1e-9) / 10)
        assert (a - before).abs().max() > 1e-3, "it moved"


def test_second_derivatives() -> None:
    """Sophia: random signs give the diagonal exactly where the Hessian is diagonal."""
    cls = dotopt.load(FOLDER / "sophia.opt").Sophia
    settings = {"lr": 0.05, "betas": (0.9, 0.95), "p": 0.3, "eps": 1e-9, "weight_decay": 0.1}
    mine, other = parameters()[:2], parameters()[:2]
    ours = cls(mine, **settings, update_period=3)
    reference = pytorch_optimizer.SophiaH(other, **settings, update_period=3)

    def loss(params: list[torch.nn.Parameter]) -> torch.Tensor:
        return torch.stack([(p**4).sum() + (p**2).sum() for p in params]).sum()

    for step in range(20):
        ours.zero_grad()
        ours.step(lambda: loss(mine))
        for p in other:
            p.grad = 4 * p.detach() ** 3 + 2 * p.detach()
        reference.step(hessian=[12 * p.detach() ** 2 + 2 for p in other] if step % 3 == 0 else None)
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_every_file_here_is_tested_and_in_house_style() -> None:
    from dotopt.compiler.emit.text.format import format_text

    files = {path.stem: path for path in FOLDER.glob("*.opt")}
    again = Path(__file__).with_name("test_strangers_again.py").read_text(encoding="utf-8")
    others = set(re.findall(r'^    "(\w+)": \(', again, re.MULTILINE)) - set(RULES)
    assert set(files) == set(RULES) | others | {"sophia"} and len(others) > 20
    for path in files.values():
        text = path.read_text(encoding="utf-8")
        assert format_text(text) == text, path.name
