"""A step on parts of tensors: local programs, and the messages between them.

    phases(program, cut={"rows"})        `cut`: the axes of the parameter that are spread over processes

    local program     makes partial sums, and what whole matrices are made of
    messages          the sums of all tensors in one; matrices to their owners, results back
    …                 once for each depth of sums
    local program     the step itself: only now anything moves

Each piece is a program like that of a rule: what it hands on is a state of it, what comes back is a state of the next.
So every backend runs the pieces as it runs rules, and a step that fails on its way has changed nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from dotopt.compiler.analysis.locality import (
    CONSTANTS,
    SUMS,
    Elsewhere,
    Level,
    Locality,
    locality,
    owned_states,
    without_means,
)
from dotopt.compiler.ir import ENTRYWISE, Equation, Node, Program, State, leaf, node, number
from dotopt.compiler.ir.loops import below
from dotopt.compiler.ir.nodes import carved
from dotopt.compiler.ir.program import at_its_places
from dotopt.compiler.ops.types import INT


@dataclass(frozen=True)
class Sum:
    """A partial result that is joined over processes: `how` is sum or amax; `axes` are those that it goes along.

    Over the `model` it is one number for all tensors.
    """

    name: str
    how: str
    axes: tuple[str, ...]
    model: bool


@dataclass(frozen=True)
class Owned:
    """What the owner of a matrix computes from `inputs` and the states `kept`; `outputs` go back."""

    program: Program
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class LocalPhase:
    """A local program that makes `made` (None: nothing is to be made), and the messages after it."""

    level: Level
    program: Program | None
    made: tuple[State, ...]
    sums: tuple[Sum, ...]
    owned: Owned | None


@dataclass(frozen=True)
class Phases:
    """The phases, and the local program that takes the step; `sizes` are numbers that are read, by their axes.

    `temporaries` are all that is handed on; `kept` the states that only owners need.
    """

    phases: tuple[LocalPhase, ...]
    last: Program
    temporaries: tuple[State, ...]
    sizes: Mapping[str, tuple[tuple[str, ...], bool]]
    kept: tuple[str, ...]


@at_its_places
def phases(program: Program, cut: Iterable[str]) -> Phases:
    """The step of `program` where the axes `cut` are spread; raises `Elsewhere` for what no message brings."""
    return _Cutter(without_means(program, frozenset(cut)), frozenset(cut)).run()


@dataclass(eq=False)
class _Cutter:
    program: Program
    cut: frozenset[str]
    table: dict[Node, Node] = field(default_factory=dict)  # what is read in local programs instead of a value
    inputs: dict[Node, Node] = field(default_factory=dict)  # and at the owner
    made: dict[Node, State] = field(default_factory=dict)
    sizes: dict[str, tuple[tuple[str, ...], bool]] = field(default_factory=dict)
    sent: set[Node] = field(default_factory=set)
    sending: list[Node] = field(default_factory=list)

    def run(self) -> Phases:
        self.known: dict[Node, Locality] = locality(self.program, self.cut)
        self.kept = owned_states(self.program, self.cut)
        self.taken = {s.name for s in self.program.states} | {s.key for s in self.program.states}
        (self.param,) = self.program.params
        self.theta = leaf("param", self.param.name, self.param.type)
        nodes = self._read()
        for here in nodes:
            self._seen(here)  # the sizes that are read
        crossing = [here for here in nodes if here.op in SUMS and self._message(here)]
        for here in crossing:
            self.table[here] = self._temporary(here, shared=self.known[here].need == "model sum")
        outputs = [here for here in self._results(nodes) if here not in self.table]
        for here in outputs:
            self.table[here] = self._temporary(here)
        levels = sorted({self._sent(here) for here in crossing} | {self.known[x].level for x in self._owners(nodes)})
        made = [self._phase(level, crossing, outputs, nodes) for level in levels]
        last = self._made(
            [self._state(s) for s in self.program.states if s.name not in self.kept],
            {name: self.local(root) for name, root in self.program.next.items()},
            self.program.equations,
        )
        return Phases(tuple(made), last, tuple(self.made.values()), self.sizes, tuple(sorted(self.kept)))

    # ---- what is cut where ----

    def _read(self) -> list[Node]:
        """What a step reads, arguments first."""
        roots = (*self.program.roots, *(state.start for state in self.program.states))
        return [here for here in dict.fromkeys(x for root in roots for x in root.walk()) if here in self.known]

    def _message(self, here: Node) -> bool:
        known = self.known[here]
        return not known.owned and known.need in ("axis sum", "tensor sum", "model sum")

    def _sent(self, here: Node) -> Level:
        """When the partial sums are there."""
        return max(self.known[arg].everywhere for arg in here.args)

    def _owners(self, nodes: Iterable[Node]) -> Iterator[Node]:
        return (x for x in nodes if self.known[x].owned and x.op != "leaf")

    def _results(self, nodes: list[Node]) -> list[Node]:
        """What owners compute that is read elsewhere, or by a later owner."""
        found: dict[Node, None] = {}
        for here in nodes:
            mine = self.known[here]
            for arg in here.children:
                theirs = self.known.get(arg)
                if theirs is not None and theirs.owned and (not mine.owned or mine.level != theirs.level):
                    if arg.role != "state":
                        found[arg] = None
                    elif not mine.owned:
                        raise Elsewhere(f"a process reads `{arg.name}`, which only the owner of a matrix has")
        states = [s for s in self.program.states if s.name not in self.kept]
        roots = [*self.program.next.values(), *(s.next for s in states if s.next), *(s.start for s in states)]
        return list(found | {root: None for root in roots if self.known[root].owned})

    def _temporary(self, here: Node, shared: bool = False, label: str = "") -> Node:
        """The leaf of a new temporary like this value."""
        name = wanted = label or {"sum": "total", "amax": "largest"}.get(here.op, "part")
        count = 1
        while name in self.taken:
            count += 1
            name = f"{wanted}_{count}"
        self.taken.add(name)
        kind = replace(here.type, kind="real")
        self.made[here] = State(name, name, kind, number(0), "constant", None, shared)
        return leaf("state", name, kind)

    # ---- programs ----

    def local(self, root: Node) -> Node:
        """The value in a local program."""
        return carved(root, self._seen)

    def _seen(self, here: Node) -> Node | None:
        if here in self.table:
            return self.table[here]
        if here.op == "size" or here.role == "axis":
            axes, model = (here.attrs.axes, here.attrs.model) if here.op == "size" else ((here.name,), False)
            name = "entries of the model" if model else "size of " + " ".join(axes)
            self.sizes[name] = (axes, model)
            return leaf("state", name, INT)
        return None

    def at_owner(self, root: Node, level: Level) -> Node:
        """The value where the whole matrix is: what is no matrix, and no number, comes as an input."""

        def stop(here: Node) -> Node | None:
            known = self.known.get(here)
            if known is None or here.op in CONSTANTS or here.op == "size" or here.role == "axis":
                return None
            if known.owned and (known.level == level or here.role == "state"):
                return None
            if known.need == "number" or (known.need == "model sum" and here.type.scalar):
                return self.table.get(here)
            if here not in self.sent:
                return None
            if here not in self.inputs:
                self.inputs[here] = self._temporary(node("neg", here), label="sent")
                self.sending.append(here)
            return self.inputs[here]

        return carved(root, stop)

    def _border(self, roots: Iterable[Node], level: Level) -> set[Node]:
        """What the owner is sent: values of processes that it reads, without what it makes of others that it is sent.

        Of `N/‖N‖`, for example, `N` alone.
        """
        found: dict[Node, None] = {}
        waiting, seen = list(roots), set[Node]()
        while waiting:
            here = waiting.pop()
            if here in seen:
                continue
            seen.add(here)
            known = self.known.get(here)
            if known is None or here.op in CONSTANTS or here.op == "loop":
                waiting += below(here) if here.op == "loop" else here.children
            elif known.owned and (known.level == level or here.role == "state"):
                waiting += here.args
            elif known.need != "number" and not (known.need == "model sum" and here.type.scalar):
                found[here] = None
        for here in list(found):
            if self._follows(here, found.keys() - {here}):
                del found[here]
        return set(found)

    def _follows(self, root: Node, given: set[Node]) -> bool:
        """Whether a value is made of `given` and numbers, entry by entry."""
        waiting = [root]
        while waiting:
            here = waiting.pop()
            if here in given or self.known[here].need == "number":
                continue
            if here.op == "leaf" or here in self.table or here.op not in ENTRYWISE:
                return False
            waiting += here.args
        return True

    def _phase(self, level: Level, crossing: list[Node], outputs: list[Node], nodes: list[Node]) -> LocalPhase:
        sums = [here for here in crossing if self._sent(here) == level]
        values = [(self.made[here], node(here.op, here.args[0], attrs=(here.attrs.axes, False))) for here in sums]
        self.sending = []
        owned = None
        if any(self.known[x].level == level for x in self._owners(nodes)):
            owned = self._owned(level, [x for x in outputs if self.known[x].level == level])
            values += [(self.made[node("neg", x)], x) for x in self.sending]
        stated = []
        for state, value in values:  # a sum over the model begins with one number for each tensor
            inner = carved(value, lambda x, top=value: None if x is top else self._seen(x))  # type: ignore[misc]
            stated.append(replace(state, next=inner, shared=False))
        program = None
        if stated:
            kept = tuple(self._state(s, False) for s in self.program.states if s.name not in self.kept)
            program = self._made([*kept, *stated])
        found = tuple(Sum(self.made[x].name, x.op, x.attrs.axes, x.attrs.model) for x in sums)
        return LocalPhase(level, program, tuple(stated), found, owned)

    def _owned(self, level: Level, outputs: list[Node]) -> Owned:
        kept = [s for s in self.program.states if s.name in self.kept]
        here = [s for s in kept if s.next is not None and self.known[s.next].level == level]
        if any(s not in here for s in kept if s.next is not None):
            raise Elsewhere("states of a matrix are computed in several turns")
        roots = [root for s in here for root in (s.start, s.next) if root is not None]
        self.sent = self._border([*roots, *outputs], level)
        states = [
            replace(s, start=self.at_owner(s.start, level), next=s.next and self.at_owner(s.next, level)) for s in here
        ]
        results = [replace(self.made[x], next=self.at_owner(x, level)) for x in outputs]
        given = [self.inputs[x] for x in self.inputs]
        inputs = [s for s in self.made.values() if leaf("state", s.name, s.type) in given]
        numbers = [replace(s, next=None) for s in self.program.states if s.shared]
        program = self._made([*numbers, *states, *results])
        names = tuple(s.name for s in inputs), tuple(s.name for s in results), tuple(s.name for s in states)
        return Owned(program, *names)

    def _made(
        self, states: list[State], after: Mapping[str, Node] | None = None, equations: Iterable[Equation] = ()
    ) -> Program:
        """A program that keeps `states`, with what it reads besides; the parameter stays where `after` is not given."""
        after = after or {self.param.name: self.theta}
        mine = {state.name for state in states}
        others = [s for s in (*self.made.values(), *self._numbers()) if s.name not in mine]
        by_name = {state.name: state for state in (*states, *others)}
        read: set[str] = {state.name for state in states if state.next is not None}
        waiting = [*after.values(), *(root for name in read for root in self._values(by_name[name]))]
        while waiting:
            found = {x.name for x in waiting.pop().walk() if x.role == "state"} - read
            read |= found
            waiting += [root for name in found for root in self._values(by_name[name])]
        mapped = tuple(
            replace(e, node=self.local(e.node))
            for e in equations
            if e.node in self.known and not self.known[e.node].owned
        )
        return replace(
            self.program, states=tuple(s for s in (*states, *others) if s.name in read), next=after, equations=mapped,
            evaluation={}, outputs={},
        )  # fmt: skip

    def _values(self, state: State) -> list[Node]:
        return [root for root in (state.next, state.start) if root is not None]

    def _state(self, state: State, moving: bool = True) -> State:
        after = self.local(state.next) if moving and state.next is not None else None
        return replace(state, start=self.local(state.start), next=after)

    def _numbers(self) -> list[State]:
        """The sizes, as states that a program reads."""
        return [
            State(name, name, INT, number(0), "constant", None, shared=True) for name in self.sizes
        ]
