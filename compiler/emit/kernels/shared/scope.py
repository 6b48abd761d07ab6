"""A place in a kernel where values are computed, and what is known further out.

Asked for a value, a scope gives the text of it: a name that it has, a statement that it adds, or the name of what an
outer scope computed, converted to its own type before the loop. So each value is computed once, where it varies. The
same scopes write C and Triton; what differs is the `Language`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from dotopt.compiler.emit.kernels.shared.facts import Facts
from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.ir.print import infix
from dotopt.compiler.schedule.places import Place, Unsupported

Text = tuple[str, int]  # an expression, and how tightly its outermost operation binds
SIGN, ATOM = 8, 9


class Language(Protocol):
    """How expressions and statements are written. `real` is "float" or "double"."""

    keywords: frozenset[str]

    def variable(self, wanted: str) -> str:
        """A name like `wanted` that means nothing else in the language."""

    def literal(self, value: Fraction, real: str) -> str:
        """A number."""

    def constant(self, here: Node, real: str) -> str:
        """An infinity, π, a truth value."""

    def operation(self, here: Node, args: Sequence[Text], real: str) -> Text:
        """`here` from its operands."""

    def number_from(self, text: Text, real: str) -> Text:
        """A condition as the number 0 or 1."""

    def condition_from(self, text: Text, real: str) -> Text:
        """A number as a condition."""

    def define(self, kind: str, name: str, text: str) -> str:
        """A statement that gives `name` to a value; `kind` is "int" for a condition."""

    def cast(self, kind: str, text: Text) -> str:
        """A value as another type."""

    def comment(self, text: str) -> str:
        """A remark."""


@dataclass
class Scope:
    """Statements at one place (`lines`), and the names that they give to values."""

    language: Language
    facts: Facts
    source: Callable[[Node, Scope], str | None]  # the text of what is given or was made before; None: to be computed
    place: Place
    real: str
    outer: Scope | HostSlots | None
    taken: set[str]
    held: Mapping[Node, str] = field(default_factory=dict)  # values in memory: how to load them
    lines: list[str] = field(default_factory=list)
    names: dict[Node, Text] = field(default_factory=dict)

    def fresh(self, wanted: str) -> str:
        """A name like `wanted` that the function does not use yet."""
        wanted = self.language.variable(wanted)
        name, number = wanted, 2
        while name in self.taken or name in self.language.keywords:
            name, number = f"{wanted}_{number}", number + 1
        self.taken.add(name)
        return name

    def value(self, here: Node) -> Text:
        """The text of `here`."""
        if here not in self.names:
            self.names[here] = self._value(here)
        return self.names[here]

    def number(self, here: Node) -> Text:
        """The text of `here` as a number: a condition counts as 0 or 1."""
        text = self.value(here)
        return self.language.number_from(text, self.real) if here.type.kind == "bool" else text

    def condition(self, here: Node) -> Text:
        """The text of `here` as a condition."""
        text = self.value(here)
        return text if here.type.kind == "bool" else self.language.condition_from(text, self.real)

    def _value(self, here: Node) -> Text:
        if here in self.held:
            return self._declare(here, (self.held[here], ATOM), always=True)
        match here.op:
            case "const" if here.value is not None:
                return self.language.literal(here.value, self.real), SIGN if here.value < 0 else ATOM
            case "bool" | "inf" | "pi":
                return self.language.constant(here, self.real), ATOM
        if self.outer is not None and self.facts.places(here) < self.place:
            return self._from_outside(here)
        source = self.source(here, self)
        if source is not None:
            return self._declare(here, (source, ATOM), always=self.place is not Place.HOST)
        return self._declare(here, self._computed(here))

    def _from_outside(self, here: Node) -> Text:
        """The value that an outer scope computes, under a name that the loop inside can use."""
        outer = self.outer
        assert outer is not None
        if self.facts.places(here) is Place.HOST:
            return self._from_host(here)
        text = outer.value(here)
        if text[0].isidentifier() and (self.real == "double" or here.type.kind == "bool"):
            return text
        assert isinstance(outer, Scope)
        label = self.facts.labels.get(here)
        name = self.fresh(text[0] + "_" if text[0].isidentifier() else self.facts.identifier(here, label))
        kind = "int" if here.type.kind == "bool" else self.real
        outer.lines.append(self.language.define(kind, name, self.language.cast(kind, text)))
        return name, ATOM

    def _from_host(self, here: Node) -> Text:
        """A number of the group, read once at the top of the function."""
        top = self
        while isinstance(top.outer, Scope):
            top = top.outer
        assert isinstance(top.outer, HostSlots)
        label = self.facts.labels.get(here)
        name = self.fresh(self.facts.identifier(here, label))
        comment = "" if here.op == "leaf" else "  " + self.language.comment(label or _short(infix(here)))
        kind = "int" if here.type.kind == "bool" else self.real
        slot = top.outer.value(here)
        text = slot[0] if kind == "double" else self.language.cast(kind, slot)
        top.lines.append(self.language.define(kind, name, text) + comment)
        return name, ATOM

    def _computed(self, here: Node) -> Text:
        match here.op:
            case "select":
                branch = self.condition if here.type.kind == "bool" else self.number
                args = [self.condition(here.args[0]), branch(here.args[1]), branch(here.args[2])]
            case "and" | "or" | "not":
                args = [self.condition(arg) for arg in here.args]
            case "div" if (
                self.place is Place.ELEMENT and here.args[0].value != 1 and self.facts.divides_often(here.args[1])
            ):
                return self._computed(node("mul", here.args[0], self.facts.reciprocal(here.args[1])))
            case "exp" if self.place is Place.ELEMENT and (opposite := self.facts.opposite(here)) is not None:
                return self._computed(node("div", number(1), opposite))
            case _:
                args = [self.number(arg) for arg in here.args]
        return self.language.operation(here, args, self.real)

    def _declare(self, here: Node, text: Text, always: bool = False) -> Text:
        """A name for what is loaded, has a name in the file, or is used more than once."""
        label = self.facts.labels.get(here)
        if label is None and self.facts.uses.get(here, 0) < 2 and not always:
            return text
        name = self.fresh(self.facts.identifier(here, label))
        if label is not None and here not in self.held and here.op not in ("leaf", "oracle"):
            self.lines.append(self.language.comment(_short(self.facts.texts[here])))
        kind = "int" if here.type.kind == "bool" else self.real
        self.lines.append(self.language.define(kind, name, text[0]))
        return name, ATOM


def _short(text: str) -> str:
    return text if len(text) <= 150 else text[:149] + "…"


@dataclass
class HostSlots:
    """Numbers of the whole group: each that a pass asks for gets a slot, and is computed once a step."""

    form: str  # of a slot, by its number
    slots: dict[Node, int] = field(default_factory=dict)

    def value(self, here: Node) -> Text:
        """Where the number stands."""
        return self.form.format(self.slots.setdefault(here, len(self.slots))), ATOM


def group_key(here: Node) -> tuple[str, str]:
    """The slot of a number that is one for the whole group: a hyperparameter, the time, or a shared state."""
    if here.args:
        raise Unsupported(f"{here!r} is one of a family")
    match here.role:
        case "hyper" | "const":
            return "hyper", here.name
        case "time":
            return "time", "t"
        case "state":
            return "shared", here.name
        case role:
            raise Unsupported(f"the {role} {here.name} was not resolved")
