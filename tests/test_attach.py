"""Optimizers on the hooks of a model: steps inside backward, and rules that read what linear layers see."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dotopt
from dotopt import stdlib

GOLDEN = Path(__file__).parent / "golden"


def network(seed: int = 0, dtype: torch.dtype = torch.float64) -> nn.Sequential:
    torch.manual_seed(seed)
    parts = [nn.Linear(6, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3, bias=False)]
    return nn.Sequential(*parts).to(dtype)


def batches(count: int, dtype: torch.dtype = torch.float64) -> list[tuple[Tensor, Tensor]]:
    random = torch.Generator().manual_seed(1)
    shapes = ((9, 6), (9, 3))
    return [tuple(torch.randn(s, generator=random, dtype=dtype) for s in shapes) for _ in range(count)]  # type: ignore[misc]


def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (model(x) - y).square().mean()


# ---- steps inside backward -------------------------------------------------------------------------------------------

ELEMENTWISE = {
    "AdamW": {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1},
    "Lion": {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.05},
    "SGD": {"lr": 0.1, "momentum": 0.7, "nesterov": True},
    "Adan": {"lr": 0.01, "weight_decay": 0.05},
    "NAdam": {"lr": 0.02},
}
REDUCING = {
    "LAMB": {"lr": 0.02},
    "AdamP": {"lr": 0.02, "weight_decay": 0.1},
    "Adafactor": {"lr": 0.05},
    "AuON": {"lr": 0.02},
    "Muon": {"lr": 0.02},
    "DMGD": {"lr": 0.02, "hidden": 5, "seed": 3},
}


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("name", [*ELEMENTWISE, *REDUCING])
def test_equals_the_ordinary_step(name: str, backend: str) -> None:
    settings = (ELEMENTWISE | REDUCING)[name]
    backend = "auto" if name == "DMGD" and backend == "cpu" else backend  # it draws, which no kernel does
    cls = getattr(stdlib, name)
    mine, other = network(), network()
    fits = {n for n, p in other.named_parameters() if cls.rule.pattern.misfit(p.ndim) is None}
    rest = None if len(fits) == len(list(other.parameters())) else stdlib.AdamW
    named = list(other.named_parameters())
    ordinary = [cls([(n, p) for n, p in named if n in fits], **settings, backend=backend)]
    if rest is not None:
        ordinary.append(rest([p for n, p in named if n not in fits], lr=0.01, backend=backend))
    apart = {"AdamW": {"lr": 0.01}} if rest is not None else {}
    attached = dotopt.attach(mine, cls, rest=rest, backend=backend, **{name: settings}, **apart)
    for x, y in batches(4):
        loss(mine, x, y).backward()
        assert all(p.grad is None for p in mine.parameters())
        for optimizer in ordinary:
            optimizer.zero_grad()
        loss(other, x, y).backward()
        for optimizer in ordinary:
            optimizer.step()
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            # equal shapes go through one batched product, which rounds in another order than a single one
            torch.testing.assert_close(a, b, rtol=0, atol=1e-13 if name in ("Muon", "DMGD") else 0)
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(mine.parameters(), network().parameters(), strict=True))
    if rest is None and name != "Muon":
        kept = attached.state_dict()["state"]
        for index, values in ordinary[0].state_dict()["state"].items():
            for key, value in values.items():
                assert torch.equal(torch.as_tensor(kept[index][key]), torch.as_tensor(value)), key


def peak(run: Callable[[], Any]) -> int:
    """The most bytes that were allocated at one time while `run` ran, beyond those at its start."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    level = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        level += event.nbytes()
        most = max(most, level)
    return most


def test_gradients_never_live_together() -> None:
    """Twelve layers of 1 MB each: backward allocates one gradient at a time instead of all of them."""

    def deep() -> nn.Sequential:
        return nn.Sequential(*(nn.Linear(512, 512, bias=False) for _ in range(12)))

    x, size = torch.randn(2, 512), 4 * 512 * 512
    released, ordinary = deep(), deep()
    optimizer = dotopt.attach(released, stdlib.Lion, lr=1e-3)
    released(x).sum().backward()  # states are made in the first step
    live: list[int] = []
    for p in released.parameters():
        hook = p.register_hook(lambda g: live.append(sum(q.grad is not None for q in released.parameters())))
        assert hook is not None
    assert peak(lambda: released(x).sum().backward()) < 3 * size
    assert peak(lambda: ordinary(x).sum().backward()) > 12 * size
    assert max(live) == 0, "when a gradient arrives, no other is there"
    optimizer.detach()


def test_schedules_groups_and_checkpoints() -> None:
    mine, other = network(), network()
    attached = dotopt.attach(mine, stdlib.AdamW, lr=0.1)
    ordinary = stdlib.AdamW(other.named_parameters(), lr=0.1)
    schedules = [torch.optim.lr_scheduler.StepLR(o, 2, 0.5) for o in (attached, ordinary)]

    def walk(count: int, model: nn.Module, optimizer: Any, schedule: Any) -> None:
        for x, y in batches(count):
            optimizer.zero_grad()
            loss(model, x, y).backward()
            optimizer.step()
            schedule.step()

    walk(5, mine, attached, schedules[0])
    walk(5, other, ordinary, schedules[1])
    assert attached.param_groups[0]["lr"] == ordinary.param_groups[0]["lr"] == 0.025
    third = network(2)
    again = dotopt.attach(third, stdlib.AdamW, lr=0.1)
    again.load_state_dict(copy.deepcopy(attached.state_dict()))
    third.load_state_dict(mine.state_dict())
    ordinary.load_state_dict(copy.deepcopy(attached.state_dict()))  # the same checkpoint, either way
    for model, optimizer in ((third, again), (other, ordinary)):
        for x, y in batches(3):
            optimizer.zero_grad()
            loss(model, x, y).backward()
            optimizer.step()
    for a, b in zip(third.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_detached_it_is_an_ordinary_optimizer() -> None:
    model = network()
    optimizer = dotopt.attach(model, stdlib.SGD, lr=0.1)
    optimizer.detach()
    before = [p.detach().clone() for p in model.parameters()]
    loss(model, *batches(1)[0]).backward()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    optimizer.step()
    assert not any(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_a_tied_weight_is_stepped_once() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)).double()
    model[2].weight = model[0].weight
    other = copy.deepcopy(model)
    dotopt.attach(model, stdlib.SGD, lr=0.1)
    x = torch.randn(5, 4, dtype=torch.float64)
    model(x).square().sum().backward()
    ordinary = torch.optim.SGD(other.parameters(), lr=0.1)
    other(x).square().sum().backward()
    ordinary.step()
    torch.testing.assert_close(model[0].weight, other[0].weight, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SAM", "asks for more than gradients as they come"),
        ("Prodigy", "sums over all parameters"),
        ("SophiaH", "asks for more than gradients as they come"),
    ],
)
def test_what_needs_more_is_refused(name: str, words: str) -> None:
    path = Path(__file__).parent.parent / "stdlib" / "optimizers" / "sophiah.opt"
    cls = dotopt.load(path).SophiaH if name == "SophiaH" else getattr(stdlib, name)
    with pytest.raises(TypeError, match=words):
        dotopt.attach(network(), cls)


def test_clipping_by_the_norm_of_all_is_refused_when_it_is_on() -> None:
    with pytest.raises(TypeError, match="sums over all parameters"):
        dotopt.attach(network(), stdlib.Adan, max_grad_norm=1.0)
    model = network()
    optimizer = dotopt.attach(model, stdlib.Adan)
    optimizer.param_groups[0]["max_grad_norm"] = 1.0
    with pytest.raises(TypeError, match="sums over all parameters"):
        loss(model, *batches(1)[0]).backward()
    whole = dotopt.attach(network(), stdlib.Adan, max_grad_norm=1.0, release=False)
    assert whole.optimizers == {}


def test_mistakes_are_said() -> None:
    with pytest.raises(ValueError, match=r"no rule moves `0.bias` of shape \(16,\): DMGD needs.*rest=AdamW"):
        dotopt.attach(network(), stdlib.DMGD)
    with pytest.raises(TypeError, match="Lion has no option `betta`"):
        dotopt.attach(network(), stdlib.Lion, betta=1)
    with pytest.raises(ValueError, match="lr"):
        dotopt.attach(network(), stdlib.Lion, lr=-1.0)


# ---- rules that read what linear layers see --------------------------------------------------------------------------


def implicit(W: Tensor, X: Tensor, D: Tensor, lr: float) -> Tensor:
    """DGD by hand: the batched proximal step of methods B, section 7."""
    eye = torch.eye(W.shape[1], dtype=W.dtype)
    return (W - lr * D.T @ X) @ torch.linalg.inv(eye + lr * X.T @ X)


def descent(W: Tensor, X: Tensor, D: Tensor, lr: float) -> Tensor:
    return W - lr * D.T @ X


@pytest.mark.parametrize("release", [True, False])
@pytest.mark.parametrize(("name", "by_hand"), [("DeltaGD", implicit), ("SGDMemory", descent)])
def test_a_layer_against_a_loop_by_hand(name: str, by_hand: Callable[..., Tensor], release: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False)).double()
    first, second = (model[i].weight.detach().clone() for i in (0, 2))
    optimizer = dotopt.attach(model, getattr(stdlib, name), lr=0.3, release=release)
    for _ in range(5):
        x, y = torch.randn(7, 2, 5, dtype=torch.float64), torch.randn(7, 2, 3, dtype=torch.float64)
        loss(model, x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        rows, answers = x.reshape(-1, 5), y.reshape(-1, 3)
        a = (rows @ first.T).requires_grad_()
        hidden = a.tanh()
        b = hidden @ second.T
        D2 = 2 * (b - answers) / b.numel()
        (D1,) = torch.autograd.grad(b, a, D2)
        first, second = by_hand(first, rows, D1, 0.3), by_hand(second, hidden.detach(), D2.detach(), 0.3)
        torch.testing.assert_close(model[0].weight.detach(), first.detach(), rtol=1e-11, atol=1e-12)
        torch.testing.assert_close(model[2].weight.detach(), second.detach(), rtol=1e-11, atol=1e-12)


def test_the_golden_file() -> None:
    with gzip.open(GOLDEN / "B-dgd.json.gz", "rt") as file:
        data = json.load(file)
    for kind, form in (("exact", "proximal"), ("printed", "unit_input")):
        model = nn.Linear(4, 3, bias=False).double()
        with torch.no_grad():
            model.weight.copy_(torch.tensor(data["inputs"]["W0"], dtype=torch.float64))
        dotopt.attach(model, stdlib.DeltaGD, lr=data["params"]["eta"], form=form)
        steps = zip(data["inputs"]["x"], data["inputs"]["grad_y"], data["expected"][kind]["W"], strict=True)
        for x, d, wanted in steps:
            model(torch.tensor(x, dtype=torch.float64)).backward(torch.tensor(d, dtype=torch.float64))
            torch.testing.assert_close(model.weight.detach().tolist(), wanted, rtol=1e-9, atol=1e-9)


def test_several_calls_and_several_backward_passes() -> None:
    """SGDMemory is SGD: its rows, put together by the hooks, must give the gradient that autograd adds up."""
    torch.manual_seed(0)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(torch.relu_(self.inner(x)))  # in place, on what the hook saw

    mine = Twice().double()
    other = copy.deepcopy(mine)
    attached = dotopt.attach(mine, stdlib.SGDMemory, rest=stdlib.SGD, lr=0.2, release=False)
    ordinary = torch.optim.SGD(other.parameters(), lr=0.2)
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    mine(x[0]).sum().backward()  # thrown away, by `None` and not by `zero_grad`
    for p in mine.parameters():
        p.grad = None
    for part in x:
        mine(part)  # never differentiated
        for model in (mine, other):
            model(part).square().mean().backward()
    attached.step()
    ordinary.step()
    for a, b in zip(mine.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    attached.zero_grad()
    (mine(x[0]).square().mean() * 2).backward()  # the rows of the last step are gone
    other.zero_grad()
    (other(x[0]).square().mean() * 2).backward()
    attached.step()
    ordinary.step()
    torch.testing.assert_close(mine.inner.weight, other.inner.weight, rtol=1e-12, atol=1e-14)


def test_checkpointed_layers() -> None:
    mine = network()
    other = copy.deepcopy(mine)
    dotopt.attach(mine, stdlib.SGDMemory, rest=stdlib.SGD, lr=0.2)
    ordinary = torch.optim.SGD(other.parameters(), lr=0.2)
    (x, y), *_ = batches(1)
    again = torch.utils.checkpoint.checkpoint(mine, x, use_reentrant=False)
    (again - y).square().mean().backward()
    loss(other, x, y).backward()
    ordinary.step()
    for a, b in zip(mine.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_loss_scaling() -> None:
    mine = network(dtype=torch.float32)
    other = copy.deepcopy(mine)
    attached = dotopt.attach(mine, stdlib.DeltaGD, rest=stdlib.SGD, lr=0.2, release=False)
    plain = dotopt.attach(other, stdlib.DeltaGD, rest=stdlib.SGD, lr=0.2, release=False)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    (x, y), *_ = batches(1, torch.float32)
    scaler.scale(loss(mine, x, y)).backward()
    scaler.step(attached)
    scaler.update()
    loss(other, x, y).backward()
    plain.step()
    for a, b in zip(mine.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    attached.zero_grad()
    scaler.scale(loss(mine, x, y)).backward()
    scaler.unscale_(attached)
    with pytest.raises(RuntimeError, match="unscale_"):
        scaler.step(attached)


class Elsewhere(nn.Module):
    """A weight that its layer shares with something that no hook sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, x: Tensor, called: bool) -> Tensor:
        return (self.layer(x) if called else 0) + 2 * nn.functional.linear(x, self.layer.weight)


@pytest.mark.parametrize(("called", "words"), [(True, "also uses it elsewhere"), (False, "was not called")])
def test_a_weight_used_elsewhere_is_noticed(called: bool, words: str) -> None:
    model = Elsewhere()
    before = model.layer.weight.detach().clone()
    dotopt.attach(model, stdlib.SGDMemory)
    with pytest.raises(RuntimeError, match=words):
        model(torch.randn(3, 4), called).square().sum().backward()
    assert torch.equal(before, model.layer.weight)


def test_what_is_not_a_linear_layer_goes_to_the_rest() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    with pytest.raises(ValueError, match=r"`self_attn.in_proj_weight`.*moves weights of `nn.Linear`"):
        dotopt.attach(model, stdlib.DeltaGD)
    optimizer = dotopt.attach(model, stdlib.DeltaGD, rest=stdlib.AdamW, DeltaGD={"lr": 0.1}, AdamW={"lr": 1e-3})
    layered = optimizer.param_groups[0]
    assert layered["rule"] == "DeltaGD" and layered["param_names"] == ["linear1.weight", "linear2.weight"]
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(2, 5, 8)).square().mean().backward()
    moved = {name: not torch.equal(value, before[name]) for name, value in model.state_dict().items()}
    assert moved["linear1.weight"] and moved["self_attn.in_proj_weight"] and moved["norm1.weight"]


def test_without_hooks_a_layered_rule_says_what_it_needs() -> None:
    model = nn.Linear(3, 2)
    optimizer = stdlib.DeltaGD([model.weight])
    model(torch.ones(1, 3)).sum().backward()
    with pytest.raises(RuntimeError, match=r"dotopt.attach\(model, DeltaGD"):
        optimizer.step()
