"""How long multiplying out may take: a deadline in processor time, that products of polynomials and z3 look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class TooLarge(ArithmeticError):
    """Multiplying out would take too long."""


_DEADLINE = [float("inf")]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Products inside the body raise `TooLarge` when this time has passed."""
    before = _DEADLINE[0]
    _DEADLINE[0] = min(before, time.process_time() + seconds)
    try:
        yield
    finally:
        _DEADLINE[0] = before


def remaining() -> float:
    """The seconds that are left."""
    return _DEADLINE[0] - time.process_time()
