"""Protocols over Flower's grid equal those in one process, also where clients fail, answer twice or come back.

The grid here calls the client app itself, with every message written to bytes and read again; Flower's own needs Ray.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("flwr")

from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid

from dotopt import stdlib
from dotopt.runtime.adapters.flower import Federation, ProtocolStrategy, client_app

DOUBLE = torch.float64
Reply = Callable[[int, int, Message], list[Message]]


class LocalGrid(Grid):
    """Nodes 11, 12, …, each with a context of its own. `weather` says what becomes of a reply."""

    def __init__(self, app: Any, nodes: int, weather: Reply = lambda node, count, reply: [reply]) -> None:
        from flwr.supercore.task_identity import TaskIdentity

        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
        self.app, self.weather, self.count = app, weather, 0
        self.contexts = {10 + i: Context(1, 10 + i, {"partition-id": i}, RecordDict(), {}) for i in range(1, nodes + 1)}

    run = property(lambda self: None)

    def set_run(self, run: Any) -> None: ...

    def create_message(self, *arguments: Any, **named: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Any) -> Any:
        raise NotImplementedError

    pull_messages = push_messages

    def get_node_ids(self) -> Iterable[int]:
        return reversed(list(self.contexts))

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        found = []
        for message in messages:
            self.count += 1
            node = message.metadata.dst_node_id
            found += self.weather(node, self.count, self.app(message, self.contexts[node]))
        return found


def losses(parties: int = 4) -> list[Callable[..., Tensor]]:
    generator = torch.Generator().manual_seed(3)
    A = torch.randn(parties, 5, 3, generator=generator, dtype=DOUBLE)
    b = torch.randn(parties, 5, generator=generator, dtype=DOUBLE)
    return [lambda x, k=0, i=i: (A[i] @ x - b[i] - 0.1 * k).square().mean() for i in range(parties)]


def operators(parties: int = 4) -> list[Callable[..., Tensor]]:
    turn = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.5]], dtype=DOUBLE)
    return [lambda z, i=i: turn @ z + 0.1 * i for i in range(parties)]


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "FedAvg": (losses, {"sampled": 2, "K": 3, "seed": 3}),
    "Scaffold": (losses, {"lr": 0.7, "local_lr": 0.02, "K": 3, "sampled": 2, "seed": 3}),
    "ScaffoldMVR": (losses, {"lr": 0.7, "local_lr": 0.02, "K": 3, "sampled": 2, "beta": 0.3, "seed": 5}),
    "MASHA1": (operators, {"lr": 0.05, "tau": 0.6, "k": 1, "sampled": 3, "seed": 4}),
    "MASHA2": (operators, {"lr": 0.05, "tau": 0.6, "k": 1, "seed": 2}),
    "DiLoCo": (losses, {"local_steps": 3}),
    "OneBitAdam": (losses, {"warmup": 3}),
}  # fmt: skip


def samples(party: int, number: int, turn: int) -> int:
    return party + number + turn


def start() -> Tensor:
    return torch.linspace(-1, 1, 3, dtype=DOUBLE)


def federation(name: str, weather: Any = None, **more: Any) -> Federation:
    functions, given = CASES[name]
    rule = getattr(stdlib, name)(**given)
    parties = functions()
    app = client_app(
        rule,
        lambda context: (start(), parties[int(context.node_config["partition-id"]) - 1]),
        batches=samples if functions is losses else None,
    )
    return Federation(rule, start(), LocalGrid(app, 4, weather) if weather else LocalGrid(app, 4), **more)


def simulated(name: str, rounds: int, **more: Any) -> Any:
    functions, given = CASES[name]
    batches = samples if functions is losses else None
    return getattr(stdlib, name).simulate(start(), functions(), batches=batches, **given, **more).run(rounds)


@pytest.mark.parametrize("name", CASES)
def test_a_federation_is_the_simulation(name: str) -> None:
    run, wanted = federation(name), simulated(name, 8)
    run.run(8)
    torch.testing.assert_close(run.x, wanted.x, rtol=1e-12, atol=1e-12)
    assert [(r.parties, r.up, r.down) for r in run.history] == [(r.parties, r.up, r.down) for r in wanted.history]
    for i, own in wanted.own.items():
        record = run.grid.contexts[10 + i].state.array_records.get("dotopt.new")
        for key, value in own.items() if record is not None else ():
            torch.testing.assert_close(record.to_torch_state_dict()[key], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["Scaffold", "MASHA2", "DiLoCo"])
@pytest.mark.parametrize("what", ["twice", "late", "an error", "nothing, at times", "workers that forget"])
def test_replies_go_astray(name: str, what: str) -> None:
    """What counts is what came first and to this question; who does not answer is left out of the round, whole."""
    held: list[Message] = []

    def weather(node: int, count: int, reply: Message) -> list[Message]:
        match what:
            case "twice":
                return [reply, reply]
            case "late":
                held.append(reply)
                return [*held[:-1], reply]
            case "an error" if count % 7 == 3:
                return [Message(Error(1, "gone"), reply_to=reply)]
            case "nothing, at times" if count % 5 == 2:
                return []
        return [reply]

    run = federation(name, weather)
    if what == "workers that forget":  # each message finds a new process: all that remains is the context
        functions, given = CASES[name]
        rule, parties = getattr(stdlib, name)(**given), functions()
        run.grid.app = lambda message, context: client_app(
            rule,
            lambda c: (start(), parties[int(c.node_config["partition-id"]) - 1]),
            batches=samples if functions is losses else None,
        )(message, context)
    run.run(6)
    if what in ("an error", "nothing, at times"):
        assert any(r.absent for r in run.history)
    left = [set(r.absent) for r in run.history]
    wanted = without(name, left)
    torch.testing.assert_close(run.x, wanted.x, rtol=1e-12, atol=1e-12)


class Gone:
    """A party that cannot be asked."""

    def gradient(self, *arguments: Any, **named: Any) -> Tensor:
        raise ConnectionError("gone")

    value = gradient


def without(name: str, left: list[set[int]]) -> Any:
    """The simulation in which these parties raise in these rounds."""
    functions, given = CASES[name]
    sim = getattr(stdlib, name).simulate(
        start(), functions(), batches=samples if functions is losses else None, faults="leave_out", **given
    )
    members = dict(sim.members)
    for gone in left:
        sim.members = {i: Gone() if i in gone else m for i, m in members.items()}
        sim.run(1)
    return sim


def test_the_servers_and_the_clients_rule_are_the_same() -> None:
    rule = stdlib.FedAvg(sampled=4)
    app = client_app(stdlib.FedAvg(sampled=4, lr=0.1), lambda context: (start(), losses()[0]))
    with pytest.raises(ValueError, match="nobody sent"):
        Federation(rule, start(), LocalGrid(app, 4)).run(1)
    with pytest.raises(ValueError, match="other hyperparameters"):
        Federation(rule, start(), LocalGrid(app, 4), faults="raise").run(1)


def test_the_server_goes_on_after_a_restart(tmp_path: Path) -> None:
    file = str(tmp_path / "run.pt")
    first = federation("Scaffold", checkpoint=file)
    first.run(3)
    given = CASES["Scaffold"][1]
    again = Federation(stdlib.Scaffold(**given), start(), first.grid, checkpoint=file)
    assert again.number == 3
    torch.testing.assert_close(again.run(4).x, simulated("Scaffold", 7).x, rtol=1e-12, atol=1e-12)


def test_a_strategy_moves_a_module() -> None:
    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()

    data = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(1), dtype=DOUBLE)

    def loss(module: nn.Module, i: int) -> Callable[[], Tensor]:
        return lambda: (module(data[i]) - i).square().mean()

    def party(context: Context) -> tuple[nn.Module, Any]:
        module = net()
        return module, loss(module, int(context.node_config["partition-id"]) - 1)

    given = {"lr": 0.7, "local_lr": 0.05, "K": 3, "sampled": 3, "seed": 3}
    rule = stdlib.Scaffold(**given)
    strategy, server = ProtocolStrategy(rule), net()
    seen: list[int] = []

    def evaluated(number: int, arrays: ArrayRecord) -> MetricRecord:
        seen.append(number)
        return MetricRecord({"size": float(sum(t.numel() for t in arrays.to_torch_state_dict().values()))})

    result = strategy.start(
        LocalGrid(client_app(rule, party), 4), ArrayRecord(server.state_dict()), num_rounds=5, evaluate_fn=evaluated
    )
    wanted = net()
    stdlib.Scaffold.simulate(wanted, [loss(wanted, i) for i in range(4)], **given).run(5)
    for name, value in result.arrays.to_torch_state_dict().items():
        torch.testing.assert_close(value, wanted.state_dict()[name], rtol=1e-12, atol=1e-12)
    assert seen == [1, 2, 3, 4, 5] and result.train_metrics_clientapp[5]["bytes up"] > 0
    with pytest.raises(ValueError, match="reads no configuration"):
        strategy.start(LocalGrid(None, 4), ArrayRecord(server.state_dict()), train_config=ConfigRecord({"lr": 1.0}))
