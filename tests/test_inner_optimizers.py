"""Inner problems as a new user would write them, in modules and in optimizers, on every backend: against autograd.

Gradient steps, momentum, decay before and beside the step, several steps, proximal steps and minimisers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import dotopt
from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.lower import lower
from dotopt.compiler.text.library import Library, load
from dotopt.grammar.files import file_name

States = dict[str, Tensor]


def grad(loss: Callable[..., Tensor], *at: Tensor) -> tuple[Tensor, ...]:
    leaves = [x.detach().requires_grad_() for x in at]
    return torch.autograd.grad(loss(*leaves), leaves)


def soft(x: Tensor, c: float) -> Tensor:
    return torch.sign(x) * functional.relu(x.abs() - c)


# ---- memories over tokens --------------------------------------------------------------------------------------------

MEMORY = """rule Memory
{use}input k : real[dk]
input v : real[dv]
{declared}
output o : real[dv]
{equations}
"""
M = "hyper β > 0 = 0.2\nstate M : real[dv, dk] = 0"


def step(loss: Callable[..., Tensor], rate: float = 0.2, kept: float = 1.0, before: bool = False) -> Any:
    """`M' = kept*M - rate*∇L(M, or kept*M)`, read at the key."""

    def walk(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
        (g,) = grad(lambda m: loss(m, k, v), kept * s["M"] if before else s["M"])
        m = kept * s["M"] - rate * g
        return {"M": m}, m @ k

    return walk


def huber(m: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.huber_loss(m @ k, v, reduction="sum", delta=0.5)


def logistic(m: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.softplus(-v * (m @ k)).sum()


def momentum(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
    moved = 0.8 * s["S"] - 0.2 * grad(lambda m: logistic(m, k, v), s["M"])[0]
    return {"M": s["M"] + moved, "S": moved}, (s["M"] + moved) @ k


def network(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
    def loss(A: Tensor, a: Tensor, B: Tensor, b: Tensor) -> Tensor:
        return ((B @ torch.tanh(A @ k + a) + b - v) ** 2).sum() / 2

    s = {n: x - 0.2 * g for (n, x), g in zip(s.items(), grad(loss, *s.values()), strict=True)}
    return s, s["B"] @ torch.tanh(s["A"] @ k + s["a"]) + s["b"]


def curved(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
    m = s["M"].detach().requires_grad_()
    (g,) = torch.autograd.grad(torch.log(torch.cosh(m @ k - v)).sum(), m, create_graph=True)
    (h,) = torch.autograd.grad((g * g.detach()).sum(), m)
    moved = (m - 0.2 * g + 0.02 * h).detach()
    return {"M": moved}, moved @ k


def proximal(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
    eye = torch.eye(len(k), dtype=k.dtype)
    m = (torch.outer(v, k) + s["M"] / 0.7) @ torch.linalg.inv(torch.outer(k, k) + eye / 0.7)
    return {"M": m}, m @ k


def by_rows(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
    eye, weight = torch.eye(len(k), dtype=k.dtype) / 0.7, v**2 + 1
    rows = [
        torch.linalg.solve(w * torch.outer(k, k) + eye, w * x * k + row / 0.7)
        for w, x, row in zip(weight, v, s["M"], strict=True)
    ]
    return {"M": torch.stack(rows)}, torch.stack(rows) @ k


def three_steps(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
    m = s["M"]
    for _ in range(3):
        m = m - 0.2 * grad(huber_at(k, v), m)[0]
    return {"M": m}, m @ k


def huber_at(k: Tensor, v: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda m: huber(m, k, v)


def softmax(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
    y = v**2 / (v**2).sum()
    m = s["M"] - 0.2 * grad(lambda m: torch.logsumexp(m @ k, 0) - y @ (m @ k), s["M"])[0]
    return {"M": m}, torch.softmax(m @ k, 0)


def thresholds(s: States, k: Tensor, v: Tensor) -> tuple[States, Tensor]:
    w = soft(s["w"] + v, 0.2)
    return {"w": w}, w * k.sum()


# uses, declarations, equations, shapes of the states, the same by hand
MEMORIES: dict[str, tuple[str, str, str, dict[str, tuple[str, ...]], Any]] = {
    "huber": ("", M, "r(S) = S @ k - v\nL(S) = sum(½*r(S)² if |r(S)| <= ½ else ½*(|r(S)| - 1/4))\n"
              "M' = M - β*∇L(M)\no = M' @ k", {"M": ("dv", "dk")}, step(huber)),
    "momentum": ("", f"{M}\nhyper η in [0, 1) = 0.8\nstate S : like M = 0", "L(X) = sum(log(1 + exp(-v*(X @ k))))\n"
                 "S' = η*S - β*∇L(M)\nM' = M + S'\no = M' @ k", {"M": ("dv", "dk"), "S": ("dv", "dk")}, momentum),
    "decay_then_step": ("", f"{M}\nhyper α in [0, 1] = 0.9", "L(X) = sum(|X @ k - v|^1.5)/1.5\n"
                        "M' = α*M - β*∇L(α*M)\no = M' @ k", {"M": ("dv", "dk")},
                        step(lambda m, k, v: ((m @ k - v).abs() ** 1.5).sum() / 1.5, kept=0.9, before=True)),
    "decay_and_step": ("use log_cosh\n", f"{M}\nhyper α in [0, 1] = 0.9", "L(X) = log_cosh(X @ k - v)\n"
                       "M' = α*M - β*∇L(M)\no = M' @ k", {"M": ("dv", "dk")},
                       step(lambda m, k, v: torch.log(torch.cosh(m @ k - v)).sum(), kept=0.9)),
    "symbolic_power": ("", f"{M}\nhyper p > 1 = 2.5", "L(S) = sum(|S @ k - v|^p)/p\nM' = M - β*∇L(M)\no = M' @ k",
                       {"M": ("dv", "dk")}, step(lambda m, k, v: ((m @ k - v).abs() ** 2.5).sum() / 2.5)),
    "norms": ("", M, "L(S) = ‖S @ k - v‖[3] + ‖S @ k - v‖[1.5]\nM' = M - β*∇L(M)\no = M' @ k", {"M": ("dv", "dk")},
              step(lambda m, k, v: sum(torch.linalg.vector_norm(m @ k - v, p) for p in (3, 1.5)))),
    "softmax": ("use logsumexp, softmax\n", M, "y = v²/sum(v²)\nL(X) = logsumexp(X @ k) - dot(y, X @ k)\n"
                "M' = M - β*∇L(M)\no = softmax(M' @ k)", {"M": ("dv", "dk")}, softmax),
    "cosine": ("", M, "L(S) = 1 - dot(S @ k, v)/(‖S @ k‖*‖v‖)\nM' = M - β*∇L(M)\no = M' @ k", {"M": ("dv", "dk")},
               step(lambda m, k, v: 1 - functional.cosine_similarity(m @ k, v, 0, eps=0))),
    "hinge": ("", M, "L(S) = sum(max(0, 1 - v*(S @ k))) + 0.1*‖S‖²\nM' = M - β*∇L(M)\no = M' @ k", {"M": ("dv", "dk")},
              step(lambda m, k, v: functional.relu(1 - v * (m @ k)).sum() + 0.1 * (m**2).sum())),
    "nuclear": ("use nuclear\n", M, "L(S) = 0.1*nuclear(S) + ½*‖S @ k - v‖²\nM' = M - β*∇L(M)\no = M' @ k",
                {"M": ("dv", "dk")},
                step(lambda m, k, v: 0.1 * torch.linalg.matrix_norm(m, "nuc") + ((m @ k - v) ** 2).sum() / 2)),
    "stopped": ("", M, "aim(S) = stop(tanh(S @ k) + v)\nL(S) = ½*‖S @ k - aim(S)‖²\nM' = M - β*∇L(M)\no = M' @ k",
                {"M": ("dv", "dk")},
                step(lambda m, k, v: ((m @ k - (torch.tanh(m @ k) + v).detach()) ** 2).sum() / 2)),
    "second_derivative": ("use log_cosh\n", M, "L(S) = log_cosh(S @ k - v)\n"
                          "M' = M - β*∇L(M) + β²/2*(∇²L(M) @ ∇L(M))\no = M' @ k", {"M": ("dv", "dk")}, curved),
    "network": ("", "hyper β > 0 = 0.2\nhyper h : int > 0 = 6\nstate A : real[h, dk] = 0\nstate a : real[h] = 0\n"
                "state B : real[dv, h] = 0\nstate b : real[dv] = 0", "net(P, p, Q, q) = Q @ tanh(P @ k + p) + q\n"
                "L(P, p, Q, q) = ½*‖net(P, p, Q, q) - v‖²\nA' = A - β*∇_P L(A, a, B, b)\na' = a - β*∇_p L(A, a, B, b)\n"
                "B' = B - β*∇_Q L(A, a, B, b)\nb' = b - β*∇_q L(A, a, B, b)\no = net(A', a', B', b')",
                {"A": ("h", "dk"), "a": ("h",), "B": ("dv", "h"), "b": ("dv",)}, network),
    "three_steps": ("", f"{M}\nhyper n : int > 0 = 3", "r(S) = S @ k - v\n"
                    "L(S) = sum(½*r(S)² if |r(S)| <= ½ else ½*(|r(S)| - 1/4))\n"
                    "iterate X from M repeat n:\n  X' = X - β*∇L(X)\nM' = X\no = M' @ k",
                    {"M": ("dv", "dk")}, three_steps),
    "prox": ("", "hyper η > 0 = 0.7\nstate M : real[dv, dk] = 0", "L(S) = ½*‖S @ k - v‖²\nM' = prox(L, η, M)\n"
             "o = M' @ k", {"M": ("dv", "dk")}, proximal),
    "argmin": ("", "hyper η > 0 = 0.7\nstate M : real[dv, dk] = 0", "E(S) = ½*‖S @ k - v‖² + ½/η*‖S - M‖²\n"
               "M' = argmin(E)\no = M' @ k", {"M": ("dv", "dk")}, proximal),
    "weighted_rows": ("", "hyper η > 0 = 0.7\nstate M : real[dv, dk] = 0",
                      "E(S) = ½*sum((v² + 1)*(S @ k - v)²) + ½/η*‖S - M‖²\nM' = argmin(E)\no = M' @ k",
                      {"M": ("dv", "dk")}, by_rows),
    "soft_threshold": ("", "hyper λ > 0 = 0.2\nstate w : real[dv] = 0",
                       "h(u) = sum(|u|)\nw' = prox(h, λ, w + v)\no = w'*sum(k)", {"w": ("dv",)}, thresholds),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORIES)
def test_a_memory_over_tokens(name: str, tmp_path: Path) -> None:
    use, declared, equations, shapes, by_hand = MEMORIES[name]
    path = tmp_path / "memory.opt"
    path.write_text(MEMORY.format(use=use, declared=declared, equations=equations), encoding="utf-8")
    module = dotopt.load(path).Memory()
    random = torch.Generator().manual_seed(len(name))
    sizes = {"dk": 4, "dv": 3, "h": 6}

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64)

    keys, values = drawn(7, 4), drawn(7, 3)
    starts = {n: drawn(*(sizes[axis] for axis in axes)) / 2 for n, axes in shapes.items()}
    first = module.initial_state((), 0, keys.new_zeros(()), dk=4, dv=3)
    outputs, last = module(k=keys, v=values, state=first | starts, return_state=True)
    judge = Simulation(
        lower(load(path), library=Library(tmp_path)), states={n: x.numpy() for n, x in starts.items()}, sizes={"dv": 3}
    )
    states = starts
    for t in range(7):
        (found,) = judge.step(inputs={"k": keys[t].numpy(), "v": values[t].numpy()}).values()
        states, wanted = by_hand(states, keys[t], values[t])
        states = {n: x.detach() for n, x in states.items()}
        np.testing.assert_allclose(found, wanted.detach().numpy(), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(outputs[t], wanted.detach(), rtol=1e-10, atol=1e-10)
    for n, wanted in states.items():
        np.testing.assert_allclose(judge.states[n], wanted.numpy(), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(last[n], wanted, rtol=1e-10, atol=1e-10)


# ---- optimizers ------------------------------------------------------------------------------------------------------

OPTIMIZER = "rule Inner\n{use}objective f\nparam W : {type}\nhyper lr >= 0 = 0.1\n{equations}\n"
MATRIX = "real[rows, cols]"
Move = Callable[[Tensor, Tensor, States], Tensor]


def remembered(
    loss: Callable[[Tensor, Tensor], Tensor], kept: float = 1.0, start: float = 0.0, rate: float = 0.3
) -> Move:
    """`m' = kept*m - rate*∇L(kept*m + start*g)`, `W' = W - lr*m'`."""

    def move(W: Tensor, g: Tensor, s: States) -> Tensor:
        m = kept * s.get("m", 0 * g)
        s["m"] = m - rate * grad(lambda x: loss(x, g), m + start * g)[0]
        return W - 0.1 * s["m"]

    return move


def ridge(W: Tensor, g: Tensor, s: States) -> Tensor:
    eye = torch.eye(W.shape[1], dtype=W.dtype)
    s["m"] = (s.get("m", 0 * g) / 0.5 + g) @ torch.linalg.inv(g.T @ g + eye / 0.5)
    return W - 0.1 * s["m"]


def curved_momentum(W: Tensor, g: Tensor, s: States) -> Tensor:
    m = s.get("m", 0 * g).clone().requires_grad_()
    (d,) = torch.autograd.grad(torch.log(torch.cosh(m - g)).sum(), m, create_graph=True)
    (h,) = torch.autograd.grad((d * d.detach()).sum(), m)
    s["m"] = (m - 0.3 * d + 0.1 * h).detach()
    return W - 0.1 * s["m"]


def grouped(W: Tensor, g: Tensor, s: States) -> Tensor:
    x = W - 0.1 * g
    return x * functional.relu(1 - 0.05 / x.norm(dim=1, keepdim=True))


def whole(W: Tensor, g: Tensor, s: States) -> Tensor:
    x = W - 0.1 * g
    return x * functional.relu(1 - 0.05 / x.norm())


STATE = "hyper β > 0 = 0.3\nstate m : like W = 0\ng = ∇f(W)\n"
OPTIMIZERS: dict[str, tuple[str, str, str, Move]] = {
    "huber": ("", "real[...]", STATE + "r(S) = S - g\nL(S) = sum(½*r(S)² if |r(S)| <= 0.2 else 0.2*(|r(S)| - 0.1))\n"
              "m' = m - β*∇L(m)\nW' = W - lr*m'",
              remembered(lambda m, g: functional.huber_loss(m, g, reduction="sum", delta=0.2))),
    "power": ("", "real[...]", STATE + "hyper p > 1 = 2.5\nL(S) = sum(|S - g|^p)/p\nm' = 0.9*m - β*∇L(0.9*m)\n"
              "W' = W - lr*m'", remembered(lambda m, g: ((m - g).abs() ** 2.5).sum() / 2.5, kept=0.9)),
    "norms": ("", "real[...]", STATE + "L(S) = ‖S - g‖[3] + ‖S - g‖[1]\nm' = m - β*∇L(m)\nW' = W - lr*m'",
              remembered(lambda m, g: sum(torch.linalg.vector_norm(m - g, p) for p in (3, 1)))),
    "cosine": ("", "real[...]", STATE + "L(S) = -dot(S, g)/(‖S‖*‖g‖ + 1e-3) + 0.1*‖S‖²\nm' = m - β*∇L(m + 0.1*g)\n"
               "W' = W - lr*m'",
               remembered(lambda m, g: -(m * g).sum() / (m.norm() * g.norm() + 1e-3) + 0.1 * (m**2).sum(), start=0.1)),
    "orthogonal": ("", MATRIX, STATE + "L(S) = 1/4*‖S @ Sᵀ - I‖² - dot(S, g)\nm' = m - β*∇L(m + 0.1*g)\nW' = W - lr*m'",
                   remembered(lambda m, g: ((m @ m.T - torch.eye(len(m), dtype=m.dtype)) ** 2).sum() / 4
                              - (m * g).sum(), start=0.1)),
    "stopped": ("", "real[...]", STATE + "L(S) = ½*‖S - stop(S*sign(g)) - g‖²\nm' = 0.9*m - β*∇L(0.9*m)\n"
                "W' = W - lr*m'",
                remembered(lambda m, g: ((m - (m * torch.sign(g)).detach() - g) ** 2).sum() / 2, kept=0.9)),
    "layer_norm": ("use layer_norm\n", MATRIX, STATE + "L(S) = ½*‖layer_norm(S) - g‖²\nm' = m - β*∇L(m + 0.1*g)\n"
                   "W' = W - lr*m'",
                   remembered(lambda m, g: ((functional.layer_norm(m, (m.shape[-1],)) - g) ** 2).sum() / 2, start=0.1)),
    "second_derivative": ("use log_cosh\n", "real[...]", STATE + "L(S) = log_cosh(S - g)\n"
                          "m' = m - β*∇L(m) + 0.1*(∇²L(m) @ ∇L(m))\nW' = W - lr*m'", curved_momentum),
    "ridge": ("", MATRIX, "hyper η > 0 = 0.5\nstate m : like W = 0\ng = ∇f(W)\n"
              "E(S) = ½*‖S @ gᵀ‖² - dot(S, g) + ½/η*‖S - m‖²\nm' = argmin(E)\nW' = W - lr*m'", ridge),
    "lasso": ("", "real[...]", "hyper λ >= 0 = 0.5\nh(U) = sum(|U|)\nW' = prox(h, lr*λ, W - lr*∇f(W))",
              lambda W, g, s: soft(W - 0.1 * g, 0.05)),
    "elastic_net": ("", "real[...]", "hyper λ >= 0 = 0.5\nhyper μ >= 0 = 0.3\n"
                    "E(U) = dot(∇f(W), U) + λ*sum(|U|) + μ/2*‖U‖² + ½/lr*‖U - W‖²\nW' = argmin(E)",
                    lambda W, g, s: soft((W - 0.1 * g) / 1.03, 0.05 / 1.03)),
    "group_lasso": ("", MATRIX, "hyper λ >= 0 = 0.5\nh(U) = sum(norm(U, over=cols))\n"
                    "W' = prox(h, lr*λ, W - lr*∇f(W))", grouped),
    "length": ("", "real[...]", "hyper λ >= 0 = 0.5\nh(U) = ‖U‖\nW' = prox(h, lr*λ, W - lr*∇f(W))", whole),
}  # fmt: skip


# derivatives with a tensor of ones, which no kernel has: C says so before anything moves
NO_KERNEL = {"huber", "second_derivative"}


@pytest.mark.parametrize("name", sorted(NO_KERNEL))
def test_c_refuses_what_it_has_no_kernel_for(name: str, tmp_path: Path) -> None:
    use, type, equations, _ = OPTIMIZERS[name]
    path = tmp_path / file_name("Inner")
    path.write_text(OPTIMIZER.format(use=use, type=type, equations=equations), encoding="utf-8")
    p = torch.nn.Parameter(torch.ones(4, 3))
    p.grad = torch.ones(4, 3)
    with pytest.raises(RuntimeError, match="no form that runs over many tensors"):
        dotopt.load(path).Inner([p], backend="cpu").step()
    assert torch.equal(p.detach(), torch.ones(4, 3))


@pytest.mark.parametrize(
    ("name", "backend"),
    [(name, backend) for name in OPTIMIZERS for backend in ("torch", "auto" if name in NO_KERNEL else "cpu")],
)
def test_an_optimizer(name: str, backend: str, tmp_path: Path) -> None:
    use, type, equations, move = OPTIMIZERS[name]
    path = tmp_path / file_name("Inner")
    path.write_text(OPTIMIZER.format(use=use, type=type, equations=equations), encoding="utf-8")
    random = torch.Generator().manual_seed(len(name))
    shapes = [(4, 3)] if type == MATRIX else [(4, 3), (5,)]
    params = [torch.nn.Parameter(torch.randn(s, generator=random, dtype=torch.float64)) for s in shapes]
    by_hand, states = [p.detach().clone() for p in params], [States() for _ in params]
    optimizer = dotopt.load(path).Inner(params, backend=backend)
    for _ in range(5):
        for i, p in enumerate(params):
            p.grad = torch.randn(p.shape, generator=random, dtype=torch.float64)
            by_hand[i] = move(by_hand[i], p.grad, states[i]).detach()
        optimizer.step()
        for p, wanted in zip(params, by_hand, strict=True):
            torch.testing.assert_close(p.detach(), wanted, rtol=1e-10, atol=1e-11)
