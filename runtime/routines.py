"""The matrix work between two passes of a kernel backend: products, loops of them, and what lies between, by torch.

    run(routine, inputs, number, sizes)    the results, for one tensor or a stack

A value is a tensor with one dimension for each axis of its type, or a float; a stack of tensors of one shape has a
dimension before these. Tall matrices are worked on as their transposes, which are views, where that gives the same
result: a sum of products of one X and Xᵀ that has the shape of X is made of words X Xᵀ X … X, and the transpose of such
a word in Xᵀ is the word itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dotopt.compiler.ir import Loop, Node
from dotopt.compiler.places import Unsupported
from dotopt.compiler.schedule import Routine
from dotopt.runtime import matrices, scalars

Value = Any  # a float or a Tensor

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": scalars.divide,
    "min": scalars.minimum, "max": scalars.maximum, "pow": scalars.power,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b,
}  # fmt: skip
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda a: -a, "stop": lambda a: a, "abs": abs, "sqrt": scalars.sqrt, "exp": scalars.exp,
    "sign": scalars.sign,
}  # fmt: skip
REDUCTIONS: dict[str, Callable[..., Tensor]] = {"sum": torch.sum, "amax": torch.amax, "amin": torch.amin}

KNOWN = frozenset(
    [
        *BINARY,
        *UNARY,
        *REDUCTIONS,
        "leaf",
        "const",
        "inf",
        "pi",
        "bool",
        "matmul",
        "transpose",
        "loop",
        "item",
        "polar",
        "matrix_power",
        "select",
        "size",
    ]
)

# a sum of words of X and its transpose; entrywise products of matrices are allowed where all of it is summed
WORDS = frozenset(
    ["const", "matmul", "transpose", "add", "sub", "neg", "mul", "div", "loop", "item", "sum", "sqrt", "max"]
)


def supported(routine: Routine) -> None:
    """Raises `Unsupported` for a routine with an operation that is not here."""
    for here in region([result for _, result in routine.results], routine.inputs):
        if here.op not in KNOWN:
            raise Unsupported(f"it needs {here.op}")
        if here.op == "loop" and (here.attrs[0].until is not None or here.attrs[0].index is not None):
            raise Unsupported("it loops over something else than a number of passes")


def region(roots: Sequence[Node], inputs: Container[Node]) -> Iterator[Node]:
    """The nodes that are computed between `inputs` and `roots`, operands first, with those inside loops."""
    seen: set[Node] = set()
    stack = [(root, False) for root in roots]
    while stack:
        here, done = stack.pop()
        if done:
            yield here
        elif here not in seen and here not in inputs:
            seen.add(here)
            stack.append((here, True))
            stack.extend((child, False) for child in reversed(here.children))


def run(
    routine: Routine,
    inputs: Mapping[Node, Tensor],
    number: Callable[[Node], float],
    sizes: Mapping[str, int],
    low: torch.dtype | None = None,
) -> list[Tensor]:
    """The results of `routine` for one tensor or a stack; `number` gives the numbers of the group.

    Where the products are loops of X Xᵀ X, which steer towards orthogonal matrices whatever was rounded before, they
    are made in `low`, as in the reference implementation of Muon; a product is accumulated in float32 all the same.
    """
    results = [result for _, result in routine.results]
    axes = results[0].type.axes
    tall = len(axes) >= 2 and sizes[axes[-2]] > sizes[axes[-1]] and made_of_words(results, routine.inputs)
    if tall:
        inputs = {here: value.mT for here, value in inputs.items()}
        sizes = {**sizes, axes[-2]: sizes[axes[-1]], axes[-1]: sizes[axes[-2]]}
    made = _Evaluation(dict(inputs), number, sizes, low)
    return [made.value(result).mT if tall else made.value(result) for result in results]


def made_of_words(results: Sequence[Node], inputs: Container[Node]) -> bool:
    """Whether the results for the transposed inputs are the transposed results."""
    for result in results:  # a word in two matrices is not the transpose of itself
        used = {arg for here in region([result], inputs) for arg in here.args if arg in inputs}
        if sum(len(arg.type.axes) > 1 for arg in used) > 1:
            return False
    for here in region(results, inputs):
        matrices_met = [arg for arg in here.args if len(arg.type.axes) > 1]
        if here.op == "leaf":
            if here.role == "axis":
                return False
        elif here.op not in WORDS or (
            here.op in ("mul", "div") and len(matrices_met) == 2 and matrices_met[0] is not matrices_met[1]
        ):
            return False
    return True


@dataclass(frozen=True)
class _Update:
    """b*C + a*(A @ B), which the library does in one go and rounds once: numbers b and a, matrices C, A and B."""

    before: tuple[Node, ...]
    added: Node
    factors: tuple[Node, ...]
    left: Node
    right: Node

    @property
    def needs(self) -> tuple[Node, ...]:
        return (*self.before, self.added, *self.factors, self.left, self.right)


@cache
def _update(here: Node) -> _Update | None:
    """`here` in that form."""
    if here.op != "add" or len(here.type.axes) != 2:
        return None
    for one, other in (here.args, here.args[::-1]):
        factors, product = _scaled(other)
        before, added = _scaled(one)
        if product.op == "matmul" and added.type.axes == here.type.axes:
            (left_factors, left), (right_factors, right) = map(_scaled, product.args)
            if len(left.type.axes) == len(right.type.axes) == 2:
                return _Update(before, added, (*factors, *left_factors, *right_factors), left, right)
    return None


def _scaled(here: Node) -> tuple[tuple[Node, ...], Node]:
    """The constants in front of a matrix, and the matrix."""
    if here.op == "mul":
        for one, other in (here.args, here.args[::-1]):
            if one.value is not None:
                factors, core = _scaled(other)
                return (one, *factors), core
    return (), here


def steers(body: Loop) -> bool:
    """Whether a pass of the loop is a sum of words X Xᵀ X … X of its only variable, with numbers in front."""
    if len(body.variables) != 1:
        return False
    nodes = list(region(body.nexts, body.variables))
    if any(here.type.axes and here.op not in WORDS for here in nodes):
        return False
    (x,) = body.variables
    return any(here.op == "matmul" and {arg.op for arg in here.args} == {x.op, "transpose"} for here in nodes)


class _Evaluation:
    def __init__(
        self,
        known: dict[Node, Value],
        number: Callable[[Node], float],
        sizes: Mapping[str, int],
        low: torch.dtype | None = None,
    ) -> None:
        self.known, self.number, self.sizes, self.low = known, number, sizes, low

    def value(self, root: Node) -> Value:
        stack = [root]
        while stack:
            here = stack[-1]
            update = _update(here)
            needed = update.needs if update is not None else here.args
            missing = [arg for arg in needed if arg not in self.known]
            if here in self.known:
                stack.pop()
            elif missing:
                stack.extend(missing)
            else:
                self.known[here] = self._compute(here) if update is None else self._updated(update)
        return self.known[root]

    def _updated(self, update: _Update) -> Tensor:
        factors = [
            float(math.prod(float(self.known[here]) for here in some)) for some in (update.before, update.factors)
        ]
        added: Tensor
        left: Tensor
        right: Tensor
        added, left, right = (self.known[here] for here in (update.added, update.left, update.right))
        if left.ndim != right.ndim:  # one matrix for all of a stack
            return added * factors[0] + (left @ right) * factors[1]
        multiply: Callable[..., Tensor] = torch.addmm if left.ndim == 2 else torch.baddbmm
        return multiply(added, left, right, beta=factors[0], alpha=factors[1])

    def _compute(self, here: Node) -> Value:
        args = [self.known[arg] for arg in here.args]
        match here.op:
            case "leaf" if here.role == "axis":
                return float(self.sizes[here.name])
            case "leaf" | "const" | "inf" | "pi" | "bool":
                return self.number(here)
            case "size":
                return float(_product(self.sizes[axis] for axis in here.attrs[0]))
            case "matmul":
                return args[0] @ args[1]
            case "transpose":
                return args[0].mT
            case "loop":
                return self._loop(here, args)
            case "item":
                return args[0][here.attrs[0]]
            case "select":
                chosen, yes, no = (
                    _aligned(value, arg.type.axes, here.type.axes) for value, arg in zip(args, here.args, strict=True)
                )
                if isinstance(chosen, Tensor):
                    return torch.where(chosen, yes, no)
                return yes if chosen else no
            case "polar":
                return matrices.polar([args[0]])[0]
            case "matrix_power":
                return matrices.matrix_power([args[0]], args[1])[0]
            case op if op in REDUCTIONS:
                axes = here.args[0].type.axes
                dims = [axes.index(axis) - len(axes) for axis in here.attrs[0]]
                return REDUCTIONS[op](args[0], dim=dims)
            case op if op in BINARY:
                aligned = [
                    _aligned(value, arg.type.axes, here.type.axes) for value, arg in zip(args, here.args, strict=True)
                ]
                return BINARY[op](*aligned)
            case op:
                return UNARY[op](args[0])

    def _loop(self, here: Node, args: Sequence[Value]) -> tuple[Value, ...]:
        body: Loop = here.attrs[0]
        now = tuple(args[-len(body.variables) :])
        if self.low is not None and steers(body):
            before = now[0].dtype
            return tuple(value.to(before) for value in self._passes(body, int(args[0]), (now[0].to(self.low),)))
        return self._passes(body, int(args[0]), now)

    def _passes(self, body: Loop, count: int, now: tuple[Value, ...]) -> tuple[Value, ...]:
        for _ in range(count):
            inner = _Evaluation(self.known | dict(zip(body.variables, now, strict=True)), self.number, self.sizes)
            now = tuple(inner.value(following) for following in body.nexts)
        return now


def _aligned(value: Value, axes: tuple[str, ...], wanted: tuple[str, ...]) -> Value:
    """`value` with dimensions of size one for the axes that it lacks."""
    if not isinstance(value, Tensor) or axes == wanted:
        return value
    for place in reversed(range(len(wanted))):
        if wanted[place] not in axes:
            value = value.unsqueeze(place - len(wanted))
    return value


def _product(values: Any) -> int:
    result = 1
    for value in values:
        result *= value
    return result
