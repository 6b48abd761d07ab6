"""Expressions over families: an index that nothing binds is a leading axis of the value.

    g[i] = ∇f[i](θ)            g : [i, n]           one tensor, whose first axis are the tasks
    s[i, j]                    s : [i, j]           `n[j]` is the tensor of `n[i]` along another axis
    sum(g[i]/n[i] for i)       a sum over that axis

Where a step goes through the elements one by one (`for j in o`, functions of the user that differ from element to
element), the index is bound: its code is a number, and members are taken out of their tensors. The axes that a rule
does not name, `...`, are one axis here: who calls the functions flattens them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dotopt.compiler.emit.names import PYTHON
from dotopt.compiler.emit.sequence.batched import POSTFIX, SUM, WRITERS, Batched, Text
from dotopt.compiler.ir import Fold, Lambda, Loop, Node, Program, instance, leaf
from dotopt.compiler.ops.types import Type
from dotopt.compiler.text.errors import fail

SET = Type("set")
# what stands in the text of the functions besides the names of a file
WORDS = (
    "state own t first hyper sizes random later dtype device options init step chosen party torch math cmath "
    "functional matrices scalars asks solvers Draws Sum Mean Max Min"
)
RESERVED = (*PYTHON, *WORDS.split())


@dataclass(eq=False)
class Writer(Batched):
    """Writes the nodes of one program as code. `order` holds its indices: it orders the axes of families."""

    program: Program | None = None
    homes: Mapping[str, Node] = field(default_factory=dict)  # the set of each index
    order: list[Node] = field(default_factory=list)
    bound: dict[Node, str] = field(default_factory=dict)  # index -> code of the element, counted from 1
    among: dict[Node, str] = field(default_factory=dict)  # index -> code of the elements, where these are not all
    whole: dict[Node, frozenset[Node]] = field(default_factory=dict)  # index -> what was named before it was bound
    early: frozenset[Node] = frozenset()  # what is computed before the choices that read it
    path: tuple[str, ...] = ()  # the place of a draw: elements and numbers of passes, from the outside in
    below: dict[Node, frozenset[Node]] = field(default_factory=dict)  # the leaves that a node depends on

    # ---- indices and axes

    def leaves(self, here: Node) -> frozenset[Node]:
        """The leaves that the value depends on, less those that loops, sums and functions inside it bind."""
        if here not in self.below:
            for inner in here.walk():
                if inner not in self.below:
                    self.below[inner] = self._leaves(inner)
        return self.below[here]

    def _leaves(self, here: Node) -> frozenset[Node]:
        found = frozenset((here,)) if here.op == "leaf" else frozenset[Node]()
        found = found.union(*(self.below[arg] for arg in here.args))
        for attr in here.attrs:
            if isinstance(attr, Loop | Fold | Lambda):
                inside = frozenset[Node]().union(*(self.below[n] for n in attr.nodes))
                found |= inside - binds(attr, inside)
            if isinstance(attr, Loop):  # its families have indices of their own, in their starts as well
                found -= {index for variable in attr.variables for index in variable.args}
        return found

    def depends(self, here: Node) -> frozenset[Node]:
        """The indices that nothing inside `here` binds."""
        return frozenset(x for x in self.leaves(here) if x.role == "index")

    def indices(self, here: Node) -> tuple[Node, ...]:
        """The free indices, in the order of the axes."""
        depends = self.depends(here)
        for index in sorted(depends, key=lambda i: i.name):
            if index not in self.order:
                self.order.append(index)
        return tuple(index for index in self.order if index in depends and index not in self.bound)

    def axes(self, here: Node) -> tuple[str, ...]:
        """The axes of the value: those of the free indices in brackets, then its own."""
        return (*(f"[{index.name}]" for index in self.indices(here)), *here.type.axes)

    def is_tensor(self, here: Node) -> bool:
        if here.role in ("index", "param"):
            return here.role == "param" or here not in self.bound
        if here.op in ("oracle", "apply"):
            return True
        if here.role == "draw" and not here.type.axes:  # a number of the host, but for runs side by side
            return self.program is not None and self.program.kind == "minimize"
        return bool(self.indices(here)) or super().is_tensor(here)

    def set_of(self, index: Node) -> Node:
        """The set that an index runs over."""
        found = self.homes.get(index.name)
        if found is None:
            raise fail("E601", index.span, construct=f"the index `{index.name}`, of which no set is known,")
        return found

    def count(self, index: Node) -> str:
        """The code of how many elements an index runs over."""
        if index in self.among:
            return f"len({self.among[index]})"
        home = self.set_of(index)
        if home.op == "range":
            low, high = home.args
            return self.code(high, 1) if low.value == 1 else f"{self.code(high, 1)} - {self.code(low, 1)} + 1"
        return self.sizes[home.name]

    def elements(self, index: Node) -> str:
        """The code of the elements, in order, as numbers of Python."""
        if index in self.among:
            return self.among[index]
        home = self.set_of(index)
        if home.op != "range":
            return f"range(1, {self.sizes[home.name]} + 1)"
        low, high = home.args
        if high.op == "sub" and high.args[1].value == 1:
            return f"range({self.code(low)}, {self.code(high.args[0])})"
        return f"range({self.code(low)}, {self.code(high)} + 1)"

    # ---- names

    def fresh(self, name: str) -> str:
        """A name that nothing else has, like `name`, a label of the file or a word of the emitter."""
        return self.variables.new(name)

    def argument(self, name: str) -> str:
        """The variable of an argument: a parameter, an input or a function of the user, by its name in the file."""
        return self.variables.of(("argument", name), name)

    def inner(self, deeper: bool = True) -> Writer:
        """A writer for lines further in: it knows what this one knows, and keeps its own names to itself."""
        return replace(
            self,
            names=dict(self.names),
            tensor={},
            items=dict(self.items),
            functions=dict(self.functions),
            bound=dict(self.bound),
            among=dict(self.among),
            whole=dict(self.whole),
            indent=self.indent + "    " if deeper else self.indent,
        )

    def bind(self, index: Node, code: str) -> None:
        """From here on the index is one element; members of what has a name are taken out of it."""
        self.whole[index] = frozenset(here for here in self.names if index in self.depends(here))
        self.bound[index] = code
        self.among.pop(index, None)

    def restrict(self, index: Node, elements: str) -> None:
        """From here on the index runs over these elements only."""
        self.whole[index] = frozenset(here for here in self.names if index in self.depends(here))
        self.among[index] = elements

    def named(self, here: Node) -> str | None:
        """The code of what has a name, itself or along another axis of the same set."""
        if here in self.names:
            return self.member(here, {})
        depends = self.depends(here)
        for old in depends:
            for new in self.order:
                if new is not old and new not in depends and self._same_set(old, new):
                    twin = instance(here, {old: new})
                    if twin in self.names and new not in self.bound and new not in self.among:
                        return self.member(twin, {new: old})
        return None

    def _same_set(self, a: Node, b: Node) -> bool:
        return a.name in self.homes and self.homes[a.name] is self.homes.get(b.name)

    def member(self, here: Node, other: Mapping[Node, Node], name: str = "") -> str:
        """The value of `here`, which is called `name`, at the elements that are bound.

        `other` says which indices stand in the place of its own: `n[j]` where `n[i]` has the name.
        """
        name = name or self.names[here]
        self.indices(here)
        slots: list[str] = []
        lying: list[Node] = []
        chosen = ""
        for index in (i for i in self.order if i in self.depends(here)):
            now = other.get(index, index)
            if index in self.bound and here not in self.whole[index]:
                continue  # the name is that of the member already
            if now.role != "index":
                slots.append(f"{self.code(now)} - 1")
            elif now in self.bound:
                slots.append(f"{self.bound[now]} - 1")
            elif now in self.among and (now is not index or here in self.whole.get(index, frozenset())):
                chosen += (
                    f"[{', '.join([*(':' for s in slots if s == ':'), f'asks.places({self.among[now]}, device)'])}]"
                )
                slots.append(":")
                lying.append(now)
            else:
                slots.append(":")
                lying.append(now)
        while slots and slots[-1] == ":":
            slots.pop()
        return self.ordered(name + (f"[{', '.join(slots)}]" if slots else "") + chosen, lying, here)

    def ordered(self, text: str, lying: list[Node], here: Node) -> str:
        """A member whose first axes lie along these indices, with each once and in the order of the axes."""
        axes: list[Node | int] = [*lying, *range(1 if here.type.any else len(here.type.axes))]
        while twice := [x for x in axes if axes.count(x) > 1]:
            left, right = (position for position, x in enumerate(axes) if x is twice[0])
            text = f"{text}.diagonal(0, {left}, {right})"
            axes = [x for x in axes if x is not twice[0]] + [twice[0]]
        wanted = [x for x in self.order if x in axes] + [x for x in axes if isinstance(x, int)]
        return text if wanted == axes else f"{text}.permute({', '.join(str(axes.index(x)) for x in wanted)})"

    # ---- code

    def text(self, here: Node) -> Text:
        found = self.named(here)
        if found is not None:
            return found, POSTFIX
        from dotopt.compiler.emit.functions.families import FAMILIES

        write = FAMILIES.get(here.op) or WRITERS.get(here.op)
        if write is None:
            assert self.program is not None
            raise fail("E601", here.span, construct=f"`{here.op}` in a rule of the kind `{self.program.kind}`")
        return write(self, here)

    def fitted(self, here: Node, whole: Node | Type, least: int = SUM) -> str:
        """The text of `here`, with new axes where the value of `whole` has axes that it lacks."""
        wanted = self.axes(whole) if isinstance(whole, Node) else whole.axes
        own = self.axes(here)
        runs = self.program is not None and self.program.kind == "minimize"  # side by side, along a first axis
        if own == wanted or not (own or runs) or not self.is_tensor(here) or here.type.any:
            return self.code(here, least)
        text = aligned(self.code(here, POSTFIX), own, wanted)
        return text


def binds(body: Loop | Fold | Lambda, among: Iterable[Node]) -> set[Node]:
    """The variables and indices that a loop, a sum or a function binds; of families the members among these nodes."""
    match body:
        case Loop(variables, _, _, index):
            names = {variable.name for variable in variables if variable.args}
            members = {x for x in among if x.role == "loop" and x.name in names}
            indices = {i for variable in variables for i in variable.args}
            return {*variables, *members, *indices, *(() if index is None else (index,))}
        case Fold(_, indices):
            return set(indices)
        case Lambda(variables):
            return set(variables)


def aligned(text: str, own: Sequence[str], wanted: Sequence[str]) -> str:
    """`text` with its axes in the order of `wanted`, and an axis of one entry for each that it lacks.

    >>> aligned("v", ("m",), ("n", "m")), aligned("a", ("n",), ("n", "m")), aligned("a", ("m", "n"), ("n", "m"))
    ('v[..., None, :]', 'a[..., :, None]', 'a.permute(1, 0)')
    """
    inside = [axis for axis in wanted if axis in own]
    if list(own) != inside and set(own) <= set(wanted):
        text = f"{text}.permute({', '.join(str(own.index(axis)) for axis in inside)})"
    slots = [":" if axis in own else "None" for axis in wanted]
    return text if "None" not in slots else f"{text}[..., {', '.join(slots)}]"


def domains(program: Program) -> Mapping[str, Node]:
    """The set of each index, by the name of the index: as declared, or where a fold, a loop or a role goes over it."""
    found: dict[str, Node] = {}
    for group in (program.callables, program.params, program.states, program.inputs, program.hypers, program.roles):
        for declared in group:
            for name, of in declared.indices:
                if of:
                    found.setdefault(name, leaf("set", of, SET))
    for here in (inner for root in program.roots for inner in root.walk()):
        for attr in here.attrs:
            if isinstance(attr, Fold) and here.args[0].role != "draw":
                for index in attr.indices:
                    found.setdefault(index.name, here.args[0])
            if isinstance(attr, Loop) and attr.index is not None:
                found.setdefault(attr.index.name, drawn_from(program, here.args[0]))
    sets = {home for home in found.values() if home.role == "set"}
    if len(sets) == 1:  # what a family of a loop runs over is said nowhere else
        loops = (a for root in program.roots for here in root.walk() for a in here.attrs if isinstance(a, Loop))
        for index in (index for attr in loops for variable in attr.variables for index in variable.args):
            found.setdefault(index.name, next(iter(sets)))
    return found


def drawn_from(program: Program, elements: Node) -> Node:
    """The set that drawn elements are taken from; of a set that is not drawn, the set."""
    if elements.role != "draw":
        return elements
    return next((random.args[0] for random in program.randoms if random.name == elements.name), elements)
