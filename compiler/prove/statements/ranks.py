"""The numbers of axes for which a claim is decided: every one that differs in a comparison, and one beyond."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from dotopt.compiler.ir import Node, Program, leaf, node, number
from dotopt.compiler.ops.types import INT, REST
from dotopt.compiler.prove.statements.statement import Unreadable
from dotopt.compiler.text import syntax as s

FIRST = (1, 2, 3)  # at least


def ranks(file: s.File, claim: s.Claim) -> tuple[int | None, ...]:
    """The ranks that the parameter may have and that can matter; `(None,)` where nothing asks for its rank.

    Raises `Unreadable` where the rank stands elsewhere than in a comparison with a number: then all ranks differ.

    >>> from dotopt.compiler.text.library import Library, load
    >>> file = load(Library().find("AdamP"))
    >>> ranks(file, file.claims[0])
    (1, 2, 3)
    """
    read = [here for d in (*file.statements, claim) if d is claim or not isinstance(d, s.Claim) for here in d.walk()]
    patterns = [len(here.type.axes) for here in read if isinstance(here, s.When) and isinstance(here.type, s.Array)]
    asked = [here for here in read if _is_rank(here)]
    if not asked and not patterns:
        return (None,)
    compared = [side for here in read if isinstance(here, s.Compare) for side in _beside_ranks(here)]
    counted = sum(_is_rank(side) for here in read if isinstance(here, s.Compare) for side in here.operands)
    if counted < len(asked) or not all(isinstance(side, s.Number) for side in compared):
        raise Unreadable("`rank(…)` in another place than a comparison with a number")
    limits = (int(side.value) for side in compared if isinstance(side, s.Number))
    most = max(chain(limits, patterns), default=0) + 1
    possible = [rank for rank in range(1, max(most, *FIRST) + 1) if _fits(file, rank)]
    return tuple(possible) or FIRST


def last_axis(program: Program, rank: int | None) -> Iterator[Node]:
    """Of `x : real[rows, cols...]` with one axis the second has one place."""
    for param in program.params:
        if param.merged and rank is not None and rank < len(param.type.axes):
            yield node("eq", leaf("axis", param.type.axes[-1], INT), number(1))


def _is_rank(here: object) -> bool:
    return isinstance(here, s.Call) and isinstance(here.function, s.Name) and here.function.name == "rank"


def _beside_ranks(here: s.Compare) -> Iterator[s.Expression]:
    for left, right in zip(here.operands, here.operands[1:], strict=False):
        if _is_rank(left):
            yield right
        if _is_rank(right):
            yield left


def _fits(file: s.File, rank: int) -> bool:
    """Whether the declared parameter may have so many axes."""
    declared = [d for d in file.statements if isinstance(d, s.Declaration) and d.word == "param"]
    if any(d.ranks and rank not in d.ranks for d in declared):
        return False
    axes = next((d.type.axes for d in declared if isinstance(d.type, s.Array)), None)
    if axes is None:
        return True
    named = sum(axis.name != REST for axis in axes)
    if any(axis.name == REST for axis in axes):
        return rank >= named
    return rank >= named - 1 if any(axis.merged for axis in axes) else rank == max(named, 1)


__all__ = ["last_axis", "ranks"]
