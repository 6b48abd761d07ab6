"""Expressions print in the user's notation: what is printed parses, and means the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import TIME, Node, leaf, node, number
from dotopt.compiler.ir.print import decimal, infix
from dotopt.compiler.lower import lower
from dotopt.compiler.ops.types import REAL, Type
from dotopt.compiler.parse import parse
from dotopt.compiler.text.library import Library, load
from dotopt.compiler.text.source import Source

ROOT = Path(__file__).parent.parent
TENSOR = Type("real", ("…",))
a, b, c, x = leaf("hyper", "a"), leaf("hyper", "b"), leaf("hyper", "c"), leaf("param", "x", TENSOR)
half = number(Fraction(1, 2))


@pytest.mark.parametrize(
    ("root", "text"),
    [
        (node("sub", a, node("sub", b, c)), "a - (b - c)"),
        (node("sub", node("sub", a, b), c), "a - b - c"),
        (node("div", a, node("mul", b, c)), "a/(b*c)"),
        (node("mul", node("div", a, b), c), "a/b*c"),
        (node("neg", node("pow", a, number(2))), "-a²"),
        (node("pow", node("neg", a), number(2)), "(-a)²"),
        (node("pow", a, node("pow", b, c)), "a^(b^c)"),
        (node("pow", number(Fraction(9, 10)), TIME), "0.9^t"),
        (node("pow", a, number(-1)), "a^-1"),
        (node("sqrt", node("add", a, b)), "√(a + b)"),
        (node("pow", node("sqrt", a), number(2)), "(√a)²"),
        (node("mul", a, node("neg", b)), "a*-b"),
        (node("select", node("gt", a, b), a, node("select", node("lt", a, c), b, c)),
         "a if a > b else b if a < c else c"),
        (node("mul", node("select", node("gt", a, b), a, b), c), "(a if a > b else b)*c"),
        (node("and", node("or", node("lt", a, b), node("lt", b, c)), node("not", node("eq", a, c))),
         "(a < b or b < c) and not a == c"),
        (node("norm", x, attrs=(("…",), False, Fraction(2))), "‖x‖"),
        (node("norm", x, attrs=(("…",), False, None)), "‖x‖[∞]"),
        (node("norm", x, attrs=(("…",), True, Fraction(2))), "norm(x, over=model)"),
        (node("amax", x, attrs=(("…",), False)), "max(x)"),
        (node("mul", number(Fraction(1, 3)), a), "1/3*a"),
        (node("div", a, number(Fraction(1, 3))), "a/(1/3)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_parentheses(root: Node, text: str) -> None:
    assert infix(root) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("0.9", "0.9"), ("0.999", "0.999"), ("1e-8", "1e-8"), ("1.2e-7", "1.2e-7"), ("1/3", "1/3"), ("-4.775", "-4.775"),
     ("100", "100"), ("1e10", "1e10"), ("0", "0"), ("12345678", "12345678"), ("1234.5", "1234.5"), ("0.05", "0.05")],
)  # fmt: skip
def test_decimals(value: str, text: str) -> None:
    assert decimal(Fraction(value)) == text
    assert Fraction(text) == Fraction(value)


def test_names_stand_for_what_is_below_the_root() -> None:
    g = node("oracle", x, attrs=("f", "gradient", None, (0, 1), TENSOR))
    m = node("add", node("mul", a, leaf("state", "m", TENSOR)), node("mul", node("sub", number(1), a), g))
    step = node("sub", x, node("mul", b, m))
    names = {g: "g", m: "m'"}
    assert infix(m, names) == "a*m + (1 - a)*g"
    assert infix(step, names) == "x - b*m'"
    assert infix(step) == "x - b*(a*m + (1 - a)*∇f(x))"


@st.composite
def expressions(draw: st.DrawFn) -> Node:
    pool: list[Node] = [a, b, c, x, half, number(2), number(Fraction(-3, 2)), TIME]
    for _ in range(draw(st.integers(1, 10))):
        one, two = draw(st.sampled_from(pool)), draw(st.sampled_from(pool))
        op = draw(
            st.sampled_from(["add", "sub", "mul", "div", "neg", "abs", "sqrt", "pow", "power", "max", "select", "sum"])
        )
        match op:
            case "neg" | "abs" | "sqrt":
                pool.append(node(op, one))
            case "pow":
                pool.append(node(op, one, draw(st.sampled_from([number(2), number(3), number(-1), half]))))
            case "power":
                pool.append(node("pow", one, a))
            case "select":
                condition = node("and", node("gt", one, two), node("not", node("eq", one, a)))
                pool.append(node("select", condition, one, two))
            case "sum":
                if one.type.axes:
                    pool.append(node("sum", one, attrs=(one.type.axes, False)))
            case _:
                pool.append(node(op, one, two))
    return pool[-1]


@settings(max_examples=150, deadline=None)
@given(expressions())
def test_what_is_printed_means_the_same(root: Node) -> None:
    text = f"rule R\nparam x : real[...]\nhyper a\nhyper b\nhyper c\ny = {infix(root)}\nx' = x + y\n"
    (again,) = (e.node for e in lower(parse(Source("r.opt", text))).equations if e.name == "y" and not e.primed)
    values = {a: 0.7, b: 1.3, c: -0.4, x: np.array([0.2, -1.1]), TIME: 3.0}
    wanted, found = evaluate(root, values), evaluate(again, values)
    np.testing.assert_allclose(np.broadcast_to(found, np.shape(wanted)), wanted, rtol=1e-12)


def test_every_node_of_the_library_prints() -> None:
    library = Library()
    for path in sorted((ROOT / "stdlib").rglob("*.opt")):
        program = lower(load(path), library=library)
        for equation in program.equations:
            assert infix(equation.node, program.names)


def test_sharing_does_not_explode() -> None:
    grown = a
    for _ in range(200):
        grown = node("mul", node("add", grown, grown), grown)
    assert len(repr(grown)) < 20_000


def test_complex_files_read_back() -> None:
    (equation,) = (e for e in lower(load(ROOT / "stdlib/optimizers/lion.opt")).equations if e.label == "x'")
    assert "β1" in repr(equation.node) and equation.node.type == Type("real", ("…",))
    assert repr(node("mul", leaf("free", "s", REAL), half)) == "s*0.5"
