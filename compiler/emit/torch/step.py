"""One program as a Python function: the step of all tensors of a bucket, a line for each equation.

    def step(θ, g, m, v, *, t, η, β1, β2, ε, λ):        lists of tensors, then numbers
        # m' = β1*m + (1 - β1)*g                         the equation of the file
        m_next = lerp_(m, g, 1 - beta1)                  the line that computes it

A program that asks for more than the gradient at the parameter becomes a generator that yields what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dotopt.compiler.emit.names import PYTHON, Names
from dotopt.compiler.emit.torch.block import Blocks
from dotopt.compiler.emit.torch.guards import guards
from dotopt.compiler.emit.torch.layers import layer_values
from dotopt.compiler.emit.torch.lists import MATRIX_WORDS, Lists
from dotopt.compiler.emit.torch.memory import Memory
from dotopt.compiler.emit.torch.places import Places
from dotopt.compiler.emit.torch.plan import Planner
from dotopt.compiler.emit.torch.requests import Requests
from dotopt.compiler.emit.torch.shapes import Shapes
from dotopt.compiler.emit.torch.supported import simplified, supported
from dotopt.compiler.emit.torch.windows import accumulated
from dotopt.compiler.ir import TIME, Node, Param, Program, State, leaf
from dotopt.compiler.ir.program import at_its_places

OWN_SOURCES = ("t", "shape", "random", "state", "hyper")  # what is no hyperparameter, or announces what follows


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


@at_its_places
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
        self.requested = Requests(self.theta, self.places)
        self.taken = Names(PYTHON, reserved, ("shape",))
        self.taken.fix(TIME, "t")
        self.words = layer_values(program)
        self._arguments()
        self.native = False

    def _arguments(self) -> None:
        """Names for everything that the functions are given."""
        program = self.program
        labels = {e.node: e.label for e in reversed(program.equations)}
        self.lists: dict[Node, str] = {self.theta: self.taken.of(self.theta, self.param.name)}
        self.numbers: dict[Node, str] = {TIME: "t"}
        self.gradient = next((o for o in program.oracles if self._is_gradient(o)), None)
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

    def _is_gradient(self, oracle: Node) -> bool:
        """Whether this is what `.grad` holds."""
        return oracle.attrs.what in ("gradient", "field") and oracle.args == (self.theta,)

    # ---- the whole ----

    def write(self) -> StepText:
        program = self.program
        starts = {
            self.leaves[state.name]: state
            for state in program.states
            if state.kind == "first" or state.start.value is None
        }
        stores = {self.theta: program.next[self.param.name]}
        stores |= {self.leaves[s.name]: s.next for s in program.states if not s.shared and s.next is not None}
        shared = {self.leaves[s.name]: s.next or self.leaves[s.name] for s in program.states if s.shared}
        returned = [value for here, value in shared.items() if value is not here]
        body, blocks = self._function([*stores.values(), *returned], starts, stores)
        if shared:
            results = ", ".join(map(blocks.scalars.text, shared.values()))
            body.append(f"return {results}," if len(shared) == 1 else f"return {results}")
        evaluation: list[str] = []
        if program.evaluation:
            (value,) = program.evaluation.values()
            evaluation, blocks = self._function([value], {}, {})
            evaluation.append(f"return {blocks.lists.line().code(value).text}")
        text = "\n".join(line for line in (*body, *evaluation) if not line.lstrip().startswith("#"))
        words = set(re.findall(r"(?<![\w.])[^\W\d]\w*", text))
        numbers = {here: name for here, name in self.numbers.items() if name in words or here.role == "state"}
        sources = {name: self._source(here) for here, name in numbers.items()}
        if self.native:
            sources["shape"] = "shape"
        if "random" in words:
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
            self._by_shape(),
            "yield" in words,
            tuple(self.requested.reasons),
        )

    def _source(self, here: Node) -> str:
        if here is TIME:
            return "t"
        if here.role == "state":
            return next(f"state {state.key}" for state in self.program.states if state.name == here.name)
        hyper = next(hyper for hyper in self.program.hypers if hyper.name == here.name)
        place = hyper.keyword if hyper.position is None else f"{hyper.keyword} {hyper.position}"
        return f"hyper {place}" if hyper.keyword in OWN_SOURCES else place

    def _by_shape(self) -> bool:
        """Whether anything depends on the sizes of the axes."""
        roots = (*self.program.roots, *(state.start for state in self.program.states), *self._laws())
        return any(
            here.op in MATRIX_WORDS
            or here.op == "native"
            or here.role == "axis"
            or (here.op == "size" and not here.attrs.model)
            for root in roots
            for here in root.walk()
        )

    def _laws(self) -> tuple[Node, ...]:
        """The parameters of all laws, which may read sizes."""
        return tuple(arg for random in self.program.randoms for arg in random.args)

    def _function(
        self, roots: list[Node], starts: dict[Node, State], stores: dict[Node, Node]
    ) -> tuple[list[str], Blocks]:
        """The lines of one function that computes `roots` and puts the values of `stores` where they are kept."""
        given = {here: name for here, name in (self.lists | self.layer | self.numbers).items() if here not in starts}
        plan = Planner(roots, self.program.equations, starts, self.places, self.taken, given).run()
        names = dict(plan.names)
        shapes = Shapes(self.program, self.lists[self.theta], self.layer, names, self.places)
        lists = Lists(names, self.places, shapes.scalars, self.lists[self.theta], shapes.identity, shapes.draw)
        sizes = self._sizes(shapes, names, [*roots, *(state.start for state in starts.values())], bool(stores))
        plan.guards = guards(plan, roots, self.places)
        blocks = Blocks(names, self.lists, self.places, shapes.scalars, lists, self.requested, self.taken)
        lines = blocks.block(plan, Memory(stores, self.lists))
        self.native |= shapes.native
        return sizes + lines, blocks

    def _sizes(self, shapes: Shapes, names: dict[Node, str], roots: Iterable[Node], drawn: bool) -> list[str]:
        """`rows = W[0].shape[0]` for the axes whose size is read."""
        found = []
        for here in shapes.read((*roots, *(self._laws() if drawn else ()))):
            names[here] = self.taken.of(here, here.name)
            found.append(f"{names[here]} = {shapes.size(here.name)}")
        return found
