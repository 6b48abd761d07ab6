"""Rules that ask for more than `.grad`: closures, gradients elsewhere, Hessian-vector products, sums over the model."""

from __future__ import annotations

import pytest
import torch

import dotopt
from dotopt.stdlib import DAL, SAM, AdamW, Adan, Extragradient, Prodigy


def problem(seed=0):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    x, y = torch.randn(16, 4, dtype=torch.float64), torch.randn(16, 1, dtype=torch.float64)

    def loss():
        return torch.nn.functional.mse_loss(model(x), y)

    return model, loss


def closure_of(optimizer, loss):
    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure


def test_a_closure_is_optional_where_the_gradient_is_enough() -> None:
    model, loss = problem()
    optimizer = AdamW(model.parameters(), lr=0.01)
    first = optimizer.step(closure_of(optimizer, loss))
    assert first.requires_grad and loss() < first


def test_a_rule_that_needs_a_closure_says_which_line_asks_for_it() -> None:
    model, loss = problem()
    optimizer = SAM(model.parameters())
    loss().backward()
    before = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(
        TypeError, match=r"SAM asks for more than the gradient .*in line \d+: θ' = θ - η\*∇f\(y\).*closure"
    ):
        optimizer.step()
    torch.testing.assert_close(list(model.parameters()), before, rtol=0, atol=0)


@pytest.mark.parametrize("adaptive", [False, True])
def test_sam_against_its_definition(adaptive) -> None:
    model, loss = problem()
    other, other_loss = problem()
    optimizer = SAM(model.parameters(), lr=0.1, rho=0.3, adaptive=adaptive)
    for _ in range(5):
        optimizer.step(closure_of(optimizer, loss))
        params = list(other.parameters())
        grads = torch.autograd.grad(other_loss(), params)
        scale = [p.detach().abs() if adaptive else torch.ones_like(p) for p in params]
        norm = torch.sqrt(sum((s * g).square().sum() for s, g in zip(scale, grads, strict=True))) + 1e-12
        kept = [p.detach().clone() for p in params]
        with torch.no_grad():
            for p, s, g in zip(params, scale, grads, strict=True):
                p.add_(0.3 * s * s * g / norm)
        worst = torch.autograd.grad(other_loss(), params)
        with torch.no_grad():
            for p, old, g in zip(params, kept, worst, strict=True):
                p.copy_(old - 0.1 * g)
    torch.testing.assert_close(list(model.parameters()), list(other.parameters()), rtol=1e-10, atol=1e-12)


def test_the_gradients_afterwards_are_those_at_the_parameters() -> None:
    model, loss = problem()
    optimizer = SAM(model.parameters(), lr=0.1)
    point = torch.autograd.grad(loss(), list(model.parameters()))
    optimizer.step(closure_of(optimizer, loss))
    torch.testing.assert_close([p.grad for p in model.parameters()], list(point), rtol=1e-12, atol=0)


@pytest.mark.parametrize("backward", [False, True])
def test_dal_follows_the_curvature(backward) -> None:
    h = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))
    p = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    optimizer = DAL([p])

    def closure():
        value = 0.5 * p @ h @ p
        if backward:
            value.backward(retain_graph=True)
        return value

    for _ in range(3):
        start = p.detach().clone()
        g = h @ start
        rate = min(2 / float((h @ g).norm() / g.norm()), 5.0)
        optimizer.step(closure)
        torch.testing.assert_close(p.detach(), start - rate * g, rtol=1e-12, atol=0)


def test_a_closure_that_frees_the_graph_is_told_so() -> None:
    p = torch.ones(2, requires_grad=True)
    optimizer = DAL([p])
    with pytest.raises(RuntimeError, match="Hessian-vector products: let the closure return the loss without"):
        optimizer.step(closure_of(optimizer, lambda: p.square().sum()))


def test_extragradient_solves_a_game_that_descent_does_not() -> None:
    p, q = (torch.ones((), dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = Extragradient([p, q], lr=0.3)

    def field():  # the operator is what the closure leaves in the gradients: minimise over p, maximise over q
        p.grad, q.grad = q.detach().clone(), -p.detach().clone()
        return p.detach() * q.detach()

    for _ in range(200):
        optimizer.step(field)
    assert abs(p) < 1e-3 and abs(q) < 1e-3


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_sum_over_the_model_runs_over_all_groups(backend) -> None:
    torch.manual_seed(0)
    whole = torch.randn(12, dtype=torch.float64)
    joined = whole.clone().requires_grad_()
    parts = [whole[:5].clone().requires_grad_(), whole[5:].clone().requires_grad_()]
    for make in (
        lambda p: Adan(p, lr=0.1, max_grad_norm=0.5, backend=backend),
        lambda p: Prodigy(p, d0=0.1, backend=backend),
    ):
        one, two = make([joined]), make([{"params": [parts[0]]}, {"params": [parts[1]]}])
        for step in range(6):
            joined.grad = torch.sin(torch.arange(12, dtype=torch.float64) + step)
            parts[0].grad, parts[1].grad = joined.grad[:5].clone(), joined.grad[5:].clone()
            one.step()
            two.step()
        torch.testing.assert_close(torch.cat([p.detach() for p in parts]), joined.detach(), rtol=1e-10, atol=1e-12)


def test_the_value_of_the_objective(tmp_path) -> None:
    path = tmp_path / "polyak.opt"
    path.write_text(
        "rule Polyak\nobjective f\nparam θ : real[...]\nhyper m as minimum = 0\n"
        "g = ∇f(θ)\nθ' = θ - (f(θ) - m)/norm(g, over=model)²*g\n"
    )
    p = torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
    optimizer = dotopt.load(path).Polyak([p])
    optimizer.step(closure_of(optimizer, lambda: p.square().sum()))
    torch.testing.assert_close(p.detach(), torch.tensor([1.0, -0.5], dtype=torch.float64))  # exact for a square: half


def test_an_error_in_the_closure_leaves_the_parameters_where_they_were() -> None:
    model, loss = problem()
    optimizer = SAM(model.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    calls = []

    def closure():
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return closure_of(optimizer, loss)()

    with pytest.raises(KeyboardInterrupt):
        optimizer.step(closure)
    torch.testing.assert_close(list(model.parameters()), before, rtol=0, atol=0)
