"""What a property test ends in, and the report on a file."""

from __future__ import annotations

from dataclasses import dataclass, field

from dotopt.compiler.text.errors import Diagnostic


@dataclass(frozen=True, slots=True)
class Passed:
    """It held on `examples` examples; `note` says what was left out of the comparison, if anything."""

    examples: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed: `message` has the equation and the smallest example's numbers, `reproducer` is Python that runs."""

    message: str
    reproducer: str

    @property
    def text(self) -> str:
        """Both."""
        return f"{self.message}\n\nreproduce it with\n\n{self.reproducer}"


@dataclass(frozen=True, slots=True)
class Untested:
    """It does not apply to this file, or cannot be tested here; `reason` says why."""

    reason: str


Outcome = Passed | Failed | Untested


@dataclass(frozen=True, slots=True)
class Result:
    """One property of a rule with its outcome."""

    rule: str
    name: str
    outcome: Outcome
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Report:
    """What the property tests of a file found: results in order, and the errors that kept it from being read."""

    file: str
    results: tuple[Result, ...] = ()
    errors: tuple[Diagnostic, ...] = ()

    @property
    def failures(self) -> tuple[Result, ...]:
        """The properties that failed."""
        return tuple(result for result in self.results if isinstance(result.outcome, Failed))

    @property
    def code(self) -> int:
        """The exit code: 0 nothing failed, 1 something failed or the file is broken."""
        return 1 if self.errors or self.failures else 0
