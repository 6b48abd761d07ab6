"""One program as a Python function: the step of all tensors of a bucket, a line for each equation.

    def step(θ, g, m, v, *, t, η, β1, β2, ε, λ):        lists of tensors, then numbers
        # m' = β1*m + (1 - β1)*g                         the equation of the file
        m_next = lerp_(m, g, 1 - beta1)                  the line that computes it

A state is overwritten by the line that reads it last; what is not written by then is stored at the end. A program that
asks for more than the gradient at the parameter becomes a generator that yields what it needs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from dotopt.compiler.emit.names import PYTHON, Names
from dotopt.compiler.emit.torch.layers import layer_values
from dotopt.compiler.emit.torch.lists import MATRIX_WORDS, Code, Lists
from dotopt.compiler.emit.torch.plan import Guard, Places, Plan, Planner, Statement, below, guards, requests
from dotopt.compiler.emit.torch.scalars import AND, Scalars
from dotopt.compiler.emit.torch.windows import accumulated
from dotopt.compiler.ir import TIME, Loop, Node, Param, Program, State, leaf, node, number, rebuild
from dotopt.compiler.ops.types import REST
from dotopt.compiler.text.errors import fail

INDENT = "    "
LAWS = ("normal", "uniform", "bernoulli", "rademacher")  # of `dotopt.runtime.optimizer.draws`


@dataclass(frozen=True)
class StepText:
    """A compiled program: the text of its functions and what the runtime must know to call them."""

    lines: tuple[str, ...]  # the body of `step`
    evaluation: tuple[str, ...]  # the body of `evaluate`; empty if there is no `eval`
    lists: tuple[str, ...]  # the positional arguments: parameter, gradient, states
    scalars: tuple[str, ...]  # the keyword arguments
    sources: tuple[str, ...]  # where the runtime finds each: `t`, `shape`, a keyword of the group, a shared state
    param: Param
    layer: tuple[tuple[str, str], ...]  # further lists: their names, and what of the parameter's layer each is
    states: tuple[State, ...]
    gradient: bool  # the gradient at the parameter is read
    by_shape: bool  # the tensors of a bucket must have one shape
    generator: bool
    reasons: tuple[str, ...]  # why a closure is needed

    @property
    def signature(self) -> str:
        """The arguments as they stand in `def`."""
        return self._arguments((*self.lists, *(name for name, _ in self.layer)))

    @property
    def evaluated_signature(self) -> str:
        """The arguments of `evaluate`: those of the step without the gradient."""
        return self._arguments((self.lists[0], *self.lists[1 + self.gradient :]))

    def _arguments(self, lists: tuple[str, ...]) -> str:
        return f"{', '.join(lists)}, *, {', '.join(self.scalars)}" if self.scalars else ", ".join(lists)


def step_text(program: Program, reserved: frozenset[str]) -> StepText:
    """The functions of `program`; raises E601 for what is not compiled to torch. `reserved` names are not used."""
    return _Writer(program, reserved).write()


class _Writer:
    def __init__(self, program: Program, reserved: frozenset[str]) -> None:
        supported(program)
        self.program = program = simplified(accumulated(program))
        (self.param,) = program.params
        self.theta = leaf("param", self.param.name, self.param.type)
        self.places = Places(program)
        self.taken = Names(PYTHON, reserved, ("shape",))
        self.taken.fix(TIME, "t")
        self.lists: dict[Node, str] = {self.theta: self.taken.of(self.theta, self.param.name)}
        self.numbers: dict[Node, str] = {TIME: "t"}
        self.uses_native = False
        self.laws = {random.name: random for random in program.randoms}
        self.words = layer_values(program)
        self.reasons: dict[str, None] = {}

    # ---- arguments ----

    def arguments(self) -> None:
        """Names for everything that the functions are given."""
        program = self.program
        labels = {e.node: e.label for e in reversed(program.equations)}
        self.gradient = next((o for o in program.oracles if self.is_gradient(o)), None)
        if self.gradient is not None:
            self.lists[self.gradient] = self.taken.new(labels.get(self.gradient, "grad"))
        self.layer = {here: self.taken.new(labels.get(here, word)) for here, word in self.words.items()}
        self.leaves = {state.name: leaf("state", state.name, state.type) for state in program.states}
        for state in program.states:
            here = self.leaves[state.name]
            (self.numbers if state.shared else self.lists)[here] = self.taken.of(here, here.name)
        for hyper in program.hypers:
            here = leaf("hyper", hyper.name, hyper.type)
            self.numbers[here] = self.taken.of(here, here.name)

    def is_gradient(self, oracle: Node) -> bool:
        """Whether this is what `.grad` holds."""
        return oracle.attrs[1] in ("gradient", "field") and oracle.args == (self.theta,)

    # ---- the whole ----

    def write(self) -> StepText:
        program = self.program
        self.arguments()
        starts = {
            self.leaves[state.name]: state
            for state in program.states
            if state.kind == "first" or state.start.value is None
        }
        shared = [state for state in program.states if state.shared]
        stored = [state for state in program.states if not state.shared and state.next is not None]
        roots = [program.next[self.param.name], *(state.next for state in (*stored, *shared) if state.next is not None)]
        given = {here: name for here, name in (self.lists | self.layer | self.numbers).items() if here not in starts}
        body = self.function(
            roots,
            starts,
            given,
            [(self.theta, program.next[self.param.name])]
            + [(self.leaves[s.name], s.next) for s in stored if s.next is not None],
        )
        results = ", ".join(self.scalars.text(state.next or self.leaves[state.name]) for state in shared)
        if shared:
            body.append(f"return {results}," if len(shared) == 1 else f"return {results}")
        generator = any("(yield " in line for line in body)
        evaluation: list[str] = []
        if program.evaluation:
            (value,) = program.evaluation.values()
            evaluation = self.function([value], {}, self.lists | self.numbers, [])
            evaluation.append(f"return {self.writer.code(value).text}")
        text = "\n".join((*body, *evaluation))
        read = {name for name in self.numbers.values() if re.search(rf"(?<![\w.]){name}\b", text)}
        numbers = {here: name for here, name in self.numbers.items() if name in read or here.role == "state"}
        sources = {name: self._source(here) for here, name in numbers.items()}
        if self.uses_native:
            sources["shape"] = "shape"
        if "random." in text:
            sources["random"] = "random"
        return StepText(
            tuple(body),
            tuple(evaluation),
            tuple(self.lists.values()),
            tuple(sources),
            tuple(sources.values()),
            self.param,
            tuple((name, self.words[here]) for here, name in self.layer.items()),
            program.states,
            self.gradient is not None,
            self.by_shape(),
            generator,
            tuple(self.reasons),
        )

    def _source(self, here: Node) -> str:
        if here is TIME:
            return "t"
        if here.role == "state":
            return next(f"state {state.key}" for state in self.program.states if state.name == here.name)
        hyper = next(hyper for hyper in self.program.hypers if hyper.name == here.name)
        return hyper.keyword if hyper.position is None else f"{hyper.keyword} {hyper.position}"

    def by_shape(self) -> bool:
        """Whether anything depends on the sizes of the axes."""
        roots = (*self.program.roots, *(state.start for state in self.program.states), *self._parameters())
        return any(
            here.op in MATRIX_WORDS
            or here.op == "native"
            or here.role == "axis"
            or (here.op == "size" and not here.attrs[1])
            for root in roots
            for here in root.walk()
        )

    def function(
        self,
        roots: list[Node],
        starts: dict[Node, State],
        given: dict[Node, str],
        stores: list[tuple[Node, Node]],
    ) -> list[str]:
        """The lines of one function."""
        planner = Planner(roots, self.program.equations, starts, self.places, self.taken, given)
        plan = planner.run()
        self.names = dict(plan.names)
        drawn = self._parameters() if starts else ()
        axes = self.axis_lines((*roots, *(state.start for state in starts.values()), *drawn))
        plan.guards = guards(plan, roots, self.places)
        self.scalars = Scalars(self.names, {h.name: h for h in self.program.hypers}, self.special)
        self.writer = Lists(self.names, self.places, self.scalars, self.lists[self.theta], self.axis_size, self.draw)
        self.kept = dict(stores)
        lines = self.block(plan, stores)
        return axes + lines

    # ---- sizes ----

    def axis_lines(self, roots: tuple[Node, ...]) -> list[str]:
        """`rows = W[0].shape[0]` for the axes whose size is read."""
        found = {here: None for root in roots for here in root.walk() if here.role == "axis"}
        lines = []
        for here in found:
            self.names[here] = self.taken.of(here, here.name)
            lines.append(f"{self.names[here]} = {self._size_of(here.name)}")
        return lines

    def _size_of(self, axis: str) -> str:
        axes = self.param.type.axes
        for here, name in self.layer.items():
            if axis in here.type.axes and axis not in axes:
                return f"{name}[0].shape[{here.type.axes.index(axis)}]"
        for hyper in self.program.hypers:
            if hyper.name == axis:
                return f"int({self.numbers[leaf('hyper', hyper.name, hyper.type)]})"
        if axis not in axes:
            raise fail("E601", None, construct=f"the axis `{axis}`, which `{self.param.name}` has not,")
        place = axes.index(axis)
        return f"{self.lists[self.theta]}[0].shape[{place - len(axes) if REST in axes else place}]"

    def axis_size(self, here: Node) -> str:
        """The size of an identity matrix."""
        return self._size_of(here.attrs[0])

    def special(self, here: Node) -> str | None:
        """Sizes, as Python text."""
        if here.role == "draw" and here not in self.names:
            return self.draw(here)
        if here.op == "native":
            self.uses_native = True
            axis = here.attrs[0]
            return f"shape[{axis}]"
        if here.op == "size":
            axes = here.attrs[0]
            if set(axes) == set(self.param.type.axes):
                return f"{self.lists[self.theta]}[0].numel()"
            return " * ".join(map(self._size_of, axes)) or "1"
        return None

    # ---- draws ----

    def _parameters(self) -> tuple[Node, ...]:
        """The parameters of all laws, which may read sizes."""
        return tuple(arg for random in self.program.randoms for arg in random.args)

    def draw(self, here: Node) -> str:
        """`random.normal(0, θ, 0, 1)`: the position in the file, what it is like, the parameters of the law."""
        random = self.laws[here.name]
        if random.law not in LAWS or not all(map(self.places.scalar, random.args)):
            raise fail("E601", here.span, construct=f"the draw `{here.name}` from this law in an optimizer")
        parameters = [self.scalars.text(arg) for arg in random.args]
        if not here.type.axes:
            return f"random.{random.law}({', '.join((str(random.position), 'None', *parameters))})"
        shape = ""
        if here.type.axes != self.param.type.axes:
            sizes = [axis if axis.isdigit() else self._size_of(axis) for axis in here.type.axes]
            shape = f", shape=({', '.join(sizes)}{',' * (len(sizes) == 1)})"
        like = self.lists[self.theta]
        return f"random.{random.law}({', '.join((str(random.position), like, *parameters))}{shape})"

    # ---- statements ----

    def block(self, plan: Plan, stores: list[tuple[Node, Node]]) -> list[str]:
        """The statements of a plan, each under its comments, and what is left to store."""
        last = self._last_reads(plan, stores)
        self.owned: set[Node] = set()  # lists made here, which may be overwritten once they have been read
        self.pinned: set[Node] = set()  # lists that may have another name
        self.aliases: dict[Node, frozenset[Node]] = {}  # the lists that a named value may turn out to be
        self.homes = {self.lists[leaf]: leaf for leaf in self.kept}  # whose memory the list of a name stands in
        written: set[Node] = set()
        lines: list[str] = []
        for place, statement in enumerate(plan.statements):
            made, storage = self.statement(statement, place, last, plan.guards.get(statement.node, frozenset()))
            if statement.state is not None and lines and lines[-1].startswith(INDENT) and self._start_open(lines):
                made = [line for line in made if line != "if t == 1:"]
            lines += made
            if storage is not None and self.kept.get(storage) is statement.node:
                written.add(storage)
        remaining = [(place, value) for place, value in stores if place not in written and place is not value]
        copies: dict[Node, str] = {}
        reads: dict[Node, set[Node]] = {}
        for storage, value in remaining:
            if self.places.scalar(value):
                code = Code(f"constant({self.scalars.text(value)}, {self.lists[storage]})")
            else:
                code = self.writer.code(value)
            copies[storage], reads[storage] = f"store({self.lists[storage]}, {code.text})", self._may_be(code)
        return lines + [copies[storage] for storage in _in_order(reads)]

    def _may_be(self, code: Code) -> set[Node]:
        """The named values whose memory the value of `code` may share."""
        found: set[Node] = set()
        stack = list(code.aliases)
        while stack:
            here = stack.pop()
            if here not in found:
                found.add(here)
                stack.extend(self.aliases.get(here, ()))
        return found

    def _start_open(self, lines: list[str]) -> bool:
        """Whether the last lines are the starts of other states."""
        for line in reversed(lines):
            if not line.startswith(INDENT):
                return line == "if t == 1:"
        return False

    def _last_reads(self, plan: Plan, stores: list[tuple[Node, Node]]) -> dict[Node, int]:
        """For each named value the last statement that reads it; one past the end if a store does."""
        last: dict[Node, int] = {}
        for place, statement in enumerate(plan.statements):
            for here in self._reads(statement):
                last[here] = place
            for condition, _ in plan.guards.get(statement.node, ()):
                for here in condition.walk():
                    if here in self.names:
                        last[here] = max(place, last.get(here, 0))
        last |= {value: len(plan.statements) for _, value in stores if value in self.lists}
        return last

    def _reads(self, statement: Statement) -> Counter[Node]:
        here = statement.node
        if here.op == "loop":
            return Counter({inner: 2 for root in below(here) for inner in self.writer.reads(root)})
        if statement.state is not None:
            return self.writer.reads(here)
        own = self.names.pop(here)
        try:
            return self.writer.reads(here)
        finally:
            self.names[here] = own

    def statement(
        self, statement: Statement, place: int, last: Mapping[Node, int], guard: Guard
    ) -> tuple[list[str], Node | None]:
        """The lines of one statement, and the storage that it wrote into."""
        comments = [f"# {line}" for line in statement.comments]
        if statement.node.op == "loop":
            return comments + self.loop(statement, guard), None
        if statement.state is not None:
            return self.start(statement), None
        here, name = statement.node, statement.name
        self.writer.free = frozenset(
            value
            for value, count in self._reads(statement).items()
            if count == 1
            and last[value] == place
            and value not in self.pinned
            and (value in self.kept or value in self.owned)
        )
        own = {leaf for leaf, value in self.kept.items() if value is here}
        del self.names[here]
        code = self._code(here)
        while own and (home := self.homes.get(code.target or "")) is not None and home not in own:
            # it outlives this step, so it must not stand in memory that another state is stored into
            self.writer.free = frozenset(x for x in self.writer.free if self.homes.get(self.names[x]) is not home)
            code = self._code(here)
        self.names[here] = name
        self.writer.free = frozenset()
        self.pinned |= code.aliases
        self.aliases[here] = code.aliases
        if code.target in self.homes:
            self.homes[name] = self.homes[code.target]
        if code.owned and here not in self.kept.values():
            self.owned.add(here)
        storage = next((leaf for leaf in self.kept if self.lists[leaf] == code.target), None)
        text = code.text
        if guard:
            text = f"{text} if {self.condition(guard)} else None"
        elif _enclosed(text) and not requests(here):
            text = text[1:-1]
        elif storage is not None and self.kept[storage] is here and here not in last and " if " not in text:
            return [*comments, text], storage
        return [*comments, f"{name} = {text}"], storage

    def _code(self, here: Node) -> Code:
        if requests(here):
            return Code(self.request(here))
        return Code(self.scalars.text(here)) if self.places.scalar(here) else self.writer.code(here)

    def condition(self, guard: Guard) -> str:
        """The conjunction of conditions."""
        texts = [
            self.scalars.text(c if side else _opposite(c), AND) for c, side in sorted(guard, key=lambda g: repr(g[0]))
        ]
        return " and ".join(texts)

    def start(self, statement: Statement) -> list[str]:
        """The value of a state before its first step."""
        assert statement.state is not None
        here, name = statement.node, statement.name
        if statement.state.shared:
            return ["if t == 1:", f"{INDENT}{name} = {self.scalars.text(here)}"]
        value = (
            f"constant({self.scalars.text(here)}, {name})" if self.places.scalar(here) else self.writer.code(here).text
        )
        return ["if t == 1:", f"{INDENT}store({name}, {value})"]

    def loop(self, statement: Statement, guard: Guard) -> list[str]:
        """A loop: starts, passes, the variables replaced together."""
        here, plan = statement.node, statement.body
        body: Loop = here.attrs[0]
        assert plan is not None
        most, starts = here.args[0], here.args[1:]
        self.names |= plan.names
        lines = []
        for variable, start in zip(body.variables, starts, strict=True):
            name = self.names[variable]
            if self.places.scalar(variable):
                lines.append(f"{name} = {self.scalars.text(start)}")
            else:
                lines.append(f"{name} = {self.writer.code(start).text}")
        lines.append(f"for _ in range(int({self.scalars.text(most)})):")
        kept, owned, pinned = self.kept, self.owned, self.pinned
        self.kept = {}
        plan.guards = guards(plan, body.nodes, self.places)
        inner = self.block(plan, [])
        self.kept, self.owned, self.pinned = kept, owned, pinned
        if body.until is not None:
            if not self.places.scalar(body.until):
                raise fail("E601", here.span, construct="a loop that ends by a condition on each tensor")
            inner += [f"if {self.scalars.text(body.until)}:", f"{INDENT}break"]
        targets = ", ".join(self.names[variable] for variable in body.variables)
        values = ", ".join(
            self.scalars.text(after) if self.places.scalar(variable) else self.writer.code(after).text
            for variable, after in zip(body.variables, body.nexts, strict=True)
        )
        inner.append(f"{targets} = {values}")
        lines += [INDENT + line for line in _merged(inner)]
        if guard:
            return [f"if {self.condition(guard)}:", *(INDENT + line for line in lines)]
        return lines

    # ---- requests ----

    def request(self, here: Node) -> str:
        """What the step asks the world outside."""
        if here.op == "oracle":
            return self._oracle(here)
        (a,) = here.args
        if self.places.scalar(a) and here.op != "size":
            raise fail("E601", here.span, construct="a sum over the model of a number")
        x = self.writer.code(a).text
        match here.op:
            case "sum":
                return f"(yield ModelSum(sums({x})))"
            case "mean":
                return f"(yield ModelSum(sums({x}))) / (yield ModelSum(sizes({x})))"
            case "norm" if here.attrs[2] == 2:
                return f"(yield ModelNorm(norms({x})))"
            case "norm" if here.attrs[2] == 1:
                return f"(yield ModelSum(norms({x}, None, 1)))"
            case "norm" if here.attrs[2] is None:
                return f"(yield ModelMax(norms({x}, None, math.inf)))"
            case "amax":
                return f"(yield ModelMax(largest({x})))"
            case "amin":
                return f"-(yield ModelMax(neg(smallest({x}))))"
            case "size":
                return f"(yield ModelSum(sizes({x})))"
        raise fail("E601", here.span, construct=f"`{here.op}` over the model")

    def _oracle(self, here: Node) -> str:
        _, what, argument, split, _ = here.attrs
        samples = split[0] if isinstance(split, tuple) else 0
        if argument is not None or samples:
            raise fail("E601", here.span, construct=f"`{here!r}`: an oracle with an argument or a sample of its own")
        self._reason(here)
        points = list(here.args)
        match what:
            case "value":
                return (
                    "(yield Value())"
                    if points == [self.theta]
                    else f"(yield Value({self.writer.code(points[0]).text}))"
                )
            case "gradient" | "field":
                return f"(yield Gradient({self.writer.code(points[0]).text}))"
            case "hessian_vector":
                where = "None" if points[0] is self.theta else self.writer.code(points[0]).text
                return f"(yield HessianVector({where}, {self.writer.code(points[1]).text}))"
        raise fail("E601", here.span, construct=f"`{here!r}`")

    def _reason(self, here: Node) -> None:
        line = (
            f" in line {here.span.line}: {here.span.source.line(here.span.line).split('#')[0].strip()}"
            if here.span
            else ""
        )
        self.reasons[f"`{here!r}`{line}"] = None


def supported(program: Program) -> None:
    """Raises E601, naming the construct, for programs that this emitter does not know, and E606 for theorems."""
    if program.kind != "optimizer":
        if program.kind == "transform":
            name = program.name
            hint = f"compile it with the rule that it wraps: `rule {name}SGD = {name}(SGD)`"
            raise fail("E601", program.decided_by, construct="a transform without its base rule", help=hint)
        if program.kind == "theorem":
            raise fail("E606", program.decided_by, name=program.name)
        raise fail("E601", program.decided_by, construct=f"a rule of the kind `{program.kind}`")
    if len(program.params) != 1 or program.params[0].indices or program.roles or program.inputs:
        raise fail("E601", program.decided_by, construct="a family of parameters, or a rule with inputs,")
    if program.evaluation and layer_values(program):
        raise fail("E601", program.decided_by, construct="an evaluation point beside inputs of layers")
    for here in dict.fromkeys(inner for root in program.roots for inner in root.walk()):
        if here.op == "item" and here.args[0].op != "loop":
            raise fail("E601", here.span, construct=f"`{here!r}`, an index of a tensor,")
    keywords = {(hyper.keyword, hyper.position) for hyper in program.hypers}
    for hyper in program.hypers:
        if hyper.position and (hyper.keyword, hyper.position - 1) not in keywords:
            missing = f"`{hyper.keyword}[{hyper.position}]` without `{hyper.keyword}[{hyper.position - 1}]`"
            raise fail("E601", hyper.span, construct=missing)


def simplified(program: Program) -> Program:
    """The program without the factors 1, terms 0 and the like that inlining left behind."""
    done: dict[Node, Node] = {}

    def change(root: Node) -> Node:
        if root not in done:
            done[root] = rebuild(root, _simpler)
        return done[root]

    return replace(
        program,
        states=tuple(
            replace(x, start=change(x.start), next=None if x.next is None else change(x.next)) for x in program.states
        ),
        equations=tuple(replace(e, node=change(e.node)) for e in program.equations),
        next={name: change(root) for name, root in program.next.items()},
        evaluation={name: change(root) for name, root in program.evaluation.items()},
    )


def _simpler(here: Node) -> Node:
    zero, one = number(0), number(1)
    match here.op, here.args:
        case "mul", (a, b) if (a is one or b is one) and here.type == (b if a is one else a).type:
            return b if a is one else a
        case "mul", (a, b) if (a is zero or b is zero) and here.type.scalar:
            return zero
        case "div" | "pow", (a, b) if b is one and here.type == a.type:
            return a
        case "add", (a, b) if a is zero and here.type == b.type:
            return b
        case "add" | "sub", (a, b) if b is zero and here.type == a.type:
            return a
        case "select", (_, a, b) if a is b and here.type == a.type:
            return a
    return here


def _in_order(reads: dict[Node, set[Node]]) -> list[Node]:
    """The storages, ordered so that each is read before it is overwritten: `c' = b` before `b' = a`."""
    found: list[Node] = []
    pending = dict(reads)
    while pending:
        free = next((x for x in pending if not any(x in read for y, read in pending.items() if y is not x)), None)
        if free is None:
            raise fail("E601", None, construct="two states that take each other's value")
        found.append(free)
        del pending[free]
    return found


def _opposite(condition: Node) -> Node:
    swapped = {"eq": "ne", "ne": "eq"}  # the others differ from their opposite where one side is NaN
    if condition.op in swapped:
        return node(swapped[condition.op], *condition.args)
    return condition.args[0] if condition.op == "not" else node("not", condition)


def _enclosed(text: str) -> bool:
    """Whether the first parenthesis closes at the very end."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


def _merged(lines: list[str]) -> Iterator[str]:
    """`X = Y` after `Y = e` becomes `X = e`."""
    *before, last = lines
    name, _, value = last.partition(" = ")
    if before and before[-1].startswith(f"{value} = ") and "," not in name:
        yield from before[:-1]
        yield f"{name} = {before[-1].partition(' = ')[2]}"
    else:
        yield from lines
