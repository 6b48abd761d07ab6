"""A rule as a Python module that needs nothing but torch and `dotopt.runtime`: one function for each specialisation.

The steps are compiled for every choice of options and, where the rule asks for it, for every rank of the parameter;
equal ones are written once. The class at the end holds the table that finds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product

from dotopt.compiler.analysis import ranges
from dotopt.compiler.analysis.grouped import grouped
from dotopt.compiler.analysis.signs import nonnegative
from dotopt.compiler.emit.functions import module as function_module
from dotopt.compiler.emit.parts import documented, equation_lines, header, hyper_text, refuse_name
from dotopt.compiler.emit.torch.block import INDENT
from dotopt.compiler.emit.torch.lists import MATRICES, REDUCED
from dotopt.compiler.emit.torch.scalars import WORDS, literal
from dotopt.compiler.emit.torch.step import StepText, step_text
from dotopt.compiler.emit.torch.supported import supported
from dotopt.compiler.ir import FUNCTIONS, Param, Program, State
from dotopt.compiler.ir.nodes import placed
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.ops import in_torch
from dotopt.compiler.ops.types import REST
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError, fail
from dotopt.compiler.text.library import Library

RANKS = (1, 2, 3, 4, 5)  # a tensor with more axes is treated like one with five
SEED = "Hyper('seed', 'seed', default=0.0, low=0.0, integer=True, range='int >= 0')"  # of rules with draws
MOST = 512  # specialisations of one rule

INPLACE = (
    "add",
    "sub",
    "mul",
    "div",
    "square",
    "lerp",
    "addcmul",
    "addcdiv",
    "maximum",
    "minimum",
    *(op for op in FUNCTIONS if op in WORDS),
    "reciprocal",
)
FOREACH = frozenset((
    *INPLACE, *(f"{word}_" for word in INPLACE), *REDUCED.values(), "power", "choose", "constant", "single", "numbers",
    "lt", "le", "gt", "ge", "eq", "ne", "both", "either", "negate", "units", "unsqueeze", "sizes", "store", "copies",
    "entrywise",
))  # fmt: skip
MATRIX = frozenset((*MATRICES, "transpose", "eye", "matrix_power", "keep_largest"))
ORACLES = frozenset(("ModelSum", "ModelMax", "ModelNorm", "Value", "Gradient", "HessianVector"))
OTHER = frozenset(op for op in FUNCTIONS if op not in WORDS)
RESERVED = FOREACH | MATRIX | ORACLES | OTHER | {f"{word}_" for word in OTHER}
FREE = frozenset(("random", "step", "evaluate"))  # arguments, and functions that nothing calls by name
RESERVED |= {"torch", "math", "random", "scalars", "range", "int", "abs", "step", "evaluate"}


def module(file: s.File, library: Library, origin: tuple[object, ...] | None = None) -> str:
    """The text of the module of `file`; raises `OptError` if a construct is not compiled yet (E601), or if nothing is
    there to compile (E606).
    """
    with placed({}):
        return _module(file, library, origin)


def _module(file: s.File, library: Library, origin: tuple[object, ...] | None) -> str:
    ranked = needs_rank(file, library)
    open_program = grouped(lower(file, Static({}, 1) if ranked else Static(), library))
    if outside := ranges.check(open_program):
        raise OptError(*outside)
    if function_module.wanted(open_program):
        return function_module.module(file, library, origin)
    if open_program.kind == "module":
        from dotopt.compiler.emit.sequence.module import module as sequence_module

        return sequence_module(file, library, origin)
    if open_program.kind == "host":
        from dotopt.compiler.emit.sequence import decoding as host

        return host.module(file, library, origin)
    if open_program.kind in ("solver", "formula") and not open_program.oracles:
        from dotopt.compiler.emit.sequence import call

        return _formula(file, library) if open_program.kind == "formula" else call.module(file, library, origin)
    supported(open_program)
    refuse_name(file, RESERVED - FREE)
    found = dict(_specialisations(file, library, open_program, ranked))
    texts = list(dict.fromkeys(found.values()))
    names = {text: f"step{i + 1}" if len(texts) > 1 else "step" for i, text in enumerate(texts)}
    functions = [_function(text, names[text]) for text in texts]
    body = "\n\n\n".join((*functions, _class(file, open_program, found, names, ranked, origin)))
    exported = f"__all__ = [{open_program.name!r}]"
    return f"{header(file, open_program)}\n\n{_imports(body)}\n\n{exported}\n\n\n{body}\n"


def _formula(file: s.File, library: Library) -> str:
    """The module of a formula; where it is no function by itself, the error says that rules can use it all the same."""
    from dotopt.compiler.emit.sequence import call

    name = file.head.name
    try:
        return call.formula(file, library)
    except OptError as error:
        help = f"`{name}` alone is no function of tensors; `use {name}` in a rule compiles it there"
        raise OptError(*(replace(d, help=help) if d.code == "E601" else d for d in error.diagnostics)) from None


def piece(program: Program) -> str:
    """The text of a module that holds `STEP`, the step of one program of `schedule.phases`."""
    text = step_text(program, RESERVED)
    body = f"{_function(text, 'step')}\n\n\nSTEP = {_step(text, 'step', program, frozenset())}"
    return f"{_imports(body, ())}\n\n\n{body}\n"


def transform(file: s.File, origin: tuple[object, ...]) -> str:
    """The text of the module of a transform: what it is composed with decides the rest."""
    name = file.head.name
    return (
        f"from dotopt.runtime.loading.load import Transform\n\n__all__ = [{name!r}]\n\n"
        f"{name} = Transform({name!r}, {file.docstring or name!r}, {origin!r})\n"
    )


def needs_rank(file: s.File, library: Library) -> bool:
    """Whether some expression reads the rank, or chooses by the shape of the parameter."""
    files, waiting = [], [file]
    while waiting:
        here = waiting.pop()
        if here in files:
            continue
        files.append(here)
        for used in _used(here):
            found = library.file(used)
            if found is not None:
                waiting.append(found)
    return any(_reads_rank(here) for here in files)


def _used(file: s.File) -> Iterable[str]:
    """The names of the files that a file is made of."""
    for statement in file.statements:
        if isinstance(statement, s.Use):
            yield from (item.name for item in statement.names)
    if file.head.word == "composition" and file.head.value is not None:
        yield from (node.name for node in file.head.value.walk() if isinstance(node, s.Name))


def _reads_rank(file: s.File) -> bool:
    for statement in file.statements:
        if isinstance(statement, s.Claim):
            continue
        for node in statement.walk():
            if isinstance(node, s.When) or (isinstance(node, s.Name) and node.name == "rank"):
                return True
    return False


def _specialisations(
    file: s.File, library: Library, program: Program, ranked: bool
) -> Iterable[tuple[tuple[bool | str | int, ...], StepText]]:
    choices = [option.values for option in program.options]
    ranks = [rank for rank in RANKS if _fits(program, rank)] if ranked else [None]
    count = len(ranks)
    for values in choices:
        count *= len(values)
    if count > MOST:
        raise fail("E601", program.decided_by, construct=f"a rule with {count} specialisations")
    for options in product(*choices):
        given = {option.name: value for option, value in zip(program.options, options, strict=True)}
        for rank in ranks:
            text = step_text(grouped(lower(file, Static(given, rank), library)), RESERVED)
            yield (options if rank is None else (*options, rank)), text


def _fits(program: Program, rank: int) -> bool:
    (param,) = program.params
    named = [axis for axis in param.type.axes if axis != REST]
    if param.ranks and rank not in param.ranks:
        return False
    if param.merged:
        return rank >= len(named) - 1
    return rank >= len(named) if REST in param.type.axes else rank == len(named)


# ---- the parts of the text
# ----------------------------------------------------------------------------------------------


def _imports(body: str, always: tuple[str, ...] = ("from dotopt.runtime.optimizer import Optimizer",)) -> str:
    words = set(re.findall(r"\b[A-Za-z]\w*(?=\()", body))
    lines = ["import math", ""] if "math." in body else []
    if "scalars." in body:
        lines.append("from dotopt.runtime import scalars")
    made = sorted({word.removesuffix("_") for word in words} & OTHER)
    if made:
        words |= {"entrywise"}
        lines = ["import torch", "", *lines]
    for home, names in (("foreach", FOREACH - MATRIX), ("matrices", MATRIX)):
        if used := sorted(words & names):
            lines.append(_import(f"dotopt.runtime.{home}", used))
    if used := sorted(word for word in words & ORACLES):
        lines.append(_import("dotopt.runtime.oracles", used))
    lines += always
    used = sorted(words & {"Hyper", "Option", "Pattern", "Rule", "State", "Step"})
    lines.append(_import("dotopt.runtime.rule", used))
    for word in made:
        lines += ["", f'{word}, {word}_ = entrywise("{word}", lambda x: {in_torch(word, "x")})']
    return "\n".join(lines)


def _import(home: str, names: list[str]) -> str:
    line = f"from {home} import {', '.join(names)}"
    if len(line) <= 120:
        return line
    return (
        f"from {home} import (\n{INDENT}{', '.join(names)},\n)"
        if len(", ".join(names)) < 110
        else (f"from {home} import (\n" + "".join(f"{INDENT}{name},\n" for name in names) + ")")
    )


def _function(text: StepText, name: str) -> str:
    lines = [f"def {name}({text.signature}):", *_indented(text.lines or ("pass",))]
    if text.evaluation:
        without = text.evaluated_signature
        lines += ["", "", f"def {name}_evaluate({without}):", *_indented(text.evaluation)]
    return "\n".join(lines)


def _indented(lines: Iterable[str]) -> list[str]:
    return [INDENT + line for line in lines]


def _class(
    file: s.File,
    program: Program,
    found: Mapping[tuple[bool | str | int, ...], StepText],
    names: Mapping[StepText, str],
    ranked: bool,
    origin: tuple[object, ...] | None,
) -> str:
    (param,) = program.params
    table = [f"{key!r}: {name.upper()}," for key, name in ((key, names[text]) for key, text in found.items())]
    signs = nonnegative(program)
    steps = [f"{name.upper()} = {_step(text, name, program, signs)}" for text, name in names.items()]
    equations = equation_lines(file, program)
    text = [
        f"class {program.name}(Optimizer):",
        f"    {documented(program)}",
        "",
        f"    origin = {origin!r}",
        "    rule = Rule(",
        f"        name={program.name!r},",
        f"        doc={(program.docstring or '')!r},",
        f"        source={(program.source or '')!r},",
        "        text="
        + ("(\n" + "".join(f"            {line!r}\n" for line in equations) + "        )," if equations else "'',"),
        "        hypers=(",
        *(f"            {hyper_text(hyper, program)}," for hyper in program.hypers),
        *([f"            {SEED},"] if _seeded(program, names) else ()),
        "        ),",
        "        options=(",
        *(f"            Option({o.name!r}, {o.keyword!r}, {o.values!r}, {o.default!r})," for o in program.options),
        "        ),",
        f"        pattern={_pattern(param)},",
        "        steps={",
        *(f"            {row}" for row in table),
        "        },",
        f"        ranked={ranked},",
        "    )",
    ]
    return "\n\n".join(steps) + "\n\n\n" + "\n".join(text)


def _seeded(program: Program, texts: Iterable[StepText]) -> bool:
    """Whether the class takes a `seed`, which is not the file's own."""
    own = any(hyper.keyword == "seed" for hyper in program.hypers)
    return not own and any("random" in text.sources for text in texts)


def _step(text: StepText, name: str, program: Program, signs: frozenset[str]) -> str:
    parts = [name, _pattern(text.param)]
    if text.states:
        rows = "".join(f"        {_state(state, program, state.name in signs)},\n" for state in text.states)
        parts.append(f"states=(\n{rows}    )")
    sources = ", ".join(
        f"{argument!r}: {source!r}" for argument, source in zip(text.scalars, text.sources, strict=True)
    )
    parts.append(f"sources={{{sources}}}")
    if not text.gradient:
        parts.append("gradient=False")
    if text.layer:
        parts.append(f"layer={tuple(word for _, word in text.layer)!r}")
    if text.by_shape:
        parts.append("by_shape=True")
    if text.generator:
        parts.append("generator=True")
    if text.reasons:
        parts.append(f"reasons={text.reasons!r}")
    if text.evaluation:
        parts.append(f"evaluate={name}_evaluate")
    return "Step(\n" + "".join(f"    {part},\n" for part in parts) + ")"


def _pattern(param: Param) -> str:
    more = ", merged=True" * param.merged + (f", ranks={param.ranks!r}" if param.ranks else "")
    return f"Pattern({param.name!r}, {param.type.axes!r}{more})"


def _state(state: State, program: Program, nonnegative: bool) -> str:
    (param,) = program.params
    start = state.start.value if state.kind != "first" else None
    parts = [repr(state.name), repr(state.key)]
    if state.shared:
        parts.append(repr("group" if program.of_group(state.name) else "clock"))
    elif state.type.scalar:
        parts.append("'number'")
    elif state.type.axes != param.type.axes:
        parts += ["'axes'", repr(state.type.axes)]
    if start is None:
        parts.append("start=None")
    elif start != 0:
        parts.append(f"start={literal(start)}")
    if nonnegative and state.type.axes == param.type.axes and not state.shared:
        parts.append("nonnegative=True")
    return f"State({', '.join(parts)})"
