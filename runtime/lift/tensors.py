"""Tensors that carry an expression, through every function of torch that `operations.py` has a row for.

A tensor is an ordinary one with a `Cell` beside it: an expression, and which axis of the rule each of its axes is.
What is the same memory has the same cell, so an operation in place is seen through every name of the tensor. The
numbers are calculated too, and every result of a step is compared with what its expression gives for these numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.ops.types import REST, Mismatch, Type
from dotopt.runtime.lift.numbers import PATH, Real, Refused, Symbolic, Whole, exact, made, plain, simplified

Dims = tuple["str | None", ...]
FULL: Dims = (REST,)  # a tensor like the parameter, whose axes nothing tells apart
MARK = "_dotopt_cell"


class NeedsAxes(Exception):
    """A function that tells axes apart, in a run that does not."""


@dataclass
class Cell:
    """What a piece of memory holds; `window` says that it shows others, and is not to be written."""

    node: Node
    dims: Dims
    window: bool = False


def cell_of(x: Any) -> Cell | None:
    """The cell of a tensor, if it has one."""
    return x.__dict__.get(MARK) if isinstance(x, torch.Tensor) else None


def attach(tensor: torch.Tensor, cell: Cell) -> torch.Tensor:
    """The tensor, with this cell."""
    setattr(tensor, MARK, cell)
    return tensor


def place() -> str:
    """The line of the optimizer that runs now."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        inside = "/torch/" in name and "/torch/optim/" not in name
        if "/runtime/lift/" not in name and not inside and not name.startswith("<frozen"):
            short = name.split("/site-packages/")[-1]
            return f"{short}, line {frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "?"


def holds_data(expression: Node, known: Container[Node] = ()) -> bool:
    """Whether the value depends on gradients, parameters, states that are tensors, or states of which that is known."""
    return any(x.role in ("param", "free") or (x.role == "state" and (x.type.axes or x in known))
               for x in expression.walk())  # fmt: skip


def full_type(dims: Dims) -> Type:
    """The type of a value with these axes."""
    return Type("real", tuple(d for d in dims if d is not None))


class Tracing(TorchFunctionMode):
    """Inside, functions of torch calculate with expressions as well."""

    def __init__(self) -> None:
        super().__init__()
        from dotopt.runtime.lift import operations

        self.table: dict[str, Callable[..., Any]] = operations.TABLE
        self.asked: frozenset[str] = operations.ASKED
        self.notes: dict[str, None] = {}
        self.data: set[Node] = set()  # states that are numbers, and hang on gradients

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = _name(func)
        if name in self.asked:
            return _run(func, args, kwargs)
        traced = any(cell_of(x) is not None or isinstance(x, Symbolic) for x in _flat((args, kwargs)))
        if name.startswith("_foreach_"):
            return self.each(name.removeprefix("_foreach_"), args, kwargs)
        row = self.table.get(name) or self.table.get(name.rstrip("_")) if not name.startswith("__") else None
        row = row or self.table.get(name)
        if row is None:
            if not traced:
                return _run(func, args, kwargs)
            raise Refused(f"`{name}` of torch has no counterpart in the language", place())
        try:
            return row(self, func, name, args, kwargs)
        except Mismatch as error:
            raise Refused(f"shapes that do not fit by name: {error}", place()) from None

    def each(self, name: str, args: Any, kwargs: Any) -> Any:
        """A function of lists, as one on each of their members."""
        inplace = name.endswith("_")
        base = name.rstrip("_")
        length = next(len(a) for a in args if isinstance(a, list | tuple))
        results = []
        for i in range(length):
            one = [a[i] if isinstance(a, list | tuple) else a for a in args]
            more = {key: a[i] if isinstance(a, list | tuple) else a for key, a in kwargs.items()}
            results.append(self.member(base, inplace, one, more))
        return None if inplace else tuple(results)

    def member(self, base: str, inplace: bool, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What a function of lists does with one of their members."""
        suffix = "_" if inplace else ""
        kwargs.pop("scalar", None)
        if base in ("addcmul", "addcdiv") and len(args) == 4:
            kwargs["value"] = args.pop()
        if base == "add" and len(args) == 3:
            kwargs["alpha"] = args.pop()
        if (
            base in ("maximum", "minimum", "clamp_min", "clamp_max")
            and not inplace
            and isinstance(args[1], torch.Tensor)
        ):
            return self.__torch_function__(
                getattr(torch, base.replace("clamp_min", "maximum")), (), tuple(args), kwargs
            )
        if base in ("maximum", "minimum", "clamp_min", "clamp_max"):
            low = base in ("maximum", "clamp_min")
            found = (self.node(args[0]), self.node(args[1]))
            expression = node("max" if low else "min", *found)
            function = torch.Tensor.clamp_ if inplace else torch.Tensor.clamp
            dims = self.value(args[0])[1]
            return self.finish(
                function, "clamp" + suffix, (args[0],), {"min" if low else "max": args[1]}, expression, dims
            )
        if base == "norm":
            order = args[1] if len(args) > 1 else kwargs.get("ord", 2)
            return self.__torch_function__(torch.norm, (), (args[0], order), {})
        if base == "pow" and not isinstance(args[0], torch.Tensor):
            return self.__torch_function__(torch.pow, (), tuple(args), kwargs)
        function = getattr(torch.Tensor, {"copy": "copy_", "zero": "zero_"}.get(base, base + suffix))
        return self.__torch_function__(function, (), tuple(args), kwargs)

    # ---- what rows use -----------------------------------------------------------------------------------------------

    def node(self, x: Any) -> Node:
        """The expression of a tensor or number."""
        return self.value(x)[0]

    def value(self, x: Any) -> tuple[Node, Dims]:
        """The expression and the axes."""
        if not isinstance(x, torch.Tensor):
            return exact(x), ()
        found = cell_of(x)
        if found is not None:
            return found.node, found.dims
        with torch._C.DisableTorchFunction():
            flat = x.detach().reshape(-1)
            if flat.numel() and bool((flat == flat[0]).all()):
                return exact(flat[0].item()), ()
        raise Refused("a tensor that comes from nowhere", place())

    def finish(self, func: Any, name: str, args: Any, kwargs: Any, expression: Node, dims: Dims) -> Any:
        """The result of a call: its numbers, and this expression; in place where the name says so."""
        expression = simplified(expression)
        target = kwargs.get("out")
        if target is None and name.endswith("_") and not name.endswith("__"):
            target = args[0]
        if name in ("__iadd__", "__isub__", "__imul__", "__itruediv__", "__ipow__"):
            target = args[0]
        found = _run(func, args, kwargs)
        if target is not None:
            self.write(target, expression, dims)
            return target
        return attach(found, Cell(expression, dims))

    def write(self, target: torch.Tensor, expression: Node, dims: Dims) -> None:
        """The new contents of a tensor."""
        cell = cell_of(target)
        if cell is None:
            attach(target, Cell(expression, dims))
            return
        if cell.window:
            raise Refused("a part of a tensor is written in place", place())
        cell.node = expression
        cell.dims = cell.dims if len(cell.dims) >= len(dims) and cell.dims != () else dims

    def number(self, x: torch.Tensor) -> Any:
        """`x.item()`: a number with its expression, if that is no data."""
        expression, _ = self.value(x)
        if holds_data(expression, self.data):
            raise Refused("Python reads the value of a tensor", place())
        with torch._C.DisableTorchFunction():
            value = x.item()
        if expression.value is not None:
            return value
        return made(expression, value)

    def truth(self, x: torch.Tensor) -> bool:
        """`if x:`, which is a choice only where x is no data."""
        expression, _ = self.value(x)
        if holds_data(expression, self.data):
            raise Refused("Python branches on the value of a tensor", place())
        with torch._C.DisableTorchFunction():
            natural = bool(x)
        condition = expression if expression.type.kind == "bool" else node("ne", expression, number(0))
        return PATH.get().decide(condition, natural)


def _name(func: Any) -> str:
    name = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__", "__delete__"):
        return f"{func.__self__.__name__}.{name.strip('_')}"
    return str(name)


def _flat(x: Any) -> Iterator[Any]:
    if isinstance(x, list | tuple):
        for item in x:
            yield from _flat(item)
    elif isinstance(x, dict):
        yield from _flat(list(x.values()))
    else:
        yield x


def _run(func: Any, args: Any, kwargs: Any) -> Any:
    """The call on numbers alone."""
    with torch._C.DisableTorchFunction():
        return func(*_bare(args), **{k: _bare(v) for k, v in kwargs.items()})


def _bare(x: Any) -> Any:
    if isinstance(x, Symbolic):
        return plain(x)
    if type(x) in (list, tuple):
        return type(x)(_bare(item) for item in x)
    return x


def broadcast(dims: Iterable[Dims]) -> Dims:
    """The axes of an entrywise result."""
    parts = list(dims)
    if FULL in parts:
        return FULL
    length = max((len(d) for d in parts), default=0)
    out: list[str | None] = [None] * length
    for d in parts:
        for i, axis in enumerate((None,) * (length - len(d)) + tuple(d)):
            if axis is not None and out[i] not in (None, axis):
                raise Refused(f"axis {out[i]} beside {axis}", place())
            out[i] = axis or out[i]
    return tuple(out)


__all__ = ["FULL", "Cell", "Dims", "NeedsAxes", "Real", "Tracing", "Whole", "attach", "broadcast", "cell_of",
           "full_type", "holds_data", "place"]  # fmt: skip
