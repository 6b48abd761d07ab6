"""The operations of the language: one row an operation, which every room reads.

    row.py          what a row has: its columns, how values scale, how an operation is spelled
    attributes.py   what a node has besides its arguments: records with names and types
    typing.py       the type of a result; types.py: types of values
    functions.py    exp, log, tanh, …: functions of one number
    arithmetic.py   +, *, ^, max, <, and, a choice
    tensors.py      constants, reductions, matrices
    structure.py    leaves, loops, lists, oracles
    table.py        all of them by name

A column is given, or absent with a reason; `docs/operations.md` shows which, and a test holds the columns of each row
against each other. To add an operation is to add a row.
"""

from dotopt.compiler.ops.row import Absent, Operation, absent, present
from dotopt.compiler.ops.table import OPERATIONS, add, having, in_torch, named, signs

__all__ = ["OPERATIONS", "Absent", "Operation", "absent", "add", "having", "in_torch", "named", "present", "signs"]
