"""Powers in Triton, whose interpreter and compiler share no function for them.

A whole exponent is multiplied out by squares, in a function of its own, so that the base is computed once:

    x^5     power_5(x):  x2 = x * x;  x4 = x2 * x2;  return x4 * x

Other exponents go through logarithms; `power` takes any base, whose sign comes back if the exponent is whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from fractions import Fraction

from dotopt.compiler.emit.kernels.shared.scope import ATOM, SIGN, Text
from dotopt.compiler.ir import Node

PRODUCT = 4
LARGEST = 64  # whole exponents up to this one are multiplied out
NAMES = frozenset(("power", *(f"power_{n}" for n in range(2, LARGEST + 1))))

POWER = """\
@triton.jit
def power(x, y):
    size = tl.exp2(y * tl.log2(tl.abs(x)))
    half = tl.floor(0.5 * y)
    signed = tl.where(y == 2.0 * half, size, tl.where(y == 2.0 * half + 1.0, -size, float("nan")))
    return tl.where(y == 0.0, 1.0, tl.where(x < 0.0, signed, size))"""


def power(here: Node, args: Sequence[Text], real: str) -> Text:
    """`x ^ y` from its operands."""
    (base, level), (exponent, exponent_level) = args
    y = here.args[1].value
    if y is not None and y.denominator == 1 and abs(y) <= LARGEST:
        return _whole(base, level, int(y), real)
    if y == Fraction(1, 2):
        return f"tl.sqrt_rn({base})" if real == "float" else f"tl.sqrt({base})", ATOM
    exponent = exponent if exponent_level >= SIGN else f"({exponent})"
    x = here.args[0].value
    if x is not None and x > 0:
        return f"tl.exp2({exponent} * {math.log2(x)!r})", ATOM
    if y is not None and y.denominator != 1:  # of a base that is negative there is none
        return f"tl.exp2({exponent} * tl.log2({base}))", ATOM
    return f"power({base}, {exponent})", ATOM


def _whole(base: str, level: int, n: int, real: str) -> Text:
    if n < 0:
        below, below_level = _whole(base, level, -n, real)
        if real == "float":
            return f"tl.div_rn(1.0, {below})", ATOM
        return f"1.0 / {below if below_level >= SIGN else f'({below})'}", PRODUCT
    if n == 0:
        return "1.0", ATOM
    if n == 1:
        return base, level
    if n <= 4 and base.isidentifier():
        return " * ".join([base] * n), PRODUCT
    return f"power_{n}({base})", ATOM


def functions(text: str) -> list[str]:
    """The functions that kernels with this text call."""
    whole = sorted({int(n) for n in re.findall(r"\bpower_(\d+)\(", text)})
    return [*map(_multiplied, whole), *([POWER] if re.search(r"\bpower\(", text) else [])]


def _multiplied(n: int) -> str:
    """`x ^ n` by squares.

    >>> print(_multiplied(5))
    @triton.jit
    def power_5(x):
        x2 = x * x
        x4 = x2 * x2
        return x4 * x
    """
    squares = [1 << k for k in range(n.bit_length())]
    name = {k: "x" if k == 1 else f"x{k}" for k in squares}
    lines = [f"    {name[2 * k]} = {name[k]} * {name[k]}" for k in squares[:-1]]
    result = " * ".join(name[k] for k in reversed(squares) if n & k)
    return "\n".join(["@triton.jit", f"def power_{n}(x):", *lines, f"    return {result}"])
