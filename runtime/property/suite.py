"""Every property of one file: backends by dtype, equations by options, claims."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dotopt.compiler.errors import OptError
from dotopt.runtime.property.outcome import Outcome, Report, Result, Untested
from dotopt.runtime.property.search import Budget
from dotopt.runtime.property.tolerance import TABLE


def test_file(path: str | Path, budget: Budget = Budget()) -> Report:  # noqa: B008 - frozen
    """The report of all properties of the file at `path`; a broken file is reported, not raised.

    Needs hypothesis (`pip install 'dotopt[test]'`).
    """
    path = Path(path)
    try:
        results = tuple(_timed(name, what, test) for name, what, test in properties(path, budget))
    except OptError as error:
        return Report(str(path), errors=tuple(error.diagnostics))
    return Report(str(path), results)


def _timed(rule: str, name: str, test: Callable[[], Outcome]) -> Result:
    began = time.perf_counter()
    outcome = test()
    return Result(rule, name, outcome, time.perf_counter() - began)


def properties(path: Path, budget: Budget) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    """The properties of a file: the rule, a name, and the test; raises `OptError` for a broken file."""
    from dotopt.compiler.library import Library, load
    from dotopt.compiler.prove.statements.methods import simulates
    from dotopt.compiler.read import read
    from dotopt.compiler.resolve import resolve
    from dotopt.runtime.property.claims import claim_at_points
    from dotopt.runtime.property.simulations import claim_in_runs

    if not path.is_file():
        read(path)  # raises the diagnostic
    file = resolve(load(path)).file
    name = file.head.name
    classes, why = _optimizers(path, name)
    if not classes:
        yield name, "backends", lambda: Untested(why)
    for cls in classes:
        yield from _of_optimizer(cls, cls.rule.name, budget)
    library = Library(path.parent)
    for claim in file.claims:
        holds = claim_in_runs if simulates(claim) else claim_at_points
        yield name, f"claim {claim.name}", lambda claim=claim, holds=holds: holds(file, claim, library, budget)  # type: ignore[misc]


def _of_optimizer(cls: Any, name: str, budget: Budget) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    from dotopt.runtime.backends.choice import BACKENDS, module
    from dotopt.runtime.property.agreement import agreement
    from dotopt.runtime.property.equations import equations, specialisations

    for backend in ("torch", *BACKENDS):
        for dtype in TABLE:
            label = f"{backend}, {dtype}"
            if backend != "torch" and module(backend) is None:
                yield name, label, lambda: Untested("the backend cannot run here")
            else:
                yield name, label, lambda b=backend, d=dtype: agreement(cls, b, d, budget)  # type: ignore[misc]
    for options in specialisations(cls):
        label = ", ".join(f"{k}={v}" for k, v in options.items())
        yield name, f"lambdify {label}".strip(), lambda o=options: equations(cls, o, budget)  # type: ignore[misc]


BASES = ("AdamW", "Lion")  # what a transform is tried around: with decay, and with a sign


def _optimizers(path: Path, name: str) -> tuple[list[Any], str]:
    """The classes that the file defines, of a transform those around some rules; or why there are none."""
    from dotopt.runtime.loading.load import Transform, load, stdlib
    from dotopt.runtime.optimizer import Optimizer

    try:
        made = getattr(load(path), name)
    except OptError as error:
        if error.diagnostics[0].code != "E601":
            raise
        return [], error.diagnostics[0].message
    if isinstance(made, Transform):
        return [made(stdlib(base)) for base in BASES], ""
    if isinstance(made, type) and issubclass(made, Optimizer):
        return [made], ""
    return [], "not an optimizer: its claims are tested, its code by the tests of its kind"
