"""What the parties of a protocol hold: an operator or an objective each; and what goes wrong with one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime.functions.face import as_float


class PartyError(ValueError):
    """A party that gave no answer that counts: `party` is its number, `reason` what was wrong with it."""

    def __init__(self, party: int, reason: str) -> None:
        super().__init__(f"party {party} {reason}")
        self.party, self.reason = party, reason


class Field:
    """An operator of the user: a function from vectors to vectors."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def value(self, point: Tensor, *rest: Any) -> Tensor:
        """The operator at a point; raises ValueError for a value of another shape."""
        with torch.enable_grad():  # operators of games are gradients
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
