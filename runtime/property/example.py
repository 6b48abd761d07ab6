"""An example: everything that decides a run of a rule, so that a backend and the reference can both be given it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dotopt.compiler.ir import ENTRYWISE, REDUCTIONS, Node, Program
from dotopt.runtime.loading import load

Array = NDArray[np.float64]

POINTWISE = {*ENTRYWISE, "leaf", "const", "bool", "inf", "pi", "cast", "oracle", "fires", "zeros", "ones"}


@dataclass(frozen=True, eq=False)
class Example:
    """`groups` are hyperparameters by keyword; tensor k belongs to group `members[k]`; a gradient may be None."""

    dtype: str
    options: Mapping[str, bool | str]
    groups: tuple[Mapping[str, Any], ...]
    members: tuple[int, ...]
    starts: tuple[Array, ...]
    gradients: tuple[tuple[Array | None, ...], ...]
    foreach: bool | None = None
    maximize: bool = False
    small: bool = False  # tensors are cut as large ones are

    @property
    def size(self) -> tuple[int, ...]:
        """What makes one example smaller than another."""
        entries = sum(start.size for start in self.starts)
        return len(self.starts), entries, len(self.gradients), len(self.groups), self.complexity

    @property
    def complexity(self) -> int:
        """How many characters its numbers take."""
        return len(repr((self.groups, self.gradients, self.starts)))


@cache
def program(origin: tuple[str, Any, str], options: tuple[bool | str, ...], rank: int | None) -> Program:
    """The program of a class, lowered once."""
    return load.program(origin, options, rank)


def programs(cls: Any, example: Example, ranks: Sequence[int]) -> list[Program]:
    """The programs for tensors of these ranks."""
    values = tuple(example.options[option.keyword] for option in cls.rule.options)
    return [program(cls.origin, values, max(rank, 1)) for rank in ranks]


def sums_over_model(step: Program) -> bool:
    """Whether the tensors of an optimizer depend on each other."""
    return any(
        here.op in (*REDUCTIONS, "size") and len(here.attrs) > 1 and bool(here.attrs.model)
        for root in step.roots
        for here in root.walk()
    )


def reads_value(step: Program) -> bool:
    """Whether it reads f itself, a number to which all tensors contribute."""
    return any(here.attrs.what == "value" for here in step.oracles)


def curved(step: Program) -> bool:
    """Whether it asks for products with the Hessian: then the closure leaves `backward()` to the optimizer."""
    return any(here.attrs.what not in ("value", "gradient") for here in step.oracles)


def together(step: Program) -> bool:
    """Whether the tensors of all groups are to be seen at once."""
    return sums_over_model(step) or reads_value(step)


def entrywise(step: Program) -> bool:
    """Whether every entry of a tensor goes its own way."""
    return all(here.op in POINTWISE for root in step.roots for here in root.walk())


DECOMPOSITIONS = frozenset(
    {
        "matrix_power",
        "inverse",
        "solve",
        "qr",
        "eigenvectors",
        "top_eigenvector",
        "svdvals",
        "polar",
        "cg",
        "root",
        "argmin",
    }
)


def decomposed(step: Program) -> frozenset[Node]:
    """The matrices that are taken apart: errors there are roundings of the largest entry."""
    return frozenset(
        arg for root in step.roots for here in root.walk() if here.op in DECOMPOSITIONS for arg in here.args
    )


def takes_signs(step: Program) -> bool:
    """Whether signs are taken."""
    return any(here.op == "sign" for root in step.roots for here in root.walk())


def takes_bases(step: Program) -> bool:
    """Whether it keeps vectors that are determined up to their sign."""
    bases = ("qr", "eigenvectors", "top_eigenvector")
    return any(here.op in bases for root in step.roots for here in root.walk())


def own(step: Program, given: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The hyperparameters that the file declares, and the seed that a rule with draws takes besides."""
    if any("seed" in (hyper.name, hyper.keyword) for hyper in step.hypers):
        return dict(given), 0
    return {name: value for name, value in given.items() if name != "seed"}, int(given.get("seed", 0))


def answered(step: Program) -> tuple[str, str]:
    """The word and the name of what the rule asks: `objective` or `operator`."""
    asked = [(here.word, here.name) for here in step.callables if here.word in ("objective", "operator")]
    return asked[0] if asked else ("objective", "f")


def asks_elsewhere(step: Program) -> bool:
    """Whether the rule asks for more than the gradient at the parameter, so that it needs a closure."""
    points = [here.args[here.attrs.split[0]] for here in step.oracles if here.attrs.what == "gradient"]
    alone = all(point.role == "param" or is_layer_output(point) for point in points)
    return not alone or any(here.attrs.what != "gradient" for here in step.oracles)


def is_layer_output(here: Node) -> bool:
    """Whether it is what came out of the linear layer of a parameter."""
    return here.role == "input" and here.name.startswith("output_of(")
