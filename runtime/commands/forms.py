"""The code of a rule in each backend, and its equations in other notations."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from dotopt.compiler.schedule.places import Unsupported
from dotopt.compiler.text.errors import OptError, diagnostic

if TYPE_CHECKING:
    from dotopt.runtime.report.explain import Explanation

# The emitter of each kernel language, imported when its text is asked for.
KERNELS = {"cpu": "dotopt.compiler.emit.kernels.c.passes", "triton": "dotopt.compiler.emit.kernels.triton.passes"}


def code(facts: Explanation, form: str) -> str:
    """The text of `form`: ir, latex, torch, cpu or triton; raises `OptError` (E601) where there is none."""
    match form:
        case "ir":
            from dotopt.runtime.report.timeline import listing

            return "\n".join(listing(facts.program))
        case "latex":
            from dotopt.compiler.emit.latex.equations import latex

            return latex(facts.file)
        case "torch":
            from dotopt.compiler.emit.torch.optimizer import module
            from dotopt.compiler.text.library import Library

            return module(facts.file, Library(Path(facts.file.span.source.path).parent))
    try:
        return _kernel(facts, form)
    except Unsupported as error:
        raise OptError(
            diagnostic("E601", facts.decided, construct=f"{facts.name} as a kernel", help=error.reason)
        ) from None


def _kernel(facts: Explanation, form: str) -> str:
    """The code of a usual step, all arrays in float32 but for states that are to be kept in fewer bits."""
    from dotopt.compiler.schedule.passes import schedule
    from dotopt.compiler.schedule.storage import narrow
    from dotopt.runtime.report.explain import usual

    if facts.kind != "optimizer":
        raise Unsupported("kernels are made of optimizers")
    program = usual(facts.program)
    plan = schedule(program, narrow(program, facts.formats))
    names = {buffer.name for buffer in plan.buffers} | {state.name for state in program.states}
    stored = dict.fromkeys((*names, program.params[0].name), "fp32")
    stored |= {**facts.formats, **{f"{name} scale": "fp32" for name in facts.formats}}
    emitter = import_module(KERNELS[form])
    text: str = emitter.emit(plan, stored, facts.name).text
    return text
