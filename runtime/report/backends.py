"""What each backend makes of a rule: nothing to say where it runs, or why it does not.

    missing(program)     {"cpu": "it draws random numbers"}; empty where every backend takes the rule
"""

from __future__ import annotations

from dotopt.compiler.analysis.grouped import grouped
from dotopt.compiler.emit.torch.supported import supported
from dotopt.compiler.emit.torch.windows import accumulated
from dotopt.compiler.ir import Program
from dotopt.compiler.schedule.places import Unsupported
from dotopt.compiler.text.errors import Diagnostic, OptError


def uncompiled(program: Program) -> tuple[Diagnostic, ...]:
    """What of an optimizer is not compiled (E601); nothing for other kinds, which have compilers of their own."""
    if program.kind != "optimizer":
        return ()
    try:
        supported(grouped(program))
    except OptError as error:
        return tuple(error.diagnostics)
    return ()


def missing(program: Program) -> dict[str, str]:
    """The reasons of the backends that do not step an optimizer, by their names.

    >>> from dotopt.compiler.lower import lower
    >>> from dotopt.compiler.text.library import Library, load
    >>> missing(lower(load(Library().find("Lion"))))
    {}
    """
    if program.kind != "optimizer":
        return {}
    if found := uncompiled(program):
        return {"torch": found[0].message}
    return {name: reason for name in ("cpu", "triton") if (reason := _kernels(name, program))}


def _kernels(name: str, program: Program) -> str:
    """Why a kernel backend has no form for a program; empty if it has."""
    from dotopt.runtime.backends import cpu, triton

    kernel = {"cpu": cpu.Kernel, "triton": triton.Kernel}[name]
    if program.randoms:
        return "it draws random numbers"
    try:
        kernel(accumulated(grouped(program)))
    except Unsupported as error:
        return error.reason
    except OptError as error:
        return error.diagnostics[0].message
    return ""
