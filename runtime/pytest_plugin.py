"""The pytest plugin: `.opt` files are test files, one item a claim and one a property of the rule.

A file is collected if it is named on the command line, or wherever pytest looks if the ini file has
`dotopt_collect = true`: installing dotopt changes nothing for other projects, and none of it is loaded before a file is
collected. A claim that is left open counts as `open`, which fails under `--dotopt-strict` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dotopt.runtime.property.outcome import Outcome

OPEN, REASON = "dotopt_open", "dotopt_reason"


class Wrong(Exception):
    """A refuted claim or a property that fails; the message is all that is shown."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`dotopt_collect` in the ini file, and the options of the command line."""
    parser.addini("dotopt_collect", "collect .opt files that are not named on the command line", "bool", False)
    group = parser.getgroup("dotopt", "claims and properties of .opt files")
    group.addoption("--dotopt-strict", action="store_true", help="an open claim is a failure")
    group.addoption("--dotopt-examples", type=int, default=25, metavar="N", help="examples a property (25)")
    group.addoption("--dotopt-seed", type=int, default=0, metavar="N", help="seed of the examples (0)")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A collector for a `.opt` file that was asked for."""
    if file_path.suffix != ".opt":
        return None
    session = parent.session
    if parent.config.getini("dotopt_collect") or session.isinitpath(file_path):
        made: pytest.Collector = OptFile.from_parent(parent, path=file_path)
        return made
    return None


class OptFile(pytest.File):
    """A `.opt` file: its claims, then the properties of its rule."""

    def collect(self) -> Iterable[pytest.Item]:
        """One item a claim, decided by the engine, and one a property, driven by hypothesis."""
        from dotopt.compiler.resolve import resolve
        from dotopt.compiler.text.errors import OptError
        from dotopt.compiler.text.library import load

        try:
            file = resolve(load(self.path)).file
            for claim in file.claims:
                yield Claim.from_parent(self, name=f"claim {claim.name}", claim=claim, opt=file)
            yield from self._properties()
        except OptError as error:
            raise self.CollectError(_rendered(error)) from None

    def _properties(self) -> Iterable[pytest.Item]:
        try:
            from dotopt.runtime.property import Budget, properties
        except ImportError as error:  # the claims do without hypothesis
            if error.name != "hypothesis":
                raise
            return
        options = self.config.option
        budget = Budget(max(options.dotopt_examples, 1), options.dotopt_seed)
        for _, name, test in properties(self.path, budget):
            label = f"property {name.replace('claim ', '')} at random points" if name.startswith("claim ") else name
            yield Property.from_parent(self, name=label, test=test)


class OptItem(pytest.Item):
    """An item of a `.opt` file; a failure shows its message and no traceback."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The message of what is wrong; a traceback only for a bug in dotopt."""
        return str(excinfo.value) if isinstance(excinfo.value, Wrong) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where the item is."""
        return self.path, getattr(self, "line", None), self.name

    def left_open(self, reason: str) -> None:
        """Mark the item as open, which the report shows as such."""
        if self.config.option.dotopt_strict:
            raise Wrong(f"open: {reason}")
        self.user_properties += [(OPEN, True), (REASON, reason)]


class Claim(OptItem):
    """A claim, decided by the engine."""

    def __init__(self, *, claim: Any, opt: Any, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.claim, self.opt = claim, opt
        self.line = opt.span.source.text.count("\n", 0, claim.span.start)

    def runtest(self) -> None:
        """Decide it: proved passes, refuted and vacuous fail, open is open."""
        from dotopt.compiler.prove import check_claim
        from dotopt.compiler.text.library import Library

        found = check_claim(self.opt, self.claim, Library(self.path.parent))
        match found.status:
            case "refuted":
                values = [f"  {name} = {value}" for name, value in (found.counterexample or {}).items()]
                more = [f"  it holds with `{found.repair}`"] if found.repair else []
                raise Wrong("\n".join([f"claim `{self.claim.name}` is refuted, by {found.procedure}:", *values, *more]))
            case "vacuous":
                raise Wrong(f"claim `{self.claim.name}` says nothing: {found.reason}")
            case "open":
                self.left_open(found.reason)


class Property(OptItem):
    """A property of the rule, on random examples."""

    def __init__(self, *, test: Callable[[], Outcome], **keywords: Any) -> None:
        super().__init__(**keywords)
        self.test = test

    def runtest(self) -> None:
        """Run it: what cannot be tested is skipped, with the reason."""
        from dotopt.runtime.property import Failed, Untested

        match self.test():
            case Failed() as failed:
                raise Wrong(failed.text)
            case Untested(reason):
                pytest.skip(reason)


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    """`open` beside passed and failed."""
    opened = isinstance(report, pytest.TestReport) and report.when == "call" and (OPEN, True) in report.user_properties
    return ("open", "o", "OPEN") if opened else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Why claims are open."""
    reports = terminalreporter.stats.get("open", [])
    if reports:
        terminalreporter.section("open claims")
        for report in reports:
            terminalreporter.line(f"{report.nodeid}: {dict(report.user_properties)[REASON]}")


def _rendered(error: Any) -> str:
    from dotopt.compiler.text.render import render_all

    return render_all(error.diagnostics)
