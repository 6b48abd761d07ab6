"""Every law keeps the value: the exact ones bit by bit, for infinities, NaN and signed zeros too."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dotopt.compiler.evaluate import evaluate
from dotopt.compiler.ir import Node, boolean, leaf, node, number
from dotopt.compiler.ops.types import BOOL, REAL, Mismatch, Type
from dotopt.compiler.rewrite import ALGEBRAIC, EXACT, Law, simplify

SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.5, -3.7, 1e-310, 1e300, np.inf, -np.inf, np.nan]
REGULAR = [0.3, 1.7, 2.0, 0.9]
NUMBERS = [Fraction(2), Fraction(3), Fraction(1, 2), Fraction(-3, 2), Fraction(-1), Fraction(9, 10), Fraction(1)]
VECTOR, MATRIX = Type("real", ("n",)), Type("real", ("n", "n"))
LOGIC = {"and", "or", "not"}


def instances(law: Law) -> list[Node]:
    """The pattern with leaves for its variables, and with numbers."""
    names = sorted(_names(law.pattern))
    choices: list[list[Node]] = []
    for name in names:
        kinds = [leaf("free", name, type) for type in (REAL, VECTOR, MATRIX, BOOL)]
        numbers = [*map(number, NUMBERS)] if len(names) <= 2 or name in "ab" else []
        choices.append([*kinds, *numbers])
    found = []
    for chosen in itertools.product(*choices):
        try:
            made = _instance(law.pattern, dict(zip(names, chosen, strict=True)))
        except (Mismatch, IndexError, TypeError):
            continue
        if _sensible(made):
            found.append(made)
    return found


def _names(pattern: Any) -> set[str]:
    match pattern:
        case str():
            return {pattern}
        case (_, *operands):
            return set().union(*map(_names, operands))
    return set()


def _instance(pattern: Any, given: dict[str, Node]) -> Node:
    match pattern:
        case bool():
            return boolean(pattern)
        case str():
            return given[pattern]
        case int():
            return number(pattern)
        case ("sum" | "mean" as op, inner):
            operand = _instance(inner, given)
            return node(op, operand, attrs=(operand.type.axes, False))
        case (op, *operands):
            return node(op, *(_instance(operand, given) for operand in operands))
    raise AssertionError(pattern)


def _sensible(root: Node) -> bool:
    """Propositions where propositions belong, and only there."""
    for here in root.walk():
        for position, arg in enumerate(here.args):
            logical = here.op in LOGIC or (here.op == "select" and position == 0)
            if (arg.type.kind == "bool") != logical and not (here.op in ("eq", "ne", "select") and position > 0):
                return False
    return True


def environments(root: Node, pool: list[float]) -> list[dict[Node, Any]]:
    random = np.random.default_rng(0)
    leaves = [here for here in root.walk() if here.op == "leaf"]
    made = []
    for _ in range(12):
        values = {}
        for here in leaves:
            if here.type.kind == "bool":
                values[here] = np.asarray(bool(random.integers(2)))
            else:
                values[here] = random.choice(pool, size=[2] * len(here.type.axes))
        made.append(values)
    return made


def _same_bits(a: Any, b: Any) -> bool:
    a, b = (np.asarray(v, dtype=float) for v in (a, b))
    both_nan = np.isnan(a) & np.isnan(b)
    return a.shape == b.shape and bool(np.all(both_nan | ((a == b) & (np.signbit(a) == np.signbit(b)))))


@pytest.mark.parametrize("law", EXACT, ids=lambda law: f"{law.name} {law.pattern[0]}")
def test_exact_laws_keep_every_bit(law: Law) -> None:
    applied = 0
    for before in instances(law):
        after = law.apply(before)
        if after is None:
            continue
        applied += 1
        for values in environments(before, SPECIAL):
            wanted, found = evaluate(before, values), evaluate(after, values)
            assert _same_bits(np.broadcast_to(found, np.shape(wanted)), wanted), (
                f"{before!r} became {after!r} at {values}"
            )
    assert applied > 0


@pytest.mark.parametrize(
    "law", [law for law in ALGEBRAIC if law not in EXACT], ids=lambda law: f"{law.name} {law.pattern[0]}"
)
def test_algebraic_laws_keep_the_value(law: Law) -> None:
    applied = 0
    candidates = instances(law) + SPECIMENS.get(law.name, [])
    for before in candidates:
        after = law.apply(before)
        if after is None:
            continue
        applied += 1
        assert after.type.axes == before.type.axes
        for values in environments(before, REGULAR)[:5]:
            wanted, found = evaluate(before, values), evaluate(after, values)
            if np.all(np.isfinite(wanted)) and np.max(np.abs(wanted), initial=0) < 1e8:
                np.testing.assert_allclose(np.broadcast_to(found, np.shape(wanted)), wanted, rtol=1e-9, atol=1e-9)
    assert applied > 0


# what the instances of a pattern do not reach
_v, _m = leaf("free", "x", VECTOR), leaf("free", "y", MATRIX)
SPECIMENS: dict[str, list[Node]] = {
    "square of a norm": [node("pow", node("norm", _v, attrs=(("n",), False, 2)), number(2))],
    "sum of ones": [node("sum", node("ones", _v, attrs=(VECTOR,)), attrs=(("n",), False))],
    "tensor of ones": [node("mul", node("ones", _v, attrs=(VECTOR,)), _v)],
    "numbers spread by ones": [
        node(op, node("mul", node("ones", _v, attrs=(VECTOR,)), leaf("free", "s", REAL)), _v) for op in ("add", "sub")
    ],
    "inner tensor of ones": [node("mul", node("mul", node("ones", _v, attrs=(VECTOR,)), leaf("free", "s", REAL)), _v)],
    "double inverse": [
        node("inverse", node("inverse", node("add", _m, node("mul", number(5), node("eye", attrs=("n",))))))
    ],
}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_simplify_keeps_values_and_ends(data: st.DataObject) -> None:
    pool: list[Node] = [leaf("free", "x", VECTOR), leaf("free", "s", REAL), *map(number, NUMBERS), number(0)]
    for _ in range(data.draw(st.integers(1, 12))):
        op = data.draw(
            st.sampled_from(["add", "sub", "mul", "neg", "abs", "max", "transpose", "pow2", "select", "div"])
        )
        a, b = data.draw(st.sampled_from(pool)), data.draw(st.sampled_from(pool))
        match op:
            case "neg" | "abs" | "transpose":
                pool.append(node(op, a))
            case "pow2":
                pool.append(node("pow", a, number(2)))
            case "select":
                pool.append(node("select", node("not", node("gt", a, b)), a, b))
            case _:
                pool.append(node(op, a, b))
    root = pool[-1]
    values = {pool[0]: np.array([0.7, -1.3]), pool[1]: np.asarray(0.4)}
    wanted = evaluate(root, values)
    exact = simplify(root, EXACT)
    assert _same_bits(np.broadcast_to(evaluate(exact, values), np.shape(wanted)), wanted)
    assert simplify(exact, EXACT) is exact
    algebraic = simplify(root)
    if np.all(np.isfinite(wanted)) and np.max(np.abs(wanted)) < 1e6:
        np.testing.assert_allclose(
            np.broadcast_to(evaluate(algebraic, values), np.shape(wanted)), wanted, rtol=1e-8, atol=1e-8
        )


def test_what_is_not_exact_is_left_alone() -> None:
    s = leaf("free", "s", REAL)
    for root in (node("add", s, number(0)), node("mul", s, number(0)), node("sub", s, s), node("div", s, s)):
        assert simplify(root, EXACT) is root
        assert simplify(root) is not root
    assert simplify(node("sub", number(1), number(Fraction(9, 10))), EXACT).op == "sub"  # 1 - 0.9 is not 0.1 in floats
    assert simplify(node("sub", number(1), number(Fraction(1, 2))), EXACT) is number(Fraction(1, 2))


def test_a_negative_zero_is_not_folded_away() -> None:
    assert np.signbit(evaluate(simplify(node("mul", number(Fraction(-3, 2)), number(0)), EXACT), {}))
    assert simplify(node("mul", number(2), number(0)), EXACT) is number(0)
