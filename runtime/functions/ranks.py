"""A protocol whose parties are spread over the ranks of a process group: one packed message a phase."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dotopt.runtime.functions.messages import Max, Mean, Min, Sum, Total
from dotopt.runtime.functions.simulation import Setting, Simulation

if TYPE_CHECKING:
    from dotopt.runtime.functions.protocol import Protocol


class Distributed(Simulation):
    """A protocol whose parties are spread over the ranks of a process group. All ranks call `run` alike.

    Where a party fails and faults raise, every rank raises in the same round. A rank that dies ends the run with
    the error of the process group; with a checkpoint, a run with any number of ranks goes on at its last round.
    """

    def __init__(
        self,
        rule: Protocol,
        model: nn.Module | Tensor,
        clients: Mapping[int, Callable[..., Any]],
        setting: Setting,
        total: int,
        group: Any,
    ) -> None:
        self.group = group
        self.agreed: dict[str, tuple[int, ...]] = {}  # shapes of messages that all ranks know
        super().__init__(rule, model, dict(clients), setting, total)

    def run(self, rounds: int, callback: Callable[[Simulation], Any] | None = None) -> Simulation:
        """`rounds` more rounds, then the bytes of all ranks are added up in `history`."""
        before = len(self.history)
        super().run(rounds, callback)
        recent = self.history[before:]
        bytes_up = torch.tensor([record.up for record in recent], dtype=torch.int64, device=self.x.device)
        if recent:
            self._all_reduce(bytes_up)
        for record, up in zip(recent, bytes_up.tolist(), strict=True):
            record.up = up
        return self

    def shared(self, failed: dict[int, str]) -> dict[int, str]:
        return {i: reason for part in self._gathered(failed) for i, reason in part.items()}

    def reduce(self, totals: list[Total], failed: int) -> bool:
        """One all-reduce for all sums and counts of a phase and for who failed; one more for each extreme."""
        import torch.distributed as dist

        like = self.x
        sums = [total for total in totals if total.kind in (Sum, Mean)]
        shapes = self._shapes(totals)
        parts = [_or_zeros(total, shapes[total.name], like).reshape(-1) for total in sums]
        counts = torch.tensor([*(total.count for total in sums), failed], dtype=like.dtype, device=like.device)
        packed = torch.cat([*parts, counts])
        self._all_reduce(packed)
        if packed[-1] > 0:
            return False
        start = 0
        for total, part in zip(sums, parts, strict=True):
            total.total = packed[start : start + part.numel()].reshape(shapes[total.name])
            start += part.numel()
        for total, count in zip(sums, packed[start:-1], strict=True):
            total.count = int(count)
            total.total = total.total if total.count else None
        for total in totals:
            if total.kind in (Max, Min):
                sign = 1.0 if total.kind is Max else -1.0
                empty = torch.full(shapes[total.name], -torch.inf, dtype=like.dtype, device=like.device)
                part = empty if total.total is None else sign * total.total
                dist.all_reduce(part, dist.ReduceOp.MAX, group=self.group)
                total.total = sign * part
        return True

    def place(self) -> Path | None:
        """Each rank writes what its own parties keep: `NAME.RANK`."""
        import torch.distributed as dist

        place = super().place()
        return None if place is None else place.with_name(f"{place.name}.{dist.get_rank(self.group)}")

    def _resume(self) -> None:
        """Goes on from the last round that all ranks of the run before have finished, however many those were."""
        place = Simulation.place(self)
        files = [] if place is None else sorted(place.parent.glob(f"{place.name}.[0-9]*"))
        saved = [torch.load(file, weights_only=True) for file in files if file.suffix[1:].isdigit()]
        if not saved:
            return
        if len({part["number"] for part in saved}) > 1:
            raise ValueError(f"the ranks of {place} stopped in different rounds: go on from an older checkpoint")
        own = {i: states for part in saved for i, states in part["own"].items()}
        self.load_state_dict({**saved[0], "own": {i: own[i] for i in self.members if i in own}})

    def _shapes(self, totals: list[Total]) -> dict[str, tuple[int, ...]]:
        """The shape of each reduction: a rank without parties in a round has not seen one."""
        missing = {total.name for total in totals if total.name not in self.agreed}  # the same on all ranks
        if missing:
            for other in self._gathered({k: v for k, v in self.shapes.items() if k in missing}):
                for name, shape in other.items():
                    if self.agreed.setdefault(name, shape) != shape:
                        raise ValueError(f"parties send `{name}` in the shapes {self.agreed[name]} and {shape}")
            self.shapes |= self.agreed
        return {total.name: self.agreed.get(total.name, tuple(self.x.shape)) for total in totals}

    # ---- messages

    def _all_reduce(self, tensor: Tensor) -> None:
        import torch.distributed as dist

        dist.all_reduce(tensor, group=self.group)

    def _gathered(self, mine: Any) -> list[Any]:
        import torch.distributed as dist

        found: list[Any] = [None] * dist.get_world_size(self.group)
        dist.all_gather_object(found, mine, group=self.group)
        return found


def _or_zeros(total: Total, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.zeros(shape, dtype=like.dtype, device=like.device) if total.total is None else total.total
