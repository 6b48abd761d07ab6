"""Rules as pure functions: the same steps, nothing written into, through autograd and `torch.func`."""

from __future__ import annotations

import pytest
import torch

from dotopt import stdlib
from dotopt.stdlib import SAM, SGD, AdamW, Lion, Prodigy

RULES = (
    "AdamW Adam SGD Lion NAdam RAdam RMSprop Adagrad Adafactor LAMB AdamP Muon Shampoo SOAP Prodigy AMAdamW HybridAuON "
    "ADOPT Adan ScheduleFreeAdamW SGDSaI AMSGD MARS CautiousAdamW M3"
)
OPTIONS = {"SGD": {"momentum": 0.9, "nesterov": True}, "AdamW": {"amsgrad": True}, "Adan": {"max_grad_norm": 0.5}}


def start(cls):
    generator = torch.Generator().manual_seed(0)
    shapes = [s for s in ((4, 3), (5,), (2, 4)) if cls.rule.pattern.misfit(len(s)) is None]
    return {f"p{i}": torch.randn(s, dtype=torch.float64, generator=generator) for i, s in enumerate(shapes)}


def gradients(params, number):
    return {
        name: torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(100 * number + i))
        for i, (name, p) in enumerate(params.items())
    }


@pytest.mark.parametrize("rule", RULES.split())
def test_equals_the_optimizer_and_leaves_everything_alone(rule) -> None:
    cls, options = getattr(stdlib, rule), OPTIONS.get(rule, {})
    params = start(cls)
    own = {name: p.clone().requires_grad_() for name, p in params.items()}
    optimizer = cls(own.values(), backend="torch", **options)
    step = cls.functional(**options)
    state = step.init(params)
    for number in range(4):
        grads = gradients(params, number)
        before = [t.clone() for t in torch.utils._pytree.tree_leaves((params, grads, state))]
        new, state_new = step(params, grads, state)
        after = torch.utils._pytree.tree_leaves((params, grads, state))
        assert all(a.equal(b) or (a.isnan().all() and b.isnan().all()) for a, b in zip(before, after, strict=True))
        params, state = new, state_new
        for name, p in own.items():
            p.grad = grads[name].clone()
        optimizer.step()
    for name, p in own.items():
        torch.testing.assert_close(params[name], p.detach(), rtol=1e-9, atol=1e-12)
        for key, value in state["states"][name].items():
            torch.testing.assert_close(value, optimizer.state[p][key], rtol=1e-9, atol=1e-12)


ELEMENTWISE = ["AdamW", "Adam", "Lion", "RMSprop", "Adagrad", "NAdam", "Adan", "ADOPT", "LAMB", "Adafactor"]
BRANCHING = ("ADOPT", "Adagrad", "Adan")


@pytest.mark.parametrize("rule", ELEMENTWISE)
def test_an_ensemble_by_vmap(rule) -> None:
    cls = getattr(stdlib, rule)
    step = cls.functional()
    members = [{k: v + 0.1 * i for k, v in start(cls).items()} for i in range(3)]
    states = [step.init(member) for member in members]
    stacked = {k: torch.stack([m[k] for m in members]) for k in members[0]}
    state = torch.func.vmap(step.init)(stacked)
    for number in range(3):
        grads = [gradients(member, 10 * i + number) for i, member in enumerate(members)]
        done = [step(m, g, s) for m, g, s in zip(members, grads, states, strict=True)]
        members, states = [d[0] for d in done], [d[1] for d in done]
        whole = {k: torch.stack([g[k] for g in grads]) for k in grads[0]}
        if rule in BRANCHING:  # the count is the same for all members
            axes = {"step": None, "states": 0, "shared": 0}
            with pytest.raises(RuntimeError, match=f"{rule} branches on the number of steps.*in_dims"):
                torch.func.vmap(step)(stacked, whole, state)
            counted = state | {"step": state["step"].flatten()[0]}
            stacked, state = torch.func.vmap(step, in_dims=(0, 0, axes), out_dims=(0, axes))(stacked, whole, counted)
            state = state | {"step": state["step"].expand(3)}
        else:
            stacked, state = torch.func.vmap(step)(stacked, whole, state)
    for k in stacked:
        torch.testing.assert_close(stacked[k], torch.stack([m[k] for m in members]), rtol=1e-6, atol=1e-9)


def test_an_ensemble_of_learning_rates() -> None:
    step = Lion.functional()
    p, g = torch.ones(3), torch.ones(3)
    rates = torch.tensor([0.1, 0.2])
    moved, _ = torch.func.vmap(lambda lr: step(p, g, step.init(p), lr=lr))(rates)
    torch.testing.assert_close(moved, torch.tensor([[0.9] * 3, [0.8] * 3]))


@pytest.mark.parametrize("rule", ["AdamW", "SGD", "RMSprop", "Adagrad", "Adamax", "LAMB", "Adafactor"])
def test_derivatives_through_steps(rule) -> None:
    cls = getattr(stdlib, rule)
    step = cls.functional(**OPTIONS.get(rule, {}))

    def trained(p, lr):
        params = {"p": p}
        state = step.init(params)
        for k in range(3):
            params, state = step(params, {"p": 2 * params["p"] + k}, state, lr=lr)
        return params["p"]

    p = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64, requires_grad=True)
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(trained, (p, lr))
    slope = torch.func.grad(lambda lr: trained(p.detach(), lr).sum())(lr.detach())
    wanted = torch.autograd.grad(trained(p.detach(), lr).sum(), lr)[0]
    torch.testing.assert_close(slope, wanted)


@pytest.fixture
def double():
    """torch's counts in double precision: its powers of them are tensors when it is differentiable."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("rule", ["AdamW", "SGD", "RMSprop", "NAdam", "Adagrad", "Adadelta", "RAdam"])
def test_differentiable_as_in_torch(rule, double) -> None:
    cls, theirs = getattr(stdlib, rule), getattr(torch.optim, rule)
    p = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    found = []
    for make in (cls, theirs):
        q = p.clone()
        optimizer = make([q], lr=0.1, differentiable=True)
        for _ in range(3):
            q.grad = 2 * q.clone() + 1
            optimizer.step()
        found.append(torch.autograd.grad(q.square().sum(), p)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-9)


def test_what_is_no_function_of_gradients_is_refused() -> None:
    p = torch.ones(3, requires_grad=True)
    with pytest.raises(TypeError, match="SAM asks for more than gradients"):
        SAM.functional()
    with pytest.raises(TypeError, match="SAM asks for more than gradients"):
        SAM([p], differentiable=True)
    with pytest.raises(TypeError, match="did you mean `lr`"):
        AdamW.functional(lrr=1)
    step = AdamW.functional()
    with pytest.raises(TypeError, match="AdamW has no option"):
        step(p, p, step.init(p), rate=1)
    with pytest.raises(ValueError, match="1 parameters and 2 gradients"):
        step(p, [p, p], step.init(p))
    with pytest.raises(ValueError, match="exactly two axes"):
        stdlib.SOAP.functional().init(torch.ones(3))


def test_structures_and_types() -> None:
    step = SGD.functional(lr=1.0, maximize=True)
    params = {"a": [torch.zeros(2), torch.zeros(3, dtype=torch.bfloat16)], "b": (torch.zeros(1),)}
    grads = {"a": [torch.ones(2), torch.ones(3, dtype=torch.bfloat16)], "b": (torch.ones(1),)}
    moved, state = step(params, grads, step.init(params))
    assert isinstance(moved["b"], tuple) and moved["a"][1].dtype is torch.bfloat16
    assert all(bool((t == 1).all()) for t in torch.utils._pytree.tree_leaves(moved)) and state["step"] == 1
    prodigy = Prodigy.functional()
    moved, state = prodigy(params, grads, prodigy.init(params))
    assert set(state["shared"]) >= {"d", "d_numerator"}
