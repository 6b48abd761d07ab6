"""Reductions inside the loops of a C kernel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dotopt.compiler.ir import Node

START = {"sum": "0", "amax": "-INFINITY", "amin": "INFINITY"}
JOIN = {"sum": "{0} + {1}", "amax": "max_double({0}, {1})", "amin": "min_double({0}, {1})"}


@dataclass(frozen=True)
class Accumulator:
    """One reduction inside a loop: `value` is what each entry adds; a largest or smallest value passes a NaN on.

    The loop runs in blocks: within a block the sum is in the type of the arithmetic, a lane of vector code adding some
    dozens of entries at most, and the blocks are added in double. That is as good as pairwise summation.
    """

    total: Node
    value: str
    name: str
    real: str

    @property
    def start(self) -> str:
        """What a reduction of nothing gives."""
        return START[self.total.op]

    @property
    def declaration(self) -> str:
        """Before the blocks."""
        return f"double {self.name} = {self.start};"

    @property
    def block(self) -> str:
        """Before one block."""
        nan = "" if self.total.op == "sum" else f" int {self.name}_nan = 0;"
        return f"{self.real} {self.name}_block = {self.start};{nan}"

    @property
    def clause(self) -> str:
        """Of the pragma on the loop over a block."""
        if self.total.op == "sum":
            return f" reduction(+:{self.name}_block)"
        return f" reduction({self.total.op[1:]}:{self.name}_block) reduction(|:{self.name}_nan)"

    @property
    def update(self) -> str:
        """Inside the loop."""
        block = f"{self.name}_block"
        if self.total.op == "sum":
            return f"{block} += {self.value};"
        sign = ">" if self.total.op == "amax" else "<"
        plain = re.fullmatch(r"\w+|\w+\([^()]*\)", self.value)
        value = self.value if plain else f"({self.value})"  # a choice binds least of all
        return f"{block} = {value} {sign} {block} ? {value} : {block}; {self.name}_nan |= {value} != {value};"

    @property
    def end(self) -> str:
        """After one block."""
        if self.total.op == "sum":
            return f"{self.name} += {self.name}_block;"
        return f"{self.name} = {JOIN[self.total.op].format(self.name, f'{self.name}_nan ? NAN : {self.name}_block')};"
