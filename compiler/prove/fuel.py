"""Fuel: what a search may do, counted in steps of work, so that its answer does not depend on the machine.

A unit is about the product of two terms, half a microsecond on a usual machine. Everything that searches spends:
products of polynomials by their terms, normal forms by their nodes, evaluations by their entries, z3 by its own count.
Shares of a search are `within` a part of what is left. The clock is only a guard, at ten times what the work takes on a
slow machine: when it strikes, the claim has no verdict (`StoppedByClock`), which is an error and never `open`.

One claim at a time is decided in a process (`tank`), whichever thread asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

UNITS = 2_000_000  # of work in a second, on a usual machine
FAST, FULL = 2 * UNITS, 30 * UNITS  # for one claim
SLOW, TOLERANCE = 5, 10  # times a usual machine's time that a slow one takes; times that at which the clock strikes
LOOK = 2_000  # units between two looks at the clock
NEVER = 1 << 62


class TooLarge(ArithmeticError):
    """A share of fuel is used up: multiplying out any further would be too much work."""


class OutOfFuel(BaseException):
    """The fuel of a claim is used up; no `Exception`, so no procedure takes it for a failure of its own."""


class StoppedByClock(BaseException):
    """The guard has struck: the claim has no verdict on this machine."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a share of work ends. What was counted before is not to be seen in it: it is no number."""

    _at: float

    @property
    def left(self) -> float:
        """The work until then; negative when it is passed."""
        return self._at - _TANK.spent

    @property
    def passed(self) -> bool:
        """Whether the share is used up."""
        return _TANK.spent > self._at


@dataclass
class _Tank:
    spent: int = 0
    limit: int = NEVER  # where `OutOfFuel` is raised
    share: int = NEVER  # where the innermost share ends
    look: int = NEVER  # where the clock is looked at next
    ends: float = 0.0
    waited: float = 0.0  # seconds for answers of z3
    struck: bool = False  # whether a question of this claim was left without an answer by a clock


_TANK = _Tank()
_ONE_AT_A_TIME = threading.RLock()


def spend(units: int) -> None:
    """Counts work; raises `OutOfFuel` at the limit of the claim, `StoppedByClock` when the guard strikes."""
    _TANK.spent += units
    if _TANK.spent > _TANK.look:
        _checked()


def _checked() -> None:
    if _TANK.spent > _TANK.limit:
        raise OutOfFuel
    if _clock() > _TANK.ends:
        raise StoppedByClock
    _TANK.look = min(_TANK.limit, _TANK.spent + LOOK)


def _clock() -> float:
    """Seconds that this process was at work or waited for z3: what else the machine does is not in them."""
    return time.process_time() + _TANK.waited


@contextmanager
def waiting() -> Iterator[None]:
    """The body waits for another process."""
    begun = time.monotonic()
    try:
        yield
    finally:
        _TANK.waited += time.monotonic() - begun


def spent() -> int:
    """All that was spent so far; the difference of two answers is what was done between."""
    return _TANK.spent


def until(units: float) -> Mark:
    """The mark that so much work leads to."""
    return Mark(_TANK.spent + units)


def remaining() -> int:
    """What is left of the innermost share; not below 0 only where no claim is being decided."""
    return min(_TANK.share, _TANK.limit) - _TANK.spent


def leave_unanswered() -> None:
    """Notes that the clock took the answer of one question: then no verdict of this claim may be `open`."""
    _TANK.struck = True


def left_unanswered() -> bool:
    """Whether the clock took an answer since the outermost tank was opened."""
    return _TANK.struck


def seconds_left() -> float:
    """What is left until the guard strikes."""
    return _TANK.ends - _clock() if _TANK.look != NEVER else float("inf")


@contextmanager
def within(units: float) -> Iterator[None]:
    """Products inside the body raise `TooLarge` when so much was spent."""
    before = _TANK.share
    _TANK.share = min(before, _TANK.spent + int(units))
    try:
        yield
    finally:
        _TANK.share = before


@contextmanager
def tank(units: int) -> Iterator[None]:
    """The fuel of one claim, or of one question from outside; a tank inside another takes no more than that has."""
    with _ONE_AT_A_TIME:
        before = (_TANK.limit, _TANK.share, _TANK.look, _TANK.ends)
        _TANK.struck &= before[2] != NEVER
        _TANK.limit = min(_TANK.limit, _TANK.spent + units)
        _TANK.share = _TANK.limit if before[0] == NEVER else min(before[1], _TANK.limit)
        guard = _clock() + units / UNITS * SLOW * TOLERANCE
        _TANK.ends = guard if before[2] == NEVER else min(before[3], guard)
        _TANK.look = _TANK.spent
        try:
            yield
        finally:
            _TANK.limit, _TANK.share, _TANK.look, _TANK.ends = before


__all__ = [
    "FAST", "FULL", "UNITS", "Mark", "OutOfFuel", "StoppedByClock", "TooLarge", "leave_unanswered", "left_unanswered",
    "remaining", "seconds_left", "spend", "spent", "tank", "until", "waiting", "within",
]  # fmt: skip
