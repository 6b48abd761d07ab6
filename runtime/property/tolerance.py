"""How far a backend may be from the reference: one table, with reasons.

A number is right if |backend - reference| <= relative*max(|reference|, |value before the step|), plus `absolute`.
What is further off gets a second look: the reference is run again with every number that follows from a tensor off by
a few roundings of the dtype in which the backend computes. If that alone moves the result as far, the step is badly
conditioned there, and no implementation in that dtype could do better: the sign of a difference that cancels, for
example.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Tolerance:
    """`stored` is the dtype of parameters and gradients, `computed` that of arithmetic and states.

    The reference is float64 and has no smaller range: where a number of the reference leaves `low` to `high`, a backend
    may round to 0 or overflow, and the place is left out from there on. None: the ranges are the same.
    """

    stored: str
    computed: str
    parameter: float  # relative
    state: float  # relative
    absolute: float
    rounding: float  # of `computed`
    low: float | None
    high: float | None
    largest: float  # of `stored`
    reason: str


TABLE = {
    "float64": Tolerance(
        "float64", "float64", 1e-11, 1e-11, 1e-300, 2.2e-16, None, None, 1.8e308,
        "the reference's own dtype; eight steps of reordered sums stay well below",
    ),
    "float32": Tolerance(
        "float32", "float32", 2e-5, 2e-5, 1e-37, 6e-8, 1e-30, 1e30, 3.4e38,
        "eight steps, each a few tens of roundings of 6e-8",
    ),
    "bfloat16": Tolerance(
        "bfloat16", "float32", 2**-8, 2e-5, 1e-37, 6e-8, 1e-30, 1e30, 3.3e38,
        "parameters are stored with 8 bits and read back before every step; states are float32",
    ),
    "float16": Tolerance(
        "float16", "float32", 2**-10, 2e-5, 2**-24, 6e-8, 1e-30, 1e30, 6.5e4,
        "parameters are stored with 11 bits, 2^-24 apart near 0; states are float32",
    ),
}  # fmt: skip


def tolerance(dtype: str, backend: str) -> Tolerance:
    """The row of the table; Triton's interpreter cuts off what does not fit in bfloat16, where cards round."""
    cut = dtype == "bfloat16" and backend == "triton" and os.environ.get("TRITON_INTERPRET") == "1"
    return replace(TABLE[dtype], parameter=2 * TABLE[dtype].parameter) if cut else TABLE[dtype]


ROUNDINGS = 8  # how many roundings the numbers of the second look are off by
LOOKS = 20  # how often it is run
SPREAD = 5  # how many times its spread a backend may be off
