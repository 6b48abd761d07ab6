"""Protocols in one process: against torch's own optimizers and gradients, with parties that fail, over restarts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dotopt import stdlib
from dotopt.runtime.functions.messages import wire_bytes

DOUBLE = torch.float64
ROUNDS = 7


LATE = """rule Late
param x : real[...]
hyper n as sampled : int > 0 = 1
S ~ choose(clients, n)

role client[i in clients] if i in S:
  objective f
  state u : like x = {}
  u' = u
  send g = ∇f(x) + u

x' = x - 0.01*mean(g[i] for i in S)
"""


def problem(parties: int = 3, size: int = 4) -> tuple[list[Callable[[Tensor], Tensor]], Tensor]:
    generator = torch.Generator().manual_seed(5)
    A = torch.randn(parties, 6, size, generator=generator, dtype=DOUBLE)
    b = torch.randn(parties, 6, generator=generator, dtype=DOUBLE)
    losses = [lambda x, i=i: (A[i] @ x - b[i]).square().mean() for i in range(parties)]
    return losses, torch.linalg.lstsq(A.reshape(-1, size), b.reshape(-1, 1)).solution[:, 0]


def start(size: int = 4) -> Tensor:
    return torch.linspace(-1, 1, size, dtype=DOUBLE)


def slope(loss: Any, x: Tensor) -> Tensor:
    (found,) = torch.autograd.grad(loss(point := x.clone().requires_grad_()), point)
    return found


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)


def test_local_sgd_is_torch_sgd_and_a_mean() -> None:
    losses, _ = problem()
    sim = stdlib.LocalSGD.simulate(start(), losses, lr=0.03, momentum=0.7, K=4).run(ROUNDS)
    models = [start().requires_grad_() for _ in losses]
    optimizers = [torch.optim.SGD([x], lr=0.03, momentum=0.7) for x in models]
    for _ in range(ROUNDS):
        for loss, x, optimizer in zip(losses, models, optimizers, strict=True):
            for _ in range(4):
                optimizer.zero_grad()
                loss(x).backward()
                optimizer.step()
        mean = torch.stack([x.detach() for x in models]).mean(0)
        for x in models:
            x.data.copy_(mean)
    close(sim.x, mean)


def test_diloco_is_torch_adamw_inside_torch_nesterov() -> None:
    losses, _ = problem()
    sim = stdlib.DiLoCo.simulate(
        start(), losses, lr=0.6, momentum=0.8, local_lr=0.02, betas=(0.8, 0.95), weight_decay=0.3, local_steps=5
    ).run(ROUNDS)
    whole = start().requires_grad_()
    outer = torch.optim.SGD([whole], lr=0.6, momentum=0.8, nesterov=True)
    models = [start().requires_grad_() for _ in losses]
    inner = [torch.optim.AdamW([x], lr=0.02, betas=(0.8, 0.95), weight_decay=0.3) for x in models]
    for _ in range(ROUNDS):
        for loss, x, optimizer in zip(losses, models, inner, strict=True):
            x.data.copy_(whole.detach())
            for _ in range(5):
                optimizer.zero_grad()
                loss(x).backward()
                optimizer.step()
        whole.grad = torch.stack([whole.detach() - x.detach() for x in models]).mean(0)
        outer.step()
    close(sim.x, whole.detach())


def test_majority_vote() -> None:
    losses, _ = problem()
    sim = stdlib.SignSGDMajority.simulate(start(), losses, lr=0.01, momentum=0.6, weight_decay=0.1).run(ROUNDS)
    x, momenta = start(), [torch.zeros(4, dtype=DOUBLE) for _ in losses]
    for _ in range(ROUNDS):
        momenta = [0.6 * m + 0.4 * slope(loss, x) for m, loss in zip(momenta, losses, strict=True)]
        x = x - 0.01 * (torch.stack(momenta).sign().sum(0).sign() + 0.1 * x)
    close(sim.x, x)
    assert sim.history[-1].up == 3 * (1 + 2 * 8)  # a bit each for four entries, and the two numbers that they stand for


@pytest.mark.parametrize(
    ("second", "more"), [("adam", {"corrected": True}), ("yogi", {}), ("adagrad", {"betas": (0.0, 0.5)})]
)
def test_adaptive_servers(second: str, more: dict[str, Any]) -> None:
    """As Flower 1.42 takes its steps: its numbers, recorded by tests/golden/record_flower.py."""
    import json

    data = json.loads((Path(__file__).parent / "golden" / "flower.json").read_text())
    moves = torch.tensor(data["moves"], dtype=DOUBLE)  # what each client moved, by round
    wanted = torch.tensor(data["runs"][second], dtype=DOUBLE)
    rounds = iter(range(len(moves)))

    # a client whose one local step moves it by the recorded vector
    def client(i: int) -> Any:
        return lambda x, k: -(x * moves[k, i]).sum()

    sim = stdlib.FedAdam.simulate(
        torch.tensor(data["init"], dtype=DOUBLE), [client(i) for i in range(3)], batches=lambda i, r, turn: r - 1,
        local_lr=1.0, K=1, sampled=3, second=second, **{**data["hyper"], **more},
    )  # fmt: skip
    for k in rounds:
        close(sim.run(1).x, wanted[k])


def test_server_momentum_is_flowers() -> None:
    import json

    data = json.loads((Path(__file__).parent / "golden" / "flower.json").read_text())
    moves = torch.tensor(data["moves"], dtype=DOUBLE)
    sim = stdlib.ServerMomentum.simulate(
        torch.tensor(data["init"], dtype=DOUBLE),
        [lambda x, k, i=i: -(x * moves[k, i]).sum() for i in range(3)],
        batches=lambda i, r, turn: r - 1,
        local_lr=1.0, K=1, sampled=3, lr=0.7, momentum=0.6,
    )  # fmt: skip
    for wanted in data["runs"]["momentum"]:
        close(sim.run(1).x, torch.tensor(wanted, dtype=DOUBLE))


@pytest.mark.parametrize(
    ("name", "given"),
    [("EF21", {"k": 1, "lr": 0.08}), ("DIANA", {"k": 1, "alpha": 0.25, "lr": 0.08}), ("EF21", {"k": 4, "lr": 0.08})],
)
def test_compressed_differences_reach_the_very_minimum(name: str, given: dict[str, Any]) -> None:
    losses, best = problem()
    sim = getattr(stdlib, name).simulate(start(), losses, **given).run(600)
    assert float((sim.x - best).norm()) < 1e-6
    kept = torch.stack([sim.own[i]["h"] for i in (1, 2, 3)]).mean(0)
    close(kept, sim.state["g" if name == "EF21" else "s"])


def test_different_clients_reach_the_common_minimum() -> None:
    """Where FedAvg with as many local steps stops short of it."""
    losses, best = problem()
    given = {"local_lr": 0.05, "K": 5, "sampled": 3}
    assert float((stdlib.FedAvg.simulate(start(), losses, **given).run(300).x - best).norm()) > 1e-2
    sim = stdlib.FedDyn.simulate(start(), losses, strength=1.0, **given).run(300)
    assert float((sim.x - best).norm()) < 1e-9
    sim = stdlib.ProxSkip.simulate(start(), losses, lr=0.1, p=0.4, seed=1).run(900)
    assert float((sim.x - best).norm()) < 1e-9
    close(torch.stack([sim.own[i]["h"] for i in (1, 2, 3)]).mean(0), torch.zeros(4, dtype=DOUBLE))


def test_proxskip_that_always_talks_is_gradient_descent() -> None:
    losses, _ = problem()
    x = start()
    for _ in range(ROUNDS):
        x = x - 0.07 * torch.stack([slope(f, x) for f in losses]).mean(0)
    close(stdlib.ProxSkip.simulate(start(), losses, lr=0.07, p=1.0).run(ROUNDS).x, x)


def test_what_a_party_starts_with_is_known_before_its_first_round(tmp_path: Path) -> None:
    file = tmp_path / "late.opt"
    file.write_text(LATE.format("first x"), encoding="utf-8")
    import dotopt

    found = dotopt.load(file).Late.simulate(start(), problem()[0], sampled=1, seed=2).run(9)
    assert all(torch.equal(found.own[i]["u"], start()) for i in found.own)  # also of those that come in later
    file.write_text(LATE.format("first ∇f(x)"), encoding="utf-8")
    with pytest.raises(dotopt.OptError, match="a party's state that starts with"):
        dotopt.load(file).Late.simulate(start(), problem()[0], sampled=1)


def test_full_rank_powersgd_is_momentum() -> None:
    losses, _ = problem(size=6)
    losses = [lambda W, f=f: f(W.reshape(-1)) for f in losses]
    W = start(6).reshape(3, 2)
    sim = stdlib.PowerSGD.simulate(W, losses, rank=2, momentum=0.7, lr=0.05).run(ROUNDS)
    m = torch.zeros_like(W)
    for _ in range(ROUNDS):
        G = torch.stack([slope(f, W) for f in losses]).mean(0)
        m = 0.7 * m + G
        W = W - 0.05 * (G + m)
    close(sim.x, W)


def test_onebit_adam_is_adam_before_it_compresses_and_loses_nothing_after() -> None:
    losses, _ = problem()
    sim = stdlib.OneBitAdam.simulate(start(), losses, lr=0.03, betas=(0.8, 0.95), eps=1e-3, warmup=4).run(4)
    x, m, v = start(), torch.zeros(4, dtype=DOUBLE), torch.zeros(4, dtype=DOUBLE)
    for _ in range(4):
        g = torch.stack([slope(f, x) for f in losses]).mean(0)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        x = x - 0.03 * m / (v.sqrt() + 1e-3)
    close(sim.x, x)
    before = sim.state["e"] + torch.stack([sim.own[i]["r"] for i in (1, 2, 3)]).mean(0)
    wanted = before + 0.8 * sim.state["m"] + 0.2 * torch.stack([slope(f, sim.x) for f in losses]).mean(0)
    sim.run(1)
    close(sim.state["m"] + sim.state["e"] + torch.stack([sim.own[i]["r"] for i in (1, 2, 3)]).mean(0), wanted)


def test_qsgd_rounds_to_levels_and_is_right_in_the_mean() -> None:
    found = []
    for seed in range(300):
        sim = stdlib.QSGD.simulate(start(), [lambda x: (x**2).sum()], lr=1.0, levels=3, seed=seed).run(1)
        found.append(start() - sim.x)
    g = 2 * start()
    levels = torch.stack(found) * 3 / g.norm()
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.stack(found).mean(0), g, rtol=0, atol=4 * float(g.norm()) / 3 / 2 / 300**0.5)


# ---- parties that fail


class Broken:
    """A loss that fails in some rounds: by an exception, by NaN, or by another shape of what it is asked."""

    def __init__(self, loss: Any, rounds: set[int], how: str) -> None:
        self.loss, self.rounds, self.how = loss, rounds, how

    def __call__(self, x: Tensor, number: int) -> Tensor:
        if number in self.rounds:
            if self.how == "raises":
                raise ConnectionError("gone")
            return self.loss(x) * torch.nan
        return self.loss(x)


@pytest.mark.parametrize("how", ["raises", "sends NaN"])
def test_a_party_that_fails_is_as_if_not_chosen(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    losses, _ = problem(5)
    given = {"lr": 0.6, "local_lr": 0.02, "K": 2, "sampled": 5, "batches": lambda i, r, k: r}
    broken = [Broken(f, {2, 3} if i == 1 else set(), how) for i, f in enumerate(losses)]
    sim = stdlib.Scaffold.simulate(start(), broken, faults="leave_out", **given).run(5)
    assert [sorted(r.absent) for r in sim.history] == [[], [2], [2], [], []]
    assert sim.history[1].parties == (1, 3, 4, 5) and len(sim.history[1].absent[2]) > 5
    whole = [Broken(f, set(), "") for f in losses]
    monkeypatch.setattr(
        "dotopt.runtime.functions.draws.Draws.choose",
        lambda self, *a, **k: (1, 3, 4, 5) if self.step in (2, 3) else (1, 2, 3, 4, 5),
    )
    wanted = stdlib.Scaffold.simulate(start(), whole, **given).run(5)
    assert torch.equal(sim.x, wanted.x) and all(torch.equal(sim.own[i]["h"], wanted.own[i]["h"]) for i in sim.own)
    close(torch.stack([sim.own[i]["h"] for i in range(1, 6)]).mean(0), sim.state["c"])  # nothing of it is lost


def test_a_round_that_raises_has_not_taken_place() -> None:
    losses, _ = problem()
    broken = [Broken(f, {3} if i == 2 else set(), "sends NaN") for i, f in enumerate(losses)]
    sim = stdlib.FedAvg.simulate(start(), broken, sampled=3, batches=lambda i, r, k: r)
    with pytest.raises(ValueError, match="party 3 sent `Δ` with NaN"):
        sim.run(5)
    assert sim.number == 2 and len(sim.history) == 2
    broken[2].rounds = set()
    again = stdlib.FedAvg.simulate(start(), broken, sampled=3, batches=lambda i, r, k: r).run(5)
    assert torch.equal(sim.run(3).x, again.x)


def test_if_all_fail_it_is_said() -> None:
    broken = [Broken(f, {1}, "raises") for f in problem()[0]]
    sim = stdlib.FedAvg.simulate(start(), broken, sampled=3, faults="leave_out", batches=lambda i, r, k: r)
    with pytest.raises(ValueError, match="nobody sent `Δ`"):
        sim.run(1)
    assert torch.equal(sim.x, start())


def test_another_shape_than_in_the_rounds_before_is_a_fault() -> None:
    size = [3]
    operators = [lambda z, i=i: torch.ones(size[0] if i == 1 else 3, dtype=DOUBLE) for i in range(3)]
    sim = stdlib.MASHA2.simulate(torch.zeros(3, dtype=DOUBLE), operators, faults="leave_out").run(1)
    size[0] = 2
    assert "maps (3,) to the same shape" in sim.run(1).history[-1].absent[2]


# ---- going on after a restart


@pytest.mark.parametrize("name", ["Scaffold", "MASHA2", "DiLoCo", "OneBitAdam"])
def test_a_run_goes_on_at_its_round(name: str, tmp_path: Path) -> None:
    rule = getattr(stdlib, name)
    losses, _ = problem()
    parties = [lambda z, f=f: slope(f, z) for f in losses] if name == "MASHA2" else losses
    given = {"Scaffold": {"sampled": 2, "seed": 4}, "MASHA2": {"k": 2, "seed": 3}, "OneBitAdam": {"warmup": 2}}
    file = tmp_path / "run.pt"
    rule.simulate(start(), parties, checkpoint=file, **given.get(name, {})).run(3)
    later = rule.simulate(start(), parties, checkpoint=file, **given.get(name, {}))
    assert later.number == 3 and len(later.history) == 3
    assert torch.equal(later.run(4).x, rule.simulate(start(), parties, **given.get(name, {})).run(7).x)
    with pytest.raises(ValueError, match="its hyper differs|its total differs"):
        rule.simulate(start(), parties, checkpoint=file, lr=0.0123, **given.get(name, {}))
    with pytest.raises(ValueError, match="its total differs"):
        rule.simulate(start(), parties[:2], checkpoint=file, **given.get(name, {}))


def test_a_module_goes_on_too(tmp_path: Path) -> None:
    def run(rounds: int, **more: Any) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Linear(3, 1).double()
        data = [torch.randn(8, 3, dtype=DOUBLE) for _ in range(3)]
        losses = [lambda d=d, k=k: (net(d) - k).square().mean() for k, d in enumerate(data)]
        stdlib.Scaffold.simulate(net, losses, sampled=2, **more).run(rounds)
        return net

    file = tmp_path / "net.pt"
    run(2, checkpoint=file)
    assert torch.equal(run(3, checkpoint=file).weight, run(5).weight)


def test_a_matrix_is_needed_for_a_rule_of_matrices() -> None:
    with pytest.raises(ValueError, match=r"`W` of shape \[a, b\]"):
        stdlib.PowerSGD.simulate(start(), problem()[0])


def test_bytes_of_messages() -> None:
    assert wire_bytes(torch.randn(400)) == 1600
    assert wire_bytes(torch.zeros(400)) == 0
    sparse = torch.zeros(4000)
    sparse[[3, 500, 70]] = torch.randn(3)
    assert wire_bytes(sparse) == 24
    assert wire_bytes(torch.randn(800).sign()) == 100 + 8
    assert wire_bytes(torch.zeros(0)) == 0
