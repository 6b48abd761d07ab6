"""Ranges of hyperparameters: a default must lie in its own (E303)."""

from __future__ import annotations

from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import TIME, Hyper, Node, Program, substitute
from dotopt.compiler.ops.types import INT
from dotopt.compiler.text.errors import Diagnostic, diagnostic


def check(program: Program) -> tuple[Diagnostic, ...]:
    """E303 for each default outside its range, hyperparameters that it uses being at their own defaults."""
    return tuple(
        diagnostic("E303", hyper.span, name=hyper.name, range=_legal(hyper))
        for hyper in program.hypers
        if hyper.default is not None and not inside(hyper, program)
    )


def inside(hyper: Hyper, program: Program) -> bool:
    """Whether the default lies in the range; true where it cannot be told."""
    assert hyper.default is not None
    value = number_at(hyper.default, 1, program)
    low, high = (
        None if end is None else number_at(end, 1, program) for end in (hyper.interval.low, hyper.interval.high)
    )
    if value is None:
        return True
    if hyper.type == INT and value % 1 != 0:
        return False
    if low is not None and (value < low or (value == low and hyper.interval.open_low)):
        return False
    return not (high is not None and (value > high or (value == high and hyper.interval.open_high)))


def _legal(hyper: Hyper) -> str:
    whole = "a whole number" if hyper.type == INT else ""
    return " and ".join(filter(None, (whole, hyper.interval.text)))


def number_at(root: Node, t: int, program: Program) -> float | None:
    """The value of a common number at step `t`, with hyperparameters at their defaults and a matrix as parameter.

    None if it depends on tensors.

    >>> from dotopt.compiler.ir import leaf, node, number
    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> program = lower(Library().file("Lion"))
    >>> number_at(node("sub", number(1), node("pow", leaf("hyper", "β1"), TIME)), 2, program)
    0.19
    """
    defaults = {hyper.name: hyper.default for hyper in program.hypers}
    for _ in range(len(defaults) + 1):
        table = {here: default for here in root.walk() if here.role == "hyper" and (default := defaults.get(here.name))}
        if not table:
            break
        root = substitute(root, table)
    ranks = {here: 2.0 for here in root.walk() if here.role == "rank"}
    try:
        return float(f"{float(evaluate(root, {TIME: float(t), **ranks})):.15g}")  # decimals, not their neighbours
    except (KeyError, TypeError, ValueError):
        return None
