"""Scopes: what a name stands for while a file is lowered.

`home` is the scope that an entry is read in, where that is not the one it was found in (names of a role seen from
outside it).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dotopt.compiler.ir import Equation, Node
from dotopt.compiler.ops.types import Type
from dotopt.compiler.text import syntax as s


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is there already."""

    node: Node


@dataclass(frozen=True, slots=True)
class Lazy:
    """A definition, lowered when it is first asked for; `position` picks from `a, b = F(…)`."""

    definition: s.Definition
    position: int | None = None
    home: Scope | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """`g[i] = …`: lowered once with its own index leaves, which a use replaces."""

    definition: s.Definition
    indices: tuple[str, ...]
    implicit: tuple[str, ...] = ()  # indices of the role around it, not written inside
    home: Scope | None = None


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parameter, state, input, … ; `indices` are the index names it was declared with."""

    role: str
    name: str
    type: Type
    indices: tuple[str, ...] = ()
    implicit: int = 0  # how many of them are the role's, not written inside it


@dataclass(frozen=True, slots=True)
class Local:
    """A local function `F(a, b; ξ) = e` (or a family of them), inlined where it is called."""

    definition: s.Definition
    indices: tuple[s.Expression, ...]
    arguments: tuple[str, ...]
    home: Scope | None = None


@dataclass(frozen=True, slots=True)
class Passes:
    """The result of a loop: variable number `position` of it."""

    loop: s.Iterate
    position: int
    indices: tuple[str, ...] = ()
    implicit: tuple[str, ...] = ()
    home: Scope | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """What a local function was called with, read in the scope of the call; it may be an axis."""

    expression: s.Expression
    scope: Scope


@dataclass(frozen=True, slots=True)
class User:
    """An objective, operator or function that the user gives."""

    declaration: s.Declaration
    indices: tuple[str, ...] = ()  # with those of the role around it


@dataclass(frozen=True, slots=True)
class OptionName:
    """An option."""

    declaration: s.Declaration


@dataclass(frozen=True, slots=True)
class Imported:
    """A formula, rule or transform of another file."""

    name: str


@dataclass(frozen=True, slots=True)
class Base:
    """The wrapped rule of a transform."""

    name: str


@dataclass(frozen=True, slots=True)
class Axis:
    """The name of an axis."""

    name: str


@dataclass(frozen=True, slots=True)
class IndexSet:
    """A set that an index runs over, given from outside."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Two meanings, by a condition that is not known yet; None: a state keeps its value."""

    condition: s.Expression
    then: Entry | None
    otherwise: Entry | None
    then_scope: Scope
    otherwise_scope: Scope


Entry = (
    Value
    | Lazy
    | Family
    | Leaf
    | Local
    | Passes
    | Argument
    | User
    | OptionName
    | Imported
    | Base
    | Axis
    | IndexSet
    | Choice
)


@dataclass(eq=False)
class Scope:
    """Names of one block. `nexts` holds the meaning of primed names; both look outwards."""

    parent: Scope | None = None
    names: dict[str, Entry] = field(default_factory=dict)
    nexts: dict[str, Entry] = field(default_factory=dict)
    gradients: dict[str, s.Definition] = field(default_factory=dict)  # stated: ∇K(M) = e
    values: dict[tuple[str, bool], Node] = field(default_factory=dict)  # lowered already
    passes: dict[int, Node] = field(default_factory=dict)  # loops lowered already, by identity of the statement
    claim: bool = False  # whether this is the scope of a claim
    equations: list[Equation] | None = None  # where its definitions are recorded; None: nowhere

    def find(self, name: str, primed: bool = False) -> tuple[Entry, Scope] | None:
        """The meaning of `name`, and the scope that it belongs to."""
        here: Scope | None = self
        while here is not None:
            entry = (here.nexts if primed else here.names).get(name)
            if entry is not None:
                return entry, here
            here = here.parent
        return None

    @property
    def in_claim(self) -> bool:
        """Whether this is the scope of a claim, or inside it."""
        return self.claim or (self.parent is not None and self.parent.in_claim)

    def gradient(self, name: str) -> tuple[s.Definition, Scope] | None:
        """The stated gradient of `name`."""
        here: Scope | None = self
        while here is not None:
            if name in here.gradients:
                return here.gradients[name], here
            here = here.parent
        return None
