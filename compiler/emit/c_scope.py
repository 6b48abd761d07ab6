"""A place in a C function where values are computed, and what is known further out.

Asked for a value, a scope gives the C text of it: a name that it has, a statement that it adds, or the name of what an
outer scope computed, converted to its own type before the loop. So each value is computed once, where it varies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from dotopt.compiler.emit import c_expression as c
from dotopt.compiler.emit.expression import infix
from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.places import Place, Places

KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while i w row from to "
    "piece tensor start stop cols word half y0 y1 yn j0 j1 jn gamma signgam exp log".split()
)


START = {"sum": "0", "amax": "-INFINITY", "amin": "INFINITY"}
JOIN = {"sum": "{0} + {1}", "amax": "max_double({0}, {1})", "amin": "min_double({0}, {1})"}


class Writer(Protocol):
    """What a scope must know of the module it writes."""

    places: Places
    labels: Mapping[Node, str]
    texts: Mapping[Node, str]

    def source(self, here: Node, scope: Scope) -> str | None:
        """C for a value that is given or was made before; None for one that is to be computed."""

    def identifier(self, here: Node, label: str | None) -> str:
        """The C name that a value would like to have."""

    def divides_often(self, here: Node) -> bool:
        """Whether it pays to compute one over `here` and multiply by that."""

    def reciprocal(self, here: Node) -> Node:
        """One over `here`."""

    def opposite(self, here: Node) -> Node | None:
        """For e^-z: e^z, if that is computed too."""


@dataclass
class Scope:
    """Statements at one place (`lines`), and the names that they give to values."""

    writer: Writer
    place: Place
    real: str
    outer: Scope | HostSlots | None
    uses: Mapping[Node, int]
    taken: set[str]
    held: Mapping[Node, str] = field(default_factory=dict)  # values in memory: how to load them
    lines: list[str] = field(default_factory=list)
    names: dict[Node, c.Text] = field(default_factory=dict)

    def fresh(self, wanted: str) -> str:
        """A C name like `wanted` that the function does not use yet."""
        name, number = wanted, 2
        while name in self.taken or name in KEYWORDS:
            name, number = f"{wanted}_{number}", number + 1
        self.taken.add(name)
        return name

    def value(self, here: Node) -> c.Text:
        """C for `here`."""
        if here not in self.names:
            self.names[here] = self._value(here)
        return self.names[here]

    def number(self, here: Node) -> c.Text:
        """C for `here` as a number: a condition counts as 0 or 1."""
        text = self.value(here)
        return c.number_from(text, self.real) if here.type.kind == "bool" else text

    def condition(self, here: Node) -> c.Text:
        """C for `here` as a condition."""
        text = self.value(here)
        return text if here.type.kind == "bool" else c.condition_from(text, self.real)

    def _value(self, here: Node) -> c.Text:
        if here in self.held:
            return self._declare(here, (self.held[here], c.ATOM), always=True)
        match here.op:
            case "const" if here.value is not None:
                return c.literal(here.value, self.real), c.SIGN if here.value < 0 else c.ATOM
            case "bool":
                return str(int(here.attrs[0])), c.ATOM
            case "inf":
                return "INFINITY", c.ATOM
            case "pi":
                return f"({self.real})3.14159265358979323846", c.ATOM
        if self.outer is not None and self.writer.places(here) < self.place:
            return self._from_outside(here)
        source = self.writer.source(here, self)
        if source is not None:
            return self._declare(here, (source, c.ATOM), always=self.place is not Place.HOST)
        return self._declare(here, self._computed(here))

    def _from_outside(self, here: Node) -> c.Text:
        """The value that an outer scope computes, under a name that the loop inside can use."""
        outer = self.outer
        assert outer is not None
        if self.writer.places(here) is Place.HOST:
            return self._from_host(here)
        text = outer.value(here)
        if text[0].isidentifier() and (self.real == "double" or here.type.kind == "bool"):
            return text
        assert isinstance(outer, Scope)
        label = self.writer.labels.get(here)
        name = self.fresh(text[0] + "_" if text[0].isidentifier() else self.writer.identifier(here, label))
        kind = "int" if here.type.kind == "bool" else self.real
        outer.lines.append(f"const {kind} {name} = ({kind}){text[0] if text[1] == c.ATOM else f'({text[0]})'};")
        return name, c.ATOM

    def _from_host(self, here: Node) -> c.Text:
        """A number of the group, read once at the top of the function."""
        top = self
        while isinstance(top.outer, Scope):
            top = top.outer
        assert isinstance(top.outer, HostSlots)
        label = self.writer.labels.get(here)
        name = self.fresh(self.writer.identifier(here, label))
        comment = "" if here.op == "leaf" else f"  /* {label or _short(infix(here))} */"
        kind = "int" if here.type.kind == "bool" else self.real
        cast = "" if kind == "double" else f"({kind})"
        top.lines.append(f"const {kind} {name} = {cast}{top.outer.value(here)[0]};{comment}")
        return name, c.ATOM

    def _computed(self, here: Node) -> c.Text:
        match here.op:
            case "select":
                branch = self.condition if here.type.kind == "bool" else self.number
                args = [self.condition(here.args[0]), branch(here.args[1]), branch(here.args[2])]
            case "and" | "or" | "not":
                args = [self.condition(arg) for arg in here.args]
            case "div" if self.place is Place.ELEMENT and here.args[0].value != 1 and self.writer.divides_often(here.args[1]):
                return self._computed(node("mul", here.args[0], self.writer.reciprocal(here.args[1])))
            case "exp" if self.place is Place.ELEMENT and (opposite := self.writer.opposite(here)) is not None:
                return self._computed(node("div", number(1), opposite))
            case _:
                args = [self.number(arg) for arg in here.args]
        return c.operation(here, args, self.real)

    def _declare(self, here: Node, text: c.Text, always: bool = False) -> c.Text:
        """A name for what is loaded, has a name in the file, or is used more than once."""
        label = self.writer.labels.get(here)
        if label is None and self.uses.get(here, 0) < 2 and not always:
            return text
        name = self.fresh(self.writer.identifier(here, label))
        if label is not None and here not in self.held and here.op not in ("leaf", "oracle"):
            self.lines.append(f"/* {_short(self.writer.texts[here])} */")
        kind = "int" if here.type.kind == "bool" else self.real
        self.lines.append(f"const {kind} {name} = {text[0]};")
        return name, c.ATOM


def _short(text: str) -> str:
    return text if len(text) <= 150 else text[:149] + "…"


@dataclass
class HostSlots:
    """Numbers of the whole group: each that a pass asks for gets a slot, and is computed once a step."""

    slots: dict[Node, int] = field(default_factory=dict)

    def value(self, here: Node) -> c.Text:
        """Where the number stands."""
        return f"w->host[{self.slots.setdefault(here, len(self.slots))}]", c.ATOM


@dataclass(frozen=True)
class Accumulator:
    """One reduction inside a loop: `value` is what each entry adds; a largest or smallest value passes a NaN on.

    The loop runs in blocks: within a block the sum is in the type of the arithmetic, a lane of vector code adding no more
    than some dozens of entries, and the blocks are added in double. That is as good as pairwise summation.
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
        return f"{block} = {self.value} {sign} {block} ? {self.value} : {block}; {self.name}_nan |= {self.value} != {self.value};"

    @property
    def end(self) -> str:
        """After one block."""
        if self.total.op == "sum":
            return f"{self.name} += {self.name}_block;"
        return f"{self.name} = {JOIN[self.total.op].format(self.name, f'{self.name}_nan ? NAN : {self.name}_block')};"
