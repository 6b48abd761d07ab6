"""What one lowering carries along: the file, what is fixed, and what has been collected so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from dotopt.compiler.ir import Lambda, Node, Program, Random, leaf
from dotopt.compiler.lower.scope import Scope
from dotopt.compiler.ops.types import INT, Type
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library


@dataclass(frozen=True)
class Static:
    """What is fixed at construction: values of options (a `function` with a default counts as one), and the number
    of axes of the parameter tensor. An option that is not given stays open. `functions` replaces formulas by name
    (`newton_schulz` by `polar`), for claims about limits. States in `kept` stay though no step reads them.
    """

    options: Mapping[str, bool | str] = field(default_factory=dict)
    rank: int | None = None
    functions: Mapping[str, str] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Application:
    """The base rule, applied: its program with the arguments of the application in the place of its own leaves."""

    program: Program
    result: Node  # where the base rule goes
    arguments: tuple[Node | None, ...]


@dataclass(frozen=True)
class LoopScope:
    """One pass of a loop, for claims inside it: its scope, the leaves that it starts from, and when it ends."""

    scope: Scope
    variables: tuple[Node, ...]
    index: Node | None  # the leaf of `for j in S`
    elements: Node  # S, or how many passes there are at most
    until: Node | None  # no pass follows where this holds


@dataclass(eq=False)
class Context:
    """One lowering of one file. `scope` is its outermost scope."""

    file: s.File
    static: Static
    library: Library
    scope: Scope = field(default_factory=Scope)
    param_type: Type | None = None  # of the parameter, where a transform or a `when` decides it
    base: Program | None = None  # the wrapped rule, for a transform
    applied: Application | None = None
    prefix: Mapping[str, str] = field(default_factory=dict)  # names to rename, since the base rule has them too
    axis_alias: dict[str, str] = field(default_factory=dict)  # axes of a formula -> axes of what it was called with
    randoms: list[Random] = field(default_factory=list)
    site: tuple[tuple[str, int], ...] = ()  # of a formula: the calls that lead to it, by file and place
    around: tuple[Node, ...] = ()  # of a formula: the indices and loop variables around the call
    drawn: dict[tuple[object, ...], str] = field(default_factory=dict)  # the names of draws of formulas, by their call
    index_sets: dict[str, Node] = field(default_factory=dict)  # what each index runs over
    open_sets: list[tuple[str, s.Expression, Scope]] = field(default_factory=list)  # computed sets, not lowered yet
    axes: set[str] = field(default_factory=set)
    pending: list[tuple[Scope, str, bool]] = field(default_factory=list)  # being lowered, for cycles
    loops: dict[str, int] = field(default_factory=dict)  # how often a loop variable's name was used
    bound: list[str] = field(default_factory=list)  # the indices of the families and reductions around what is lowered
    roles: dict[str, Scope] = field(default_factory=dict)
    passes: dict[int, LoopScope] = field(default_factory=dict)  # of the loops, by identity of the statement, for claims
    minimised: list[Lambda] = field(default_factory=list)  # what the text of a claim asks the minimum of
    later: list[Callable[[], None]] = field(default_factory=list)  # what needs all names to be there

    def fresh(self, role: str, name: str, type: Type, *indices: Node) -> Node:
        """A leaf for a bound variable, different from all bound so far; `x`, then `x_2`, …"""
        count = self.loops[name] = self.loops.get(name, 0) + 1
        return leaf(role, name if count == 1 else f"{name}_{count}", type, *indices)

    def index(self, name: str) -> Node:
        """The leaf of an index."""
        return leaf("index", name, INT)

    @contextmanager
    def binding(self, names: Iterable[str]) -> Iterator[tuple[Node, ...]]:
        """The leaves of indices that a reduction binds: other ones than those around it, which values may bring in."""
        before = len(self.bound)
        leaves = []
        for name in names:
            free = name if name not in self.bound else next(
                f"{name}_{k}" for k in range(2, len(self.bound) + 3) if f"{name}_{k}" not in self.bound
            )
            self.bound.append(free)
            leaves.append(self.index(free))
        try:
            yield tuple(leaves)
        finally:
            del self.bound[before:]

    @property
    def theorem(self) -> bool:
        """Whether the file has no step."""
        return self.file.head.word == "theorem"
