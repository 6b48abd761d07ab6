"""Parts that every generated module has: the header, the equations as text, the rows of hyperparameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dotopt.compiler.emit.torch.plan import lines
from dotopt.compiler.emit.torch.scalars import Scalars, literal
from dotopt.compiler.ir import Hyper, Input, Node, Program
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import fail
from dotopt.grammar.spelling import ascii

MODULES = ("torch", "functional", "math", "scalars", "matrices")  # what emitted modules import whole


def docstring(text: str) -> str:
    """A string literal of `text` in three quotes, whatever stands in it.

    >>> print(docstring('Also known as "heavy ball"'))
    \"""Also known as "heavy ball\\"\"""
    """
    shown = "".join(c if c == "\n" or (c.isprintable() and c != "\\") else repr(c)[1:-1] for c in text)
    quoted = re.sub(r'"(?="|\Z)', r'\"', shown)
    return f'"""{quoted}"""'


def comment(text: str) -> str:
    """The first line of `text` as a comment, which ends where the line does."""
    return "# " + (text.strip().splitlines() or [""])[0].strip()


def refuse_name(file: s.File, called: Iterable[str] = ()) -> None:
    """E239 if the name of the file is a word that its own functions call: what they define would stand in its place."""
    if file.head.name in MODULES or file.head.name in called:
        raise fail("E239", file.head.span, name=file.head.name)


def documented(program: Program) -> str:
    """The docstring of what a program is compiled to."""
    return docstring((program.docstring or program.name).strip())


def header(file: s.File, program: Program) -> str:
    text = [program.docstring or f"{program.name}."]
    if program.source:
        text += ["", f"Source: {program.source}"]
    text += ["", f"Compiled from {Path(file.span.source.path).name}: change that file, not this one."]
    return docstring("\n".join(text) + "\n")


def equation_lines(file: s.File, program: Program) -> list[str]:
    """The equations as written, for `repr`; of a composition, those of its parts."""
    written = [x.span for x in file.statements if isinstance(x, s.Definition | s.Iterate | s.When)]
    spans = written or [equation.span for equation in program.equations if equation.span is not None]
    return [f"{line}\n" for span in dict.fromkeys(spans) for line in lines(span)]


def hyper_text(hyper: Hyper, program: Program) -> str:
    parts = [repr(hyper.name), repr(hyper.keyword)]
    if hyper.position is not None:
        parts.append(f"position={hyper.position}")
    if hyper.default is not None:
        parts.append(f"default={_end(hyper.default, program)}")
    interval = hyper.interval
    if interval.low is not None:
        parts.append(f"low={_end(interval.low, program)}")
    if interval.high is not None:
        parts.append(f"high={_end(interval.high, program)}")
    parts += ["open_low=True"] * interval.open_low + ["open_high=True"] * interval.open_high
    parts += ["integer=True"] * (hyper.type.kind == "int")
    if interval.text:
        parts.append(f"range={interval.text!r}")
    return f"Hyper({', '.join(parts)})"


# what `forward` takes besides
OWN = frozenset(("self", "state", "mask", "lengths", "resets", "cu_seqlens", "return_state", "seed"))


def input_text(x: Input, start: str = "") -> str:
    """`Input('β', 'beta', (), low=0, high=2)`; a keyword that the module has itself gets an underscore.

    start: the text of what a weight starts with.
    """
    keyword = x.keyword or ascii(x.name) + "_" * (ascii(x.name) in OWN)
    ends = {"low": x.interval.low, "high": x.interval.high}
    numbers = {end: node.value for end, node in ends.items() if node is not None}
    known = "".join(f", {end}={literal(value)}" for end, value in numbers.items() if value is not None)
    held = f", start={start}" if start else ""
    return f"Input({x.name!r}, {keyword!r}, {x.type.axes!r}{known}{held})"


def _end(node: Node, program: Program) -> str:
    """A number, or a function of the other hyperparameters."""
    if node.value is not None:
        return literal(node.value)
    if node.op == "inf":
        return "math.inf"
    leaves = {leaf: f"given[{leaf.name!r}]" for leaf in node.walk() if leaf.role == "hyper"}
    writer = Scalars(leaves, {hyper.name: hyper for hyper in program.hypers}, lambda here: None)
    return ("lambda given: " if leaves else "") + writer.text(node)
