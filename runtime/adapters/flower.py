"""Flower: the server and the clients of a protocol, from the same `.opt` file. Needs `flwr` 1.20 or newer.

Each phase of a round is one exchange over Flower's grid. A message carries the round, the model, what everybody knows
and the reductions so far, so that any worker can answer it; what a client keeps lies in its `context.state`, for the
last two rounds that it took part in, so that a round that is run again finds what it found the first time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from torch import Tensor, nn

from dotopt.runtime.functions.messages import Sum
from dotopt.runtime.functions.parties import PartyError
from dotopt.runtime.functions.protocol import Protocol
from dotopt.runtime.functions.simulation import Party, Setting, Simulation

PartyOf = Callable[[Context], tuple[nn.Module | Tensor, Callable[..., Any]]]


# ---- the server


class Federation(Simulation):
    """A protocol whose parties are the nodes of a grid: `Federation(Scaffold(lr=1.0), model, grid).run(10)`.

    Parties count from 1, in the order of the nodes' numbers when the run begins. One that does not answer within
    `timeout` seconds, answers with an error, NaN or another shape fails, as in a simulation; of several answers the
    first counts, and one to another question does not.
    """

    def __init__(
        self,
        rule: Protocol,
        model: nn.Module | Tensor,
        grid: Grid,
        *,
        faults: str = "leave_out",
        checkpoint: str | None = None,
        timeout: float | None = 3600.0,
    ) -> None:
        self.grid, self.timeout = grid, timeout
        self.nodes = dict(enumerate(sorted(grid.get_node_ids()), start=1))
        self.told: list[list[Tensor]] = []  # the reductions of this round so far
        self.owed: dict[int, RecordDict] = {}  # ends of rounds that a party has not confirmed
        super().__init__(rule, model, dict.fromkeys(self.nodes, _elsewhere), Setting(None, faults, checkpoint))

    def sent(
        self, runs: Mapping[int | None, Party], coming: list[Tensor] | None
    ) -> tuple[dict[int | None, Sequence[Sum]], dict[int | None, Any], dict[int, Exception]]:
        """What each party sends: the server's own part here, the others' over the grid."""
        waiting, done, failed = super().sent({None: runs[None]}, coming)
        self.told = [] if coming is None else [*self.told, coming]
        parties = [i for i in runs if i is not None]
        if done:
            return waiting, done | self._ended(parties), failed
        if coming is None and self.owed:
            owing = {i: self.owed[i] for i in parties if i in self.owed}
            confirmed = self._exchange(owing)
            self.owed = {i: content for i, content in self.owed.items() if i not in confirmed}
        reached = [i for i in parties if i not in self.owed]
        answers = self._exchange({i: self._question(i, "phase") for i in reached})
        for i in parties:
            if i not in answers:
                failed[i] = PartyError(i, "did not answer")
            elif "error" in answers[i]["round"]:
                failed[i] = PartyError(i, str(answers[i]["round"]["error"]))
            else:
                parts = answers[i]["sent"].to_torch_state_dict()
                waiting[i] = [type(m)(m.name, parts.get(str(k))) for k, m in enumerate(waiting[None])]
        return waiting, done, failed

    def _ended(self, parties: list[int]) -> dict[int | None, Any]:
        """Tells the parties how the round ended, if they keep anything."""
        role = self.rule.rule.role
        if role is not None and role.states:
            ends = {i: self._question(i, "end") for i in parties}
            confirmed = self._exchange(ends)
            self.owed |= {i: content for i, content in ends.items() if i not in confirmed}
        return {i: ({}, {}, {}) for i in parties}

    def _question(self, party: int, kind: str) -> RecordDict:
        state = self.state if self.state is not None else self._started(*self._around(1))[0]
        content = RecordDict({
            "round": ConfigRecord({
                "kind": kind, "number": self.number + 1, "party": party, "total": self.total,
                "phase": len(self.told), "rule": fingerprint(self.rule), "states": list(state),
            }),
            "model": _arrays({"x": self.x}),
            "state": _arrays(state),
        })  # fmt: skip
        for phase, values in enumerate(self.told):
            content[f"told{phase}"] = _arrays({str(k): value for k, value in enumerate(values)})
        return content

    def _exchange(self, questions: Mapping[int, RecordDict]) -> dict[int, RecordDict]:
        """The answers that came, by party: the first of each that is about what was asked."""
        if not questions:
            return {}
        numbers = {self.nodes[i]: i for i in questions}
        messages = [
            Message(content, dst_node_id=self.nodes[i], message_type="train", group_id=str(content["round"]["number"]))
            for i, content in questions.items()
        ]
        found: dict[int, RecordDict] = {}
        for reply in self.grid.send_and_receive(messages, timeout=self.timeout):
            party = numbers.get(reply.metadata.src_node_id)
            if party is None or party in found or not reply.has_content():
                continue
            answer, asked = reply.content, questions[party]["round"]
            about = answer.config_records.get("round", {})
            if all(about.get(key) == asked[key] for key in ("kind", "number", "phase")):
                found[party] = answer
        return found


class ProtocolStrategy(Strategy):  # type: ignore[misc]
    """A protocol as a strategy: `ProtocolStrategy(Scaffold(lr=1.0)).start(grid, initial_arrays, num_rounds=10)`.

    The arrays are the model's parameters, in the order of the clients' modules. `federation` is the run, with its
    history; a rule has no evaluation of its own, so only `evaluate_fn` is called.
    """

    def __init__(self, rule: Protocol, *, faults: str = "leave_out", checkpoint: str | None = None) -> None:
        self.rule, self.faults, self.checkpoint = rule, faults, checkpoint
        self.federation: Federation | None = None

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """All rounds. Raises ValueError for configurations, which a rule does not read."""
        if train_config or evaluate_config:
            raise ValueError(f"{self.rule.rule.name} reads no configuration: its hyperparameters are those of the rule")
        tensors = initial_arrays.to_torch_state_dict()
        (param,) = self.rule.rule.params
        if len(param.axes) > 1 and len(tensors) == 1:
            (start,) = tensors.values()
        else:
            start = torch.cat([tensor.reshape(-1) for tensor in tensors.values()])
        federation = self.federation = Federation(
            self.rule, start, grid, faults=self.faults, checkpoint=self.checkpoint, timeout=timeout
        )
        result = Result()
        while federation.number < num_rounds:
            record = federation.round()
            result.arrays = _split(federation.x, tensors)
            costs = {"bytes up": record.up, "bytes down": record.down, "absent": len(record.absent)}
            result.train_metrics_clientapp[record.number] = MetricRecord(costs)
            found = None if evaluate_fn is None else evaluate_fn(record.number, result.arrays)
            if found is not None:
                result.evaluate_metrics_serverapp[record.number] = found
        result.arrays = _split(federation.x, tensors)
        return result

    def summary(self) -> None:
        """Nothing beyond what `start` says."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Raises TypeError: a round has as many exchanges as the rule has phases, so `start` runs it whole."""
        raise TypeError("call `start`: a round of a protocol may have several exchanges")

    configure_evaluate = configure_train

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """Raises TypeError, as `configure_train` does."""
        raise TypeError("call `start`: a round of a protocol may have several exchanges")

    aggregate_evaluate = aggregate_train


# ---- the clients


def client_app(rule: Protocol, party: PartyOf, *, batches: Callable[[int, int, int], Any] | None = None) -> ClientApp:
    """The app of all clients: `party(context)` gives the model (a module, or a tensor of its shape) and the function of
    this client, as `simulate` takes them; `batches(party, round, pass)` its samples, the same whenever it is asked.

    `rule` has the text, the hyperparameters and the seed of the server's; another is refused.
    """
    app = ClientApp()
    live: dict[tuple[int, int], tuple[tuple[int, int], Any, Party]] = {}  # generators that wait for the next phase

    @app.train()  # type: ignore[untyped-decorator]
    def train(message: Message, context: Context) -> Message:
        asked = message.content["round"]
        about = {key: asked[key] for key in ("kind", "number", "phase")}
        try:
            content = _answer(rule, party, batches, live, message.content, context)
        except Exception as error:
            content = RecordDict({"round": ConfigRecord({"error": f"raised {type(error).__name__}: {error}"})})
        content["round"] = ConfigRecord({**content.config_records.get("round", {}), **about})
        return Message(content, reply_to=message)

    return app


def _answer(
    rule: Protocol, party: PartyOf, batches: Any, live: dict[Any, Any], content: RecordDict, context: Context
) -> RecordDict:
    asked = content["round"]
    number, phase, me = int(asked["number"]), int(asked["phase"]), int(asked["party"])
    if asked["rule"] != fingerprint(rule):
        raise ValueError(f"the server runs {rule.rule.name} with another text, other hyperparameters or another seed")
    told = [list(_tensors(content[f"told{k}"]).values()) for k in range(phase)]
    where = (context.run_id, context.node_id)
    kept: dict[str, Any] | None = None
    run: Party | None = None
    if where in live:
        (at, below), kept, run = live.pop(where)
        run = run if (at, below + 1) == (number, phase) and phase else None
    sent: Any = None
    with torch.no_grad():
        if run is None:
            model, function = party(context)
            here = Simulation(rule, model, {me: function}, Setting(batches), int(asked["total"]))
            here.x = _tensors(content["model"])["x"]
            kept = _own(context, number)
            if kept is None:
                kept = here._started(*here._around(number))[1][me]
            known = _tensors(content["state"])  # without those that start with a value of the first step
            run = here.play(me, here.x, {str(name): known.get(str(name)) for name in asked["states"]}, kept, number)
            sent = run.send(None)  # type: ignore[arg-type]
            told_now = told
        else:
            told_now = told[-1:]
        try:
            for values in told_now:
                sent = run.send(values)
        except StopIteration as end:
            _keep(context, number, kept or {}, end.value[2])
            return RecordDict()
    live[where] = ((number, phase), kept, run)
    parts = {str(k): m.part for k, m in enumerate(sent) if m.part is not None}
    return RecordDict({"sent": _arrays(parts)})


def _own(context: Context, number: int) -> dict[str, Any] | None:
    """What the client kept before this round: that of the last round below it."""
    rounds = context.state.config_records.get("dotopt.rounds", {})
    for slot in ("new", "old"):
        if slot in rounds and int(rounds[slot]) < number:
            return _tensors(context.state[f"dotopt.{slot}"])
    return None


def _keep(context: Context, number: int, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Keeps what this round leaves, and what was there before it."""
    context.state["dotopt.old"], context.state["dotopt.new"] = _arrays(before), _arrays(after)
    context.state["dotopt.rounds"] = ConfigRecord({"old": number - 1, "new": number})


# ---- what both sides share


def fingerprint(rule: Protocol) -> str:
    """A digest of the rule's text, hyperparameters, options and seed."""
    whole = repr((rule.rule.text, sorted(rule.hyper.items()), rule.options, rule.seed))
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def _arrays(values: Mapping[str, Any]) -> ArrayRecord:
    """Tensors and numbers by name, in their order; what has no value yet is left out."""
    present = {name: value for name, value in values.items() if value is not None}
    return ArrayRecord({name: torch.as_tensor(value).detach().contiguous() for name, value in present.items()})


def _tensors(record: ArrayRecord) -> dict[str, Any]:
    return dict(record.to_torch_state_dict())


def _split(x: Tensor, like: Mapping[str, Tensor]) -> ArrayRecord:
    """The vector in the shapes of the model's arrays."""
    parts = x.reshape(-1).split([tensor.numel() for tensor in like.values()])
    return _arrays({name: part.reshape(t.shape).to(t) for part, (name, t) in zip(parts, like.items(), strict=True)})


def _elsewhere(*arguments: Any) -> Any:
    raise AssertionError("the functions of the parties are with the nodes")
