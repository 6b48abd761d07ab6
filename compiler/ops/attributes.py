"""What an operation has besides its arguments: one record a kind of operation, with names and types.

A node holds its record in `attrs`: `here.attrs.axes`, `here.attrs.order`. Records are tuples, so that a node is found
by its operation, arguments and attributes, and `node("sum", x, attrs=(axes, False))` makes one from plain values.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from dotopt.compiler.ops.types import Type

if TYPE_CHECKING:
    from dotopt.compiler.ir.nodes import Fold, Lambda, Loop


class Nothing(NamedTuple):
    """No attributes."""


class Leaf(NamedTuple):
    """What is given: its `role` in the rule, its name in the user's spelling, its type."""

    role: str
    name: str
    type: Type


class Number(NamedTuple):
    """An exact number."""

    value: Fraction


class Truth(NamedTuple):
    """`true` or `false`."""

    value: bool


class Cast(NamedTuple):
    """The format to which a value is rounded."""

    dtype: str


class Reduced(NamedTuple):
    """The axes that are summed away; `model`: over all tensors of the optimizer."""

    axes: tuple[str, ...]
    model: bool

    @property
    def reduced(self) -> Reduced:
        """Those of another reduction along the same axes."""
        return self


class Normed(NamedTuple):
    """As of a reduction; `order` of the norm: a number, or None for the largest absolute value."""

    axes: tuple[str, ...]
    model: bool
    order: Fraction | None

    @property
    def reduced(self) -> Reduced:
        """Those of another reduction along the same axes."""
        return Reduced(self.axes, self.model)


class Placed(NamedTuple):
    """One axis, counted from the end when negative."""

    axis: int


class Named(NamedTuple):
    """One axis by its name."""

    axis: str


class Counted(NamedTuple):
    """One axis by its name, and the number at its first place."""

    axis: str
    start: int


class Typed(NamedTuple):
    """The type of the result, which the arguments do not tell."""

    type: Type


class Member(NamedTuple):
    """Which result of a loop or tuple, from 0."""

    position: int


class Looped(NamedTuple):
    """The body of a loop."""

    body: Loop


class Folded(NamedTuple):
    """The body of a reduction over an index."""

    body: Fold


class Window(NamedTuple):
    """How values of the last steps are reduced: sum, mean, max or min."""

    kind: str


class Attention(NamedTuple):
    """Whether a token sees only those before it. Arguments: q, k, v; or q, k, what is added to the scores of a key, how
    many tokens are seen (0 for all), v."""

    strict: bool = False


class Asked(NamedTuple):
    """A question to an objective or operator: which, `what` of it, in which of its arguments.

    `split` is (number of indices, number of points): the arguments are indices, then points, then samples.
    """

    name: str
    what: str
    argument: str | None
    split: tuple[int, int]
    type: Type


class Applied(NamedTuple):
    """A function of the user, or its derivative of some order in one of its arguments; `split` as of `Asked`."""

    name: str
    order: int
    argument: str | None
    split: tuple[int, int]
    type: Type


class Conjugated(NamedTuple):
    """The conjugate of a convex function (order 0), or its gradient (order 1)."""

    name: str
    order: int
    type: Type


class Solved(NamedTuple):
    """An inner problem: the function, the method that finds its minimum or root, and the names of the options."""

    function: Lambda
    method: str | None
    options: tuple[str, ...]
    type: Type


class Products(NamedTuple):
    """A linear system whose matrix is known by its products with vectors."""

    function: Lambda
    options: tuple[str, ...]
    type: Type


class Word(NamedTuple):
    """A function by its name, and the type of its result."""

    name: str
    type: Type


class Base(NamedTuple):
    """The hyperparameters that a transform gives its base rule."""

    names: tuple[str, ...]
    type: Type


Attributes = tuple[Any, ...]  # one of the records above
