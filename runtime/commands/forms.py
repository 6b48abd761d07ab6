"""The code of a rule in each backend, and its equations in other notations."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from dotopt.compiler.errors import OptError, diagnostic
from dotopt.compiler.places import Unsupported

if TYPE_CHECKING:
    from dotopt.runtime.report.explain import Explanation


def code(facts: Explanation, form: str) -> str:
    """The text of `form`: ir, latex, torch, cpu or triton; raises `OptError` (E601) where there is none."""
    match form:
        case "ir":
            from dotopt.runtime.report.timeline import listing

            return "\n".join(listing(facts.program))
        case "latex":
            from dotopt.compiler.emit.latex import latex

            return latex(facts.file)
        case "torch":
            from dotopt.compiler.emit.torch import module
            from dotopt.compiler.library import Library

            return module(facts.file, Library(Path(facts.file.span.source.path).parent))
    try:
        return _kernel(facts, form)
    except Unsupported as error:
        raise OptError(
            diagnostic("E601", facts.decided, construct=f"{facts.name} as a kernel", help=error.reason)
        ) from None


def _kernel(facts: Explanation, form: str) -> str:
    """The code of a usual step, all arrays in float32 but for states that are to be kept in fewer bits."""
    from dotopt.compiler.schedule import schedule
    from dotopt.compiler.storage import narrow
    from dotopt.runtime.report.explain import usual

    if facts.kind != "optimizer":
        raise Unsupported("kernels are made of optimizers")
    program = usual(facts.program)
    plan = schedule(program, narrow(program, facts.formats))
    names = {buffer.name for buffer in plan.buffers} | {state.name for state in program.states} | {"grad"}
    stored = dict.fromkeys((*names, program.params[0].name), "fp32")
    stored |= {**facts.formats, **{f"{name} scale": "fp32" for name in facts.formats}}
    emitter = import_module(f"dotopt.compiler.emit.{form}")
    text: str = emitter.emit(plan, stored, facts.name).text
    return text
