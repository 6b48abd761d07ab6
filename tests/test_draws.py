"""Draws inside optimizers: the torch code draws what the reference draws, and a run can be repeated."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dotopt
from dotopt import stdlib
from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.evaluate.random import draw, place
from dotopt.runtime.loading.load import program
from dotopt.runtime.optimizer.draws import Draws

NOISY = """rule Noisy
objective f
param θ : real[...]
hyper lr >= 0 = 0.1
hyper k : int > 0 = 2
state s : like θ ~ uniform(-1, 2)
n : like θ ~ normal(0.5, 2)
z : like θ ~ rademacher()
b : like θ ~ bernoulli(0.3)
u ~ uniform(1, 3)
s' = 0.5*s + z*∇f(θ)*u every k
θ' = θ - lr*(∇f(θ) + 0.1*n + b*s')
"""


def walk(optimizer: Any, params: list[torch.nn.Parameter], steps: int, first: int = 0) -> None:
    for step in range(first, first + steps):
        for i, p in enumerate(params):
            p.grad = torch.sin(p.detach() * (i + 1) + step)
        optimizer.step()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1), step=st.integers(1, 2**31), position=st.integers(0, 9), name=st.text(max_size=9),
    shape=st.lists(st.integers(0, 5), max_size=3).map(tuple),
)  # fmt: skip
def test_the_very_numbers_of_the_reference(seed: int, step: int, position: int, name: str, shape: Any) -> None:
    laws = {"normal": (1.5, 0.2), "uniform": (-1.0, 3.0), "rademacher": (), "bernoulli": (0.25,)}
    for law, parameters in laws.items():
        wanted = draw(law, parameters, shape, seed=seed, step=step, position=position, where=place(name))
        like = [torch.zeros(shape, dtype=torch.float64)]
        (found,) = getattr(Draws(seed, step, [place(name)]), law)(position, like, *parameters)
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-14, atol=1e-15)


def module(tmp_path: Path) -> Any:
    path = tmp_path / "noisy.opt"
    path.write_text(NOISY, encoding="utf-8")
    return dotopt.load(path).Noisy


def test_steps_agree_with_the_reference(tmp_path: Path) -> None:
    cls = module(tmp_path)
    starts = {"first": np.linspace(-1, 1, 6).reshape(2, 3), "second": np.linspace(0, 2, 4)}
    params = [torch.nn.Parameter(torch.tensor(value)) for value in starts.values()]
    optimizer = cls(zip(starts, params, strict=True), lr=0.2, seed=7)
    run = Simulation(program(cls.origin, (), None), starts, {"lr": 0.2}, seed=7)
    for step in range(5):
        run.step({name: np.sin(value * (i + 1) + step) for i, (name, value) in enumerate(run.params.items())})
        walk(optimizer, params, 1, step)
        for p, wanted in zip(params, run.params.values(), strict=True):
            np.testing.assert_allclose(p.detach().numpy(), wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("foreach", [None, False])
def test_a_run_is_its_seed(foreach: bool | None, tmp_path: Path) -> None:
    cls = module(tmp_path)

    def end(seed: int, split: bool = False) -> torch.Tensor:
        params = [torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2)]
        optimizer = cls(params, seed=seed, foreach=foreach)
        walk(optimizer, params, 2)
        if split:
            torch.manual_seed(99)
            again = cls(params, foreach=foreach)
            again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
            optimizer = again
        walk(optimizer, params, 2, 2)
        return torch.stack([p.detach() for p in params])

    assert torch.equal(end(3), end(3))
    assert torch.equal(end(3), end(3, split=True)), "a checkpoint holds the seed"
    assert not torch.equal(end(3), end(4))
    first, second = end(3)
    assert not torch.equal(first - second, torch.zeros(5)), "tensors draw numbers of their own"


@pytest.mark.parametrize("output", ["plain", "orthogonal"])
@pytest.mark.parametrize("inner", ["regression", "dot"])
def test_a_deep_memory_of_a_real_model(inner: str, output: str) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2)).double()
    weights = {name: p for name, p in model.named_parameters() if p.ndim == 2}
    hyperparameters = {"lr": 0.03, "retain": 0.8, "inner_lr": 0.2, "hidden": 6}
    optimizer = stdlib.DMGD(weights.items(), **hyperparameters, inner=inner, output=output, seed=11)
    run = Simulation(
        program(stdlib.DMGD.origin, (inner, output), None), {n: p.detach().numpy().copy() for n, p in weights.items()},
        hyperparameters, seed=11,
    )  # fmt: skip
    x, y = torch.randn(20, 5, dtype=torch.float64), torch.randn(20, 2, dtype=torch.float64)
    for _ in range(4):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        run.step({name: p.grad.numpy() for name, p in weights.items() if p.grad is not None})
        optimizer.step()
        for name, p in weights.items():
            np.testing.assert_allclose(p.detach().numpy(), run.params[name], rtol=1e-10, atol=1e-11)
    state = optimizer.state[weights["0.weight"]]
    assert state["A"].shape == (6, 7) and state["B"].shape == (7, 6)


def test_what_is_not_drawn_is_said(tmp_path: Path) -> None:
    path = tmp_path / "batchy.opt"
    path.write_text(
        "rule Batchy\nobjective f\nparam θ : real[...]\n"
        "z : like θ ~ categorical(2)\nθ' = θ - z*∇f(θ)\n",
        encoding="utf-8",
    )
    with pytest.raises(dotopt.OptError, match="the draw `z`"):
        dotopt.load(path)
