"""`dotopt.check`: a file parsed, resolved and inferred, and what is known of each of its claims."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotopt.compiler import syntax as s
from dotopt.compiler.errors import Diagnostic, OptError

STATUSES = ("proved", "refuted", "vacuous", "open")


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim and what is known of it; `status` is proved, refuted, vacuous or open.

    `counterexample` holds numbers by name, evaluated again in the compiled rule. An open claim says in `certificate`
    what was tried.
    """

    rule: str
    name: str
    status: str
    procedure: str = ""
    seconds: float = 0.0
    certificate: str = ""
    counterexample: dict[str, Any] | None = None
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found: `claims` in the order of the file, and errors that stopped it or warnings."""

    file: str
    claims: tuple[Claim, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[Diagnostic, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def code(self) -> int:
        """The exit code: 0 all proved, 1 something refuted or an error, 3 something open."""
        if self.errors or any(claim.status in ("refuted", "vacuous") for claim in self.claims):
            return 1
        return 3 if any(claim.status == "open" for claim in self.claims) else 0


def check(path: str | Path) -> Report:
    """The report on the `.opt` file at `path`; errors of the file are in the report, not raised.

    >>> from dotopt.compiler.library import Library
    >>> check(Library().find("Lion")).errors
    ()
    """
    from dotopt.compiler.parse import parse
    from dotopt.compiler.read import read

    start = time.perf_counter()
    name = str(path)
    try:
        file = parse(read(Path(path)))
        warnings = _infer(file, Path(path))
    except OptError as error:
        return Report(name, errors=error.diagnostics, seconds=time.perf_counter() - start)
    claims = tuple(Claim(file.head.name, claim.name, "open") for claim in file.claims)
    return Report(name, claims, warnings=warnings, seconds=time.perf_counter() - start)


def _infer(file: s.File, path: Path) -> tuple[Diagnostic, ...]:
    """Resolve the names and lower the file, with every option in turn; the warnings."""
    from dotopt.compiler import ranges, units
    from dotopt.compiler.library import Library
    from dotopt.compiler.lower import Static, lower
    from dotopt.compiler.resolve import resolve

    library = Library(path.parent)
    symbols = resolve(file)
    program = lower(file, Static(), library)
    defaults = {option.name: option.default for option in program.options}
    for option in program.options:
        for value in option.values:
            lower(file, Static(options={**defaults, option.name: value}), library)
    if found := (*ranges.check(program), *units.check(program, file)):
        raise OptError(*found)
    return symbols.warnings
