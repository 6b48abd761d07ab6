"""What the parties of a protocol send, and how an engine adds it up.

A reduction is a pair of a total and a count, so that it may be taken in any grouping: within a rank first, then
between ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dotopt.runtime.functions.parties import PartyError

FEW = 256  # different numbers that a message may have to travel as a table


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

    def add(self, message: Sum, party: int, shapes: dict[str, tuple[int, ...]]) -> None:
        """Takes in one message. Raises `PartyError` for NaN or infinite numbers and for another shape than before."""
        part = message.part
        if part is None:
            return
        if not bool(torch.isfinite(part).all()):
            raise PartyError(party, f"sent `{message.name}` with NaN or infinite numbers")
        shape = shapes.setdefault(message.name, tuple(part.shape))
        if part.shape != shape:
            raise PartyError(party, f"sent `{message.name}` of shape {tuple(part.shape)}, others {shape}")
        self.total = part if self.total is None else self.kind.joined(self.total, part)
        self.count += 1
        self.bytes += wire_bytes(part)

    def value(self) -> Tensor:
        """The reduction. Raises ValueError if nobody sent anything."""
        if self.total is None:
            raise ValueError(f"nobody sent `{self.name}` in this round")
        return self.total / self.count if self.kind.averaged else self.total


def gathered(
    messages: Mapping[int | None, Sequence[Sum]], shapes: dict[str, tuple[int, ...]]
) -> tuple[list[Total], dict[int, Exception]]:
    """The totals of one phase from the messages of several parties, in the order of the parties; and who sent what
    does not count. `shapes` are those of all messages so far, by name.
    """
    kinds = [(type(m), m.name) for m in next(iter(messages.values()), ())]
    totals, wrong = [Total(kind, name) for kind, name in kinds], dict[int, Exception]()
    for party, sent in messages.items():
        for total, message in zip(totals, sent, strict=True):
            try:
                total.add(message, party or 0, shapes)
            except PartyError as error:
                wrong.setdefault(error.party, error)
    return totals, wrong


def wire_bytes(part: Tensor) -> int:
    """The bytes of a message in the shortest of three forms: whole; as values with 4-byte places; or, of at most 256
    different numbers, as a table of them with a few bits an entry (signs and levels).

    >>> wire_bytes(torch.tensor([0.5, -0.5]).repeat(40))       # a bit each, and two numbers of 4 bytes
    18
    """
    size = part.element_size()
    shortest = min(part.numel() * size, int(torch.count_nonzero(part)) * (size + 4))
    flat = part.reshape(-1)
    if flat[:1024].unique().numel() <= FEW and (levels := flat.unique().numel()) <= FEW:
        bits = max(levels - 1, 0).bit_length()
        shortest = min(shortest, -(-flat.numel() * bits // 8) + levels * size)
    return shortest
