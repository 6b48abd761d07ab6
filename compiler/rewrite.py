"""Laws of rewriting: two tables, one row a law with its textbook name.

    EXACT      keeps every bit of an IEEE result, for infinities, NaN and signed zeros too: what emission may use
    ALGEBRAIC  identities of a field, which hold in exact arithmetic: for printing, calculus and proofs

A pattern is a variable ("x"), a number, or an operation with its operands (("add", "x", 0)); operations that commute
match in either order. A replacement is of the same form, or a function of the node and what the variables stand for.
So x + 0 = x is not exact (-0 + 0 is +0), nor is x*0 = 0 (∞*0 is NaN); x*1 = x and x - 0 = x are. Numbers are folded
by the exact table only where floating point agrees: 1 - 0.5, but not 1 - 0.9.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dotopt.compiler import types as ty
from dotopt.compiler.ir import Node, boolean, node, number, rebuild
from dotopt.compiler.types import Mismatch, Type
from dotopt.compiler.wellformed import after

Binding = Mapping[str, Node]
Replacement = str | int | tuple[Any, ...] | Callable[[Node, Binding], Node | None]

COMMUTATIVE = frozenset({"add", "mul", "min", "max", "and", "or", "eq", "ne"})


@dataclass(frozen=True, slots=True)
class Law:
    """`pattern` is replaced by `replacement`; `name` is what a textbook calls it."""

    name: str
    pattern: str | int | bool | tuple[Any, ...]
    replacement: Replacement

    def apply(self, here: Node) -> Node | None:
        """`here` rewritten by this law, or None if it does not apply; the axes of the result never change."""
        for found in _match(self.pattern, here, {}):
            made = self.replacement(here, found) if callable(self.replacement) else _build(self.replacement, found)
            fitted = None if made is None else _fit(made, here)
            if fitted is not None and fitted is not here:
                return fitted
        return None


@after
def simplify(root: Node, table: tuple[Law, ...] | None = None) -> Node:
    """`root` with the laws of `table` (`ALGEBRAIC` if none is given) applied until none applies.

    >>> from dotopt.compiler.ir import leaf
    >>> x = leaf("free", "x")
    >>> simplify(node("add", node("mul", x, number(1)), number(0)))
    x
    """
    laws = _by_operation(ALGEBRAIC if table is None else table)

    def change(here: Node) -> Node:
        for law in laws.get(here.op, ()):
            made = law.apply(here)
            if made is not None:
                return made
        return here

    for _ in range(200):
        changed = rebuild(root, change)
        if changed is root:
            return root
        root = changed
    return root


def _by_operation(table: tuple[Law, ...]) -> dict[str, list[Law]]:
    laws: dict[str, list[Law]] = {}
    for law in table:
        laws.setdefault(law.pattern[0] if isinstance(law.pattern, tuple) else "", []).append(law)
    return laws


def _match(pattern: Any, here: Node, found: dict[str, Node]) -> Iterator[dict[str, Node]]:
    match pattern:
        case bool():
            if here.op == "bool" and here.attrs[0] is pattern:
                yield found
        case str():
            if pattern not in found:
                yield {**found, pattern: here}
            elif found[pattern] is here:
                yield found
        case int():
            if here.value == pattern:
                yield found
        case (op, *operands):
            if here.op != op or len(operands) != len(here.args):
                return
            orders = [here.args, here.args[::-1]] if op in COMMUTATIVE else [here.args]
            for order in orders:
                yield from _match_all(operands, order, found)


def _match_all(patterns: list[Any], nodes: tuple[Node, ...], found: dict[str, Node]) -> Iterator[dict[str, Node]]:
    if not patterns:
        yield found
        return
    for first in _match(patterns[0], nodes[0], found):
        yield from _match_all(patterns[1:], nodes[1:], first)


def _build(replacement: Any, found: Binding) -> Node | None:
    match replacement:
        case bool():
            return boolean(replacement)
        case str():
            return found[replacement]
        case int():
            return number(replacement)
        case (op, *operands):
            made = [_build(operand, found) for operand in operands]
            try:
                return node(op, *(m for m in made if m is not None))
            except Mismatch:
                return None
    raise TypeError(f"not a replacement: {replacement!r}")


def _fit(made: Node, here: Node) -> Node | None:
    """`made` with the axes of `here`: a number becomes a tensor of zeros or ones; anything else is refused."""
    if made.type.axes == here.type.axes or here.type.any:
        return made
    like = next((below for below in here.walk() if below is not here and below.type.axes == here.type.axes), None)
    if like is None or like.type.any or made.value is None:
        return None
    if made.value in (0, 1):
        return node("ones" if made.value else "zeros", like, attrs=(Type("real", like.type.axes),))
    return node("mul", made, node("ones", like, attrs=(Type("real", like.type.axes),)))


# ---- replacements that a pattern cannot say ----------------------------------------------------------------------

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "min": min,
    "max": max,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
}


def _fold(here: Node, found: Binding) -> Node | None:
    """The value of an operation on two numbers, exactly."""
    x, y = found["x"].value, found["y"].value
    if x is None or y is None or (here.op == "div" and y == 0):
        return None
    value = _ARITHMETIC[here.op](x, y)
    return boolean(value) if isinstance(value, bool) else number(value)


def _fold_rounded(here: Node, found: Binding) -> Node | None:
    """The same, where rounding the numbers first gives the same float."""
    made = _fold(here, found)
    x, y = found["x"].value, found["y"].value
    if made is None or x is None or y is None:
        return None
    try:
        value = _ARITHMETIC[here.op](float(x), float(y))
        same = value == (made.attrs[0] if made.op == "bool" else float(made.attrs[0]))
    except (OverflowError, ZeroDivisionError):
        return None
    return made if same else None


def _fold_power(here: Node, found: Binding) -> Node | None:
    x, y = found["x"].value, found["y"].value
    if x is None or y is None or y.denominator != 1 or abs(y) > 64 or (x == 0 and y < 0):
        return None
    return number(x ** int(y))


def _negate(here: Node, found: Binding) -> Node | None:
    value = found["x"].value
    return None if not value else number(-value)


def _constant_first(here: Node, found: Binding) -> Node | None:
    x, y = here.args
    return node("mul", y, x) if y.value is not None and x.value is None else None


def _collect(here: Node, found: Binding) -> Node | None:
    """a*(b*x) = (a b)*x for numbers a, b."""
    a, b = found["a"].value, found["b"].value
    return None if a is None or b is None else node("mul", number(a * b), found["x"])


def _number_out(here: Node, found: Binding) -> Node | None:
    """x*(a*y) = a*(x*y) for a number a."""
    if found["a"].value is None or found["x"].value is not None:
        return None
    return node("mul", found["a"], node("mul", found["x"], found["y"]))


def _quotient_out(here: Node, found: Binding) -> Node | None:
    """(a*x)/y = a*(x/y) for a number a that is not 1."""
    if found["a"].value is None:
        return None
    return node("mul", found["a"], node("div", found["x"], found["y"]))


def _divide_by_number(here: Node, found: Binding) -> Node | None:
    """(a*x)/b = (a/b)*x for numbers a, b."""
    a, b = found["a"].value, found["b"].value
    return None if a is None or not b else node("mul", number(a / b), found["x"])


def _negative_number_out(here: Node, found: Binding) -> Node | None:
    value = found["a"].value
    if value is None or value >= 0:
        return None
    return node("neg", found["x"] if value == -1 else node("mul", number(-value), found["x"]))


def _add_alike(here: Node, found: Binding) -> Node | None:
    a, b = found["a"].value, found["b"].value
    return None if a is None or b is None else node("mul", number(a + b), found["x"])


def _add_one_more(here: Node, found: Binding) -> Node | None:
    a = found["a"].value
    return None if a is None else node("mul", number(a + 1), found["x"])


def _add_powers(here: Node, found: Binding) -> Node | None:
    a, b = found["a"].value, found["b"].value
    return None if a is None or b is None or a <= 0 or b <= 0 else node("pow", found["x"], number(a + b))


def _next_power(here: Node, found: Binding) -> Node | None:
    a = found["a"].value
    return None if a is None or a.denominator != 1 or a < 1 else node("pow", found["x"], number(a + 1))


def _lower_power(here: Node, found: Binding) -> Node | None:
    a = found["a"].value
    return None if a is None or a.denominator != 1 or a < 2 else node("pow", found["x"], number(a - 1))


def _power_of_power(here: Node, found: Binding) -> Node | None:
    a, b = found["a"].value, found["b"].value
    whole = a is not None and b is not None and a.denominator == b.denominator == 1
    return node("pow", found["x"], number(a * b)) if whole and a is not None and b is not None else None


def _without_ones(here: Node, found: Binding) -> Node | None:
    ones, x = (here.args[0], here.args[1]) if here.args[0].op == "ones" else (here.args[1], here.args[0])
    return x if ones.op == "ones" and x.type.axes == here.type.axes else None


def _square_of_norm(here: Node, found: Binding) -> Node | None:
    norm = here.args[0]
    if norm.op != "norm" or norm.attrs[2] != 2 or here.args[1].value != 2:
        return None
    return node("sum", node("pow", norm.args[0], number(2)), attrs=norm.attrs[:2])


def _norm_of_squares(here: Node, found: Binding) -> Node | None:
    total = here.args[0]
    return node("norm", found["x"], attrs=(*total.attrs[:2], 2))


def _factor_out(here: Node, found: Binding) -> Node | None:
    """sum(a*x) = a*sum(x) where a is constant along the axes."""
    a, x = found["a"], found["x"]
    if not a.type.scalar or x.type.axes != here.args[0].type.axes:
        return None
    return node("mul", a, node(here.op, x, attrs=here.attrs))


def _count(here: Node, found: Binding) -> Node | None:
    """The sum of ones over axes is their size."""
    if here.args[0].op != "ones" or here.type.axes or not here.args[0].args:
        return None
    return node("size", here.args[0].args[0], attrs=here.attrs)


def _sum_of_nothing(here: Node, found: Binding) -> Node | None:
    return found["x"] if not here.attrs[0] and not here.attrs[1] else None


def _bring_in(op: str) -> Callable[[Node, Binding], Node | None]:
    """A number factor is pulled out of a product of matrices."""

    def law(here: Node, found: Binding) -> Node | None:
        if not found["a"].type.scalar:
            return None
        return node("mul", found["a"], node(op, found["x"], found["y"]))

    return law


def _transposed_product(here: Node, found: Binding) -> Node | None:
    if len(here.type.axes) < 2:
        return None
    return node("matmul", node("transpose", found["y"]), node("transpose", found["x"]))


def _transposed_outer(here: Node, found: Binding) -> Node | None:
    vectors = all(len(x.type.axes) == 1 and x.type.axes != (ty.REST,) for x in (found["x"], found["y"]))
    return node("outer", found["y"], found["x"]) if vectors else None


def _transposed_vector(here: Node, found: Binding) -> Node | None:
    x = here.args[0]
    return x if not x.type.any and ty.transpose(x.type) == x.type and len(x.type.axes) < 2 else None


def _branch(position: int) -> Callable[[Node, Binding], Node | None]:
    return lambda here, found: here.args[position] if here.args[position].type.axes == here.type.axes else None


# ---- the tables --------------------------------------------------------------------------------------------------

EXACT: tuple[Law, ...] = (
    Law("identity of multiplication", ("mul", "x", 1), "x"),
    Law("identity of division", ("div", "x", 1), "x"),
    Law("subtraction of zero", ("sub", "x", 0), "x"),
    Law("first power", ("pow", "x", 1), "x"),
    Law("double negation", ("neg", ("neg", "x")), "x"),
    Law("multiplication by minus one", ("mul", "x", -1), ("neg", "x")),
    Law("division by minus one", ("div", "x", -1), ("neg", "x")),
    Law("negative of a number", ("neg", "x"), _negate),
    Law("addition of a negative", ("add", "x", ("neg", "y")), ("sub", "x", "y")),
    Law("subtraction of a negative", ("sub", "x", ("neg", "y")), ("add", "x", "y")),
    Law("product of negatives", ("mul", ("neg", "x"), ("neg", "y")), ("mul", "x", "y")),
    Law("quotient of negatives", ("div", ("neg", "x"), ("neg", "y")), ("div", "x", "y")),
    Law("absolute value of a negative", ("abs", ("neg", "x")), ("abs", "x")),
    Law("idempotence of the absolute value", ("abs", ("abs", "x")), ("abs", "x")),
    Law("idempotence of max", ("max", "x", "x"), "x"),
    Law("idempotence of min", ("min", "x", "x"), "x"),
    Law("double transpose", ("transpose", ("transpose", "x")), "x"),
    Law("transpose of a vector", ("transpose", "x"), _transposed_vector),
    Law("reduction over no axis", ("sum", "x"), _sum_of_nothing),
    Law("selection by true", ("select", True, "x", "y"), _branch(1)),
    Law("selection by false", ("select", False, "x", "y"), _branch(2)),
    Law("selection of equals", ("select", "c", "x", "x"), _branch(1)),
    Law("selection by a negation", ("select", ("not", "c"), "x", "y"), ("select", "c", "y", "x")),
    Law("double negation of a proposition", ("not", ("not", "x")), "x"),
    Law("negation of true", ("not", True), False),
    Law("negation of false", ("not", False), True),
    Law("negation of an equation", ("not", ("eq", "x", "y")), ("ne", "x", "y")),
    Law("negation of an inequation", ("not", ("ne", "x", "y")), ("eq", "x", "y")),
    Law("identity of conjunction", ("and", True, "x"), "x"),
    Law("identity of disjunction", ("or", False, "x"), "x"),
    Law("domination of conjunction", ("and", False, "x"), False),
    Law("domination of disjunction", ("or", True, "x"), True),
    Law("idempotence of conjunction", ("and", "x", "x"), "x"),
    Law("idempotence of disjunction", ("or", "x", "x"), "x"),
    *(Law("arithmetic where rounding agrees", (op, "x", "y"), _fold_rounded) for op in _ARITHMETIC),
)

ALGEBRAIC: tuple[Law, ...] = (
    *EXACT,
    *(Law("arithmetic of rationals", (op, "x", "y"), _fold) for op in _ARITHMETIC),
    Law("powers of rationals", ("pow", "x", "y"), _fold_power),
    Law("identity of addition", ("add", "x", 0), "x"),
    Law("subtraction from zero", ("sub", 0, "x"), ("neg", "x")),
    Law("absorption by zero", ("mul", "x", 0), 0),
    Law("zero divided", ("div", 0, "x"), 0),
    Law("zeroth power", ("pow", "x", 0), 1),
    Law("additive inverse", ("sub", "x", "x"), 0),
    Law("multiplicative inverse", ("div", "x", "x"), 1),
    Law("square", ("mul", "x", "x"), ("pow", "x", 2)),
    Law("sum of powers", ("mul", ("pow", "x", "a"), ("pow", "x", "b")), _add_powers),
    Law("next power", ("mul", "x", ("pow", "x", "a")), _next_power),
    Law("quotient of powers", ("div", ("pow", "x", "a"), "x"), _lower_power),
    Law("power of a power", ("pow", ("pow", "x", "a"), "b"), _power_of_power),
    Law("square of a root", ("pow", ("sqrt", "x"), 2), "x"),
    Law("square of an absolute value", ("pow", ("abs", "x"), 2), ("pow", "x", 2)),
    Law("square of a negative", ("pow", ("neg", "x"), 2), ("pow", "x", 2)),
    Law("square of a norm", ("pow", "x", 2), _square_of_norm),
    Law("norm", ("sqrt", ("sum", ("pow", "x", 2))), _norm_of_squares),
    Law("root of a square", ("sqrt", ("pow", "x", 2)), ("abs", "x")),
    Law("logarithm of an exponential", ("log", ("exp", "x")), "x"),
    Law("exponential of a logarithm", ("exp", ("log", "x")), "x"),
    Law("numbers first", ("mul", "x", "y"), _constant_first),
    Law("associativity of numbers", ("mul", "a", ("mul", "b", "x")), _collect),
    Law("numbers outward", ("mul", "x", ("mul", "a", "y")), _number_out),
    Law("numbers out of a quotient", ("div", ("mul", "a", "x"), "b"), _divide_by_number),
    Law("numbers out of a numerator", ("div", ("mul", "a", "x"), "y"), _quotient_out),
    Law("negative numbers", ("mul", "a", "x"), _negative_number_out),
    Law("negatives out of a product", ("mul", ("neg", "x"), "y"), ("neg", ("mul", "x", "y"))),
    Law("negatives out of a numerator", ("div", ("neg", "x"), "y"), ("neg", ("div", "x", "y"))),
    Law("negatives out of a denominator", ("div", "x", ("neg", "y")), ("neg", ("div", "x", "y"))),
    Law("doubling", ("add", "x", "x"), ("mul", 2, "x")),
    Law("distributivity of numbers", ("add", ("mul", "a", "x"), ("mul", "b", "x")), _add_alike),
    Law("one more", ("add", "x", ("mul", "a", "x")), _add_one_more),
    Law("cancellation in a quotient", ("div", ("mul", "x", "y"), "y"), "x"),
    Law("cancellation in a product", ("mul", ("div", "x", "y"), "y"), "x"),
    Law("quotient of a quotient", ("div", ("div", "x", "y"), "z"), ("div", "x", ("mul", "y", "z"))),
    Law("division by a quotient", ("div", "x", ("div", "y", "z")), ("div", ("mul", "x", "z"), "y")),
    Law("tensor of ones", ("mul", "x", "y"), _without_ones),
    Law("sum of ones", ("sum", "x"), _count),
    Law("sum of multiples", ("sum", ("mul", "a", "x")), _factor_out),
    Law("mean of multiples", ("mean", ("mul", "a", "x")), _factor_out),
    Law("product of a multiple, left", ("matmul", ("mul", "a", "x"), "y"), _bring_in("matmul")),
    Law("product of a multiple, right", ("matmul", "x", ("mul", "a", "y")), _bring_in("matmul")),
    Law("outer product of a multiple, left", ("outer", ("mul", "a", "x"), "y"), _bring_in("outer")),
    Law("outer product of a multiple, right", ("outer", "x", ("mul", "a", "y")), _bring_in("outer")),
    Law("outer product of a negative, left", ("outer", ("neg", "x"), "y"), ("neg", ("outer", "x", "y"))),
    Law("product of a negative, left", ("matmul", ("neg", "x"), "y"), ("neg", ("matmul", "x", "y"))),
    Law("product of a negative, right", ("matmul", "x", ("neg", "y")), ("neg", ("matmul", "x", "y"))),
    Law("transpose of a product", ("transpose", ("matmul", "x", "y")), _transposed_product),
    Law("transpose of an outer product", ("transpose", ("outer", "x", "y")), _transposed_outer),
    Law("transpose of an inverse", ("transpose", ("inverse", "x")), ("inverse", ("transpose", "x"))),
    Law("double inverse", ("inverse", ("inverse", "x")), "x"),
    Law(
        "complementary selections", ("add", ("select", "c", "x", 0), ("select", "c", 0, "y")), ("select", "c", "x", "y")
    ),
    Law(
        "sum of selections",
        ("add", ("select", "c", "x", 0), ("select", "c", "y", 0)),
        ("select", "c", ("add", "x", "y"), 0),
    ),
)
