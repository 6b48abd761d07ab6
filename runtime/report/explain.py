"""What a file is, as facts: kind, equations with types and units, hyperparameters, memory, questions, passes.

    explain(path, options) -> Explanation      data; `commands/explain.py` prints it, the report and the README show it

Everything is read off the lowered program, for one choice of options; nothing is run.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from dotopt.compiler import ir
from dotopt.compiler.analysis.grouped import grouped
from dotopt.compiler.analysis.levels import Level, levels
from dotopt.compiler.analysis.ranges import number_at
from dotopt.compiler.analysis.units import Units, infer
from dotopt.compiler.emit.torch.layers import layer_values, of_layer
from dotopt.compiler.emit.torch.windows import accumulated
from dotopt.compiler.ir import Node, Program, number, rebuild
from dotopt.compiler.ir.print import infix
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.ops.types import REST
from dotopt.compiler.parse import parse
from dotopt.compiler.resolve import resolve
from dotopt.compiler.schedule.state_dtype import KEPT_BESIDE, ROUNDINGS, formats, rounding
from dotopt.compiler.schedule.storage import FORMATS, narrow
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.read import read
from dotopt.compiler.text.source import Span
from dotopt.runtime.report.backends import Standing, standing
from dotopt.runtime.report.derivation import Derivation, derivations

BYTES = 4  # of a float32 entry
LONGEST = 110  # characters of a right side in terms of the IR

KINDS = {
    "optimizer": "a torch.optim.Optimizer",
    "module": "a torch.nn.Module over sequences",
    "aggregator": "an aggregator of task gradients",
    "protocol": "a protocol between parties",
    "minimize": "a function minimize(f, x0)",
    "solver": "a torch.nn.Module of its inputs",
    "function": "a function",
    "host": "a Python function on lists",
    "formula": "a function",
    "transform": "a function from optimizers to optimizers",
    "theorem": "claims without a step",
}

QUESTIONS = {
    "gradient": "the gradient",
    "value": "the value",
    "hessian_vector": "the Hessian times a vector",
    "hessian": "the Hessian",
    "third": "the third derivative",
    "field": "the vector field",
}


LAYER = {
    "input": "what went into the linear layer that owns the parameter",
    "output": "what came out of it",
    "gradient": "what `backward` brought to its outputs",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One equation: `label = text`, its type, its unit, and its place."""

    label: str
    text: str
    type: str
    unit: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A hyperparameter, option or constant: symbol, Python spelling, range, default, unit."""

    symbol: str
    python: str
    range: str
    default: str
    unit: str


@dataclass(frozen=True, slots=True)
class Memory:
    """A state: what it costs. `bytes` are those for each entry of the parameter, 0 if it has fewer numbers."""

    name: str
    key: str
    type: str
    start: str
    bytes: float
    place: str
    unit: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step costs under a condition: passes over memory, launches, bytes read and written per entry.

    `floor` is what remains if each input is read once and each output written once; `reason` says why there is none.
    """

    condition: str
    passes: int = 0
    launches: int = 0
    read: float = 0
    written: float = 0
    floor: tuple[float, float] = (0, 0)
    routines: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Explanation:
    """All facts of one file."""

    name: str
    word: str
    kind: str
    sentence: str
    source: str
    decided: Span | None
    signature: str
    lines: tuple[Line, ...]
    hyperparameters: tuple[Hyperparameter, ...]
    memory: tuple[Memory, ...]
    questions: tuple[tuple[str, str, Span | None], ...]
    closure: str
    costs: tuple[Cost, ...]
    choices: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    derived: tuple[Derivation, ...]
    levels: tuple[Level, ...]
    claims: tuple[str, ...]
    formats: Mapping[str, str]
    program: Program = field(repr=False)
    file: s.File = field(repr=False)

    @cached_property
    def backends(self) -> Standing:
        """What each backend makes of the file; found out when it is asked for, since that loads the backends."""
        return standing(self.file, Library(Path(self.file.span.source.path).parent))

    @property
    def bytes(self) -> float:
        """Bytes of state for each entry of the parameter, in float32 or as `formats` says."""
        return sum(state.bytes for state in self.memory)


def explain(
    path: Path,
    options: Mapping[str, bool | str] | None = None,
    rank: int | None = None,
    state_dtype: str | Mapping[str, str] | None = None,
    param_rounding: str | None = None,
) -> Explanation:
    """The facts of the file at `path`; `options` replace defaults, by symbol or by Python name.

    `state_dtype` and `param_rounding` are those of optimizers, the latter for parameters in bfloat16; bytes are counted
    for a tensor that is large enough for them. Raises `OptError` if the file is broken, or has no such state or format.

    >>> facts = explain(Library().find("Lion"))
    >>> facts.signature, facts.bytes
    ('Lion(params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0)', 4)
    """
    file = resolve(parse(read(path))).file
    library = Library(path.parent)
    first = lower(file, Static(), library)
    chosen = {option.name: option.default for option in first.options} | _by_name(first, options or {})
    program, context = context_of(file, Static(options=chosen, rank=rank), library)
    units = infer(program, file)
    remarks = tuple(
        dict.fromkeys(
            f"{_where(span)}adds {left} and {right}: not every value here scales"
            for span, left, right in units.conflicts
        )
    )
    names = program.names
    lines = tuple(_functions(file)) + tuple(
        Line(e.label, _named(e, names), str(e.node.type), units.of(e.node), e.span) for e in program.equations
    )
    hyperparameters = tuple(
        Hyperparameter(
            h.name,
            h.keyword + (f"[{h.position}]" if h.position is not None else ""),
            _range(h),
            infix(h.default) if h.default is not None else "",
            units.named("hyper", h.name),
        )
        for h in program.hypers
    ) + tuple(
        Hyperparameter(o.name, o.keyword, " | ".join(map(str, o.values)), str(chosen.get(o.name, o.default)), "")
        for o in first.options
    )
    if _seeded(first):
        hyperparameters += (Hyperparameter("seed", "seed", "int >= 0", "0", ""),)
    questions, closure = _questions(program)
    there = {state.name for state in program.states}
    kept = {name: format for name, format in formats(first, state_dtype).items() if name in there}
    return Explanation(
        name=program.name, word=file.head.word, kind=program.kind, sentence=" ".join((program.docstring or "").split()),
        source=program.source or "", decided=program.decided_by, signature=_signature(first), lines=lines,
        hyperparameters=hyperparameters,
        memory=(*_memory(program, units, kept), *_beside(param_rounding)), questions=questions, closure=closure,
        costs=tuple(_costs(program, kept)), formats=kept,
        choices=tuple(_choices(first, chosen, file, library, program)), remarks=remarks,
        derived=derivations(file, program, context), levels=levels(program),
        claims=tuple(claim.name for claim in file.claims), program=program, file=file,
    )  # fmt: skip


def _functions(file: s.File) -> Iterator[Line]:
    """The local functions, as written: they are inlined and have no node of their own."""
    for statement in file.statements:
        if isinstance(statement, s.Definition) and isinstance(statement.targets[0], s.Call):
            yield Line(statement.targets[0].span.text, _right(statement.span), "", "", statement.span)


def _right(span: Span) -> str:
    """What stands right of the `=` of a definition."""
    return re.split(r"(?<![<>=!])=(?!=)", span.text, maxsplit=1)[-1].strip()


def _named(equation: ir.Equation, names: Mapping[Node, str]) -> str:
    """The right side, in terms of the other names; as written, where local functions made it long."""
    known = names.get(equation.node, equation.label)
    if known != equation.label:
        return known
    text = infix(equation.node, names)
    if len(text) <= LONGEST or equation.span is None:
        return text
    return _right(equation.span)


def _by_name(program: Program, options: Mapping[str, bool | str]) -> dict[str, bool | str]:
    """Options by symbol; raises ValueError for an unknown one or an illegal value."""
    known = {option.keyword: option for option in program.options} | {option.name: option for option in program.options}
    chosen: dict[str, bool | str] = {}
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"{program.name} has no option `{name}`; it has {', '.join(sorted(known)) or 'none'}")
        legal = {str(legal).lower(): legal for legal in known[name].values}
        if str(value).lower() not in legal:
            raise ValueError(f"the option `{name}` is {value}; it must be one of {', '.join(legal)}")
        chosen[known[name].name] = legal[str(value).lower()]
    return chosen


def _range(hyper: ir.Hyper) -> str:
    return f"{'int ' if hyper.type.kind == 'int' else ''}{hyper.interval.text}".strip()


def _where(span: Span | None) -> str:
    return f"line {span.line} " if span is not None else ""


# ---- the Python signature -------------------------------------------------------------------------------------------


def _signature(program: Program) -> str:
    arguments = ["params"] if program.kind == "optimizer" else []
    if program.kind in ("formula", "theorem"):
        return ""
    if program.kind in ("module", "solver"):
        arguments += [x.name for x in program.callables if x.word == "function"]
    tuples: dict[str, list[str]] = {}
    order: list[str] = []
    for hyper in program.hypers:
        default = infix(hyper.default).replace("∞", "inf") if hyper.default is not None else "?"
        if hyper.keyword not in order:
            order.append(hyper.keyword)
        tuples.setdefault(hyper.keyword, []).append(default)
        if hyper.position is None and len(tuples[hyper.keyword]) == 1:
            tuples[hyper.keyword] = [default]
    families = {hyper.keyword for hyper in program.hypers if hyper.position is not None}
    for keyword in order:
        values = tuples[keyword]
        arguments.append(f"{keyword}=({', '.join(values)})" if keyword in families else f"{keyword}={values[0]}")
    if _seeded(program):
        arguments.append("seed=0")
    for option in program.options:
        default = repr(option.default) if isinstance(option.default, bool) else f'"{option.default}"'
        arguments.append(f"{option.keyword}={default}")
    return f"{program.name}({', '.join(arguments)})"


def _seeded(program: Program) -> bool:
    return program.kind == "optimizer" and bool(program.randoms) and all(h.keyword != "seed" for h in program.hypers)


# ---- memory ---------------------------------------------------------------------------------------------------------


def _memory(program: Program, units: Units, kept: Mapping[str, str]) -> Iterator[Memory]:
    names = program.names
    axes = program.params[0].type.axes if program.params else ()
    for state in program.states:
        whole = bool(axes) and state.type.axes == axes
        each = FORMATS[kept[state.name]].cost if state.name in kept else BYTES
        if whole:
            place = f"{each:.7g} bytes per entry" + (f" ({kept[state.name]})" if state.name in kept else "")
        elif state.type.axes:
            sizes = "·".join("…" if axis == REST else axis for axis in state.type.axes)
            place = f"{BYTES}·{sizes} bytes per tensor"
        else:
            place = "one number in all" if state.shared else "one number per tensor"
        start = names.get(state.start) or infix(state.start, names)
        kind = {"first": f"first {start}", "draw": f"drawn: {start}"}.get(state.kind, start)
        unit = units.named("state", state.name)
        yield Memory(state.name, state.key, str(state.type), kind, each * whole, place, unit)


def _beside(param_rounding: str | None) -> Iterator[Memory]:
    """What rounding keeps beside a parameter in bfloat16."""
    word = rounding(param_rounding, "bf16")
    if word is not None:
        each = ROUNDINGS[word][1]
        place = f"{each} bytes per entry, of parameters in bfloat16" if each else "one number per tensor"
        yield Memory("", KEPT_BESIDE[word], "like the parameter" if each else "int", "0", each, place, "")


# ---- what is asked of the user --------------------------------------------------------------------------------------


def _questions(program: Program) -> tuple[tuple[tuple[str, str, Span | None], ...], str]:
    """What the rule asks, and how `step` is called."""
    asked = []
    plain = True
    names = program.names
    for oracle in program.oracles:
        what = QUESTIONS.get(oracle.attrs.what, oracle.attrs.what)
        text = infix(oracle, names)
        at_param = oracle.attrs.what == "gradient" and all(arg.role == "param" for arg in oracle.args)
        plain = plain and at_param
        what = LAYER.get(of_layer(oracle), what)
        asked.append((text, what + (" at the parameter" if at_param else ""), program.places.get(oracle)))
    layer = layer_values(program)
    inputs = ((here, word) for here, word in layer.items() if here.role == "input")
    asked += [(here.name, LAYER[word], program.places.get(here)) for here, word in inputs]
    if program.kind != "optimizer" or not asked:
        return tuple(asked), ""
    if layer:
        return tuple(asked), f"dotopt.attach(model, {program.name}, rest=…): hooks on linear layers see it"
    if plain:
        return tuple(asked), "step(): the gradient that `backward` left is enough"
    second = any(oracle.attrs.what in ("hessian_vector", "hessian") for oracle in program.oracles)
    backward = " without calling backward, since a second derivative is taken" if second else ""
    return tuple(asked), f"step(closure): the closure returns the loss{backward}"


# ---- costs ----------------------------------------------------------------------------------------------------------


def usual(program: Program) -> Program:
    """The program of a usual step: step 2, hyperparameters at their defaults, a matrix, no period just over."""
    from dotopt.compiler.schedule.variants import conditions, specialise

    decided = specialise(program, {condition: _usually(condition, program) for condition in conditions(program)})
    return decided.mapped(lambda root: rebuild(root, lambda here: number(2) if here.role == "rank" else here))


def _usually(condition: Node, program: Program) -> bool:
    return condition.op != "fires" and bool(number_at(condition, 2, program))


def _costs(program: Program, kept: Mapping[str, str]) -> Iterator[Cost]:
    """Passes over memory in a usual step, then under other outcomes of what is decided before a step."""
    from dotopt.compiler.schedule.passes import Unsupported, schedule
    from dotopt.compiler.schedule.variants import conditions, specialise

    if program.kind != "optimizer" or len(program.params) != 1:
        return
    program = accumulated(grouped(program))
    sizes = {name: FORMATS[format].cost for name, format in kept.items()}
    decided = conditions(program)
    expected = tuple(_usually(condition, program) for condition in decided)
    outcomes = sorted(itertools.product((False, True), repeat=min(len(decided), 4)), key=lambda o: o != expected)
    seen = set()
    for outcome in outcomes:
        table = dict(zip(decided, outcome, strict=False))
        words = "a usual step"
        if outcome != expected:
            words = " and ".join(
                infix(condition) if holds else f"not ({infix(condition)})"
                for (condition, holds), normal in zip(table.items(), expected, strict=False)
                if holds != normal
            )
        try:
            plan = schedule(specialise(program, table), narrow(program, kept))
        except Unsupported as error:
            cost = Cost(words, reason=_cut(error.reason))
        else:
            read, written = plan.bytes(sizes)
            passes = sum(map(bool, plan.passes))
            cost = Cost(words, passes, plan.launches, read, written, plan.floor(sizes), len(plan.routines))
        key = replace(cost, condition="")
        if key not in seen:
            seen.add(key)
            yield cost


def _cut(reason: str, width: int = 100) -> str:
    """A long formula in the middle of a sentence is cut; its end says what matters."""
    return reason if len(reason) <= width else f"{reason[: width // 2]}… {reason[-width // 2 :]}"


def _choices(
    first: Program, chosen: Mapping[str, bool | str], file: s.File, library: Library, program: Program
) -> Iterator[tuple[str, str]]:
    """What each other value of an option changes."""
    mine = {state.name for state in program.states}
    for option in first.options:
        for value in option.values:
            if value == chosen[option.name]:
                continue
            other = lower(file, Static(options={**chosen, option.name: value}), library)
            theirs = {state.name for state in other.states}
            more, less = sorted(theirs - mine), sorted(mine - theirs)
            words = [f"adds the state {', '.join(more)}"] * bool(more) + [f"drops the state {', '.join(less)}"] * bool(
                less
            )
            asked = len(other.oracles) - len(program.oracles)
            words += [f"asks {asked} more of the objective"] * (asked > 0)
            yield f"{option.keyword}={value}", "; ".join(words) or "the same memory"
