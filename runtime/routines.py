"""The matrix work between two passes of a kernel backend: products, loops of them, and what lies between, by torch.

    ask(tables, stage, objective)          gradients elsewhere, before that
    run(routine, inputs, number, sizes)    all that it computes, for one tensor or a stack

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
from dotopt.compiler.schedule.passes import Routine
from dotopt.compiler.schedule.places import Unsupported
from dotopt.runtime import matrices, scalars
from dotopt.runtime.oracles import Objective, gradients_at

Value = Any  # a float or a Tensor

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": scalars.divide,
    "min": scalars.minimum, "max": scalars.maximum, "pow": scalars.power,
    "lt": lambda a, b: a < b, "le": lambda a, b: a <= b, "gt": lambda a, b: a > b, "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b, "ne": lambda a, b: a != b, "mod": lambda a, b: a % b,
    "and": lambda a, b: a & b, "or": lambda a, b: a | b,
}  # fmt: skip
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda a: -a, "stop": lambda a: a, "abs": abs,
    "not": lambda a: ~a if isinstance(a, Tensor) else not a,
} | {
    name: getattr(scalars, name)
    for name in (
        "sqrt", "exp", "log", "sign", "sin", "cos", "tan", "tanh", "acos", "atanh", "erf", "floor", "ceil", "relu",
        "gelu", "sigmoid",
    )
}  # fmt: skip
CONSTANT: dict[str, Callable[..., Tensor]] = {"eye": torch.eye, "zeros": torch.zeros, "ones": torch.ones}
REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "sum": torch.sum, "amax": torch.amax, "amin": torch.amin, "mean": torch.mean, "std": torch.std,
    "norm": torch.linalg.vector_norm,
}  # fmt: skip

MIXED = frozenset(("select", "stop", "loop", "item"))  # these take truths and numbers as they are

# of the library: functions of lists of matrices, which here is a list of one matrix or stack
MATRIX: dict[str, Callable[..., Sequence[Tensor]]] = {
    "outer": matrices.outer, "solve": matrices.solve, "inverse": matrices.inverse, "qr": matrices.qr,
    "eigenvectors": matrices.eigenvectors, "top_eigenvector": matrices.top_eigenvector, "svdvals": matrices.svdvals,
    "polar": matrices.polar, "spectral_norm": matrices.spectral_norm, "trace": matrices.trace,
    "diagonal": matrices.diagonal, "tril": matrices.tril, "argsort": matrices.argsort,
}  # fmt: skip

KNOWN = frozenset((
    *BINARY, *UNARY, *REDUCTIONS, *MATRIX, *CONSTANT, "leaf", "const", "inf", "pi", "bool", "matmul", "transpose",
    "loop", "item", "matrix_power", "columns", "select", "fires", "size",
))  # fmt: skip

# a sum of words of X and its transpose; entrywise products of matrices are allowed where all of it is summed
WORDS = frozenset(
    ["const", "matmul", "transpose", "add", "sub", "neg", "mul", "div", "loop", "item", "sum", "sqrt", "max"]
)


def supported(routine: Routine) -> None:
    """Raises `Unsupported` for a routine with an operation that is not here."""
    for here in region(routine.roots, {*routine.inputs, *routine.states, *routine.asks}):
        if here.op not in KNOWN:
            raise Unsupported(f"it needs {here.op}")
        if here.op in REDUCTIONS and here.attrs.model:
            raise Unsupported(f"matrix work needs {here!r}, which is one number for all tensors")
        if here.op == "loop" and (here.attrs.body.until is not None or here.attrs.body.index is not None):
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
    number: Callable[[Node], Value],
    sizes: Mapping[str, int],
    low: torch.dtype | None = None,
    symmetric: Callable[..., Tensor] | None = None,
) -> list[Tensor]:
    """The values of `routine.roots` for one tensor or a stack; `number` gives the numbers of the group.

    `inputs` are the values of `routine.inputs`, `routine.states` and `routine.asks`, in the type of the arithmetic.

    Where the products are loops of X Xᵀ X, which steer towards orthogonal matrices whatever was rounded before, they
    are made in `low`, as in the reference implementation of Muon; a product is accumulated in float32 all the same.
    Stacks of products in `low` that are symmetric go to `symmetric`, if it is given: see `runtime.triton_symmetric`.
    """
    results = routine.roots
    like = next(iter(inputs.values()))
    inputs = {here: _as_truth(value) if here.type.kind == "bool" else value for here, value in inputs.items()}
    axes = results[0].type.axes
    alike = len(axes) >= 2 and not routine.states and all(here.type.axes == axes for here in results)
    tall = alike and sizes[axes[-2]] > sizes[axes[-1]] and made_of_words(results, inputs)
    if tall:
        inputs = {here: value.mT for here, value in inputs.items()}
        sizes = {**sizes, axes[-2]: sizes[axes[-1]], axes[-1]: sizes[axes[-2]]}
    made = _Evaluation(dict(inputs), like, number, sizes, low, symmetric)
    return [made.value(result).mT if tall else made.value(result) for result in results]


def ask(tables: Sequence[Any], stage: int, objective: Objective | None) -> None:
    """Ask the user's closure for the gradients that the tables of a step need after pass `stage`, once for all."""
    asked = [
        (table, routine, here)
        for table in tables
        for routine in table.routines
        if routine.after == stage
        for here in routine.asks
    ]
    if not asked:
        return
    assert objective is not None
    points: dict[Tensor, Tensor] = {}
    for table, routine, here in asked:
        column = table.column(routine.inputs[here.args[0]].name)
        points |= {p: point.view(p.shape) for p, point in zip(table.params, column, strict=True)}
    found = gradients_at(points, objective)
    for table, _, here in asked:
        table.answers[here] = [found[p] for p in table.params]


def made_of_words(results: Sequence[Node], inputs: Container[Node]) -> bool:
    """Whether the results for the transposed inputs are the transposed results."""
    sides = results[0].type.axes[-2:]
    for result in results:  # a word in two matrices is not the transpose of itself
        used = {arg for here in region([result], inputs) for arg in here.args if arg in inputs}
        if sum(len(arg.type.axes) > 1 for arg in used) > 1:
            return False
    for here in region(results, inputs):
        matrices_met = [arg for arg in here.args if len(arg.type.axes) > 1]
        if sum(axis in sides for axis in here.type.axes) == 1:  # a number for each row, or for each column
            return False
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
    def symmetric(self) -> bool:
        """Whether all of it is its own transpose: then A is the factor of which `A @ B` is a square."""
        return squared(self.left, self.right) and is_symmetric(self.added)

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


def squared(left: Node, right: Node) -> bool:
    """Whether `left @ right` is X Xᵀ, with X = left."""
    return (
        (right.op == "transpose" and right.args[0] is left)
        or (left.op == "transpose" and left.args[0] is right)
        or (left is right and is_symmetric(left))
    )


@cache
def is_symmetric(here: Node) -> bool:
    """Whether a matrix is plainly its own transpose."""
    matrices_met = [arg for arg in here.args if len(arg.type.axes) == 2]
    match here.op:
        case "matmul":
            return len(matrices_met) == 2 and squared(*here.args)
        case "add" | "sub" | "mul" | "div" | "neg":
            return bool(matrices_met) and all(
                arg in matrices_met and is_symmetric(arg) for arg in here.args if arg.type.axes
            )
        case _:
            return False


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
        like: Tensor,
        number: Callable[[Node], Value],
        sizes: Mapping[str, int],
        low: torch.dtype | None = None,
        symmetric: Callable[..., Tensor] | None = None,
    ) -> None:
        self.like = like  # in the type of the arithmetic
        self.known, self.number, self.sizes, self.low, self.symmetric = known, number, sizes, low, symmetric

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
        added, left, right = (
            self._as_number(self.known[here]) for here in (update.added, update.left, update.right)
        )
        if self.symmetric is not None and update.symmetric and _stacked(left) and added.dtype == left.dtype:
            return self.symmetric(left, added, *factors)
        if left.ndim != right.ndim:  # one matrix for all of a stack
            return added * factors[0] + (left @ right) * factors[1]
        multiply: Callable[..., Tensor] = torch.addmm if left.ndim == 2 else torch.baddbmm
        return multiply(added, left, right, beta=factors[0], alpha=factors[1])

    def _compute(self, here: Node) -> Value:
        args = [self.known[arg] for arg in here.args]
        if here.op in ("and", "or", "not"):
            args = [_as_truth(arg) for arg in args]
        elif here.op not in MIXED:  # 1 and 0 in the type of the arithmetic: torch's number times truths is float32
            args = [self._as_number(arg) for arg in args]
        match here.op:
            case "leaf" if here.role == "axis":
                return float(self.sizes[here.name])
            case "leaf" | "const" | "inf" | "pi" | "bool" | "fires":
                return self.number(here)
            case "size":
                return float(_product(self.sizes[axis] for axis in here.attrs.axes))
            case "matmul" if len(here.args[1].type.axes) == 1:
                return (args[0] @ args[1].unsqueeze(-1)).squeeze(-1)
            case "matmul" if len(here.args[0].type.axes) == 1:
                return (args[0].unsqueeze(-2) @ args[1]).squeeze(-2)
            case "matmul" if self.symmetric is not None and squared(*here.args) and _stacked(args[0]):
                return self.symmetric(args[0])
            case "matmul":
                return args[0] @ args[1]
            case op if op in CONSTANT:
                shape = [self.sizes[axis] for axis in here.type.axes]
                return CONSTANT[here.op](*shape, dtype=self.like.dtype, device=self.like.device)
            case "transpose":
                return args[0].mT
            case "loop":
                return self._loop(here, args)
            case "item":
                return args[0][here.attrs.position]
            case "select":
                chosen, yes, no = (
                    _aligned(value, arg.type.axes, here.type.axes) for value, arg in zip(args, here.args, strict=True)
                )
                if isinstance(chosen, Tensor):
                    return torch.where(_as_truth(chosen), yes, no)
                return self._whole(yes if chosen else no, here)
            case "columns":
                return args[0].take_along_dim(args[1].unsqueeze(-2), -1)
            case op if op in MATRIX:
                return MATRIX[op](*([arg] for arg in args))[0]
            case "matrix_power":
                return matrices.matrix_power([args[0]], args[1])[0]
            case op if op in REDUCTIONS:
                axes = here.args[0].type.axes
                dims = [axes.index(axis) - len(axes) for axis in here.attrs.axes]
                if op == "norm":
                    degree = math.inf if here.attrs.order is None else float(here.attrs.order)
                    return torch.linalg.vector_norm(args[0], degree, dim=dims)
                return REDUCTIONS[op](args[0], dim=dims)
            case op if op in BINARY:
                aligned = [
                    _aligned(value, arg.type.axes, here.type.axes) for value, arg in zip(args, here.args, strict=True)
                ]
                return BINARY[op](*aligned)
            case op:
                return UNARY[op](args[0])

    def _as_number(self, value: Value) -> Value:
        return value.to(self.like.dtype) if isinstance(value, Tensor) and value.dtype is torch.bool else value

    def _whole(self, value: Value, here: Node) -> Value:
        """`value`, which may lack axes that the other choice has, in the shape of `here`."""
        shape = [self.sizes[axis] for axis in here.type.axes]
        if not shape:
            return value
        if not isinstance(value, Tensor):
            return torch.full(shape, float(value), dtype=self.like.dtype, device=self.like.device)
        return value.expand(*value.shape[: -len(shape)], *shape)

    def _loop(self, here: Node, args: Sequence[Value]) -> tuple[Value, ...]:
        body: Loop = here.attrs.body
        now = tuple(args[-len(body.variables) :])
        if self.low is not None and steers(body):
            before = now[0].dtype
            return tuple(value.to(before) for value in self._passes(body, int(args[0]), (now[0].to(self.low),)))
        return self._passes(body, int(args[0]), now)

    def _passes(self, body: Loop, count: int, now: tuple[Value, ...]) -> tuple[Value, ...]:
        for _ in range(count):
            known = self.known | dict(zip(body.variables, now, strict=True))
            inner = _Evaluation(known, self.like, self.number, self.sizes, symmetric=self.symmetric)
            now = tuple(inner.value(following) for following in body.nexts)
        return now


def _as_truth(value: Value) -> Value:
    """What numbers say of truth: passes keep truths as 1 and 0."""
    return value if isinstance(value, Tensor) and value.dtype is torch.bool else value != 0


def _stacked(value: Tensor) -> bool:
    """Whether these are matrices of 16-bit numbers, side by side."""
    return value.ndim == 3 and value.dtype in (torch.bfloat16, torch.float16)


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
