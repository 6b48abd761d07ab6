"""Names and where they may be used: what a name stands for, and the scopes that hold it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.source import Span
from dotopt.grammar.spelling import canonical

WORD = re.compile(r"[^\W\d_⁰¹²³⁴-⁹½¼¾ᵀ](?:[^\W⁰¹²³⁴-⁹½¼¾ᵀ]|[\u0300-\u036f])*")

# How a kind of name is called in a sentence.
KINDS = {
    "param": "the parameter",
    "state": "a state",
    "input": "an input",
    "output": "an output",
    "hyper": "a hyperparameter",
    "option": "an option",
    "const": "a constant",
    "objective": "an objective",
    "operator": "an operator",
    "function": "a function",
    "base": "the base rule",
    "definition": "a definition",
    "local function": "a function",
    "draw": "a drawn value",
    "loop": "a loop variable",
    "result": "the result of a loop",
    "where": "a `where` value",
    "bound": "a bound variable",
    "parameter": "a parameter of the formula",
    "quantified": "a name of `for all`",
    "unknown": "a constant to be derived",
    "message": "a sent value",
    "index": "an index",
    "set": "a set of indices",
    "axis": "an axis",
    "imported": "an imported name",
    "head": "the name of the file",
    "builtin": "a built-in",
    "slice": "a word for `over=` and `per=`",
}
MOVING = frozenset({"param", "state", "loop"})  # what has a next value
CALLABLE = frozenset(
    {"objective", "operator", "function", "base", "local function", "imported", "head", "builtin", "bound"}
)
NUMBERS = frozenset({"hyper", "const", "option", "axis", "unknown"})  # what is certainly not a function


@dataclass(eq=False, slots=True)
class Binding:
    """One name of the file: its kind (a key of `KINDS`), its place, and the node that introduced it."""

    name: str
    kind: str
    span: Span
    scope: Scope
    node: s.Syntax | None = None
    branch: tuple[tuple[int, bool], ...] = ()  # the branches of `when` that it stands in

    @property
    def alias(self) -> str | None:
        """The name in Python, where a declaration gives one."""
        return self.node.alias if isinstance(self.node, s.Declaration) else None

    def exclusive(self, branch: tuple[tuple[int, bool], ...]) -> bool:
        """Whether this one and something in `branch` never exist together."""
        mine = dict(self.branch)
        return any(mine.get(choice, side) != side for choice, side in branch)


@dataclass(eq=False, slots=True)
class Scope:
    """Names that are visible together; `kind` is file, role, loop, claim, where, or bound."""

    kind: str
    parent: Scope | None = None
    role: str = ""
    names: dict[str, Binding] = field(default_factory=dict)
    inner: list[Scope] = field(default_factory=list)

    def child(self, kind: str, role: str = "") -> Scope:
        """A new scope inside this one."""
        made = Scope(kind, self, role or self.role)
        self.inner.append(made)
        return made

    def chain(self) -> Iterator[Scope]:
        """This scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find(self, name: str) -> Binding | None:
        """What `name` means here."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return None

    def find_below(self, name: str) -> Binding | None:
        """What `name` means in some scope inside this one: claims see into roles and loops."""
        for scope in self.inner:
            if scope.kind in ("role", "loop"):
                found = scope.names.get(name) or scope.find_below(name)
                if found:
                    return found
        return None

    def inside(self, other: Scope) -> bool:
        """Whether this scope is `other` or lies in it."""
        return any(scope is other for scope in self.chain())

    def in_claim(self) -> bool:
        """Whether a claim surrounds this place."""
        return any(scope.kind == "claim" for scope in self.chain())


def name_span(span: Span, name: str) -> Span:
    """The first word of `span` that spells `name`; the whole span if none does."""
    for word in WORD.finditer(span.text):
        if canonical(word.group()) == name:
            return Span(span.source, span.start + word.start(), span.start + word.end())
    return span


def after_word(span: Span) -> Span:
    """The span of a statement without its first word, so that `send s = …` finds the second `s`."""
    word = len(span.text.split(maxsplit=1)[0])
    return Span(span.source, span.start + word, span.end)
