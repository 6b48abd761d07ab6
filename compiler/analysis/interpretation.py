"""Abstract interpretation: what is known of every value of a program, from what is known of its arguments.

    Interpretation(transfer, known).of(root)    transfer(here, args, interpretation) -> what is known of `here`

An analysis is a domain (intervals, units, degrees, kinds of values under a change of coordinates) with its transfer
function, which reads columns of the table of operations. Bodies of loops and folds are interpreted when a transfer
function asks for them, under what it knows of the variables; what is known of states is found as a fixed point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from dotopt.compiler.ir import Node

Known = TypeVar("Known")
Transfer = Callable[[Node, Sequence[Known], "Interpretation[Known]"], Known]


class Interpretation(Generic[Known]):
    """What a domain knows of nodes, given `known`, each computed once."""

    def __init__(self, transfer: Transfer[Known], known: Mapping[Node, Known]) -> None:
        self.transfer = transfer
        self.given = dict(known)
        self.known = dict(known)

    def of(self, root: Node) -> Known:
        """What is known of `root`; its arguments first, and nothing below what is known already."""
        stack = [(root, False)]
        while stack:
            here, ready = stack.pop()
            if here in self.known:
                continue
            if ready:
                self.known[here] = self.transfer(here, [self.known[arg] for arg in here.args], self)
            else:
                stack.append((here, True))
                stack.extend((arg, False) for arg in reversed(here.args))
        return self.known[root]

    def inside(self, more: Mapping[Node, Known]) -> Interpretation[Known]:
        """The same domain in the body of a loop, whose variables are known."""
        return Interpretation(self.transfer, {**self.given, **more})


def fixed_point(step: Callable[[Known], Known], start: Known, most: int) -> Known | None:
    """The first of `start`, `step(start)`, … that `step` leaves as it is; None if none of the first `most` is.

    >>> fixed_point(lambda x: x // 2, 40, 10)
    0
    """
    for _ in range(most):
        following = step(start)
        if following == start:
            return start
        start = following
    return None
