"""Emitted code of a rule over sequences, run on symbols: what it computes, as nodes of the IR.

Names, starts, masks and all are those of the text: it is executed as it stands, with numbers kept exact and every
tensor an array of symbols. What it calls (`Chunks`, `scan`, …) is the code that runs on numbers.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from dotopt.compiler.ir import Node, node, number
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.procedures.emitted import Call, Found
from dotopt.runtime import sequence
from dotopt.runtime.sequence.symbols import FUNCTIONS, Symbols

WORDS = {name: getattr(sequence, name) for name in sequence.__all__}


def run(text: str, call: Call) -> Found:
    """The outputs of `call.function` at each token, and the states after the last.

    Raises NotImplementedError, with the reason, for what symbols do not answer to.
    """
    try:
        return _run(text, call)
    except (Mismatch, TypeError, AttributeError, LookupError, ValueError, NameError) as error:
        raise NotImplementedError(f"the code does not run on symbols: {error}") from error


def _run(text: str, call: Call) -> Found:
    tree = ast.fix_missing_locations(_Exact().visit(ast.parse(text)))
    space: dict[str, Any] = {**WORDS, "torch": _Torch(), "functional": _Torch(), "scalars": _Torch(), "exact": _exact}
    space["math"] = SimpleNamespace(pi=_one(node("pi")), inf=float("inf"))
    exec(compile(tree, "<emitted>", "exec"), space)
    function = space[call.function]
    token = call.function == "token"
    inputs = [_over_tokens(values, token) for values in call.inputs]
    state: dict[str, Any] = {"t": call.begin}
    for name, value in call.state.items():
        state[name] = _over_tokens(value, False) if isinstance(value, tuple) else _one(value)
    hyper = {name: _one(x) if isinstance(x, Node) else x for name, x in call.hyper.items()}
    asked = [_asked(build) for build in call.functions]
    if token:
        outputs, later = function(*inputs, *asked, state, call.begin + 1, call.first, hyper)
        return {n: (_entry(x),) for n, x in outputs.items()}, {n: _entry(later[n]) for n in call.ends}
    keep = None if call.keep is None else torch.tensor(call.keep)
    clock = Symbols.of([call.begin + 1 + i for i in range(len(call.inputs[0]))])
    outputs, later = function(*inputs, *asked, state, clock, call.first, hyper, call.chunk, keep)
    length = len(call.inputs[0])
    return {n: _each(x, length) for n, x in outputs.items()}, {n: _entry(later[n]) for n in call.ends}


def _exact(text: str) -> Symbols:
    return Symbols.of(Fraction(text))


class _Torch(SimpleNamespace):
    """`torch` as the text sees it: functions of symbols, and what has nothing to do with tensors."""

    def __getattr__(self, name: str) -> Any:
        if name == "linalg":
            return _Torch()
        if name in FUNCTIONS:
            return FUNCTIONS[name]
        if name in ("inf", "bool", "float64"):
            return getattr(torch, name)
        raise NotImplementedError(f"`{name}` on symbols")


class _Exact(ast.NodeTransformer):
    """Decimals as they are written, and quotients of whole numbers, as fractions."""

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return _fraction(repr(node.value)) if isinstance(node.value, float) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        match node:
            case ast.BinOp(ast.Constant(int() as top), ast.Div(), ast.Constant(int() as bottom)):
                return _fraction(f"{top}/{bottom}")
        self.generic_visit(node)
        return node


def _fraction(text: str) -> ast.AST:
    return ast.Call(ast.Name("exact", ast.Load()), [ast.Constant(text)], [])


def _one(value: Node) -> Symbols:
    """A value with its axes."""
    made = np.empty((1,) * len(value.type.axes), dtype=object)
    made[(0,) * made.ndim] = value
    return Symbols(made, value.type.axes)


def _over_tokens(values: Sequence[Node], only: bool) -> Symbols:
    """Values token by token, or the only one."""
    if only:
        return _one(values[0])
    axes = values[0].type.axes
    made = np.empty((len(values), *(1,) * len(axes)), dtype=object)
    for t, value in enumerate(values):
        made[(t, *(0,) * len(axes))] = value
    return Symbols(made, (None, *axes))


def _asked(build: Callable[..., Node]) -> Callable[..., Symbols]:
    """A function of the user, which gives a value like its first argument's tokens."""

    def ask(*points: Symbols) -> Symbols:
        lead = points[0].axes.count(None)
        made: list[Node] = []
        for t in range(points[0].entries.shape[0] if lead else 1):
            made.append(build(*(_entry(x[t] if lead else x) for x in points)))
        return _over_tokens(made, not lead)

    return ask


def _entry(x: Any) -> Node:
    whole = Symbols.of(x)
    found = whole.entries.reshape(-1)
    if len(found) != 1:
        raise NotImplementedError("a value with an axis too many")
    return number(0) if found[0] is None else found[0]


def _each(x: Any, length: int) -> tuple[Node, ...]:
    """The value at each token; what is the same at all of them is there once."""
    whole = Symbols.of(x)
    if whole.axes[:1] != (None,) or whole.entries.shape[0] not in (1, length):
        raise NotImplementedError("an output without an axis of tokens")
    return tuple(_entry(whole[t if whole.entries.shape[0] == length else 0]) for t in range(length))
