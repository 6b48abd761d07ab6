"""The words of emitted steps once more, without writing into a tensor: what stands in a list is replaced.

`runtime.foreach` writes `add_(x, y)` into the tensors of `x`. Here the same word puts new tensors into the list `x`, so
a step that is read with these words is a function in the sense of mathematics: autograd and `torch.func` go through it.

    in_words(step.run)    the step, read with them
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime import foreach

Lists = list[Tensor]
Word = Callable[..., Any]


def _beside(x: Any, y: Any) -> tuple[Any, Any]:
    """Two sides as tensors, where at least one is; numbers take the dtype of the other side."""
    if isinstance(x, Tensor):
        return x, y.to(x.dtype) if isinstance(y, Tensor) else torch.full((), y, dtype=x.dtype, device=x.device)
    return torch.full((), x, dtype=y.dtype, device=y.device), y


# on one tensor, or a number, at each place
SINGLE: dict[str, Word] = {
    "add": lambda x, y, alpha=1.0: x + alpha * y,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "power": lambda x, y: x**y if isinstance(x, Tensor) else torch.pow(x, y),
    "square": lambda x: x * x,
    "reciprocal": torch.reciprocal,
    "lerp": lambda x, y, weight: x + weight * (y - x),
    "addcmul": lambda x, y, z, value=1.0: x + value * y * z,
    "addcdiv": lambda x, y, z, value=1.0: x + value * y / z,
    "maximum": lambda x, y: torch.maximum(*_beside(x, y)),
    "minimum": lambda x, y: torch.minimum(*_beside(x, y)),
    "gelu": torch.nn.functional.gelu,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "both": lambda x, y: x & y,
    "either": lambda x, y: x | y,
    "negate": torch.logical_not,
    "numbers": lambda x, like: x.to(like.dtype),
    "constant": lambda value, like: torch.zeros_like(like) + value,
    "single": lambda value, like: torch.zeros((), dtype=like.dtype, device=like.device) + value,
    "choose": lambda condition, x, y, like: torch.where(condition, *_like(x, y, like)),
    **{
        name: getattr(torch, name)
        for name in (
            "abs", "neg", "sign", "sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "acos", "atanh", "erf", "sigmoid",
            "floor", "ceil", "relu",
        )
    },
}  # fmt: skip


def _like(x: Any, y: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (a if isinstance(a, Tensor) else torch.full((), a, dtype=like.dtype) for a in (x, y))
    return first.to(like.device, like.dtype), second.to(like.device, like.dtype)


def _new(single: Word) -> Word:
    """A new list; an argument that is no list is the same at all places."""

    def word(*given: Any, **keywords: Any) -> Lists:
        count = next(len(entry) for entry in given if isinstance(entry, list | tuple))
        columns = [entry if isinstance(entry, list | tuple) else [entry] * count for entry in given]
        return [single(*row, **keywords) for row in zip(*columns, strict=True)]

    return word


def _replacing(new: Word) -> Word:
    """The word in place: the first list gets new entries."""

    def word(x: Lists, *rest: Any, **keywords: Any) -> Lists:
        x[:] = new(x, *rest, **keywords)
        return x

    return word


def store(x: Lists, value: Lists) -> None:
    """Put the entries of `value` into x."""
    x[:] = list(value)


@cache
def words() -> dict[str, Word]:
    """All words by name; those that never write are shared with `runtime.foreach` and `runtime.matrices`."""
    new = {name: _new(single) for name, single in SINGLE.items()}
    reductions: dict[str, Word] = {
        "sums": foreach.sums, "means": foreach.means, "norms": _norms, "spreads": foreach.spreads,
        "largest": foreach.largest, "smallest": foreach.smallest,
    }  # fmt: skip
    return {**new, **{f"{name}_": _replacing(word) for name, word in new.items()}, **reductions, "store": store}


def _norms(x: Lists, dims: tuple[int, ...] | None = None, order: float = 2.0) -> Lists:
    return [torch.linalg.vector_norm(a, order, dims) for a in x]


@cache
def in_words(run: Callable[..., Any]) -> Callable[..., Any]:
    """The emitted function `run`, read with the words of this module: its lists are changed, its tensors never.

    >>> from dotopt.runtime.foreach import add_
    >>> def run(x, y):
    ...     add_(x, y)
    >>> x, kept = [torch.ones(1)], torch.ones(1)
    >>> in_words(run)(x, [kept])
    >>> x, kept
    ([tensor([2.])], tensor([1.]))
    """
    assert isinstance(run, FunctionType)
    known = words()
    globals = {**run.__globals__, **{name: known[name] for name in run.__globals__ if name in known}}
    globals.pop("__name__", None)  # `torch.compile` would look the words up in the module of that name
    made = FunctionType(run.__code__, globals, run.__name__, run.__defaults__, run.__closure__)
    made.__kwdefaults__ = run.__kwdefaults__
    return made
