"""Inner objectives as a new user would write them: the update that the compiler derives against torch.autograd."""

from __future__ import annotations

import re
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
from dotopt.compiler.text.source import Source

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


# ---- more shapes: batches, vectors, functions of functions, stop, matrix functions -----------------------------------

DECLARED = {
    "k": "input k : real[dk]", "v": "input v : real[dv]", "X": "input X : real[n, dk]", "Y": "input Y : real[n, dv]",
    "Q": "input Q : real[dv, dv]", "w": "input w > 0", "p": "hyper p > 1 = 2.5",
}  # fmt: skip
P = 2.5


def eye(M: Tensor) -> Tensor:
    return torch.eye(len(M), dtype=M.dtype)


def unit(x: Tensor) -> Tensor:
    return x / x.norm()


# text, uses of the library, the same in torch of M, k, v, X, Y, Q, w
MORE: dict[str, tuple[str, str, Callable[..., Tensor]]] = {
    "power": ("L(S) = sum(|S @ k - v|^p)/p", "", lambda M, k, v, **_: ((M @ k - v).abs() ** P).sum() / P),
    "power_3_2": ("L(S) = sum(abs(S @ k - v)^1.5)", "", lambda M, k, v, **_: ((M @ k - v).abs() ** 1.5).sum()),
    "p_norm": ("L(S) = norm_p(S @ k - v, p)", "norm_p", lambda M, k, v, **_: torch.linalg.vector_norm(M @ k - v, P)),
    "largest": ("L(S) = max(|S @ k - v|)", "", lambda M, k, v, **_: (M @ k - v).abs().max()),
    "quartic": ("L(S) = ‖S @ k - v‖^4/4", "", lambda M, k, v, **_: ((M @ k - v) ** 2).sum() ** 2 / 4),
    "binary": (
        "q(S) = sigmoid(S @ k)\ny = sigmoid(v)\nL(S) = -sum(y*log(q(S)) + (1 - y)*log(1 - q(S)))", "",
        lambda M, k, v, **_: functional.binary_cross_entropy_with_logits(M @ k, torch.sigmoid(v), reduction="sum"),
    ),
    "softmax": (
        "z(S) = S @ k\nq(S) = exp(z(S))/sum(exp(z(S)))\nL(S) = -dot(v, log(q(S)))", "",
        lambda M, k, v, **_: -(v * torch.log_softmax(M @ k, 0)).sum(),
    ),
    "softmax_of_the_library": (
        "L(S) = -dot(v, log(softmax(S @ k))) + logsumexp(S)", "softmax, logsumexp",
        lambda M, k, v, **_: -(v * torch.log_softmax(M @ k, 0)).sum() + torch.logsumexp(M.flatten(), 0),
    ),
    "batch_of_logits": (
        "Z(S) = X @ Sᵀ\nL(S) = mean(log(sum(exp(Z(S)), over=dv)) - sum(Y*Z(S), over=dv))", "",
        lambda M, X, Y, **_: (torch.logsumexp(X @ M.T, 1) - (Y * (X @ M.T)).sum(1)).mean(),
    ),
    "batch": ("L(S) = ½*‖X @ Sᵀ - Y‖²/n", "", lambda M, X, Y, **_: ((X @ M.T - Y) ** 2).sum() / 2 / len(X)),
    "contrastive": (
        "Z(S) = (X @ Sᵀ)*Y\nL(S) = -sum(log(sigmoid(sum(Z(S), over=dv))))", "",
        lambda M, X, Y, **_: -functional.logsigmoid(((X @ M.T) * Y).sum(1)).sum(),
    ),
    "cosine": (
        "L(S) = 1 - dot(S @ k, v)/(‖S @ k‖*‖v‖)", "", lambda M, k, v, **_: 1 - unit(M @ k) @ unit(v),
    ),
    "units": ("L(S) = -dot(unit(S @ k), unit(v))", "", lambda M, k, v, **_: -unit(M @ k) @ unit(v)),
    "weighted_ridge": (
        "L(S) = ½*dot(v², (S @ k - v)²) + w/2*‖S‖²", "",
        lambda M, k, v, w, **_: (v**2 * (M @ k - v) ** 2).sum() / 2 + w / 2 * (M**2).sum(),
    ),
    "metric": (
        "r(S) = S @ k - v\nL(S) = ½*r(S)ᵀ @ Q @ r(S)", "",
        lambda M, k, v, Q, **_: (M @ k - v) @ Q @ (M @ k - v) / 2,
    ),
    "log_cosh": (
        "L(S) = sum(log(cosh(S @ k - v)))", "cosh", lambda M, k, v, **_: torch.log(torch.cosh(M @ k - v)).sum(),
    ),
    "nuclear": (
        "L(S) = nuclear(S) + ½*‖S @ k - v‖²", "nuclear",
        lambda M, k, v, **_: torch.linalg.matrix_norm(M, "nuc") + ((M @ k - v) ** 2).sum() / 2,
    ),
    "hinge": ("L(S) = sum(max(0, 1 - v*(S @ k)))", "", lambda M, k, v, **_: functional.relu(1 - v * (M @ k)).sum()),
    "squared_hinge": (
        "L(S) = sum(relu(1 - v*(S @ k))²)", "", lambda M, k, v, **_: (functional.relu(1 - v * (M @ k)) ** 2).sum(),
    ),
    "quantile": (
        "r(S) = v - S @ k\nL(S) = sum(max(0.7*r(S), -0.3*r(S)))", "",
        lambda M, k, v, **_: torch.maximum(0.7 * (v - M @ k), -0.3 * (v - M @ k)).sum(),
    ),
    "cauchy": (
        "L(S) = w²/2*sum(log(1 + ((S @ k - v)/w)²))", "",
        lambda M, k, v, w, **_: w**2 / 2 * torch.log(1 + ((M @ k - v) / w) ** 2).sum(),
    ),
    "poisson": ("L(S) = sum(exp(S @ k) - v*(S @ k))", "", lambda M, k, v, **_: (torch.exp(M @ k) - v * (M @ k)).sum()),
    "focal": (
        "q(S) = sigmoid(v*(S @ k))\nL(S) = -sum((1 - q(S))^p*log(q(S)))", "",
        lambda M, k, v, **_: -((1 - torch.sigmoid(v * (M @ k))) ** P * functional.logsigmoid(v * (M @ k))).sum(),
    ),
    "entropy": (
        "L(S) = dot(softmax(S @ k), log(softmax(S @ k)))", "softmax",
        lambda M, k, **_: (torch.softmax(M @ k, 0) * torch.log_softmax(M @ k, 0)).sum(),
    ),
    "attention": (
        "L(S) = ½*‖Yᵀ @ softmax(X @ Sᵀ @ v) - v‖²", "softmax",
        lambda M, X, Y, v, **_: ((Y.T @ torch.softmax(X @ M.T @ v, 0) - v) ** 2).sum() / 2,
    ),
    "layer_norm": (
        "L(S) = ½*‖layer_norm(S @ k) - v‖²", "layer_norm",
        lambda M, k, v, **_: ((functional.layer_norm(M @ k, (len(M),)) - v) ** 2).sum() / 2,
    ),
    "nested": (
        "a(x) = tanh(x)*w\nb(S, x) = a(S @ x) + v\nc(S) = b(S, k)\nL(S) = ½*‖c(S)‖² + ‖a(S)‖²", "",
        lambda M, k, v, w, **_: ((torch.tanh(M @ k) * w + v) ** 2).sum() / 2 + ((torch.tanh(M) * w) ** 2).sum(),
    ),
    "stopped": (
        "L(S) = ½*‖stop(S) @ k - S @ k*v‖²", "", lambda M, k, v, **_: ((M.detach() @ k - (M @ k) * v) ** 2).sum() / 2,
    ),
    "rows": ("L(S) = sum(norm(S, over=dk)*v)", "", lambda M, v, **_: (torch.linalg.vector_norm(M, dim=1) * v).sum()),
    "diagonal": (
        "L(S) = sum(diagonal(S @ Sᵀ)^1.5)", "", lambda M, **_: (torch.diagonal(M @ M.T) ** 1.5).sum(),
    ),
    "spectral": ("L(S) = spectral_norm(S)", "", lambda M, **_: torch.linalg.matrix_norm(M, 2)),
    "solved": (
        "L(S) = dot(v, solve(I + S @ Sᵀ, v)) + trace(inverse(I + S @ Sᵀ))", "",
        lambda M, v, **_: v @ torch.linalg.solve(eye(M) + M @ M.T, v) + torch.trace(torch.linalg.inv(eye(M) + M @ M.T)),
    ),
    "orthogonal_factor": (
        "L(S) = dot(newton_schulz3(S, steps=3, ε=0.1), outer(v, k))", "newton_schulz3",
        lambda M, k, v, **_: (_orthogonal(M) * torch.outer(v, k)).sum(),
    ),
}  # fmt: skip


def _orthogonal(M: Tensor) -> Tensor:
    x = M / (M.norm() + 0.1)
    for _ in range(3):
        x = (3 * x - x @ x.T @ x) / 2
    return x


def program(name: str) -> Program:
    text, uses, _ = MORE[name]
    read = [line for symbol, line in DECLARED.items() if re.search(rf"(?<![A-Za-z_]){symbol}(?![A-Za-z_0-9])", text)]
    given = [*(line for line in read if not line.startswith("input k")), DECLARED["k"]]
    use = [f"use {uses}"] if uses else []
    lines = ["rule Memory", *use, *given, "input β > 0", "state M : real[dv, dk] = 0", "output o : real[dv]"]
    return compiled("\n".join([*lines, text, "M' = M - β*∇L(M)", "o  = M' @ k"]) + "\n")


@pytest.mark.parametrize("name", MORE)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10**6), dk=st.integers(1, 5), dv=st.integers(2, 5), n=st.integers(1, 5))
def test_more_memories(name: str, seed: int, dk: int, dv: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = {"X": (n, dk), "Y": (n, dv), "Q": (dv, dv)}
    inputs = drawn(seed, dk, dv) | {symbol: rng.normal(size=shape) for symbol, shape in shapes.items()}
    start = rng.normal(size=(dv, dk))
    run = Simulation(program(name), states={"M": start}, sizes={"dv": dv})
    run.step(inputs=inputs)
    M = tensor(start).requires_grad_()
    loss = MORE[name][2](M=M, **{symbol: tensor(value) for symbol, value in inputs.items()})
    (gradient,) = torch.autograd.grad(loss, M)
    wanted = start - inputs["β"] * gradient.numpy()
    np.testing.assert_allclose(run.states["M"], wanted, rtol=1e-10, atol=1e-10 * (1 + np.abs(wanted).max()))
