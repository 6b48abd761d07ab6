"""Inner objectives as a new user would write them: the update that the compiler derives against torch.autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.ir import Program
from dotopt.compiler.lower import lower
from dotopt.compiler.parse import parse
from dotopt.compiler.source import Source

MATRIX = """rule Memory
input k : real[dk]
input v : real[dv]
input w > 0
input β > 0
state M : real[dv, dk] = 0
output o : real[dv]
{objective}
M' = M - β*∇L(M)
o  = M' @ k
"""

NETWORK = """rule Network
input k : real[dk]
input v : real[dv]
input w > 0
input β > 0
hyper h : int > 0 = 5
state A : real[h, dk] = 0
state B : real[dv, h] = 0
output o : real[dv]
net(X, Y) = Y @ tanh(X @ k)
L(X, Y)   = ½*‖net(X, Y) - v‖² + w/2*(‖X‖² + ‖Y‖²)
A' = A - β*∇_X L(A, B)
B' = B - β*∇_Y L(A, B)
o  = net(A', B')
"""

Objective = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

OBJECTIVES: dict[str, tuple[str, Objective]] = {
    "huber": (
        "r(S) = S @ k - v\nL(S) = sum(r(S)²/(2*w) if |r(S)| <= w else |r(S)| - w/2)",
        lambda M, k, v, w: (functional.huber_loss(M @ k, v, reduction="none", delta=float(w)) / w).sum(),
    ),
    "huber_of_the_library": (
        "L(S) = huber(S @ k - v, w)",
        lambda M, k, v, w: (functional.huber_loss(M @ k, v, reduction="none", delta=float(w)) / w).sum(),
    ),
    "power": ("L(S) = sum(|S @ k - v|^3)/3", lambda M, k, v, w: ((M @ k - v).abs() ** 3).sum() / 3),
    "norm": ("L(S) = ‖S @ k - v‖ + w*‖S‖²", lambda M, k, v, w: (M @ k - v).norm() + w * (M**2).sum()),
    "logistic": (
        "L(S) = sum(log(1 + exp(-v*(S @ k))))",
        lambda M, k, v, w: functional.softplus(-v * (M @ k)).sum(),
    ),
    "log_cosh": ("L(S) = log_cosh(S @ k - v)", lambda M, k, v, w: torch.log(torch.cosh(M @ k - v)).sum()),
    "weighted": (
        "L(S) = w*‖S @ k - v‖² - 3*dot(S @ k, v) + sum(sigmoid(S))",
        lambda M, k, v, w: w * ((M @ k - v) ** 2).sum() - 3 * (M @ k) @ v + torch.sigmoid(M).sum(),
    ),
    "orthogonal": (
        "L(S) = 1/4*‖S @ Sᵀ - I‖² + ½*‖S @ k - v‖²",
        lambda M, k, v, w: ((M @ M.T - torch.eye(len(M), dtype=M.dtype)) ** 2).sum() / 4 + ((M @ k - v) ** 2).sum() / 2,
    ),
}  # fmt: skip


def compiled(text: str) -> Program:
    return lower(parse(Source("memory.opt", text)))


PROGRAMS = {name: compiled(MATRIX.format(objective=text)) for name, (text, _) in OBJECTIVES.items()}
NETWORK_PROGRAM = compiled(NETWORK)


def drawn(seed: int, dk: int, dv: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {"k": rng.normal(size=dk), "v": rng.normal(size=dv), "w": rng.uniform(0.2, 2), "β": rng.uniform(0.1, 1)}


def tensor(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("name", OBJECTIVES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), dk=st.integers(1, 6), dv=st.integers(1, 6))
def test_a_memory(name: str, seed: int, dk: int, dv: int) -> None:
    inputs = drawn(seed, dk, dv)
    start = np.random.default_rng(seed + 1).normal(size=(dv, dk))
    run = Simulation(PROGRAMS[name], states={"M": start})
    run.step(inputs=inputs)
    M = tensor(start).requires_grad_()
    loss = OBJECTIVES[name][1](M, tensor(inputs["k"]), tensor(inputs["v"]), tensor(inputs["w"]))
    (gradient,) = torch.autograd.grad(loss, M)
    wanted = start - inputs["β"] * gradient.numpy()
    np.testing.assert_allclose(run.states["M"], wanted, rtol=1e-10, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), dk=st.integers(1, 6), dv=st.integers(1, 6), h=st.integers(1, 7))
def test_a_network_of_two_layers(seed: int, dk: int, dv: int, h: int) -> None:
    inputs = drawn(seed, dk, dv)
    rng = np.random.default_rng(seed + 1)
    a, b = rng.normal(size=(h, dk)), rng.normal(size=(dv, h))
    run = Simulation(NETWORK_PROGRAM, hypers={"h": h}, states={"A": a, "B": b})
    run.step(inputs=inputs)
    A, B = tensor(a).requires_grad_(), tensor(b).requires_grad_()
    error = B @ torch.tanh(A @ tensor(inputs["k"])) - tensor(inputs["v"])
    loss = (error**2).sum() / 2 + inputs["w"] / 2 * ((A**2).sum() + (B**2).sum())
    for name, start, gradient in zip("AB", (a, b), torch.autograd.grad(loss, (A, B)), strict=True):
        wanted = start - inputs["β"] * gradient.numpy()
        np.testing.assert_allclose(run.states[name], wanted, rtol=1e-10, atol=1e-10)
