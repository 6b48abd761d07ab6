"""The statements of a step in the order of their evaluation, and for each value where it lives.

A value is one number for all tensors of a bucket (`scalar`), or a list with one tensor a parameter. A named value is a
statement of its own, and so is every list that is read twice, every loop, and every request to the world outside. A
list that is only another one times a number is left to whoever reads it. What only one branch of a choice reads is
computed only there: that is the guard of a statement.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from dotopt.compiler.emit.names import Names
from dotopt.compiler.emit.torch.layers import of_layer
from dotopt.compiler.ir import COMPARISONS, REDUCTIONS, TIME, Equation, Loop, Node, Program, State, node, number
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Span

ONE = number(1)
Guard = frozenset[tuple[Node, bool]]


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


class Places:
    """Tells scalars from lists."""

    def __init__(self, program: Program) -> None:
        self.shared = {state.name for state in program.states if state.shared}
        self.known: dict[Node, bool] = {}

    def scalar(self, here: Node) -> bool:
        """Whether `here` is one number for all tensors of a bucket."""
        found = self.known.get(here)
        if found is None:
            found = self.known[here] = self._scalar(here)
        return found

    def _scalar(self, here: Node) -> bool:
        match here.op:
            case "leaf":
                return self._leaf(here)
            case "oracle":
                return bool(here.attrs[1] == "value")
            case "size" | "native" | "fires" | "indicator":
                return True
            case "eye" | "zeros" | "ones":
                return False
            case op if op in REDUCTIONS and here.attrs[1]:
                return True
            case "item":
                return self.variable(here.args[0], here.attrs[0])
        return all(map(self.scalar, here.args))

    def _leaf(self, here: Node) -> bool:
        match here.role:
            case "param":
                return False
            case "state":
                return here.name in self.shared
            case "hyper" | "time" | "axis" | "option" | "const" | "rank":
                return True
            case "draw" if not here.args:
                return not here.type.axes
            case "input" if of_layer(here):
                return False
        raise fail("E601", here.span, construct=f"`{here.name}`, {ROLES.get(here.role, here.role)},")

    def variable(self, loop: Node, position: int) -> bool:
        """Whether a loop variable is a scalar: its start and its next value both are."""
        body: Loop = loop.attrs[0]
        places = [self.scalar(start) for start in loop.args[1:]]
        while True:
            self.known |= dict(zip(body.variables, places, strict=True))
            for inner in _inside(body):
                self.known.pop(inner, None)
            found = [place and self.scalar(after) for place, after in zip(places, body.nexts, strict=True)]
            if found == places:
                return places[position]
            places = found


ROLES = {
    "draw": "a draw in every pass of a loop",
    "input": "an input",
    "index": "an index",
    "sample": "a sample",
    "set": "a set",
    "free": "free",
}


def _inside(body: Loop) -> set[Node]:
    """The nodes of a body that change from pass to pass."""
    moving = set(body.variables)
    for root in body.nodes:
        for here in root.walk():
            if any(child in moving for child in here.children):
                moving.add(here)
    return moving - set(body.variables)


# ---- scaled values: number times list
# ----------------------------------------------------------------------------------


def times(left: Node, right: Node) -> Node:
    """The product of two numbers, without factors 1."""
    if left is ONE:
        return right
    if right.op == "div" and right.args[0] is ONE:
        return over(left, right.args[1])
    return left if right is ONE else node("mul", left, right)


def over(left: Node, right: Node) -> Node:
    """The quotient of two numbers."""
    return left if right is ONE else node("div", left, right)


def negative(scale: Node) -> Node:
    """The negative of a number."""
    if scale.value is not None:
        return number(-scale.value)
    if scale.op == "neg":
        return scale.args[0]
    if scale.op in ("mul", "div"):
        return node(scale.op, negative(scale.args[0]), scale.args[1])
    return node("neg", scale)


class Products:
    """Takes a list apart into a number and the list that it multiplies."""

    def __init__(self, places: Places, names: Mapping[Node, str]) -> None:
        self.scalar = places.scalar
        self.names = names

    def split(self, here: Node) -> tuple[Node, Node]:
        """`(number, list)` whose product is `here`."""
        if here in self.names:
            return ONE, here
        match here.op, here.args:
            case "neg", (a,):
                scale, base = self.split(a)
                return negative(scale), base
            case "mul", (a, b) if self.scalar(a):
                scale, base = self.split(b)
                return times(a, scale), base
            case "mul", (a, b) if self.scalar(b):
                scale, base = self.split(a)
                return times(scale, b), base
            case "div", (a, b) if self.scalar(b):
                scale, base = self.split(a)
                return over(scale, b), base
            case "div", (a, b) if self.scalar(a):
                scale, base = self.split(b)
                return over(a, scale), node("div", ONE, base)
            case "mul", (a, b):
                (s, x), (r, y) = self.split(a), self.split(b)
                return times(s, r), node("mul", x, y)
            case "div", (a, b):
                (s, x), (r, y) = self.split(a), self.split(b)
                return over(s, r), node("div", x, y)
        return ONE, here


# ---- planning
# ----------------------------------------------------------------------------------------------------------


def requests(here: Node) -> bool:
    """Whether the value comes from outside: a sum over the model, a gradient elsewhere."""
    if here.op in REDUCTIONS or here.op == "size":
        return bool(here.attrs[1])
    return here.op == "oracle"


def below(here: Node) -> Iterator[Node]:
    """The arguments, and what a loop reads from outside its body."""
    yield from here.args
    if here.op == "loop":
        body: Loop = here.attrs[0]
        moving = _inside(body) | set(body.variables)
        for inner in moving:
            yield from (child for child in inner.children if child not in moving)
        yield from (root for root in body.nodes if root not in moving)


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
        self.open: set[Node] = set()
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

    def separate(self, here: Node) -> bool:
        """Whether the value is a statement of its own."""
        if requests(here) or here.role == "draw":
            return True
        if here.op in ("leaf", "const", "bool", "inf", "pi", "item", "eye", "zeros", "ones") or here.op in CHEAP:
            return False
        if here.op == "loop" or here in self.roots:
            return True
        if here in self.labels:
            return self.places.scalar(here) or not self._scaled(here)
        return self.uses[here] > 1 and not self.places.scalar(here) and not self._scaled(here)

    def _scaled(self, here: Node) -> bool:
        """A number times a value that has a name already: not worth a pass over memory, unless its name is read
        twice.
        """
        if here.op not in ("mul", "div", "neg") or (here in self.labels and self.uses[here] != 1):
            return False
        scale, base = Products(self.places, self.plan.names).split(here)
        return scale is not ONE and (base in self.plan.names or base.op == "leaf" or self.separate(base))

    def require(self, here: Node) -> None:
        """Appends the statement for `here` and whatever it needs, once."""
        if here in self.plan.names:
            return
        if here in self.starts:
            self._start(here)
            return
        if here in self.open:
            raise fail("E601", here.span, construct=f"`{here!r}`, which the first step needs before it is known,")
        self.open.add(here)
        for inner in below(here):
            self.require(inner)
        self.open.discard(here)
        if self.separate(here):
            self._append(here)
        elif here.op == "item":
            self.plan.names[here] = self.plan.names[here.args[0].attrs[0].variables[here.attrs[0]]]

    def _start(self, leaf: Node) -> None:
        state = self.starts[leaf]
        if leaf in self.open:
            raise fail("E601", leaf.span, construct=f"the state `{state.name}`, whose start needs itself,")
        self.open.add(leaf)
        if state.start.role != "draw":  # which is written where it is stored
            self.require(state.start)
        self.open.discard(leaf)
        self.plan.names[leaf] = self.taken.of(leaf, leaf.name)
        self.plan.statements.append(Statement(state.start, self.taken.of(leaf, leaf.name), (), state))

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
            return {"gradient": "gradient", "value": "loss", "hessian_vector": "curved"}.get(here.attrs[1], "field")
        return "total" if requests(here) else NOUNS.get(here.op, "part")

    def _comments(self, here: Node) -> tuple[str, ...]:
        spans = [e.span for e in self.labels.get(here, ()) if e.span is not None]
        for inner in self._inlined(here):
            spans += [e.span for e in self.labels.get(inner, ()) if e.span is not None]
        return tuple(line for span in dict.fromkeys(spans) for line in lines(span))

    def _inlined(self, here: Node) -> Iterator[Node]:
        for inner in below(here):
            if inner not in self.plan.names and inner.op not in ("leaf", "const", "bool"):  # a number has no line
                yield inner
                yield from self._inlined(inner)

    def _loop(self, here: Node) -> None:
        body: Loop = here.attrs[0]
        if body.index is not None:
            raise fail("E601", here.span, construct="a loop `for … in …` in an optimizer")
        self.places.variable(here, 0)
        results = {e.node.attrs[0]: e for e in self._results(here)}
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
CHEAP = ("size", "native", "fires", "transpose")


def lines(span: Span) -> tuple[str, ...]:
    """The lines of the file that a span covers, without the comments of the file."""
    kept = (line.split("#")[0].rstrip() for line in span.text.splitlines())
    return tuple(line for line in kept if line.strip())


# ---- guards
# ------------------------------------------------------------------------------------------------------------


def guards(plan: Plan, roots: Iterable[Node], places: Places) -> dict[Node, Guard]:
    """For each statement that is a list or a request: the conditions under which somebody reads it."""
    needed: dict[Node, Guard] = dict.fromkeys(roots, frozenset())
    position = {statement.node: i for i, statement in enumerate(plan.statements) if statement.state is None}

    def note(here: Node, conditions: Guard) -> None:
        if here in position:
            needed[here] = needed[here] & conditions if here in needed else conditions
            return
        match here.op, here.args:
            case "select", (c, a, b) if places.scalar(c):
                note(c, conditions)
                note(a, conditions | {(c, True)})
                note(b, conditions | {(c, False)})
            case _:
                for inner in below(here):
                    note(inner, conditions)

    for statement in reversed(plan.statements):
        here = statement.node
        if statement.state is not None:
            note(here, frozenset({(node("eq", TIME, ONE), True)}))
            continue
        conditions = needed.get(here, frozenset())
        if here.op != "loop" and places.scalar(here) and not requests(here):
            conditions = frozenset()  # a number costs nothing
        known = frozenset((c, side) for c, side in conditions if _last(c, position) < position[here] and _free(c))
        needed[here] = known
        match here.op, here.args:
            case "select", (c, a, b) if places.scalar(c):
                note(c, known)
                note(a, known | {(c, True)})
                note(b, known | {(c, False)})
            case _:
                for inner in below(here):
                    note(inner, known)
    return needed


def _last(condition: Node, position: Mapping[Node, int]) -> int:
    """The place of the last statement that the condition needs."""
    return max((position[inner] for inner in condition.walk() if inner in position), default=-1)


def _free(condition: Node) -> bool:
    return condition.op in (*COMPARISONS, "and", "or", "not", "fires") and not any(
        inner.role == "loop" for inner in condition.walk()
    )
