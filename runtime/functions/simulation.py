"""A protocol with all its parties in one process: rounds, history, faults, and going on after a restart.

A round changes nothing until every message of it has come: one that fails leaves the model, the states and the
number of the round as they were.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dotopt.runtime.functions.draws import Draws, Placed
from dotopt.runtime.functions.face import as_float
from dotopt.runtime.functions.learn import AtPoint, Model
from dotopt.runtime.functions.messages import Sum, Total, gathered, wire_bytes
from dotopt.runtime.functions.objective import Objective
from dotopt.runtime.functions.parties import Field, Member, Members, PartyError

if TYPE_CHECKING:
    from dotopt.runtime.functions.protocol import Protocol

Party = Generator[Sequence[Sum], list[Tensor], tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]]
FAULTS = ("raise", "leave_out")


@dataclass(frozen=True)
class Setting:
    """How a protocol is run: where samples come from, what happens to a party that fails, where to go on from."""

    batches: Callable[[int, int, int], Any] | None = None
    faults: str = "raise"
    checkpoint: str | Path | None = None

    def __post_init__(self) -> None:
        if self.faults not in FAULTS:
            raise ValueError(f"faults is {self.faults!r}, and may be {' or '.join(map(repr, FAULTS))}")


@dataclass
class Round:
    """What one round cost: who took part, and the bytes that went up to the server and down to all parties.

    `absent` are those who were chosen and left out, each with the reason.
    """

    number: int
    parties: tuple[int, ...]
    up: int
    down: int
    absent: dict[int, str] = field(default_factory=dict)


class Simulation:
    """A protocol with all its parties in one process.

    >>> import torch
    >>> from dotopt.stdlib import Scaffold
    >>> losses = [lambda x, k=k: (x - k).square().sum() for k in range(4)]
    >>> sim = Scaffold.simulate(torch.zeros(2), losses, lr=1.0, local_lr=0.1, K=5, sampled=2, seed=1)
    >>> [round(x, 3) for x in sim.run(60).x.tolist()]
    [1.5, 1.5]
    """

    def __init__(
        self,
        rule: Protocol,
        model: nn.Module | Tensor,
        clients: Sequence[Callable[..., Any]] | Mapping[int, Callable[..., Any]],
        setting: Setting,
        total: int | None = None,
    ) -> None:
        self.rule, self.setting = rule, setting
        members = clients if isinstance(clients, Mapping) else dict(enumerate(clients, start=1))
        self.total = len(members) if total is None else total
        if not self.total or any(not 1 <= i <= self.total for i in members):
            raise ValueError(f"{rule.rule.name} needs parties numbered from 1 to {self.total}")
        self.model = Model([p for p in model.parameters() if p.requires_grad]) if isinstance(model, nn.Module) else None
        self.x = self._start(model)
        self.members = {i: self._member(f) for i, f in members.items()}
        self.number = 0
        self.state: dict[str, Any] | None = None
        self.own: dict[int, dict[str, Any]] = {}  # what each party keeps; set before the first round, it starts there
        self.common: dict[str, Any] = {}  # starting values of states that all know, where they are not the rule's
        self.history: list[Round] = []
        self.shapes: dict[str, tuple[int, ...]] = {}  # of each message, from the first on
        self._resume()

    def run(self, rounds: int, callback: Callable[[Simulation], Any] | None = None) -> Simulation:
        """`rounds` more rounds; stops early if `callback(self)` is true.

        Raises `PartyError`, a ValueError, if a party raises, or sends NaN or another shape, unless the faults of
        parties leave them out; then the round has not taken place.
        """
        for _ in range(rounds):
            self.round()
            if callback is not None and callback(self):
                break
        return self

    def round(self) -> Round:
        """One round. A party that fails is left out as if it had not been chosen, or raises: as `faults` says."""
        number, name = self.number + 1, self.rule.rule.name
        absent: dict[int, str] = {}
        with torch.no_grad():
            sizes, random = self._around(number)
            state, own = self._started(sizes, random)
            chosen = tuple(self.rule.chosen(self.rule.hyper, sizes, random))
            while True:
                here = [i for i in chosen if i in self.members and i not in absent]
                runs = {i: self.play(i, self.x, state, own.get(i or 0), number) for i in (None, *here)}
                done, up, down, failed = self._advance(runs)
                if not failed:
                    break
                absent |= failed  # and the round begins again: a party may have sent before it failed
        moved, after, _ = done[None]
        (x,) = moved.values()
        if not bool(torch.isfinite(x).all()):
            raise ValueError(f"{name}: round {number} would leave the numbers; the model is as it was")
        self.x, self.state, self.number = x, after, number
        self.own = own | {i: done[i][2] for i in here}
        if self.model is not None:
            self.model.move(self.x)
        took = tuple(i for i in chosen if i not in absent)
        self.history.append(Round(number, took, up, (down + wire_bytes(x)) * len(took), absent))
        self._save()
        return self.history[-1]

    def play(
        self, party: int | None, x: Tensor, state: dict[str, Any], own: dict[str, Any] | None, number: int
    ) -> Party:
        """The generator of one party in a round; without a number it is the one that computes what all know."""
        rule = self.rule
        given = [Members(self.members)] * len(rule.rule.asked)
        sizes, random = self._around(number)
        return rule.party(party, x, *given, state, own, number, number == 1, rule.hyper, sizes, random)  # type: ignore[no-any-return]

    def _advance(self, runs: dict[int | None, Party]) -> tuple[dict[int | None, Any], int, int, dict[int, str]]:
        """Advances all parties from message to message: what each returns, the bytes up and down, and who failed."""
        coming: list[Tensor] | None = None
        done: dict[int | None, Any] = {}
        up = down = 0
        while runs:
            waiting, ended, failed = self.sent(runs, coming)
            done |= ended
            totals, wrong = gathered(waiting, self.shapes)
            failed |= wrong
            if not self.reduce(totals, len(failed)):
                return {}, 0, 0, self._left_out(failed)
            coming = [total.value() for total in totals]
            up += sum(total.bytes for total in totals)
            down += sum(wire_bytes(value) for value in coming)
            runs = {i: runs[i] for i in waiting}
        return done, up, down, {}

    def sent(
        self, runs: Mapping[int | None, Party], coming: list[Tensor] | None
    ) -> tuple[dict[int | None, Sequence[Sum]], dict[int | None, Any], dict[int, Exception]]:
        """What each party sends once it has the reductions `coming`; what those who are done return; who failed."""
        waiting: dict[int | None, Sequence[Sum]] = {}
        done: dict[int | None, Any] = {}
        failed: dict[int, Exception] = {}
        for i, run in runs.items():
            try:
                waiting[i] = run.send(coming)  # type: ignore[arg-type]
            except StopIteration as end:
                done[i] = end.value
            except Exception as error:
                if i is None:  # what everybody computes fails everywhere
                    raise
                failed[i] = error
        return waiting, done, failed

    def _left_out(self, failed: dict[int, Exception]) -> dict[int, str]:
        if self.setting.faults == "raise":
            raise next(iter(failed.values()), ValueError("a party of another process failed; that process says why"))
        return self.shared({i: _reason(error) for i, error in failed.items()})

    # ---- what processes that hold other parties add

    def reduce(self, totals: list[Total], failed: int) -> bool:
        """Joins the totals with those of other processes; false if a party has failed in any, `failed` of them here."""
        return not failed

    def shared(self, failed: dict[int, str]) -> dict[int, str]:
        """Who has failed anywhere, and why."""
        return failed

    # ---- checkpoints

    def state_dict(self) -> dict[str, Any]:
        """All that the next round depends on, in tensors, numbers and text."""
        return {
            "rule": self.rule.rule.text,
            "hyper": dict(self.rule.hyper),
            "options": list(self.rule.options),
            "seed": self.rule.seed,
            "total": self.total,
            "number": self.number,
            "x": self.x,
            "state": self.state,
            "own": self.own,
            "history": [asdict(record) for record in self.history],
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Goes on from `state_dict()`. Raises ValueError if it is of another rule, setting or model."""
        mine = self.state_dict()
        for key in ("rule", "hyper", "options", "seed", "total"):
            if saved[key] != mine[key]:
                what = "text of the rule" if key == "rule" else key
                raise ValueError(f"the checkpoint is of another run: its {what} differs from that of this one")
        if saved["x"].shape != self.x.shape:
            raise ValueError(
                f"the checkpoint is of another model: {tuple(saved['x'].shape)}, not {tuple(self.x.shape)}"
            )
        self.x = saved["x"].to(self.x)
        self.state, self.number = saved["state"], int(saved["number"])
        self.own = {int(i): dict(states) for i, states in saved["own"].items()}
        self.history = [Round(**{**record, "parties": tuple(record["parties"])}) for record in saved["history"]]
        if self.model is not None:
            self.model.move(self.x)

    def place(self) -> Path | None:
        """The file of the checkpoint of this process."""
        return None if self.setting.checkpoint is None else Path(self.setting.checkpoint)

    def _save(self) -> None:
        place = self.place()
        if place is None:
            return
        part = place.with_name(f"{place.name}.part")
        torch.save(self.state_dict(), part)
        os.replace(part, place)  # whole or not at all, also if the process dies here

    def _resume(self) -> None:
        place = self.place()
        if place is not None and place.exists():
            self.load_state_dict(torch.load(place, weights_only=True))

    # ---- parts

    def _around(self, number: int) -> tuple[dict[str, int], Draws]:
        """The sizes, and the draws of a round."""
        role, (param,) = self.rule.rule.role, self.rule.rule.params
        assert role is not None
        shape = self.x.shape if len(param.axes) > 1 else (self.x.numel(),)
        sizes = {role.set: self.total, **dict(zip(param.axes, shape, strict=True))}
        samples = {x.name: Placed(self._draw) for x in self.rule.rule.samples}
        return sizes, self.rule.draws(self.x, number, samples=samples)

    def _start(self, model: nn.Module | Tensor) -> Tensor:
        """The model as one vector; a rule of matrices takes a matrix."""
        (param,) = self.rule.rule.params
        if len(param.axes) < 2:
            return self.model.vector() if self.model is not None else as_float(model).detach().clone().reshape(-1)
        if isinstance(model, nn.Module) or model.dim() != len(param.axes):
            name, wanted = self.rule.rule.name, ", ".join(param.axes)
            raise ValueError(f"{name} moves one tensor `{param.name}` of shape [{wanted}]: give it that tensor")
        return as_float(model).detach().clone()

    def _member(self, function: Callable[..., Any]) -> Member:
        if self.model is not None:
            return Member(AtPoint(function, self.model))
        operator = any(asked.word == "operator" for asked in self.rule.rule.asked)
        return Member(Field(function) if operator else Objective(function))

    def _draw(self, step: int, party: int, turn: int = 1, *more: int) -> Any:
        return None if self.setting.batches is None else self.setting.batches(party, step, turn)

    def _started(self, sizes: dict[str, int], random: Draws) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        if self.state is not None:
            return self.state, self.own
        role = self.rule.rule.role
        assert role is not None
        whole = self.rule.init(self.x, self.rule.hyper, sizes, random)
        own = {i: {name: whole[name].clone() for name in role.states} for i in self.members}
        return {name: v for name, v in whole.items() if name not in role.states} | self.common, own | self.own


def _reason(error: Exception) -> str:
    return error.reason if isinstance(error, PartyError) else f"raised {type(error).__name__}: {error}"
