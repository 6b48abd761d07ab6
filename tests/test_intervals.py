"""Interval analysis never loses a value, and knows what the rules of the library rely on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotopt.compiler.analysis.intervals import Interval, assumptions, interval
from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import TIME, Node, leaf, node, number
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.ops.types import REAL, Type
from dotopt.compiler.text.library import Library

VECTOR = Type("real", ("n",))
β, η, ε, s, x = (leaf("hyper", name, REAL) for name in "βηεsx")
v = leaf("state", "v", VECTOR)
KNOWN = {
    β: Interval(0, 1, open_high=True),
    η: Interval(0, np.inf, open_low=True, open_high=True),
    ε: Interval(1e-8, 1.0),
    s: Interval(-2.0, 3.0),
    v: Interval(-1.5, 4.0),
}
UNARY = ["neg", "abs", "sqrt", "exp", "log", "tanh", "sigmoid", "relu", "sign", "sin", "cos"]
BINARY = ["add", "sub", "mul", "div", "min", "max", "pow"]


@st.composite
def expressions(draw: st.DrawFn) -> Node:
    pool: list[Node] = [β, η, ε, s, v, TIME, number(2), number(3), number(Fraction(1, 3)), number(-1)]
    for _ in range(draw(st.integers(1, 8))):
        a, b = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
        op = draw(st.sampled_from([*UNARY, *BINARY, "select", "sum", "mean", "norm"]))
        if op in UNARY:
            pool.append(node(op, a))
        elif op in BINARY:
            pool.append(node(op, a, b))
        elif op == "select":
            pool.append(node("select", node("lt", a, b), a, b))
        elif a.type.axes:
            pool.append(node(op, a, attrs=(a.type.axes, False, *((2,) if op == "norm" else ()))))
    return pool[-1]


@settings(max_examples=300, deadline=None)
@given(expressions(), st.integers(0, 10**6))
def test_no_value_is_outside(root: Node, seed: int) -> None:
    found = interval(root, KNOWN)
    random = np.random.default_rng(seed)
    ends = {
        β: [0.0, 0.5, 0.999],
        η: [1e-6, 1.0, 50.0],
        ε: [1e-8, 1.0],
        s: [-2.0, 0.0, 1.0, 3.0],
        TIME: [1.0, 2.0, 30.0],
    }
    for _ in range(8):
        values = {here: random.choice(choices) for here, choices in ends.items()}
        values[v] = random.choice([-1.5, -0.2, 0.0, 1.0, 4.0], size=3)
        with np.errstate(all="ignore"):
            entries = np.ravel(evaluate(root, values))
        for entry in entries[np.isfinite(entries)]:
            slack = 1e-12 * (1 + abs(entry))
            assert found.low - slack <= entry <= found.high + slack, f"{root!r} = {entry} outside {found}"


@pytest.mark.parametrize(
    ("root", "wanted"),
    [
        (node("sub", number(1), node("pow", β, TIME)), "(0, 1]"),
        (node("sub", number(1), β), "(0, 1]"),
        (node("mul", v, v), "[0, 16]"),
        (node("pow", s, number(2)), "[0, 9]"),
        (node("pow", s, number(3)), "[-8, 27]"),
        (node("sub", s, s), "[0, 0]"),
        (node("min", node("max", s, number(-1)), number(1)), "[-1, 1]"),
        (node("div", number(1), η), "(0, inf)"),
        (node("div", number(1), s), "[-inf, inf]"),
        (node("sum", node("abs", v), attrs=(("n",), False)), "[0, inf]"),
    ],
    ids=repr,
)
def test_known_intervals(root: Node, wanted: str) -> None:
    assert str(interval(root, KNOWN)) == wanted


def test_denominators_of_adam_are_positive() -> None:
    file = Library().file("Adam")
    assert file is not None
    program = lower(file, Static({"amsgrad": False}))
    known = assumptions(program)
    corrections = {
        here for root in program.roots for here in root.walk() if here.op == "sub" and here.args[1].op == "pow"
    }
    assert len(corrections) == 2 and all(interval(here, known).positive for here in corrections)
