"""How states and parameters lie in memory: what a user may ask for, what it costs, and what each format can hold.

The words of users, and the formats that they mean:

    fp32, bf16, fp16        plain numbers
    int8       int8         signed dynamic codes; where the state is never negative: uint8, twice as fine
    int8:sqrt  sqrt8        codes of the root of a state that is never negative: small entries survive beside large ones
    int8:log   log8         eight steps an octave over 32 octaves, for a state that is never negative
    fp8        fp8          e4m3

The formats of 8 bits have a scale in float32 for every block of 256 entries, in the order of memory. The dynamic codes
are those of Dettmers, Lewis, Shleifer and Zettlemoyer, "8-bit Optimizers via Block-wise Quantization" (2021), with
levels a factor 8 apart rather than 10: level i has 2^i codes evenly spaced, code n stands for the middle of its cell,

    value(n) = p²(7n/8 + 7/16 - 3p/4),   p = 2^⌊log2 n⌋,   value(0) = 0

so that every value is an exact binary number, and all backends compute it and its inverse to the same bit. The scale is
the largest magnitude of the block over the value of the last code, which therefore is kept as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from dotopt.compiler.ir import Program

BLOCK = 256  # entries with one scale
SMALL = 4096  # a tensor with fewer entries keeps its states in float32 where blocks are asked for


@dataclass(frozen=True)
class Format:
    """What lies in memory for each entry: the torch dtype and its bytes, and the value of the last code of a block.

    `nonnegative`: it has no codes for negative numbers.
    """

    dtype: str
    bytes: int
    last: Fraction | None = None
    nonnegative: bool = False

    @property
    def blocks(self) -> bool:
        """Whether there is a scale for every block."""
        return self.last is not None

    @property
    def cost(self) -> float:
        """Bytes an entry, scales included."""
        return self.bytes + (4 / BLOCK if self.blocks else 0)


def value(n: int) -> Fraction:
    """What the dynamic code `n` stands for, before it is scaled.

    >>> [float(value(n)) for n in (0, 1, 2, 3, 4, 127)]
    [0.0, 0.5625, 2.75, 6.25, 15.0, 260352.0]
    """
    p = 1 << n.bit_length() - 1 if n else 0
    return p * p * (Fraction(7 * n, 8) + Fraction(7, 16) - Fraction(3 * p, 4))


FORMATS = {
    "fp64": Format("float64", 8),
    "fp32": Format("float32", 4),
    "bf16": Format("bfloat16", 2),
    "fp16": Format("float16", 2),
    "int8": Format("int8", 1, value(127)),
    "uint8": Format("uint8", 1, value(255), nonnegative=True),
    "sqrt8": Format("uint8", 1, value(255), nonnegative=True),
    "log8": Format("uint8", 1, Fraction(15, 8), nonnegative=True),
    "fp8": Format("float8_e4m3fn", 1, Fraction(448)),
}

def narrow(program: Program, stored: Mapping[str, str]) -> frozenset[str]:
    """The arrays that hold less than what was computed, when they lie in memory as `stored` says."""
    param = program.params[0].name
    whole = "fp64" if stored.get(param) == "fp64" else "fp32"
    lossy = {state.name for state in program.states if stored.get(state.name, whole) != whole}
    return frozenset(lossy | ({param} if f"{param} rounding" in stored else set()))
