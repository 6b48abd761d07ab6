"""What each backend makes of a rule: nothing to say where it runs, or why it does not.

    standing(file, library)     Standing(needed=True, reasons={"torch": "", "cpu": "it draws random numbers", …})

A rule that asks for the rank of its parameter is compiled as one of a matrix, then as one of a vector: a backend that
steps either runs it, and gives what it cannot step to torch's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dotopt.compiler.analysis.grouped import grouped
from dotopt.compiler.emit.torch.optimizer import module, needs_rank
from dotopt.compiler.emit.torch.windows import accumulated
from dotopt.compiler.ir import Program
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.schedule.places import Unsupported
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Diagnostic, OptError
from dotopt.compiler.text.library import Library

KERNELS = ("cpu", "triton")
BACKENDS = ("torch", *KERNELS)
RANKS = (2, 1)
# what nothing has to run: a theorem has claims only, a transform and a formula become part of rules
ELSEWHERE = {
    "theorem": "a theorem has claims, and no step",
    "transform": "it runs with the rule that it is put around",
    "formula": "it runs inside the rules that use it",
}


@dataclass(frozen=True)
class Standing:
    """`reasons` has a reason for each backend, empty where it runs the rule; `elsewhere` says why there is none.

    `errors` are those of a rule that no backend can compile.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    elsewhere: str = ""
    errors: tuple[Diagnostic, ...] = ()

    @property
    def missing(self) -> dict[str, str]:
        """The backends that do not run the rule, with their reasons."""
        return {name: reason for name, reason in self.reasons.items() if reason}

    @property
    def runs(self) -> tuple[str, ...]:
        """The backends that do."""
        return tuple(name for name, reason in self.reasons.items() if not reason)


def standing(file: s.File, library: Library) -> Standing:
    """What every backend makes of a resolved file.

    >>> from dotopt.compiler.resolve import resolve
    >>> from dotopt.compiler.text.library import load
    >>> library = Library()
    >>> standing(resolve(load(library.find("Lion"))).file, library).runs
    ('torch', 'cpu', 'triton')
    """
    if file.head.word in ELSEWHERE:
        return Standing(elsewhere=ELSEWHERE[file.head.word])
    try:
        module(file, library)
    except OptError as error:
        return Standing(dict.fromkeys(BACKENDS, error.diagnostics[0].message), errors=tuple(error.diagnostics))
    options = {option.name: option.default for option in lower(file, Static(), library).options}
    ranks = RANKS if needs_rank(file, library) else (None,)
    programs = [lower(file, Static(options, rank), library) for rank in ranks]
    if programs[0].kind != "optimizer":
        return Standing({"torch": ""} | dict.fromkeys(KERNELS, "only steps of optimizers have kernels of their own"))
    return Standing({"torch": ""} | {name: _kernels(name, programs) for name in KERNELS})


def _kernels(name: str, programs: list[Program]) -> str:
    """Why a kernel backend has a form for none of these programs; empty if it has for one."""
    reasons = [_refusal(name, program) for program in programs]
    return "" if "" in reasons else reasons[0]


def _refusal(name: str, program: Program) -> str:
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
