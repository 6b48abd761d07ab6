"""What the parties of a protocol send, and how an engine adds it up.

A reduction is a pair of a total and a count, so that it may be taken in any grouping: within a rank first, then
between ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sum:
    """The sum of the parts of all parties that have one."""

    name: str
    part: Tensor | None
    averaged: ClassVar[bool] = False

    @staticmethod
    def joined(a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Mean(Sum):
    """The mean of the parts."""

    averaged: ClassVar[bool] = True


class Max(Sum):
    """The largest of the parts, entry by entry."""

    @staticmethod
    def joined(a: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(a, b)


class Min(Sum):
    """The smallest of the parts, entry by entry."""

    @staticmethod
    def joined(a: Tensor, b: Tensor) -> Tensor:
        return torch.minimum(a, b)


@dataclass
class Total:
    """What several parties have sent for one reduction: the joined parts, how many there were, and their bytes."""

    kind: type[Sum]
    name: str
    total: Tensor | None = None
    count: int = 0
    bytes: int = 0

    def add(self, message: Sum, who: object) -> None:
        """Takes in one message. Raises ValueError for NaN or infinite numbers and for another shape than before."""
        part = message.part
        if part is None:
            return
        if not bool(torch.isfinite(part).all()):
            raise ValueError(f"party {who} sent `{message.name}` with NaN or infinite numbers")
        if self.total is not None and part.shape != self.total.shape:
            raise ValueError(
                f"party {who} sent `{message.name}` of shape {tuple(part.shape)}, the others {tuple(self.total.shape)}"
            )
        self.total = part if self.total is None else self.kind.joined(self.total, part)
        self.count += 1
        self.bytes += wire_bytes(part)

    def value(self) -> Tensor:
        """The reduction. Raises ValueError if nobody sent anything."""
        if self.total is None:
            raise ValueError(f"nobody sent `{self.name}` in this round")
        return self.total / self.count if self.kind.averaged else self.total


def gathered(messages: Sequence[tuple[object, Sequence[Sum]]]) -> list[Total]:
    """The totals of one phase from the messages of several parties, in the order of the parties."""
    kinds = [(type(m), m.name) for m in messages[0][1]]
    totals = [Total(kind, name) for kind, name in kinds]
    for who, sent in messages:
        for total, message in zip(totals, sent, strict=True):
            total.add(message, who)
    return totals


def wire_bytes(part: Tensor) -> int:
    """The bytes of a message: whole, or as values with 4-byte indices where that is shorter."""
    entries = int(torch.count_nonzero(part))
    return min(part.numel() * part.element_size(), entries * (part.element_size() + 4))
