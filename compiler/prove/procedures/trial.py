"""One run of what a claim simulates: numbers for its names and draws, and `run(R, f, …)` by the judge.

What stands after the semicolon of f is drawn anew in every step, all other draws once a run. Both runs of a claim that
compares two rules see the same draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dotopt.compiler.calculus import NotDifferentiable, gradient, jacobian_vector
from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.evaluate.frame import Frame, Value, World
from dotopt.compiler.evaluate.random import draw, place
from dotopt.compiler.ir import FUNCTIONS, Node, Program, leaf
from dotopt.compiler.lower import Static, lower, value
from dotopt.compiler.lower.functions import function_of
from dotopt.compiler.lower.scope import Local
from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.ops.types import INT, Type
from dotopt.compiler.prove.fuel import Mark, spend
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.worlds.setting import Setting
from dotopt.compiler.text import syntax as s

NODE = 15  # work for the value of a node in a run
SIZE = 4  # of an axis that nothing tells
WHOLE = 8  # a whole number is drawn from so many
# what rounding does not touch: whole numbers, by the shapes or by their steps
EXACT = {
    *(op for op in FUNCTIONS if OPERATIONS[op].smooth == "steps"),
    *("size", "rank", "native", "arange", "eye", "zeros", "ones", "indicator"),
}
NOT_EVALUATED = (KeyError, NotImplementedError, IndexError, ValueError, np.linalg.LinAlgError)
LONGEST = 200  # characters of a reason
KNOWN = ("time", "axis", "rank", "index", "set")


@dataclass
class Disturbance:
    """Every number on the way is off by up to `size`, relative; whole numbers that are known exactly stay."""

    size: float
    seed: int

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def __call__(self, here: Node, value: Any) -> Any:
        if not isinstance(value, np.ndarray | np.float64) or value.dtype != np.float64 or here.type.kind == "int":
            return value
        exact = here.op in EXACT or here.role in KNOWN
        if exact or (here.op == "const" and float(value).is_integer()):
            return value
        return np.asarray(value) * (1 + self.size * self.rng.uniform(-1, 1, np.shape(value)))


@dataclass(frozen=True)
class Objective:
    """A function of the claim at a point, with its derivatives; `samples` are drawn anew in every step."""

    point: Node
    direction: Node
    samples: tuple[Node, ...]
    value: Node
    gradient: Node
    product: Node | None  # of the Hessian with the direction


@dataclass
class Lab:
    """What all runs of a case share: rules and functions, lowered once."""

    case: Case
    programs: dict[tuple[str, int], Program] = field(default_factory=dict)
    objectives: dict[tuple[str, Type], Objective] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.setting = Setting(tuple(self.case.premises), self.case.program)
        self.laws = {random.name: random for random in self.case.context.randoms}

    def size(self, axis: str) -> int:
        """The size of an axis: a constant of the file, or `SIZE`."""
        found = self.case.scope.find(axis)
        known = value(self.case.context, s.Name(self.case.claim.span, axis), self.case.scope).value if found else None
        fixed = known if known is not None else self.case.settle(leaf("axis", axis, INT)).value
        return SIZE if fixed is None else int(fixed)

    def program(self, rule: str, rank: int) -> Program:
        """A rule with its options at their defaults, for tensors with so many axes; its own file's with the case's."""
        if (rule, rank) not in self.programs:
            own = rule == self.case.file.head.name
            file = self.case.file if own else self.case.library.file(rule)
            if file is None:
                raise Unreadable(f"there is no rule `{rule}`")
            options = {o.name: o.default for o in lower(file, Static(), self.case.library).options}
            options |= self.case.options if own else {}
            self.programs[rule, rank] = lower(file, Static(options, max(rank, 1)), self.case.library)
        return self.programs[rule, rank]

    def objective(self, name: str, type: Type) -> Objective:
        """The function of this name at a point of this type."""
        if (name, type) not in self.objectives:
            self.objectives[name, type] = self._objective(name, type)
        return self.objectives[name, type]

    def _objective(self, name: str, type: Type) -> Objective:
        case, span = self.case, self.case.claim.span
        if name in case.functions:  # `given f(x) == …` is about points like x
            type = case.functions[name][0].type
        point, direction = leaf("free", "the point of the run", type), leaf("free", "the direction", type)
        found = case.scope.find(name)
        target = found[0].definition.targets[0] if found and isinstance(found[0], Local) else None
        written = target.samples if isinstance(target, s.Call) else ()
        samples = tuple(value(case.context, e, case.scope) for e in written)
        if any(here.role != "draw" for here in samples):
            raise Unreadable(f"a simulation with samples of `{name}` that are drawn nowhere")
        here = case.settle(function_of(case.context, s.Name(span, name), case.scope).at((point, *samples)))
        asked = next((x for x in here.walk() if x.op in ("oracle", "apply")), None)
        if asked is not None or not here.type.scalar:
            raise Unreadable(f"a simulation with `{name}`, of which the file does not say what it is: `{name}(x) = …`")
        try:
            slope = gradient(here, point)
        except NotDifferentiable as error:
            raise Unreadable(f"the gradient of `{name}`: {error.why}") from None
        try:
            product = jacobian_vector(slope, point, direction)
        except NotDifferentiable:
            product = None
        return Objective(point, direction, samples, here, slope, product)


class Trial(World):
    """The numbers of one run. Raises `Unreadable` for what has none, `TimeoutError` at the end."""

    def __init__(self, lab: Lab, seed: int, end: Mark, disturb: Disturbance | None = None) -> None:
        self.lab, self.seed, self.end, self.disturb = lab, seed, end, disturb
        self.drawn: dict[Node, Value] = {}  # what each name and draw of the claim is
        self.lawful = True  # nothing was drawn by a law: the run is one case of the claim
        self.frame = Frame(self)

    def at(self, root: Node) -> Any:
        """The value of a node of the claim, whose runs are run first."""
        for here in root.walk():
            if here.op == "claim" and here.attrs[0] == "run" and (here, 0) not in self.frame.memory:
                self.frame.memory[here, 0] = self._run(here)
        try:
            with np.errstate(all="ignore"):
                return self.frame.value(root)
        except NOT_EVALUATED as error:
            raise Unreadable(f"a simulation with `{root!r}`: {error}"[:LONGEST]) from None

    # ---- what the judge asks ----------------------------------------------------------------------------------------

    def leaf(self, here: Node, tensor: int, frame: Frame) -> Value:
        if here not in self.drawn:
            self.drawn[here] = self._leaf(here)
        return self.drawn[here]

    def _leaf(self, here: Node) -> Value:
        if here.role == "axis":
            return np.asarray(float(self.lab.size(here.name)))
        if here.role == "draw":
            return self._law(here, 0, "")
        if here.role not in ("free", "hyper", "input", "param") or here.args or here.type.kind not in ("real", "int"):
            raise Unreadable(f"`{here!r}` in a simulation: it has no numbers but in a run")
        low, high = self.lab.setting.float_range(here)
        shape = self.frame.shape(here.type.axes, 0)
        drawn = partial(draw, shape=shape, seed=self.seed, step=0, position=0, where=place(here.name))
        if here.type.kind == "int":
            first = low if low is not None else high - WHOLE + 1 if high is not None else 0.0
            last = high if high is not None else first + WHOLE - 1
            return np.floor(drawn("uniform", (first, last + 1)))
        if low is not None and high is not None:
            return drawn("uniform", (low, high))
        if low is None and high is None:
            return drawn("normal", (0.0, 1.0))
        size = np.abs(drawn("normal", (0.0, 1.0)))
        return low + size if low is not None else high - size

    def _law(self, here: Node, step: int, where: str) -> Value:
        """What a draw of the file is in a step."""
        random = self.lab.laws[here.name]
        self.lawful = False
        args = [self.at(arg) for arg in random.args]
        shape, position = self.frame.shape(here.type.axes, 0), random.position
        try:
            made = draw(random.law, args, shape, seed=self.seed, step=step, position=position, where=place(where))
        except ValueError as error:
            raise Unreadable(f"a simulation in which {error}") from None
        return made if isinstance(made, tuple) else np.asarray(made)

    def size(self, axis: str, tensor: int) -> int:
        return self.lab.size(axis)

    def rest(self, tensor: int) -> tuple[int, ...]:
        return (SIZE,)

    def computed(self, here: Node, tensor: int, value: Value) -> Value:
        spend(NODE)
        return value if self.disturb is None else self.disturb(here, value)

    # ---- runs -------------------------------------------------------------------------------------------------------

    def _run(self, here: Node) -> Value:
        """The last parameter of `run(R, f, start=x, steps=n, lr=η)`."""
        rule, function, start, steps, *rates = here.args
        first = np.asarray(self.at(start), dtype=float)
        program = self.lab.program(rule.name, first.ndim)
        asked = [c for c in program.callables if c.word != "function"]
        if len(program.params) != 1 or len(asked) != 1 or asked[0].word != "objective" or asked[0].indices:
            raise Unreadable(f"a simulation of `{rule.name}`, which does not move one parameter by one objective")
        f = self.lab.objective(function.name, start.type)
        self.lawful = self.lawful and not program.randoms
        run = _Judged(program, first, {"lr": float(self.at(rates[0]))} if rates else {}, seed=self.seed)
        run.disturb = self.disturb
        oracles = self._answers(asked[0].name, f, run)
        for _ in range(int(self.at(steps))):
            if self.end.passed:
                raise TimeoutError
            try:
                run.step(oracles=oracles)
            except NOT_EVALUATED as error:
                raise Unreadable(f"a simulation of `{rule.name}`: {error}"[:LONGEST]) from None
        return np.asarray(run.params)

    def _answers(self, name: str, f: Objective, run: Simulation) -> dict[str, Callable[..., Any]]:
        """What a rule may ask of its objective."""

        def answer(root: Node, x: Any, *others: Any) -> Any:
            sample = next((o for o in others if isinstance(o, tuple)), ())
            direction = others[-1] if others and not isinstance(others[-1], tuple) else x
            bound: dict[tuple[Node, int], Value] = {(f.point, 0): x, (f.direction, 0): direction}
            for z in f.samples:
                bound[z, 0] = self._law(z, run.clock[0], str(sample[2:]) if sample else "")
            with np.errstate(all="ignore"):
                return Frame(self, bound=bound).value(root)

        asked = {name: f.value, f"∇{name}": f.gradient, f"∇²{name}": f.product}
        return {key: partial(answer, root) for key, root in asked.items() if root is not None}


class _Judged(Simulation):
    disturb: Disturbance | None = None

    def computed(self, here: Node, tensor: int, value: Value) -> Value:
        spend(NODE)
        return value if self.disturb is None else self.disturb(here, value)


__all__ = ["Disturbance", "Lab", "Trial"]
