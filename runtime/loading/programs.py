"""Lowered programs as text, so that a backend finds one on disk and need not load the front end of the compiler.

    store(program) -> text        restore(text) -> program

A node is written as its operation, arguments and attributes, each once, and is looked up in the one table of nodes when
it is read, so that `is` is equality again. Reading builds nothing but the classes of programs.
"""

from __future__ import annotations

import base64
import copyreg
import io
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dotopt.compiler.ir import Node, Program, node


def store(program: Program) -> str:
    """The text of `program`."""
    buffer = io.BytesIO()
    writer = pickle.Pickler(buffer, protocol=4)
    writer.dispatch_table = copyreg.dispatch_table.copy()
    writer.dispatch_table[Node] = lambda here: (made, (here.op, here.args, tuple(here.attrs)))
    writer.dump(replace(program, places={}))
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def restore(text: str) -> Program:
    """The program of a text; raises `UnpicklingError` for a text that names anything but parts of programs."""
    found: Program = _Reader(io.BytesIO(base64.b64decode(text))).load()
    return found


def made(op: str, args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Node:
    """The node with this operation, arguments and attributes."""
    return node(op, *args, attrs=attrs)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) == (__name__, "made") or (module, name) == ("fractions", "Fraction"):
            return super().find_class(module, name)  # type: ignore[no-any-return]
        part = super().find_class(module, name) if module.startswith("dotopt.compiler.") else None
        if isinstance(part, type) and hasattr(part, "__dataclass_fields__"):
            return part
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a program")
