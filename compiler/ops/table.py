"""The table: every operation by its name, and the groups that rooms ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dotopt.compiler.ops import arithmetic, functions, structure, tensors
from dotopt.compiler.ops.row import Absent, Call, Infix, Kind, Level, Operation, Template

T = TypeVar("T")

OPERATIONS: dict[str, Operation] = {
    row.name: row
    for rows in (
        structure.CONTROL_ROWS, tensors.CONSTANTS, functions.FUNCTIONS, arithmetic.ONE, arithmetic.TWO,
        arithmetic.RELATIONS, arithmetic.LOGIC, tensors.COMPLEX_NUMBERS, tensors.REDUCTIONS, tensors.MATRICES,
        structure.LISTS, structure.ORACLES,
    )
    for row in rows
}  # fmt: skip


def add(row: Operation) -> None:
    """Adds an operation, before other rooms have read the table: they take what they need from it on import."""
    if row.name in OPERATIONS:
        raise ValueError(f"there is an operation `{row.name}` already")
    OPERATIONS[row.name] = row


def having(column: Callable[[Operation], T | Absent]) -> dict[str, T]:
    """The entries of a column, by operation, where it has one.

    >>> having(lambda row: row.parity)["tanh"]
    'odd'
    """
    found = {name: column(row) for name, row in OPERATIONS.items()}
    return {name: entry for name, entry in found.items() if not isinstance(entry, Absent)}


def named(*kinds: Kind) -> tuple[str, ...]:
    """The operations of these kinds, in the order of the table."""
    return tuple(name for name, row in OPERATIONS.items() if row.kind in kinds)



def in_torch(name: str, argument: str) -> str:
    """A function of one number in torch.

    >>> in_torch("tanh", "x"), in_torch("gelu", "x")
    ('torch.tanh(x)', 'torch.nn.functional.gelu(x)')
    """
    match OPERATIONS[name].torch:
        case Call(function):
            return f"{function}({argument})"
        case Template(text):
            return text.format(argument)
    raise KeyError(f"torch has no {name}")


def signs(level: Level) -> dict[str, str]:
    """The signs of Python for the infix operations of a level, by operation.

    >>> signs("sum")
    {'add': '+', 'sub': '-'}
    """
    spelled = having(lambda row: row.torch)
    return {op: s.sign.strip() for op, s in spelled.items() if isinstance(s, Infix) and s.level == level}
