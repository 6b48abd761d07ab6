"""What is known of one operation: a row of columns, each given or absent with a reason.

Columns that are sentences of the language (definition, derivative, domain, axioms) speak of `x`, `y`, `z`, the
arguments in order; `dotopt.compiler.ir.sentence` reads them. Columns that are functions take the library that computes
(`numpy`, `mpmath.mp`, `mpmath.iv`, `sympy`) as their first argument, so that a row imports none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from dotopt.compiler.ops.attributes import Attributes, Nothing
from dotopt.compiler.ops.typing import TypeRule

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Absent:
    """What a column holds that does not apply, or that nobody has filled yet: the reason."""

    why: str

    def __bool__(self) -> bool:
        return False


def absent(why: str) -> Absent:
    """A column without an entry, and why."""
    return Absent(why)


@dataclass(frozen=True, slots=True)
class Axiom:
    """What holds for all values of `x` and `y` for which the premise `given` does; `source` says where it is from.

    An axiom that speaks of the operation at two points, `f(x)` and `f(y)`, relates any two of its values.
    """

    show: str
    source: str
    given: str = "true"


# ---- how values scale ------------------------------------------------------------------------------------------------



@dataclass(frozen=True, slots=True)
class Powers:
    """The result scales as the product of the arguments to these powers; further arguments are plain numbers."""

    of: tuple[str, ...]  # numbers as text: "1", "-1", "1/2"


# `alike`: arguments and result scale alike; `compared`: the arguments do, and the result is a plain number; `plain`:
# all are plain numbers; `lost`: the result is a plain number however the arguments scale; `exponent`: the second
# argument is the power of the first
Degree = Powers | Literal["alike", "compared", "plain", "lost", "exponent"]
SAME = Powers(("1",))
ALIKE: Degree = "alike"
COMPARED: Degree = "compared"
PLAIN: Degree = "plain"
LOST: Degree = "lost"
EXPONENT: Degree = "exponent"


# ---- spellings -------------------------------------------------------------------------------------------------------

Level = Literal["or", "and", "compare", "range", "sum", "product"]


@dataclass(frozen=True, slots=True)
class Call:
    """`name(x, …)`: with at least `least` and at most `most` arguments (None: any), and these keywords."""

    name: str
    least: int = 1
    most: int | None = 1
    keywords: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Infix:
    """A sign between the arguments, which binds as tightly as others of its `level`."""

    sign: str
    level: Level


@dataclass(frozen=True, slots=True)
class Around:
    """Signs before and after the argument."""

    opening: str
    closing: str


@dataclass(frozen=True, slots=True)
class Inline:
    """A function that is written once, before it is used.

    In C the body, of the arguments `a` and `b`; `T` is their type, and `##F` ends the names of functions of `T`. In
    Triton the whole of it.
    """

    body: str


@dataclass(frozen=True, slots=True)
class Template:
    """An expression with `{0}`, `{1}` for the arguments, `{a}`, `{b}` for them in parentheses where they need some."""

    text: str
    atom: bool = True  # whether it never needs parentheses itself


@dataclass(frozen=True, slots=True)
class Form:
    """What depends on the place where it stands: the writer of the language knows how; `shown` is how it looks."""

    shown: str


Spelling = Call | Infix | Around | Inline | Template | Form

# ---- the row ---------------------------------------------------------------------------------------------------------

Parity = Literal["odd", "even"]
Monotone = Literal["increasing", "nondecreasing", "decreasing", "nonincreasing"]  # on the domain, in its argument
# on its domain: smooth; smooth but at an end of it, as a root is at 0; continuous with kinks; constant in steps
Smoothness = Literal["smooth", "roots", "kinks", "steps"]
Kind = Literal["constant", "number", "truth", "complex", "reduction", "matrix", "control", "oracle", "list"]
Meaning = Callable[..., Any]  # the library that computes, then the values of the arguments
# what an entry of the result reads of the arguments: the same entry; entries along the axes that are summed away; along
# the last axis; of the whole matrix, batch axes aside; of the whole tensor
Reach = Literal["entry", "axes", "row", "matrix", "tensor"]
REACHES: dict[str, Reach] = {"reduction": "axes", "matrix": "matrix", "list": "tensor", "oracle": "tensor"}
Enclosed = Literal["ends", "parts"]  # a monotone function by its values at the ends; by the parts of its definition
ENDS: Enclosed = "ends"
PARTS: Enclosed = "parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the language. `means` is a sentence for people; every other column is read by some room."""

    name: str
    kind: Kind
    means: str
    arity: int | None = 1  # None: any number
    attributes: type[Attributes] = Nothing
    type: TypeRule
    reach: Reach | None = None  # None: what is usual for the kind

    definition: str | Absent  # in terms of other operations
    derivative: tuple[str, ...] | Absent  # in each argument
    degree: Degree | Absent
    parity: Parity | Absent
    monotone: Monotone | Absent
    smooth: Smoothness | Absent
    range: str | Absent  # an interval: "[0, ∞)"
    domain: str | Absent  # the condition under which there is a value
    known: tuple[tuple[str, str], ...] | Absent  # exact values at exact arguments, as text
    axioms: tuple[Axiom, ...] | Absent

    numpy: Meaning | Absent  # in float64
    exact: Meaning | Absent  # in mpmath.mp, to any number of digits
    enclosure: Meaning | Enclosed | Absent  # in mpmath.iv; None where it may have no value
    sympy: Meaning | Absent

    opt: Spelling | Absent
    latex: Spelling | Absent
    torch: Spelling | Absent
    c: Spelling | Absent
    triton: Spelling | Absent

    @property
    def reads(self) -> Reach:
        """What an entry of the result reads of the arguments."""
        return self.reach or REACHES.get(self.kind, "entry")

    def __post_init__(self) -> None:
        for column in COLUMNS:
            entry = getattr(self, column)
            if entry is None or (isinstance(entry, Absent) and not entry.why):
                raise TypeError(f"{self.name}: `{column}` is given, or absent with a reason")


COLUMNS = tuple(
    f.name for f in fields(Operation) if f.name not in ("name", "kind", "means", "arity", "attributes", "type", "reach")
)


def present(entry: T | Absent) -> T:
    """The entry of a column that must be there; raises KeyError with the reason if it is absent."""
    if isinstance(entry, Absent):
        raise KeyError(entry.why)
    return entry
