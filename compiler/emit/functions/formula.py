"""Formulas that draw, as plain functions with a seed: `rand_k(v, k, *, seed=0, step=1)`."""

from __future__ import annotations

from collections.abc import Mapping

from dotopt.compiler.emit.functions.frame import close, draws, needed_sizes, writer_of
from dotopt.compiler.emit.functions.statements import write
from dotopt.compiler.emit.functions.writer import RESERVED
from dotopt.compiler.emit.names import Names
from dotopt.compiler.emit.parts import docstring, header
from dotopt.compiler.emit.sequence.token import INDENT
from dotopt.compiler.ir import Program
from dotopt.compiler.text import syntax as s


def module(file: s.File, program: Program, defaults: Mapping[str, str]) -> str:
    """The text of the module; `defaults` are those of the arguments, as text. Raises `OptError` (E601)."""
    assert program.result is not None
    b = writer_of(program)
    b.variables = Names((*RESERVED, "seed"))
    sizes: dict[str, str] = {}
    for here in program.result.walk():
        if here.role == "free":
            name = b.names[here] = b.argument(here.name)
            sizes |= {a: f"{name}.shape[{i - len(here.type.axes)}]" for i, a in enumerate(here.type.axes)}
    like = next(b.names[x] for x in program.result.walk() if x.role == "free" and x.type.axes)
    given = ", ".join(b.argument(p.name) + defaults.get(p.name, "") for p in file.head.parameters)
    b.lines += [
        f"def {program.name}({given}, *, seed=0, step=1):",
        INDENT + docstring((program.docstring or program.name).strip()),
        f"{INDENT}random = Draws(seed, step, {like}.dtype, {like}.device)",
    ]
    place = len(b.lines)
    needed_sizes(program, b, [program.result])
    b.sizes = {**b.sizes, **sizes}
    draws(program, b)
    write(b, program.result, equations=program.equations)
    b.lines.append(f"{INDENT}return {b.code(program.result)}")
    text = close(program, b, place, [])
    words = ["import torch", ""] if "torch." in text else []
    words += ["from dotopt.runtime.functions import asks"] if "asks." in text else []
    words += ["from dotopt.runtime.functions.draws import Draws"]
    return "\n".join((header(file, program), "", *words, "", f"__all__ = [{program.name!r}]", "", "", text, ""))
