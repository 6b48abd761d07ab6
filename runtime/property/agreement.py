"""The property "this backend computes what the file says": a check for `search`, its message and its reproducer."""

from __future__ import annotations

from typing import Any

import numpy as np

from dotopt.compiler.ir import Program
from dotopt.runtime.backends.choice import Unable
from dotopt.runtime.property.compare import Difference, difference
from dotopt.runtime.property.draw import examples
from dotopt.runtime.property.example import Example, asks_elsewhere, program, sums_over_model
from dotopt.runtime.property.layered import layered, reads_of_model
from dotopt.runtime.property.outcome import Failed, Outcome, Passed, Untested
from dotopt.runtime.property.reproducer import reproducer
from dotopt.runtime.property.runs import Machine
from dotopt.runtime.property.search import Budget, Disagreement, search
from dotopt.runtime.property.tolerance import TABLE


def agreement(cls: type[Any], backend: str, dtype: str, budget: Budget, largest: int = 10**6) -> Outcome:
    """Whether the backend agrees with the reference in this dtype; fails with the smallest example found.

    Tensors have up to `largest` entries.
    """

    if TABLE[dtype].stored != TABLE[dtype].computed:
        if _elsewhere(cls):
            return Untested("the objective that the rule asks would itself be computed in 16 bits")
        if reads_of_model(_first(cls)):
            return Untested("the layer that the rule looks at would itself be computed in 16 bits")

    if _together(cls):
        return Untested("what layers see is drawn for one weight at a time, and the rule sums over all")

    ran: list[bool] = []

    def check(example: Example) -> None:
        try:
            machine = Machine(cls, example, backend)
            found = difference(cls, example, machine)
        except Unable:
            ran.append(False)
            return
        except NotImplementedError:
            raise
        except Exception as error:
            raise Disagreement(crashed(cls, example, backend, error), example.size) from None
        if found is not None:
            raise Disagreement(failed(cls, example, backend, found), example.size)
        if any(g is not None and g.size for row in example.gradients for g in row):
            ran.append(machine.on_kernels)

    outcome = search(examples(cls, dtype, backend, largest), check, budget)
    if backend == "torch" or not isinstance(outcome, Passed) or all(ran):
        return outcome
    if not any(ran):
        return Untested("it has no kernels there: torch's code, tested above, takes its steps")
    return Passed(sum(ran), f"{len(ran) - sum(ran)} others have no kernels")


def _together(cls: type[Any]) -> bool:
    step = _first(cls)
    return layered(step) and sums_over_model(step)


def _elsewhere(cls: type[Any]) -> bool:
    return asks_elsewhere(_first(cls))


def _first(cls: type[Any]) -> Program:
    """The program of the default options, and the fewest axes."""
    rank = next(rank for rank in range(1, 9) if cls.rule.pattern.misfit(rank) is None)
    defaults = tuple(option.default for option in cls.rule.options)
    return program(cls.origin, defaults, rank)


def failed(cls: type[Any], example: Example, backend: str, found: Difference) -> Failed:
    """The equation, the numbers, and a snippet that shows them."""
    where = f"[{', '.join(map(str, found.place))}]" if found.place else ""
    off = abs(found.reference - found.backend)
    several = f" of tensor {found.tensor}" if len(example.starts) > 1 else ""
    lines = [
        f"{cls.rule.name}, backend {backend}, {example.dtype}: `{found.name}{where}`{several} is wrong after step "
        f"{found.step + 1}",
        *(f"    {line}" for line in equation(cls, found.name)),
        f"  reference {found.reference!r}",
        f"  {backend:9} {found.backend!r}"
        + (f"  (off by {off:.3g}; allowed {found.allowed:.3g})" if off == off else ""),
        *described(example, found.step + 1),
    ]
    return Failed("\n".join(lines), reproducer(cls, example, backend, found.step + 1))


def crashed(cls: type[Any], example: Example, backend: str, error: Exception) -> Failed:
    """The same for an exception."""
    first = (str(error).splitlines() or [""])[0]
    lines = [
        f"{cls.rule.name}, backend {backend}, {example.dtype}: {type(error).__name__}: {first}",
        *described(example, len(example.gradients)),
    ]
    return Failed("\n".join(lines), reproducer(cls, example, backend, len(example.gradients)))


def equation(cls: type[Any], name: str) -> list[str]:
    """The lines of the file that define the next value of `name`."""
    lines = cls.rule.text.splitlines()
    for number, line in enumerate(lines):
        if line.split("=")[0].strip() == f"{name}'":
            more = list(lines[number + 1 :])
            inner = next((i for i, later in enumerate(more) if not later.startswith("  ")), len(more))
            return [line, *more[:inner]]
    return []


def described(example: Example, steps: int) -> list[str]:
    """The hyperparameters and data of an example."""
    lines = []
    options = {name: value for name, value in example.options.items() if value is not False}
    for index, group in enumerate(example.groups):
        given = ", ".join(f"{name}={value!r}" for name, value in {**group, **options}.items())
        lines.append(f"  with {given}" if len(example.groups) == 1 else f"  group {index} with {given}")
    for k, start in enumerate(example.starts):
        label = f"  tensor {k}" if len(example.starts) > 1 else "  at"
        lines.append(f"{label} {shown(start)}, shape {start.shape}")
        for t in range(steps):
            g = example.gradients[t][k]
            lines.append(f"    gradient {t + 1}: {'None' if g is None else shown(g)}")
    if example.maximize:
        lines.append("  maximize=True")
    return lines


def shown(values: Any) -> str:
    """Numbers in a line, long arrays cut short."""
    return np.array2string(np.asarray(values), separator=", ", threshold=8, max_line_width=10**6).replace("\n", "")
