"""Protocols: a server and many parties, simulated in one process or spread over the ranks of a process group.

Every party runs the same generator; an engine advances them side by side, adds up what they yield, and hands the
reductions back. No engine contains mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dotopt.runtime.functions.draws import Draws, Placed
from dotopt.runtime.functions.face import Face, as_float
from dotopt.runtime.functions.learn import AtPoint, Model
from dotopt.runtime.functions.messages import Max, Mean, Min, Sum, Total, gathered
from dotopt.runtime.functions.objective import Objective

Party = Generator[Sequence[Sum], list[Tensor], tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]]


class Field:
    """An operator of the user: a function from vectors to vectors."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def value(self, point: Tensor, *rest: Any) -> Tensor:
        """The operator at a point; raises ValueError for a value of another shape."""
        found = as_float(self.function(point, *rest)).detach().to(point)
        if found.shape != point.shape:
            raise ValueError(f"an operator maps {tuple(point.shape)} to the same shape, and gave {tuple(found.shape)}")
        return found


class Member:
    """The function of one party; samples that are None are left out of its arguments."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def value(self, point: Tensor, *samples: Any) -> Tensor:
        """Its value at a point."""
        return self.function.value(point, *_given(samples))  # type: ignore[no-any-return]

    def gradient(self, point: Tensor, *samples: Any, wrt: int = 0) -> Tensor:
        """Its gradient at a point."""
        return self.function.gradient(point, *_given(samples), wrt=wrt)  # type: ignore[no-any-return]


def _given(samples: Sequence[Any]) -> list[Any]:
    return [sample for sample in samples if sample is not None]


class Members:
    """The functions of the parties here, by position from 0, as compiled code counts them."""

    def __init__(self, members: Mapping[int, Member]) -> None:
        self.members = members

    def __getitem__(self, position: int) -> Member:
        return self.members[position + 1]


@dataclass
class Round:
    """What one round cost: who took part, and the bytes that went up to the server and down to all parties."""

    number: int
    parties: tuple[int, ...]
    up: int
    down: int


class Protocol(Face):
    """A compiled protocol: `Rule.simulate(model, clients=…)` in one process, `Rule.distributed(…)` over ranks."""

    def __init__(self, **given: Any) -> None:
        """Raises TypeError for unknown keywords, ValueError for values out of range."""
        self.configure(dict(given))
        self.chosen, self.party = self.step_function

    @classmethod
    def simulate(
        cls,
        model: nn.Module | Tensor,
        clients: Sequence[Callable[..., Any]],
        *,
        batches: Callable[[int, int, int], Any] | None = None,
        **given: Any,
    ) -> Simulation:
        """All parties in this process. `model` is a module, whose parameters are moved, or a vector.

        `clients` hold one function each: the loss (of a module: a function of the sample alone, which reads the
        module; of a vector: of the vector and the sample), or the operator, a function from vectors to vectors.
        `batches(client, round, pass)` draws a client's sample; without it there is none. Clients count from 1.
        """
        return Simulation(cls(**given), model, clients, batches)

    @classmethod
    def distributed(
        cls,
        model: nn.Module | Tensor,
        clients: Mapping[int, Callable[..., Any]],
        total: int,
        *,
        batches: Callable[[int, int, int], Any] | None = None,
        group: Any = None,
        **given: Any,
    ) -> Distributed:
        """The parties spread over the ranks of a process group: this rank holds `clients`, by their numbers from 1,
        of `total`. One message a phase: sums and counts, packed. Every rank ends each round with the same model.
        """
        return Distributed(cls(**given), model, clients, total, batches, group)


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
        batches: Callable[[int, int, int], Any] | None,
        total: int | None = None,
    ) -> None:
        self.rule = rule
        members = clients if isinstance(clients, Mapping) else dict(enumerate(clients, start=1))
        self.total = len(members) if total is None else total
        if not self.total or any(not 1 <= i <= self.total for i in members):
            raise ValueError(f"{rule.rule.name} needs parties numbered from 1 to {self.total}")
        self.model = Model([p for p in model.parameters() if p.requires_grad]) if isinstance(model, nn.Module) else None
        self.x = self.model.vector() if self.model is not None else as_float(model).detach().clone().reshape(-1)
        self.members = {i: self._member(f) for i, f in members.items()}
        self.batches = batches
        self.number = 0
        self.state: dict[str, Any] | None = None
        self.own: dict[int, dict[str, Any]] = {}  # what each party keeps; set before the first round, it starts there
        self.common: dict[str, Any] = {}  # starting values of states that all know, where they are not the rule's
        self.history: list[Round] = []

    def run(self, rounds: int, callback: Callable[[Simulation], Any] | None = None) -> Simulation:
        """`rounds` more rounds; stops early if `callback(self)` is true. Raises ValueError if a party's message is no
        number or has another shape; then the round has not taken place.
        """
        for _ in range(rounds):
            self.round()
            if callback is not None and callback(self):
                break
        return self

    def round(self) -> Round:
        """One round."""
        rule, role = self.rule.rule, self.rule.rule.role
        assert role is not None
        number = self.number + 1
        sizes = {role.set: self.total}
        for param in rule.params:
            sizes |= dict.fromkeys(param.axes, self.x.numel())
        samples = {x.name: Placed(self._draw) for x in rule.samples}
        random = self.rule.draws(self.x, number, samples=samples)
        with torch.no_grad():
            state, own = self._started(sizes, random)
            chosen = tuple(self.rule.chosen(self.rule.hyper, sizes, random))
            given = [Members(self.members)] * len(rule.asked)
            here = [i for i in chosen if i in self.members]
            done, up, down = self._advance({
                i: self.rule.party(
                    i, self.x, *given, state, own.get(i), number, number == 1, self.rule.hyper, sizes, random
                )
                for i in (None, *here)
            })  # fmt: skip
        moved, self.state, _ = done[None]
        (self.x,) = moved.values()
        self.own = own | {i: done[i][2] for i in here}
        self.number = number
        if self.model is not None:
            self.model.move(self.x)
        known = self.x.numel() * self.x.element_size()
        self.history.append(Round(number, chosen, up, (down + known) * len(chosen)))
        return self.history[-1]

    def _advance(self, runs: dict[int | None, Party]) -> tuple[dict[int | None, Any], int, int]:
        """Advances all parties from message to message; what each returns, and the bytes up and down."""
        waiting = {i: next(run) for i, run in runs.items()}
        done: dict[int | None, Any] = {}
        up = down = 0
        while waiting:
            totals = gathered(list(waiting.items()))
            self.reduce(totals)
            values = [total.value() for total in totals]
            up += sum(total.bytes for total in totals)
            down += sum(value.numel() * value.element_size() for value in values)
            coming = {}
            for i in waiting:
                try:
                    coming[i] = runs[i].send(values)
                except StopIteration as end:
                    done[i] = end.value
            waiting = coming
        return done, up, down

    def reduce(self, totals: list[Total]) -> None:
        """Joins the totals of this process with those of others: there are none."""

    # ---- parts

    def _member(self, function: Callable[..., Any]) -> Member:
        if self.model is not None:
            return Member(AtPoint(function, self.model))
        operator = any(asked.word == "operator" for asked in self.rule.rule.asked)
        return Member(Field(function) if operator else Objective(function))

    def _draw(self, step: int, party: int, turn: int = 1, *more: int) -> Any:
        return None if self.batches is None else self.batches(party, step, turn)

    def _started(self, sizes: dict[str, int], random: Draws) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        if self.state is not None:
            return self.state, self.own
        role = self.rule.rule.role
        assert role is not None
        whole = self.rule.init(self.x, self.rule.hyper, sizes, random)
        own = {i: {name: whole[name].clone() for name in role.states} for i in self.members}
        return {name: v for name, v in whole.items() if name not in role.states} | self.common, own | self.own


class Distributed(Simulation):
    """A protocol whose parties are spread over the ranks of a process group."""

    def __init__(
        self,
        rule: Protocol,
        model: nn.Module | Tensor,
        clients: Mapping[int, Callable[..., Any]],
        total: int,
        batches: Callable[[int, int, int], Any] | None,
        group: Any,
    ) -> None:
        super().__init__(rule, model, dict(clients), batches, total)
        self.group = group
        self.known: dict[str, tuple[int, ...]] = {}

    def reduce(self, totals: list[Total]) -> None:
        """One all-reduce for all sums and counts of a phase; one more for each maximum or minimum."""
        import torch.distributed as dist

        like = self.x
        sums = [total for total in totals if total.kind in (Sum, Mean)]
        shapes = self._shapes(totals)
        if sums:
            parts = [_or_zeros(total, shapes[total.name], like).reshape(-1) for total in sums]
            counts = torch.tensor([total.count for total in sums], dtype=like.dtype, device=like.device)
            packed = torch.cat([*parts, counts])
            dist.all_reduce(packed, group=self.group)
            start = 0
            for total, part in zip(sums, parts, strict=True):
                total.total = packed[start : start + part.numel()].reshape(shapes[total.name])
                start += part.numel()
            for total, count in zip(sums, packed[start:], strict=True):
                total.count = int(count)
                total.total = total.total if total.count else None
        for total in totals:
            if total.kind in (Max, Min):
                sign = 1.0 if total.kind is Max else -1.0
                empty = torch.full(shapes[total.name], -torch.inf, dtype=like.dtype, device=like.device)
                part = empty if total.total is None else sign * total.total
                dist.all_reduce(part, dist.ReduceOp.MAX, group=self.group)
                total.total = sign * part

    def _shapes(self, totals: list[Total]) -> dict[str, tuple[int, ...]]:
        """The shape of each reduction: a rank without parties in a round has not seen one."""
        import torch.distributed as dist

        seen = {total.name: tuple(total.total.shape) for total in totals if total.total is not None}
        missing = [total.name for total in totals if total.name not in self.known and total.name not in seen]
        self.known |= seen
        if missing or self.number == 0:  # all ranks agree in the first round, and whenever one is new to a message
            found: list[Any] = [None] * dist.get_world_size(self.group)
            dist.all_gather_object(found, self.known, group=self.group)
            for other in found:
                self.known |= other
        return {total.name: self.known.get(total.name, tuple(self.x.shape)) for total in totals}


def _or_zeros(total: Total, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.zeros(shape, dtype=like.dtype, device=like.device) if total.total is None else total.total
