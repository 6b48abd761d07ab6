"""Every property of one file: backends by dtype, equations by options, claims."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dotopt.compiler.text.errors import OptError
from dotopt.runtime.property.outcome import Outcome, Report, Result, Untested
from dotopt.runtime.property.search import Budget
from dotopt.runtime.property.tolerance import TABLE


def test_file(
    path: str | Path,
    budget: Budget = Budget(),  # noqa: B008 - frozen
    wanted: Callable[[str], bool] = lambda name: True,
) -> Report:
    """The report of all properties of the file at `path`, or of those whose name is wanted; a broken file is reported.

    Needs hypothesis (`pip install 'dotopt[test]'`).
    """
    path = Path(path)
    try:
        results = tuple(_timed(name, what, test) for name, what, test in properties(path, budget) if wanted(what))
    except OptError as error:
        return Report(str(path), errors=tuple(error.diagnostics))
    return Report(str(path), results)


def _timed(rule: str, name: str, test: Callable[[], Outcome]) -> Result:
    began = time.perf_counter()
    outcome = test()
    return Result(rule, name, outcome, time.perf_counter() - began)


def properties(path: Path, budget: Budget) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    """The properties of a file: the rule, a name, and the test; raises `OptError` for a broken file."""
    for rule, name, test in _properties(path, budget):
        yield rule, name, partial(_evaluated, test)


def _evaluated(test: Callable[[], Outcome]) -> Outcome:
    try:
        return test()
    except NotImplementedError as error:
        return Untested(f"the reference does not know it: {error}")


def _properties(path: Path, budget: Budget) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    from dotopt.compiler.prove.statements.methods import simulates
    from dotopt.compiler.resolve import resolve
    from dotopt.compiler.text.library import Library, load
    from dotopt.compiler.text.read import read
    from dotopt.runtime.optimizer import Optimizer
    from dotopt.runtime.property.claims import claim_at_points
    from dotopt.runtime.property.simulations import claim_in_runs

    if not path.is_file():
        read(path)  # raises the diagnostic
    file = resolve(load(path)).file
    name = file.head.name
    classes, why = _classes(path, name)
    if not classes:
        yield name, "backends", lambda: Untested(why)
    for cls in classes:
        yield from (_of_optimizer if issubclass(cls, Optimizer) else _of_sequence)(cls, cls.rule.name, budget)
    library = Library(path.parent)
    for claim in file.claims:
        holds = claim_in_runs if simulates(claim) else claim_at_points
        yield name, f"claim {claim.name}", lambda claim=claim, holds=holds: holds(file, claim, library, budget)  # type: ignore[misc]


def _of_optimizer(cls: Any, name: str, budget: Budget) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    from dotopt.runtime.backends.build import compiler
    from dotopt.runtime.backends.choice import BACKENDS, module
    from dotopt.runtime.property.agreement import agreement
    from dotopt.runtime.property.equations import equations, specialisations
    from dotopt.runtime.property.interpreted import interpreted

    for backend in ("torch", *BACKENDS):
        runs = backend == "torch" or module(backend) is not None
        if not runs and (backend != "triton" or find_spec("triton") is None or compiler() is None):
            yield name, backend, partial(Untested, f"it cannot run here: {MISSING[backend]}")
            continue
        for dtype in TABLE:
            if runs:
                test = partial(agreement, cls, backend, dtype, budget)
            else:
                test = partial(interpreted, cls, dtype, budget)
            yield name, f"{backend}, {dtype}", test
    for options in specialisations(cls):
        label = ", ".join(f"{k}={v}" for k, v in options.items())
        yield name, f"lambdify {label}".strip(), lambda o=options: equations(cls, o, budget)  # type: ignore[misc]


MISSING = {"cpu": "there is no C compiler", "triton": "without a card it needs Triton, and a C compiler"}
BASES = ("AdamW", "Lion")  # what a transform is tried around: with decay, and with a sign


def _of_sequence(cls: Any, name: str, budget: Budget) -> Iterator[tuple[str, str, Callable[[], Outcome]]]:
    from dotopt.runtime.property.sequences import TOLERANCE, sequences

    for dtype in TOLERANCE:
        yield name, f"sequences, {dtype}", partial(sequences, cls, dtype, budget)


def _classes(path: Path, name: str) -> tuple[list[Any], str]:
    """The classes that the file defines, of a transform those around some rules; or why there are none."""
    from dotopt.runtime.loading.load import Transform, load, stdlib
    from dotopt.runtime.optimizer import Optimizer
    from dotopt.runtime.sequence import SequenceModule

    try:
        made = getattr(load(path), name)
    except OptError as error:
        if error.diagnostics[0].code not in ("E601", "E606"):
            raise
        return [], error.diagnostics[0].message
    if isinstance(made, Transform):
        return [made(stdlib(base)) for base in BASES], ""
    if isinstance(made, type) and issubclass(made, Optimizer | SequenceModule):
        return [made], ""
    return [], "neither an optimizer nor a rule over sequences: its claims are tested, its code is not"
