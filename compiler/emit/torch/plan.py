"""The statements of a step in the order of their evaluation.

A named value is a statement of its own, and so is every list that is read twice, every loop, every request to the
world outside, and whatever would be nested too deep, or written too often, inside another line. A list that is only
another one times a number is left to whoever reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dotopt.compiler.emit.names import Names
from dotopt.compiler.emit.torch.places import Places, requests
from dotopt.compiler.emit.torch.products import ONE, Products
from dotopt.compiler.ir import Equation, Loop, Node, State
from dotopt.compiler.ir.loops import below
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Span

Guard = frozenset[tuple[Node, bool]]
DEEPEST = 24  # operations inside each other in one line; Python reads no more than 200 brackets inside each other
HEAVIEST = 12  # operations in a number that is written once for each of its readers
PLAIN = ("leaf", "const", "bool", "inf", "pi", "item", "eye", "zeros", "ones")  # never worth a line
CHEAP = ("size", "native", "fires", "transpose")  # not worth one for being a result or being read twice


@dataclass(frozen=True, eq=False)
class Statement:
    """A value to compute; with `state`, the start of that state, at step 1 only."""

    node: Node
    name: str
    comments: tuple[str, ...] = ()
    state: State | None = None
    body: Plan | None = None  # of a loop


@dataclass(eq=False)
class Plan:
    """Statements in order; `guards` says under which conditions each is needed."""

    statements: list[Statement] = field(default_factory=list)
    names: dict[Node, str] = field(default_factory=dict)
    guards: dict[Node, Guard] = field(default_factory=dict)


class Planner:
    """Orders the statements of one block: the step itself, or the body of a loop."""

    def __init__(
        self,
        roots: Iterable[Node],
        equations: Iterable[Equation],
        starts: Mapping[Node, State],
        places: Places,
        names: Names,
        given: Mapping[Node, str],
    ) -> None:
        self.starts = starts
        self.places = places
        self.taken = names
        self.plan = Plan(names=dict(given))
        self.given = set(given)
        self.roots = tuple(roots)
        self.labels: dict[Node, list[Equation]] = {}
        for equation in equations:
            self.labels.setdefault(equation.node, []).append(equation)
        self.depth: dict[Node, int] = {}  # of what has been looked at and has no name: operations inside each other
        self.weight: dict[Node, int] = {}  # and all of its operations
        self.uses = self._count()

    def _reachable(self) -> list[Node]:
        found: dict[Node, None] = {}
        stack = [*self.roots, *(state.start for state in self.starts.values())]
        while stack:
            here = stack.pop()
            if here not in found and here not in self.given:
                found[here] = None
                stack.extend(below(here))
        return list(found)

    def _count(self) -> Counter[Node]:
        uses: Counter[Node] = Counter(self.roots)
        for here in self._reachable():
            uses.update(here.args)
            if here.op == "loop":
                uses.update(dict.fromkeys(set(below(here)) - set(here.args), 2))
        return uses

    def run(self) -> Plan:
        """The plan, with every root computed."""
        for here in self.labels:
            if self.uses[here]:
                self.require(here)
        for root in self.roots:
            self.require(root)
        return self.plan

    def require(self, root: Node) -> None:
        """Appends the statements for `root` and whatever it needs, each once, arguments first."""
        opened: set[Node] = set()
        stack = [(root, False)]
        while stack:
            here, done = stack.pop()
            if done:
                opened.discard(here)
                self._finish(here)
            elif here in opened:
                raise self._circle(here)
            elif here not in self.plan.names and here not in self.depth:
                opened.add(here)
                stack.append((here, True))
                stack += ((inner, False) for inner in reversed(self._below(here)))

    def _below(self, here: Node) -> list[Node]:
        """What has to be computed before `here`."""
        if (state := self.starts.get(here)) is None:
            return list(below(here))
        return [] if state.start.role == "draw" else [state.start]  # a draw is written where it is stored

    def _circle(self, here: Node) -> Exception:
        if (state := self.starts.get(here)) is not None:
            return fail("E601", here.span, construct=f"the state `{state.name}`, whose start needs itself,")
        return fail("E601", here.span, construct=f"`{here!r}`, which the first step needs before it is known,")

    def _finish(self, here: Node) -> None:
        """The statement for `here`, whose arguments are there, if it is one."""
        if (state := self.starts.get(here)) is not None:
            name = self.plan.names[here] = self.taken.of(here, here.name)
            self.plan.statements.append(Statement(state.start, name, (), state))
            return
        inner = [arg for arg in here.args if arg not in self.plan.names]
        self.depth[here] = 1 + max((self.depth[arg] for arg in inner), default=0)
        self.weight[here] = 1 + sum(self.weight[arg] for arg in inner)
        if self.separate(here):
            self._append(here)
        elif here.op == "item":
            self.plan.names[here] = self.plan.names[here.args[0].attrs.body.variables[here.attrs.position]]

    def separate(self, here: Node) -> bool:
        """Whether the value is a statement of its own."""
        if requests(here) or here.role == "draw":
            return True
        if here.op in PLAIN:
            return False
        if here.op == "loop" or self.depth.get(here, 0) > DEEPEST:
            return True
        if here.op in CHEAP:
            return False
        if here in self.roots:
            return True
        if here in self.labels:
            return self.places.scalar(here) or not self._scaled(here)
        if self.uses[here] < 2:
            return False
        return self.weight.get(here, 0) > HEAVIEST if self.places.scalar(here) else not self._scaled(here)

    def _scaled(self, here: Node) -> bool:
        """A number times a value that has a name already: not worth a pass over memory, unless its name is read
        twice.
        """
        if here.op not in ("mul", "div", "neg") or (here in self.labels and self.uses[here] != 1):
            return False
        scale, base = Products(self.places, self.plan.names).split(here)
        return scale is not ONE and (base in self.plan.names or base.op == "leaf" or self.separate(base))

    def _append(self, here: Node) -> None:
        comments = self._comments(here)
        if here.op == "loop":
            self._loop(here)
            return
        labels = self.labels.get(here)
        name = self.taken.new(labels[0].label if labels else self._describe(here))
        self.plan.names[here] = name
        self.plan.statements.append(Statement(here, name, comments))

    def _describe(self, here: Node) -> str:
        """A name for a value that has none in the file."""
        if here.role == "draw":
            return here.name
        if here.op == "oracle":
            return {"gradient": "gradient", "value": "loss", "hessian_vector": "curved"}.get(here.attrs.what, "field")
        return "total" if requests(here) else NOUNS.get(here.op, "part")

    def _comments(self, here: Node) -> tuple[str, ...]:
        spans = [e.span for e in self.labels.get(here, ()) if e.span is not None]
        for inner in self._inlined(here):
            spans += [e.span for e in self.labels.get(inner, ()) if e.span is not None]
        return tuple(line for span in dict.fromkeys(spans) for line in lines(span))

    def _inlined(self, root: Node) -> Iterator[Node]:
        """What the line of `root` computes beside it, in the order of its text."""
        seen: set[Node] = set()
        stack = list(below(root))[::-1]
        while stack:
            here = stack.pop()
            if here in seen or here in self.plan.names or here.op in ("leaf", "const", "bool"):  # without a line
                continue
            seen.add(here)
            yield here
            stack += list(below(here))[::-1]

    def _loop(self, here: Node) -> None:
        body: Loop = here.attrs.body
        if body.index is not None:
            raise fail("E601", here.span, construct="a loop `for … in …` in an optimizer")
        self.places.variable(here, 0)
        results = {e.node.attrs.position: e for e in self._results(here)}
        for position, variable in enumerate(body.variables):
            label = results[position].label if position in results else variable.name
            self.plan.names[variable] = self.taken.new(label)
        inner = Planner(body.nodes, body.equations, {}, self.places, self.taken, self.plan.names)
        spans = [e.span for e in results.values() if e.span is not None]
        comments = [line for span in spans for line in lines(span)]
        comments += lines(here.span)[:1] if here.span is not None else ()
        self.plan.statements.append(Statement(here, "", tuple(comments), body=inner.run()))
        self.plan.names[here] = ""

    def _results(self, loop: Node) -> list[Equation]:
        """The equations that name a result of the loop."""
        items = [here for here in self.labels if here.op == "item" and here.args[0] is loop]
        return [self.labels[here][-1] for here in items]


NOUNS = {
    "sum": "sum",
    "mean": "mean",
    "norm": "norm",
    "std": "spread",
    "amax": "largest",
    "mul": "product",
    "div": "ratio",
    "add": "sum",
    "sub": "difference",
    "pow": "power",
    "lt": "below",
    "le": "below",
    "gt": "above",
    "ge": "above",
    "argsort": "order",
    "max": "larger",
    "min": "smaller",
    "sqrt": "root",
}


def lines(span: Span) -> tuple[str, ...]:
    """The lines of the file that a span covers, without the comments of the file."""
    kept = (line.split("#")[0].rstrip() for line in span.text.splitlines())
    return tuple(line for line in kept if line.strip())
