"""Protocols: a server and many parties, simulated in one process or spread over the ranks of a process group.

Every party runs the same generator; an engine advances them side by side, adds up what they yield, and hands the
reductions back. No engine contains mathematics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dotopt.runtime.functions.face import Face
from dotopt.runtime.functions.ranks import Distributed
from dotopt.runtime.functions.simulation import Setting, Simulation


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
        faults: str = "raise",
        checkpoint: str | Path | None = None,
        **given: Any,
    ) -> Simulation:
        """All parties in this process. `model` is a module, whose parameters are moved, or a vector.

        `clients` hold one function each: the loss (of a module: a function of the sample alone, which reads the
        module; of a vector: of the vector and the sample), or the operator, a function from vectors to vectors.
        `batches(client, round, pass)` draws a client's sample; without it there is none. Clients count from 1.

        A client that raises, or sends NaN or another shape, raises in `run`, and the round has not taken place; with
        `faults="leave_out"` the round is run again as if it had not been chosen. `checkpoint` is a file that is
        written after each round; a simulation that finds it goes on from there.
        """
        return Simulation(cls(**given), model, clients, Setting(batches, faults, checkpoint))

    @classmethod
    def distributed(
        cls,
        model: nn.Module | Tensor,
        clients: Mapping[int, Callable[..., Any]],
        total: int,
        *,
        batches: Callable[[int, int, int], Any] | None = None,
        faults: str = "raise",
        checkpoint: str | Path | None = None,
        group: Any = None,
        **given: Any,
    ) -> Distributed:
        """The parties spread over the ranks of a process group: this rank holds `clients`, by their numbers from 1,
        of `total`. One message a phase: sums and counts, packed. Every rank ends each round with the same model.
        Faults and checkpoints are as in `simulate`.
        """
        return Distributed(cls(**given), model, clients, Setting(batches, faults, checkpoint), total, group)
