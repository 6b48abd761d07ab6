"""Rules over sequences as Python modules: the functions of each choice of options, and the class around them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

from dotopt.compiler.analysis.recurrence import Solved, recurrences
from dotopt.compiler.emit.parts import documented, equation_lines, header, hyper_text, input_text, refuse_name
from dotopt.compiler.emit.sequence.batched import Batched
from dotopt.compiler.emit.sequence.stretch import functions
from dotopt.compiler.ir import Input, Node, Program, Random, State
from dotopt.compiler.ir.print import infix
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.library import Library

# what the generated functions call
RUNTIME = (
    "Chunks", "Term", "at_first", "attend", "attend_token", "before", "choose", "every", "held", "peaks", "recent",
    "recent_token", "scan", "times", "together",
)  # fmt: skip


def module(file: s.File, library: Library, origin: tuple[object, ...] | None = None) -> str:
    """The text of the module of a rule over sequences; raises `OptError` if a construct is not compiled yet."""
    refuse_name(file, RUNTIME)
    whole = lower(file, Static(), library)
    texts: dict[tuple[bool | str, ...], str] = {}
    programs: dict[tuple[bool | str, ...], Program] = {}
    for options in product(*(option.values for option in whole.options)):
        given = {option.name: value for option, value in zip(whole.options, options, strict=True)}
        programs[options] = lower(file, Static(given), library)
        texts[options] = functions(programs[options])
    distinct = list(dict.fromkeys(texts.values()))
    suffix = {text: str(i + 1) if len(distinct) > 1 else "" for i, text in enumerate(distinct)}
    body = [
        text.replace("def token(", f"def token{mark}(").replace("def stretch(", f"def stretch{mark}(")
        for text, mark in suffix.items()
    ]
    table = [f"        {options!r}: {_functions_row(programs[options], texts[options], suffix)}," for options in texts]
    code = "\n\n".join(body)
    words = ["Functions", "Input", "Memory", "SequenceModule", "SequenceRule"]
    words += [w for w in RUNTIME if re.search(rf"\b{w}\(", code)]
    lines = _class_lines(file, whole, table, origin)
    everything = "\n".join((code, *lines))  # starts are computed in the class
    imports = ["import math", ""] if "math." in everything else []
    imports += ["import torch"]
    imports += ["from torch.nn import functional"] if "functional." in code else []
    shared = ", ".join(name for name in ("matrices", "scalars") if f"{name}." in everything)
    imports += ["", *([f"from dotopt.runtime import {shared}"] if shared else [])]
    rule_words = sorted({w for w in ("Hyper", "Option") if (whole.hypers if w == "Hyper" else whole.options)})
    imports += ["from dotopt.runtime.given import Given"] if whole.callables else []
    imports += [f"from dotopt.runtime.rule import {', '.join(rule_words)}"] if rule_words else []
    imports += ["from dotopt.runtime.sequence import (", *(f"    {w}," for w in sorted(words)), ")"]
    return "\n".join(
        (
            header(file, whole),
            "",
            *imports,
            "",
            f"__all__ = [{whole.name!r}]",
            "",
            "",
            code.rstrip(),
            "",
            "",
            *lines,
            "",
        )
    )


def _functions_row(program: Program, text: str, suffix: Mapping[str, str]) -> str:
    mark = suffix[text]
    stretch = f"stretch{mark}" if "def stretch(" in text else "None"
    memories = "".join(f"{_memory(x, program)}, " for x in program.states)
    found = recurrences(program)
    periods = sorted({_period(x) for x in found.solved if x.period is not None}) if stretch != "None" else []
    reasons = {x.state.name: f"{x.kind}: {x.why}" for x in found.solved}
    local = bool(found.groups) and "attend(" not in text
    masked = not re.search(r"\brecent\(", text)
    given = f"({memories}), ({''.join(f'{p}, ' for p in periods)}), {reasons!r}"
    return f"Functions(token{mark}, {stretch}, {given}, masked={masked}, local={local})"


def _period(x: Solved) -> str:
    period = x.period
    assert period is not None
    if period.role == "hyper":
        return repr(period.name)
    if period.value is not None:
        return str(int(period.value))
    raise fail("E601", period.span, construct=f"the period `{infix(period)}`")


def _memory(state: State, program: Program) -> str:
    axes = f"{state.type.axes!r}"
    if state.kind == "draw":
        random = next(r for r in program.randoms if r.name == f"{state.name} at the start")
        return f"Memory({state.name!r}, {axes}, {_drawn(random)})"
    if state.kind == "first" or state.start.value == 0:
        return f"Memory({state.name!r}, {axes})"
    return f"Memory({state.name!r}, {axes}, {_begun(state.name, state.start)})"


def _input(x: Input) -> str:
    """The text of an input; of a weight with what it starts with."""
    if x.start is None:
        return input_text(x)
    return input_text(x, _drawn(x.start) if isinstance(x.start, Random) else _begun(x.name, x.start))


def _begun(name: str, start: Node) -> str:
    """The text of a start that is a number or the identity."""
    if start.op == "eye":
        return "'eye'"
    if start.value is not None:
        return repr(float(start.value))
    raise fail("E601", start.span, construct=f"the start `{infix(start)}` of `{name}`")


def _drawn(random: Random) -> str:
    def number(here: Node) -> str:
        names = {x: f"sizes[{x.name!r}]" for x in here.walk() if x.role == "axis"}
        names |= {x: f"hyper[{x.name!r}]" for x in here.walk() if x.role == "hyper"}
        return Batched(dict(names), {}).code(here)

    match random.law, random.args:
        case "normal", (mean, deviation):
            value = f"{number(mean)} + ({number(deviation)})*torch.randn(shape, generator=generator)"
        case "uniform", (low, high):
            value = f"{number(low)} + ({number(high)} - {number(low)})*torch.rand(shape, generator=generator)"
        case _:
            raise fail("E601", None, construct=f"a state that starts with `~ {random.law}`")
    return f"lambda shape, sizes, generator, hyper: {value}"


def _class_lines(file: s.File, program: Program, table: list[str], origin: tuple[object, ...] | None) -> list[str]:
    inputs = "".join(f"{_input(x)}, " for x in program.inputs)
    outputs = "".join(f"{name!r}, " for name in program.outputs)
    asked = "".join(f"Given({x.name!r}, {bool(x.indices)}), " for x in program.callables)
    return [
        f"class {program.name}(SequenceModule):",
        f"    {documented(program)}",
        "",
        f"    origin = {origin!r}",
        "    rule = SequenceRule(",
        f"        name={program.name!r},",
        f"        doc={(program.docstring or '')!r},",
        f"        source={(program.source or '')!r},",
        "        text=(",
        *(f"            {line!r}" for line in equation_lines(file, program)),
        "        ),",
        f"        inputs=({inputs}),",
        f"        outputs=({outputs}),",
        *([f"        given=({asked}),"] if asked else []),
        "        hypers=(",
        *(f"            {hyper_text(hyper, program)}," for hyper in program.hypers),
        "        ),",
        "        options=(",
        *(f"            Option({o.name!r}, {o.keyword!r}, {o.values!r}, {o.default!r})," for o in program.options),
        "        ),",
        "        functions={",
        *(f"    {row}" for row in table),
        "        },",
        "    )",
    ]
