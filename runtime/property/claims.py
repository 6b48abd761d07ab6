"""The property "a numeric claim holds at random points": its `show` lines where its `given` lines hold, in the judge.

States come from a run of the rule: a few steps with random gradients, the claim is looked at in the last one. Numbers
of `for all` and hyperparameters are drawn inside their ranges. Equations hold to rounding, relative to the largest
number on the way; inequalities may be missed by as little. Claims of other forms (invariances, equivalences,
stability) and claims about functions of the user (∇K, f with properties) have no numbers to try: they are left to the
engine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.evaluate.frame import Frame
from dotopt.compiler.ir import Interval, Node, boolean
from dotopt.compiler.ops.types import REST
from dotopt.compiler.prove.procedures.decide import conjuncts_of
from dotopt.compiler.prove.statements.cases import cases
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library
from dotopt.runtime.property.draw import tensors
from dotopt.runtime.property.outcome import Failed, Outcome, Passed, Untested
from dotopt.runtime.property.search import Budget, Disagreement, Enough, search

RELATIVE = 1e-9
POINTS = 4  # points an example of the budget, as long as they cost little beside the runs of backends
SECONDS = 1.0  # of processor time, after which one point an example is enough
TRIES = 20  # tries an example, where premises are hard to meet
SATURATING = ("tanh", "sigmoid", "exp", "erf", "softplus", "gelu", "pow")
OPAQUE = ("apply", "conjugate", "base", "base_member", "claim", "jvp", "host", "root", "argmin")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One `show` in one case: the premises and the goal, as nodes of the rule."""

    case: Case
    premises: tuple[Node, ...]
    goal: Node
    all_steps: bool
    text: str  # the line of the file


def claim_at_points(file: s.File, claim: s.Claim, library: Library, budget: Budget) -> Outcome:
    """Whether every numeric `show` of a claim holds at random points where its premises do."""
    try:
        sentences, reason = _sentences(file, claim, library)
    except (OptError, Unreadable) as error:
        return Untested(str(error).splitlines()[0])
    if not sentences:
        return Untested(reason or "no equation or inequality")
    met = 0
    valueless: list[str] = []
    for index, sentence in enumerate(sentences):
        share = Budget(max(budget.examples // len(sentences), 4) * TRIES, budget.seed + index, budget.shrinking)
        counter = [0, share.examples // TRIES]
        outcome = search(_moments(sentence), _check(claim, sentence, counter, valueless), share)
        if isinstance(outcome, Failed):
            return outcome
        met += counter[0]
    if met:
        return Passed(met)
    why = f"it has no value in the judge: {valueless[0]}" if valueless else "no random point meets its premises"
    return Untested(why)


def _sentences(file: s.File, claim: s.Claim, library: Library) -> tuple[list[Sentence], str]:
    found: list[Sentence] = []
    reason = ""
    if any(isinstance(clause, s.Flow | s.Derive | s.Precision | s.By) for clause in claim.body):
        return [], "a statement about a flow, unknown constants or sampling"
    for case in cases(file, claim, library):
        for clause in case.claim.body:
            if not isinstance(clause, s.Show) or clause.refute or not isinstance(clause.goal, s.Holds):
                reason = "not an equation or inequality: the engine decides it"
                continue
            goal = case.value(clause.goal.condition)
            premises = tuple(p for p in case.premises if p is not boolean(True))
            why = _opaque((goal, *premises, *case.program.roots)) or _unfit(case)
            if why:
                reason = why
                continue
            text = " ".join(file.span.source.text[clause.span.start : clause.span.end].split())
            found.append(Sentence(case, premises, goal, clause.goal.all_steps, text))
    return found, reason


def _opaque(roots: tuple[Node, ...]) -> str:
    for root in roots:
        for here in root.walk():
            if here.op in OPAQUE:
                return f"it speaks of `{here!r}`, which has no numbers"
    return ""


def _unfit(case: Case) -> str:
    objectives = [c for c in case.program.callables if c.properties]
    if objectives:
        return f"`{objectives[0].name}` stands for all functions of a class"
    if case.functions:
        return "it defines the objective"
    if case.program.roles:
        return "the rule is run by several parties"
    return ""


# ---- random moments --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Moment:
    """A run up to the step at which the claim is looked at."""

    start: Any
    gradients: tuple[Any, ...]
    hypers: Mapping[str, float]
    free: Mapping[Node, Any]
    sizes: Mapping[str, int]
    seed: int
    earlier: tuple[Mapping[str, Any], ...] = ()  # the inputs of the steps before


@st.composite
def _moments(draw: st.DrawFn, sentence: Sentence) -> Moment:
    case = sentence.case
    leaves = _leaves((sentence.goal, *sentence.premises, *case.program.roots))
    axes = sorted({axis for here in leaves for axis in here.type.axes})
    sizes = {axis: draw(st.sampled_from((2, 1, 3))) for axis in axes if axis != REST and not axis.isdigit()}
    rest = draw(st.sampled_from(((2,), (1,), (3,)) if case.rank is None else ((2,) * case.rank, (1,) * case.rank)))
    square = [p for p in sentence.premises if p.op == "eq" and all(a.role == "axis" for a in p.args)]
    for premise in square:
        sizes[premise.args[0].name] = sizes[premise.args[1].name]
    hypers = {}
    for hyper in case.program.hypers:
        hypers[hyper.name] = draw(_number(hyper.interval, hyper.type.kind == "int"))
    hypers = _settled(case, hypers)
    moves = case.program.params or case.program.states
    steps = draw(st.integers(1, 4)) if moves and not case.at_start else 1
    shape = _param_shape(case, sizes, rest)
    parametric = bool(case.program.params)
    start = draw(tensors(shape)) if parametric else np.zeros(shape)
    gradients = tuple(draw(tensors(shape)) if parametric else start for _ in range(steps))

    def drawn(role: str) -> dict[Node, Any]:
        found = {}
        for here in leaves:
            if here.role == role:
                many = tuple(int(a) if a.isdigit() else sizes.get(a, 0) for a in here.type.axes if a != REST)
                like = shape if REST in here.type.axes else many
                scalar = None if here.type.axes else _scalar(here, sentence.premises)
                found[here] = draw(tensors(like)) if scalar is None else np.asarray(draw(scalar))
        return found

    free = drawn("free") | drawn("input")
    earlier = tuple({here.name: value for here, value in drawn("input").items()} for _ in range(steps - 1))
    return Moment(start, gradients, hypers, free, sizes, draw(st.integers(0, 99)), earlier)


def _leaves(roots: tuple[Node, ...]) -> list[Node]:
    return sorted({here for root in roots for here in root.walk() if here.op == "leaf"}, key=lambda n: (n.role, n.name))


def _param_shape(case: Case, sizes: Mapping[str, int], rest: tuple[int, ...]) -> tuple[int, ...]:
    if not case.program.params:
        return rest
    param = case.program.params[0]
    shape: tuple[int, ...] = ()
    for axis in param.type.axes:
        shape += rest if axis == REST else (sizes[axis],)
    if case.rank is not None and REST not in param.type.axes:
        shape = (shape + (2,) * 3)[: case.rank] if case.rank > len(shape) else shape[: case.rank]
    return shape


@st.composite
def _number(draw: st.DrawFn, interval: Interval, whole: bool) -> float:
    low, high = (None if e is None or e.value is None else float(e.value) for e in (interval.low, interval.high))
    if whole:
        least = -3 if low is None else int(low) + interval.open_low
        return float(draw(st.integers(least, least + 5)))
    if low is not None and high is not None:
        part = draw(st.sampled_from((0.25, 0.5, 0.75, 0.9, 0.99, 0.0)))
        value = low + (high - low) * part
        return value if part or not interval.open_low else low + (high - low) / 8
    if low is not None:
        return low + draw(
            st.sampled_from((0.125, 0.5, 1.0, 0.01, 3.0) if interval.open_low else (0.125, 0.5, 1.0, 0.0, 0.01, 3.0))
        )
    if high is not None:
        return high - draw(st.sampled_from((0.125, 0.5, 1.0)))
    return draw(st.sampled_from((0.5, 1.0, -0.75, 2.0, 0.25)))


def _scalar(here: Node, premises: tuple[Node, ...]) -> Any:
    """Numbers for a name of `for all`, inside the bounds that premises put on it."""
    low, high = -2.0, 2.0
    for p in premises:
        if p.op in ("lt", "le", "gt", "ge") and p.args[0] is here and p.args[1].value is not None:
            if p.op in ("gt", "ge"):
                low, high = float(p.args[1].value), max(high, float(p.args[1].value) + 2)
            else:
                high, low = float(p.args[1].value), min(low, float(p.args[1].value) - 2)
    if here.type.kind == "int":
        return st.integers(int(np.ceil(low)), int(high)).map(float)
    return st.integers(0, 64).map(lambda n: low + (high - low) * n / 64)


def _settled(case: Case, hypers: dict[str, float]) -> dict[str, float]:
    """Hyperparameters that a premise fixes take the value that it gives them."""
    from dotopt.compiler.evaluate import evaluate
    from dotopt.compiler.ir import leaf

    nodes = {h.name: leaf("hyper", h.name, h.type) for h in case.program.hypers}
    environment = {here: np.asarray(hypers[name]) for name, here in nodes.items()}
    made = dict(hypers)
    for name, here in nodes.items():
        settled = case.settle(here)
        if settled is not here:
            try:
                made[name] = float(evaluate(settled, environment))
            except KeyError:
                continue
    return made


# ---- looking ---------------------------------------------------------------------------------------------------------


class _Look(Simulation):
    """A simulation that looks at premises and goal when the last step begins, all states being those before it."""

    moment: Moment
    sentence: Sentence
    seen: tuple[bool, Any, float] | None = None
    last = False
    excused = False  # a premise of a claim about all steps failed on the way
    largest = 0.0

    def computed(self, here: Node, tensor: int, value: Any) -> Any:
        if self.last and isinstance(value, np.ndarray | np.float64) and value.dtype == np.float64:
            kept = np.asarray(value)
            size = np.abs(kept[np.isfinite(kept)])
            self.largest = max(self.largest, float(size.max(initial=0.0)))
        return value

    def leaf(self, here: Node, tensor: int, frame: Frame) -> Any:
        if here in self.moment.free and (self.last or here.role == "free"):
            return self.moment.free[here]
        return super().leaf(here, tensor, frame)

    def _fill(self, frame: Frame) -> None:
        super()._fill(frame)
        if (self.last or self.sentence.all_steps) and not self.excused:
            self.excused = not all(bool(np.all(frame.value(p, 0))) for p in self.sentence.premises)
        if not self.last or self.excused:
            return
        self.largest = 0.0
        parts = []
        for part in conjuncts_of(self.sentence.goal):
            sides = [frame.value(arg, 0) for arg in part.args] if part.op in COMPARED else [frame.value(part, 0)]
            parts.append((part, sides, self.largest))
        self.seen = (True, parts, self.largest)


COMPARED = ("eq", "le", "ge", "lt", "gt", "ne")


def _check(claim: s.Claim, sentence: Sentence, counter: list[int], valueless: list[str]) -> Any:
    began = time.process_time()

    def check(moment: Moment) -> None:
        slow = time.process_time() - began > SECONDS
        if counter[0] >= counter[1] * (1 if slow else POINTS):
            raise Enough
        try:
            seen = look(sentence, moment)
        except NoValue as error:
            valueless[:] = [str(error)]
            seen = None
        verdicts = [holds(*one) for one in seen[1]] if seen is not None else []
        assume(verdicts and None not in verdicts)
        assert seen is not None
        counter[0] += 1
        for (part, sides, _), held in zip(seen[1], verdicts, strict=True):
            if not held:
                size = moment.start.size, len(moment.gradients), len(repr(moment))
                raise Disagreement(_failed(claim, sentence, moment, part, sides), size)

    return check


class NoValue(Exception):
    """Something that the judge cannot work out; the text says what."""


def look(sentence: Sentence, moment: Moment) -> Any:
    """What premises and goal are at a moment; None where the premises fail. Raises `NoValue`."""
    case = sentence.case
    run = _Look(case.program, moment.start, moment.hypers, sizes=moment.sizes, seed=moment.seed)
    run.moment, run.sentence = moment, sentence
    roots = (*case.program.roots, *sentence.premises, sentence.goal)
    elsewhere = any(_asks_elsewhere(here) for root in roots for here in root.walk())
    try:
        for step, gradient in enumerate(moment.gradients, start=1):
            run.last = step == len(moment.gradients)
            answers = _answers(case, gradient)
            inputs = _inputs(moment) if run.last else moment.earlier[step - 1]
            run.step(None if elsewhere else gradient, oracles=answers, inputs=inputs)
    except (KeyError, NotImplementedError, IndexError, ValueError, np.linalg.LinAlgError) as error:
        raise NoValue(f"{type(error).__name__}: {error}") from error
    return run.seen


def _asks_elsewhere(here: Node) -> bool:
    """Whether it needs an objective, where gradients at the parameter can be any numbers."""
    return here.op == "oracle" and (here.attrs.what != "gradient" or here.args[here.attrs.split[0]].role != "param")


def _inputs(moment: Moment) -> dict[str, Any]:
    return {here.name: value for here, value in moment.free.items() if here.role == "input"}


def _answers(case: Case, shift: Any) -> dict[str, Any]:
    """Σ ½x² + a x - cos x with its gradient and Hessian, under the names that the rule has for them."""
    found: dict[str, Any] = {}
    for word, name in {("objective", "f"), *((c.word, c.name) for c in case.program.callables)}:
        if word == "operator":
            found[name] = lambda x, *samples: x + shift + np.sin(x)
        elif word == "objective":
            found[name] = lambda x, *samples: float(np.sum(x * x / 2 + shift * x - np.cos(x)))
            found[f"∇{name}"] = lambda x, *samples: x + shift + np.sin(x)
            found[f"∇²{name}"] = lambda x, *samples: (1 + np.cos(x)) * samples[-1]
    return found


def holds(part: Node, sides: list[Any], largest: float) -> bool | None:
    """Whether a comparison holds to rounding; what is not a number anywhere counts as held.

    Two sides that are exactly equal break a strict inequality; None where rounding may have made them so, as it makes
    tanh(30) out of 1.
    """
    if len(sides) == 1:
        return bool(np.all(sides[0]))
    left, right = (np.asarray(side, dtype=float) for side in sides)
    slack = RELATIVE * max(largest, 1e-30)
    if part.op in ("lt", "gt", "ne") and bool(np.any(left == right)):
        return None if any(here.op in SATURATING for here in part.walk()) else False
    with np.errstate(all="ignore"):
        difference = left - right
        known = np.isfinite(difference)
        match part.op:
            case "eq":
                fine = np.abs(difference) <= slack
            case "le" | "lt":
                fine = difference <= slack
            case "ge" | "gt":
                fine = difference >= -slack
            case _:
                fine = np.ones_like(difference, bool)
    return bool(np.all(fine | ~known))


def _failed(claim: s.Claim, sentence: Sentence, moment: Moment, part: Node, sides: list[Any]) -> Failed:
    case = sentence.case
    label = f" ({case.label})" if case.label else ""
    values = [f"  {name} = {np.asarray(side).tolist()}" for name, side in zip(("left", "right"), sides, strict=False)]
    param = case.program.params[0].name if case.program.params else ""
    moves = bool(case.program.params or case.program.states)
    lines = [
        f"claim `{claim.name}`{label} fails" + f" at step {len(moment.gradients)}" * moves,
        f"    {sentence.text}",
        f"  that is, {part!r}",
        *values,
        *(f"  given {premise!r}" for premise in sentence.premises if premise.op != "leaf" and not _range(premise)),
        *([f"  with {', '.join(f'{n} = {value:g}' for n, value in moment.hypers.items())}"] if moment.hypers else []),
        *([f"  {param} = {moment.start.tolist()}"] if param else []),
        *([f"  gradients {[g.tolist() for g in moment.gradients]}"] if param else []),
        *(f"  {here.name} = {np.asarray(value).tolist()}" for here, value in moment.free.items()),
        *(
            f"  in step {step}, {', '.join(f'{n} = {np.asarray(v).tolist()}' for n, v in inputs.items())}"
            for step, inputs in enumerate(moment.earlier, 1)
            if inputs
        ),
    ]
    return Failed("\n".join(lines), _snippet(claim, sentence, moment))


def _range(premise: Node) -> bool:
    return premise.op in COMPARED and premise.args[0].role == "hyper" and premise.args[1].value is not None


def _snippet(claim: s.Claim, sentence: Sentence, moment: Moment) -> str:
    case = sentence.case
    path = case.file.span.source.path
    free = _literal({here.name: value for here, value in moment.free.items()})
    earlier = "".join(f"{_literal(inputs)}, " for inputs in moment.earlier)
    return (
        "import numpy as np\n"
        "from pathlib import Path\n"
        "from dotopt.compiler.text.library import Library, load\n"
        "from dotopt.compiler.prove.statements.cases import cases\n"
        "from dotopt.runtime.property.claims import Moment, at\n\n"
        f"path = Path({str(path)!r})\n"
        f"claim = next(c for c in load(path).claims if c.name == {claim.name!r})\n"
        f"case = next(c for c in cases(load(path), claim, Library(path.parent)) if c.label == {case.label!r})\n"
        "moment = Moment(\n"
        f"    start=np.array({moment.start.tolist()!r}, dtype=float),\n"
        f"    gradients=({', '.join(f'np.array({g.tolist()!r}, dtype=float)' for g in moment.gradients)},),\n"
        f"    hypers={dict(moment.hypers)!r},\n"
        f"    free={free},\n"
        f"    sizes={dict(moment.sizes)!r}, seed={moment.seed}, earlier=({earlier}),\n"
        ")\n"
        "for part, sides in at(case, moment):\n"
        "    print(part, sides)\n"
    )


def _literal(values: Mapping[str, Any]) -> str:
    return f"{{{', '.join(f'{name!r}: np.array({np.asarray(v).tolist()!r})' for name, v in values.items())}}}"


def at(case: Case, moment: Moment) -> Iterator[tuple[Node, list[Any]]]:
    """Each comparison of a claim's `show` lines at a moment, with the values of its sides; for reproducers."""
    for clause in case.claim.body:
        if isinstance(clause, s.Show) and isinstance(clause.goal, s.Holds):
            goal = case.value(clause.goal.condition)
            premises = tuple(p for p in case.premises if p is not boolean(True))
            leaves = {here.name: here for here in _leaves((goal, *premises, *case.program.roots))}
            free = {leaves[str(name)]: value for name, value in moment.free.items() if str(name) in leaves}
            seen = look(Sentence(case, premises, goal, clause.goal.all_steps, ""), replace(moment, free=free))
            for part, sides, _ in seen[1] if seen else ():
                yield part, sides
