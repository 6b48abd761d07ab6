"""Derivatives against torch.autograd in float64, on random expressions and on the shapes that the library needs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dotopt.compiler.calculus import NotDifferentiable, gradient, jacobian_vector
from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import Fold, Loop, Node, boolean, leaf, node, number
from dotopt.compiler.ops.types import BOOL, INT, REAL, Mismatch, Type

N, M = 3, 4
SIZES = {"n": N, "m": M, "d": N}
VECTOR, OTHER, MATRIX, SQUARE = (Type("real", axes) for axes in (("n",), ("m",), ("n", "m"), ("d", "d")))
x, y, A, s = leaf("free", "x", VECTOR), leaf("free", "y", OTHER), leaf("free", "A", MATRIX), leaf("free", "s", REAL)
Q, b = leaf("free", "Q", SQUARE), leaf("free", "b", Type("real", ("d",)))
LEAVES = (x, y, A, s)


def total(of: Node) -> Node:
    return node("sum", of, attrs=(of.type.axes, False)) if of.type.axes else of


def norm(of: Node, order: Any = 2, axes: tuple[str, ...] | None = None) -> Node:
    return node("norm", of, attrs=(of.type.axes if axes is None else axes, False, order))


# ---- the same expression in torch --------------------------------------------------------------------------------

UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": torch.neg, "abs": torch.abs, "sqrt": torch.sqrt, "exp": torch.exp, "log": torch.log, "sin": torch.sin,
    "cos": torch.cos, "tan": torch.tan, "tanh": torch.tanh, "acos": torch.acos, "atanh": torch.atanh,
    "sigmoid": torch.sigmoid, "gelu": torch.nn.functional.gelu, "relu": torch.relu, "sign": torch.sign,
    "floor": torch.floor, "stop": torch.Tensor.detach, "trace": torch.trace, "diagonal": torch.diagonal,
    "tril": torch.tril, "inverse": torch.linalg.inv, "svdvals": torch.linalg.svdvals,
    "cumsum": lambda a: torch.cumsum(a, -1),
    "spectral_norm": lambda a: torch.linalg.matrix_norm(a, 2), "unit": lambda a: a / torch.linalg.vector_norm(a),
}  # fmt: skip
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow, "max": torch.maximum,
    "min": torch.minimum, "lt": torch.lt, "gt": torch.gt, "eq": torch.eq, "mod": torch.remainder,
}  # fmt: skip


def to_torch(root: Node, given: dict[Node, torch.Tensor]) -> torch.Tensor:
    done: dict[Node, torch.Tensor] = dict(given)
    for here in root.walk():
        if here not in done:
            done[here] = _torch(here, [done[arg] for arg in here.args])
    return done[root]


def _torch(here: Node, args: list[torch.Tensor]) -> torch.Tensor:
    if here.op == "const":
        return torch.tensor(float(here.attrs[0]), dtype=torch.float64)
    if here.op in UNARY:
        return UNARY[here.op](args[0])
    if here.op in BINARY or here.op == "select":
        wide = [_wide(arg.type.axes, a, here.type.axes) for arg, a in zip(here.args, args, strict=True)]
        return torch.where(wide[0].bool(), wide[1], wide[2]) if here.op == "select" else BINARY[here.op](*wide)
    if here.op in ("matmul", "outer", "solve"):
        a, b = args
        return {"matmul": torch.matmul, "outer": torch.outer, "solve": torch.linalg.solve}[here.op](a, b)
    if here.op == "transpose":
        return args[0].mT
    dims = tuple(i for i, axis in enumerate(here.args[0].type.axes) if axis in here.attrs[0])
    match here.op:
        case "sum":
            return args[0].sum(dims)
        case "mean":
            return args[0].mean(dims)
        case "amax":
            return args[0].amax(dims)
        case "amin":
            return args[0].amin(dims)
        case "std":
            return args[0].std(dims)
        case "norm":
            order = float("inf") if here.attrs[2] is None else float(here.attrs[2])
            return torch.linalg.vector_norm(args[0], order, dims)
    raise NotImplementedError(here.op)


def _wide(axes: tuple[str, ...], value: torch.Tensor, target: tuple[str, ...]) -> torch.Tensor:
    if axes == target or not axes:
        return value
    order = [axes.index(axis) for axis in target if axis in axes]
    return value.permute(order)[tuple(slice(None) if axis in axes else None for axis in target)]


def values(seed: int, positive: bool = False) -> dict[Node, np.ndarray[Any, Any]]:
    random = np.random.default_rng(seed)
    made = {here: random.normal(size=[SIZES[a] for a in here.type.axes]) for here in (*LEAVES, Q, b)}
    made[Q] = made[Q] + 3 * np.eye(N)
    return {here: np.abs(value) + 0.1 if positive else value for here, value in made.items()}


def check(expression: Node, variable: Node, given: dict[Node, np.ndarray[Any, Any]], rtol: float = 1e-10) -> None:
    tensors = {here: torch.tensor(value, dtype=torch.float64) for here, value in given.items()}
    tensors[variable].requires_grad_(True)
    result = to_torch(expression, tensors)
    np.testing.assert_allclose(evaluate(expression, given), result.detach().numpy(), rtol=1e-9, atol=1e-9)
    if result.requires_grad:
        (expected,) = torch.autograd.grad(result.sum(), tensors[variable], allow_unused=True)
    else:
        expected = None
    wanted = np.zeros(given[variable].shape) if expected is None else expected.numpy()
    found = gradient(expression, variable)
    assert found.type.axes == variable.type.axes
    scale = 1 + np.nanmax(np.abs(wanted), initial=0, where=np.isfinite(wanted))
    np.testing.assert_allclose(
        evaluate(found, given), wanted, rtol=rtol, atol=rtol * scale, err_msg=f"∇ {expression!r}"
    )


# ---- random expressions ------------------------------------------------------------------------------------------

SMOOTH = ["neg", "sin", "cos", "tanh", "sigmoid", "gelu", "exp", "abs", "relu", "stop"]
ENTRYWISE = ["add", "sub", "mul", "max", "min"]
REDUCED = ["sum", "mean", "amax", "norm", "std"]


@st.composite
def expressions(draw: st.DrawFn) -> Node:
    pool: list[Node] = [*LEAVES, number(Fraction(1, 2)), number(2)]
    for _ in range(draw(st.integers(2, 9))):
        pick = st.sampled_from(pool)
        kind = draw(st.sampled_from(["unary", "binary", "reduce", "matrix", "select", "divide", "power"]))
        a, b = draw(pick), draw(pick)
        try:
            match kind:
                case "unary":
                    made = node(draw(st.sampled_from(SMOOTH)), a)
                case "binary":
                    made = node(draw(st.sampled_from(ENTRYWISE)), a, b)
                case "divide":
                    made = node("div", a, node("add", number(2), node("mul", b, b)))
                case "power":
                    made = node(
                        "pow",
                        node("add", number(1), node("abs", a)),
                        draw(st.sampled_from([number(3), number(Fraction(-1, 2)), s])),
                    )
                case "reduce":
                    axes = draw(st.sampled_from([a.type.axes, a.type.axes[:1], a.type.axes[-1:]]))
                    if not axes:
                        continue
                    op = draw(st.sampled_from(REDUCED))
                    order = (draw(st.sampled_from([1, 2, 3, None])),) if op == "norm" else ()
                    made = node(op, a, attrs=(axes, False, *order))
                case "matrix":
                    made = node(draw(st.sampled_from(["matmul", "outer"])), a, b)
                    if len(made.type.axes) > 2 or len(set(made.type.axes)) < len(made.type.axes):
                        continue
                    if made.op == "outer" and not (len(a.type.axes) == len(b.type.axes) == 1):
                        continue
                case _:
                    made = node("select", node("gt", a, b), draw(pick), draw(pick))
        except (Mismatch, TypeError):
            continue
        pool.append(made)
    return node("add", total(pool[-1]), total(pool[-2]))


@settings(max_examples=120, deadline=None)
@given(expressions(), st.sampled_from(LEAVES), st.integers(0, 10**6))
def test_random_expressions(expression: Node, variable: Node, seed: int) -> None:
    given_values = values(seed)
    result = evaluate(expression, given_values)
    if np.isfinite(result) and abs(result) < 1e6:
        check(expression, variable, given_values)


@settings(max_examples=40, deadline=None)
@given(expressions(), st.integers(0, 10**6))
def test_directional_derivatives(expression: Node, seed: int) -> None:
    given_values = values(seed)
    result = evaluate(expression, given_values)
    if not np.isfinite(result) or abs(result) > 1e6:
        return
    v = leaf("free", "v", MATRIX)
    given_values[v] = np.random.default_rng(seed + 1).normal(size=(N, M))
    wanted = float(np.sum(evaluate(gradient(expression, A), given_values) * given_values[v]))
    found = evaluate(jacobian_vector(expression, A, v), given_values)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * (1 + abs(wanted)))


# ---- one operation at a time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "op", ["sqrt", "log", "tan", "exp", "sin", "cos", "tanh", "sigmoid", "gelu", "relu", "abs", "neg", "floor", "sign"]
)
def test_unary(op: str) -> None:
    check(total(node(op, A)), A, values(1, positive=True))


@pytest.mark.parametrize("op", ["acos", "atanh"])
def test_unary_inside_the_unit_interval(op: str) -> None:
    check(total(node(op, node("div", node("tanh", A), number(2)))), A, values(2))


@pytest.mark.parametrize("order", [1, 2, 3, Fraction(3, 2), None])
@pytest.mark.parametrize("axes", [("n", "m"), ("n",), ("m",)])
def test_norms(order: Any, axes: tuple[str, ...]) -> None:
    check(total(norm(A, order, axes)), A, values(3))


def test_norm_at_zero_is_zero() -> None:
    given_values = {**values(4), A: np.zeros((N, M))}
    check(norm(A), A, given_values)
    check(total(norm(A, 2, ("m",))), A, given_values)


@pytest.mark.parametrize(
    "expression",
    [
        node("trace", Q),
        total(node("mul", node("inverse", Q), node("inverse", Q))),
        total(node("solve", Q, b)),
        total(node("mul", node("solve", Q, Q), node("transpose", Q))),
        total(node("tril", node("mul", Q, Q))),
        total(node("mul", node("diagonal", Q), b)),
        total(node("svdvals", Q)),
        node("spectral_norm", Q),
        total(node("mul", node("add", Q, node("transpose", Q)), Q)),
        node("matmul", b, node("matmul", Q, b)),
        total(node("matmul", b, Q)),
        total(node("mul", node("unit", Q), node("tanh", Q))),
    ],
    ids=repr,
)
def test_matrices(expression: Node) -> None:
    check(expression, Q, values(5), rtol=1e-9)


def test_ties_are_shared_as_torch_does() -> None:
    tied = {**values(6), x: np.array([1.0, 1.0, -2.0]), s: np.array(1.0)}
    check(node("amax", x, attrs=(("n",), False)), x, tied)
    check(total(node("max", x, s)), x, tied)
    check(total(node("max", x, s)), s, tied)
    check(norm(x, None), x, {**tied, x: np.array([2.0, -2.0, 1.0])})


def test_the_branch_not_taken_stays_out() -> None:
    root = node("select", node("gt", x, number(0)), node("sqrt", x), node("mul", x, x))
    found = evaluate(gradient(total(root), x), {x: np.array([4.0, 0.0, -1.0])})
    np.testing.assert_array_equal(found, [0.25, 0.0, -2.0])


def test_two_layer_network_prints_and_agrees() -> None:
    U = leaf("free", "U", Type("real", ("h", "n")))
    V = leaf("free", "V", Type("real", ("m", "h")))
    error = node("sub", node("matmul", V, node("gelu", node("matmul", U, x))), y)
    loss = node("pow", norm(error), number(2))
    random = np.random.default_rng(7)
    given_values = {**values(7), U: random.normal(size=(5, N)), V: random.normal(size=(M, 5))}
    for variable in (U, V):
        check(loss, variable, given_values)


def test_inner_objectives_print_as_published() -> None:
    S, k = leaf("state", "S", Type("real", ("dv", "dk"))), leaf("input", "k", Type("real", ("dk",)))
    v = leaf("input", "v", Type("real", ("dv",)))
    error = node("sub", node("matmul", S, k), v)
    half = number(Fraction(1, 2))
    assert repr(gradient(node("mul", half, node("pow", norm(error), number(2))), S)) == "outer(S @ k - v, k)"
    inner = total(node("mul", node("matmul", S, k), v))
    assert repr(gradient(node("neg", inner), S)) == "-outer(v, k)"
    option = leaf("option", "dot", BOOL)
    chosen = node("select", option, inner, node("mul", half, node("pow", norm(error), number(2))))
    assert repr(gradient(chosen, S)) == "outer(v, k) if dot else outer(S @ k - v, k)"


def test_loops_are_written_out() -> None:
    variable = leaf("loop", "z", VECTOR)
    body = Loop((variable,), (node("mul", node("tanh", variable), s),))
    loop = node("item", node("loop", number(3), x, attrs=(body,)), attrs=(0,))
    unrolled = x
    for _ in range(3):
        unrolled = node("mul", node("tanh", unrolled), s)
    given_values = values(8)
    for wanted in (x, s):
        found = evaluate(gradient(total(loop), wanted), given_values)
        np.testing.assert_allclose(found, evaluate(gradient(total(unrolled), wanted), given_values), rtol=1e-13)


def test_sums_over_an_index() -> None:
    i = leaf("index", "i", INT)
    body = node("sin", node("mul", i, s))
    root = node("fold", node("range", number(1), number(4)), attrs=(Fold("sum", (i,), body),))
    found = evaluate(gradient(root, s), {s: np.array(0.3)})
    np.testing.assert_allclose(found, sum(k * np.cos(k * 0.3) for k in range(1, 5)), rtol=1e-13)


def test_oracles_lead_to_oracles() -> None:
    value = node("oracle", x, attrs=("f", "value", None, (0, 1), REAL))
    assert repr(gradient(value, x)) == "∇f(x)"
    slope = node("oracle", x, attrs=("f", "gradient", None, (0, 1), VECTOR))
    assert repr(gradient(total(node("mul", slope, node("stop", x))), x)) == "∇²f(x) @ stop(x)"
    given_function = node("apply", x, attrs=("K", 0, None, (0, 1), REAL))
    assert repr(gradient(given_function, x)) == "∇K(x)"


def test_what_has_no_derivative_says_so() -> None:
    with pytest.raises(NotDifferentiable, match="eigenvectors has no derivative here"):
        gradient(total(node("eigenvectors", Q)), Q)
    with pytest.raises(NotDifferentiable, match="only their sum"):
        gradient(total(node("pow", node("svdvals", Q), number(2))), Q)
    assert gradient(node("select", boolean(True), s, s), x).op == "zeros"
