"""Every message of dotopt, by code, and the diagnostic that carries one to its place in the text.

`E1xx` syntax, `E2xx` names and time, `E3xx` types and shapes, `E4xx` claims, `E5xx` composition, roles and oracles,
`E6xx` compilation, `E9xx` files; `W` are warnings. The wording of a code is the same wherever it is raised.
"""

from __future__ import annotations

from dataclasses import dataclass

from dotopt.compiler.text.messages import MESSAGES
from dotopt.compiler.text.source import Span

MOST_ERRORS = 10  # a run reports at most this many
MOST_KEPT = 100  # a pass collects at most this many


@dataclass(frozen=True, slots=True)
class Label:
    """A second place that matters, with a remark on it."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement of the characters of `span` by `text` that repairs the mistake."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning: its code, what was found, where, and what to do about it."""

    code: str
    message: str
    span: Span | None
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    help: str | None = None
    edit: Edit | None = None
    remark: str = ""  # what stands beside the caret

    @property
    def severity(self) -> str:
        """`error` or `warning`."""
        return "warning" if self.code.startswith("W") else "error"


class OptError(Exception):
    """One or more diagnostics that stop the compilation."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("\n".join(f"{d.severity}[{d.code}]: {d.message}" for d in diagnostics))
        self.diagnostics = diagnostics


def diagnostic(
    code: str,
    span: Span | None,
    *,
    labels: tuple[Label, ...] = (),
    notes: tuple[str, ...] = (),
    help: str | None = None,
    edit: Edit | None = None,
    remark: str = "",
    **words: object,
) -> Diagnostic:
    """The diagnostic of `code` at `span`; `words` fill the blanks of its message and of its standard help.

    >>> diagnostic("E205", None, name="v").message
    'state `v` never changes'
    """
    message = MESSAGES[code]
    standard = message.help.format(**words) if message.help and help is None else help
    return Diagnostic(code, message.text.format(**words), span, labels, notes, standard, edit, remark)


def fail(code: str, span: Span | None, **details: object) -> OptError:
    """The exception with one diagnostic; the arguments are those of `diagnostic`."""
    return OptError(diagnostic(code, span, **details))  # type: ignore[arg-type]


class Report:
    """Collects diagnostics while a pass goes on; `finish` raises if there was an error."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []

    def add(self, found: Diagnostic) -> None:
        """Keep `found`, once."""
        known = {(x.code, x.message, x.span) for x in self.diagnostics}  # of a function that is used twice
        if len(self.diagnostics) < MOST_KEPT and (found.code, found.message, found.span) not in known:
            self.diagnostics.append(found)

    def extend(self, error: OptError) -> None:
        """Keep the diagnostics of an exception."""
        for found in error.diagnostics:
            self.add(found)

    @property
    def errors(self) -> list[Diagnostic]:
        """Those that are errors."""
        return [found for found in self.diagnostics if found.severity == "error"]

    @property
    def warnings(self) -> list[Diagnostic]:
        """Those that are warnings."""
        return [found for found in self.diagnostics if found.severity == "warning"]

    def finish(self) -> None:
        """Raise the errors collected so far, at most `MOST_ERRORS`."""
        if self.errors:
            raise OptError(*self.errors[:MOST_ERRORS])
