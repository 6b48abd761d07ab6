"""Hypothesis as the driver: random examples from a seed, then the smallest one that still fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dotopt.runtime.property.outcome import Failed, Outcome, Passed, Untested


@dataclass(frozen=True, slots=True)
class Budget:
    """How many examples, from which seed, and for how many seconds a failure is shrunk."""

    examples: int = 25
    seed: int = 0
    shrinking: float = 10.0


class Disagreement(AssertionError):
    """An example on which a property fails; `size` orders such examples."""

    def __init__(self, failed: Failed, size: tuple[int, ...] = ()) -> None:
        super().__init__(failed.message)
        self.failed = failed
        self.size = size


class Enough(KeyboardInterrupt):
    """Raised by a check, or when shrinking takes too long: ends the search. Hypothesis lets nothing else through."""


def search(strategy: Any, check: Callable[[Any], None], budget: Budget) -> Outcome:
    """Passed, or the smallest failure; `check` raises `Disagreement`, or lets hypothesis reject an example."""
    from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
    from hypothesis.errors import Unsatisfiable

    best: Disagreement | None = None
    began = 0.0
    ran = 0

    def one(example: Any) -> None:
        nonlocal best, began, ran
        if best is not None and time.monotonic() - began > budget.shrinking:
            raise Enough
        try:
            check(example)
        except Disagreement as found:
            began = began or time.monotonic()
            if best is None or found.size <= best.size:
                best = found
            raise
        ran += 1

    phases = [Phase.generate, *([Phase.shrink] if budget.shrinking else [])]
    quiet = settings(
        max_examples=budget.examples, phases=phases, deadline=None, database=None, derandomize=False, print_blob=False,
        report_multiple_bugs=False, verbosity=Verbosity.quiet, suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    seeded: Any = seed(budget.seed)
    try:
        asked: Any = given(strategy)
        run: Any = asked(one)
        run = quiet(run)
        run = seeded(run)
        run()
    except (Enough, Disagreement):
        pass
    except Unsatisfiable:
        return Untested("no example satisfies the ranges and premises")
    except Exception:  # hypothesis complains of a failure that comes and goes: it is one
        if best is None:
            raise
    return best.failed if best is not None else Passed(ran)
