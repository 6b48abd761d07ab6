"""Arithmetic, order, logic and choice, entry by entry: arrays meet by the names of their axes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dotopt.compiler.ops import typing as t
from dotopt.compiler.ops.attributes import Cast
from dotopt.compiler.ops.row import (
    ALIKE,
    COMPARED,
    EXPONENT,
    LOST,
    PARTS,
    PLAIN,
    SAME,
    Around,
    Axiom,
    Call,
    Form,
    Infix,
    Inline,
    Operation,
    Powers,
    Template,
    absent,
)

EVERYWHERE = "true"
PRIMITIVE = absent("it is not made of other operations")
PAIR = absent("it has two arguments")
TRUTH = absent("its value is a truth value")
ARITHMETIC = absent("arithmetic of fractions and intervals knows it")
NATIVE = absent("normal forms, and z3, know it without axioms")
CONCAVE = "it is concave in its base: below its tangent at y"
CONVEX = "it is convex in its base: above its tangent at y"
CHORD = "it lies on one side of its chord from 0 to y"
STEPS = absent("it is constant in steps: its value at one point says nothing of others")


def _number(np: Any, x: Any) -> Any:
    return x


ONE = (
    Operation(
        name="neg", kind="number", type=t.entrywise, means="the number with the other sign",
        definition=PRIMITIVE, derivative=("-1",), degree=SAME, parity="odd", smooth="smooth", monotone="decreasing",
        range="(-∞, ∞)",
        domain=EVERYWHERE, known=(("0", "0"),), axioms=NATIVE,
        numpy=lambda np, x: np.negative(x), exact=lambda mp, x: -x, enclosure=lambda iv, x: -x,
        sympy=lambda sp, x: -x,
        opt=Form("-x"), latex=Form("-x"), torch=Form("-x"), c=Form("-x"), triton=Form("-x"),
    ),
    Operation(
        name="abs", kind="number", type=t.entrywise, means="the number without its sign, also written `|x|`",
        definition=PRIMITIVE, derivative=("sign(x)",), degree=SAME, parity="even",
        smooth="kinks", monotone=absent("it falls to 0, then rises"), range="[0, ∞)", domain=EVERYWHERE,
        known=(("0", "0"),),
        axioms=(Axiom("abs(x) == (x if x >= 0 else -x)", "definition"),),
        numpy=lambda np, x: np.abs(x), exact=lambda mp, x: abs(x), enclosure=lambda iv, x: abs(x),
        sympy=lambda sp, x: sp.Abs(x),
        opt=Call("abs"), latex=Around("|", "|"), torch=Call("torch.abs"), c=Call("fabs"), triton=Call("tl.abs"),
    ),
    Operation(
        name="sign", kind="number", type=t.entrywise, means="−1, 0 or 1; `sign(0) = 0`",
        definition=PRIMITIVE, derivative=("0",), degree=LOST, parity="odd", smooth="steps", monotone="nondecreasing",
        range="[-1, 1]", domain=EVERYWHERE, known=(("0", "0"),),
        axioms=(Axiom("sign(x) == (1 if x > 0 else -1 if x < 0 else 0)", "definition"),),
        numpy=lambda np, x: np.sign(x), exact=lambda mp, x: mp.sign(x),
        enclosure=lambda iv, x: iv.mpf([(x.a > 0) - (x.a < 0), (x.b > 0) - (x.b < 0)]),
        sympy=lambda sp, x: sp.sign(x),
        opt=Call("sign"), latex=Call("sign"), torch=Call("torch.sign"),
        c=Inline("return a > 0 ? (T)1 : a < 0 ? (T)-1 : a;"),
        triton=Template("tl.where({0} > 0, 1.0, tl.where({0} < 0, -1.0, {0}))"),
    ),
    Operation(
        name="relu", kind="number", type=t.entrywise, means="the number, or 0 where it is negative",
        definition="0.5*(x + abs(x))", derivative=("x > 0",), degree=SAME,
        parity=absent("relu(x) - relu(-x) is x"), smooth="kinks", monotone="nondecreasing", range="[0, ∞)",
        domain=EVERYWHERE,
        known=(("0", "0"),), axioms=(),
        numpy=lambda np, x: np.maximum(x, 0.0), exact=lambda mp, x: max(x, 0),
        enclosure=lambda iv, x: iv.mpf([max(x.a, 0), max(x.b, 0)]),
        sympy=lambda sp, x: sp.Piecewise((x, x > 0), (0, True)),
        opt=Call("relu"), latex=Call("relu"), torch=Call("torch.relu"), c=Inline("return a < 0 ? (T)0 : a;"),
        triton=Template("tl.where({0} < 0, 0.0, {0})"),
    ),
    Operation(
        name="floor", kind="number", type=t.entrywise, means="the largest whole number below",
        definition=PRIMITIVE, derivative=("0",), degree=PLAIN, parity=absent("floor(-x) is -ceil(x)"),
        smooth="steps", monotone="nondecreasing", range="(-∞, ∞)", domain=EVERYWHERE, known=STEPS,
        axioms=(Axiom("floor(x) <= x and x < floor(x) + 1", "definition"),),
        numpy=lambda np, x: np.floor(x), exact=lambda mp, x: mp.floor(x),
        enclosure=lambda iv, x: iv.mpf([_floor(x.a), _floor(x.b)]), sympy=lambda sp, x: sp.floor(x),
        opt=Call("floor"), latex=Around(r"\lfloor ", r"\rfloor "), torch=Call("torch.floor"), c=Call("floor"),
        triton=Call("tl.floor"),
    ),
    Operation(
        name="ceil", kind="number", type=t.entrywise, means="the smallest whole number above",
        definition="-floor(-x)", derivative=("0",), degree=PLAIN, parity=absent("ceil(-x) is -floor(x)"),
        smooth="steps", monotone="nondecreasing", range="(-∞, ∞)", domain=EVERYWHERE, known=STEPS, axioms=(),
        numpy=lambda np, x: np.ceil(x), exact=lambda mp, x: mp.ceil(x),
        enclosure=lambda iv, x: iv.mpf([-_floor(-x.a), -_floor(-x.b)]), sympy=lambda sp, x: sp.ceiling(x),
        opt=Call("ceil"), latex=Around(r"\lceil ", r"\rceil "), torch=Call("torch.ceil"), c=Call("ceil"),
        triton=Call("tl.ceil"),
    ),
    Operation(
        name="stop", kind="control", type=t.same, means="the value, which derivatives take for a constant",
        definition=absent("it is its argument, but for derivatives"), derivative=absent("nothing passes it"),
        degree=SAME, parity="odd",
        smooth=absent("derivatives take it for a constant"), monotone="increasing", range="(-∞, ∞)", domain=EVERYWHERE,
        known=(("0", "0"),),
        axioms=NATIVE, numpy=_number, exact=_number, enclosure=_number, sympy=_number,
        opt=Call("stop"), latex=Call("stop"), torch=Form("x.detach()"), c=Form("x"), triton=Form("x"),
    ),
    Operation(
        name="cast", kind="control", type=t.same, attributes=Cast, means="the value, to be kept in another format",
        definition=absent("it is its argument, but for rounding"), derivative=("1",), degree=SAME, parity="odd",
        smooth="steps", monotone="increasing", range="(-∞, ∞)", domain=EVERYWHERE, known=(("0", "0"),), axioms=NATIVE,
        numpy=_number, exact=_number, enclosure=_number, sympy=_number,
        opt=Form("bf16(x)"), latex=Form("bf16(x)"), torch=Form("x"), c=absent("states are cast where they are stored"),
        triton=absent("states are cast where they are stored"),
    ),
)  # fmt: skip


def _floor(end: Any) -> Any:
    """⌊x⌋ of an end of an interval, which is a number with an exact binary value."""
    from mpmath import mp

    return mp.floor(mp.make_mpf(end._mpi_[0]))


# ---- two arguments ---------------------------------------------------------------------------------------------------

_pair: dict[str, Any] = {
    "kind": "number", "arity": 2, "type": t.entrywise, "definition": PRIMITIVE, "parity": PAIR, "smooth": "smooth",
    "monotone": PAIR,
    "range": "(-∞, ∞)", "domain": EVERYWHERE, "known": PAIR, "axioms": NATIVE,
}  # fmt: skip


def _two(**columns: Any) -> Operation:
    return Operation(**{**_pair, **columns})


TWO = (
    _two(
        name="add", means="the sum", derivative=("1", "1"), degree=ALIKE,
        numpy=lambda np, x, y: np.add(x, y), exact=lambda mp, x, y: x + y, enclosure=lambda iv, x, y: x + y,
        sympy=lambda sp, x, y: x + y, opt=Infix(" + ", "sum"), latex=Infix(" + ", "sum"), torch=Infix("+", "sum"),
        c=Infix(" + ", "sum"), triton=Infix(" + ", "sum"),
    ),
    _two(
        name="sub", means="the difference", derivative=("1", "-1"), degree=ALIKE,
        numpy=lambda np, x, y: np.subtract(x, y), exact=lambda mp, x, y: x - y, enclosure=lambda iv, x, y: x - y,
        sympy=lambda sp, x, y: x - y, opt=Infix(" - ", "sum"), latex=Infix(" - ", "sum"), torch=Infix("-", "sum"),
        c=Infix(" - ", "sum"), triton=Infix(" - ", "sum"),
    ),
    _two(
        name="mul", means="the product, entry by entry", derivative=("y", "x"), degree=Powers(("1", "1")),
        numpy=lambda np, x, y: np.multiply(x, y), exact=lambda mp, x, y: x * y, enclosure=lambda iv, x, y: x * y,
        sympy=lambda sp, x, y: x * y, opt=Infix("*", "product"), latex=Form(r"x \odot y"),
        torch=Infix("*", "product"), c=Infix("*", "product"), triton=Infix(" * ", "product"),
    ),
    _two(
        name="div", type=t.real, means="the quotient", derivative=("1/y", "-(x/y^2)"), degree=Powers(("1", "-1")),
        domain="y != 0",
        numpy=lambda np, x, y: np.divide(x, y), exact=lambda mp, x, y: x / y,
        enclosure=lambda iv, x, y: None if y.a <= 0 <= y.b else x / y,
        sympy=lambda sp, x, y: x / y if y != 0 else sp.nan,
        opt=Infix("/", "product"), latex=Form(r"\frac{x}{y}"), torch=Infix("/", "product"),
        c=Infix("/", "product"), triton=Form("tl.div_rn(x, y)"),
    ),
    _two(
        name="pow", type=t.real, means="x to the power y, entry by entry; 0^0 is 1", degree=EXPONENT,
        derivative=(
            "0 if y == 0 else y*x^(y - 1)",
            "0 if x == 0 and y >= 0 else x^y*log(x)",
        ),
        domain="x > 0 or (x >= 0 and y >= 0) or (y == floor(y) and x != 0)",
        axioms=(
            Axiom("x^y != 0", "a product of such", given="x != 0"),
            Axiom("x^y >= 0", "a limit of roots of powers", given="x >= 0"),
            Axiom("x^y > 0", "a limit of roots of powers", given="x > 0"),
            Axiom("x^y <= x", "powers of what is below 1 fall", given="x >= 0 and x <= 1 and y >= 1"),
            Axiom("x^y < 1", "powers of what is below 1 fall", given="x >= 0 and x < 1 and y > 0"),
            Axiom("x^y >= x", "powers of what is above 1 rise", given="x >= 1 and y >= 1"),
            Axiom("x^y == x", "definition", given="x >= 0 and y == 1"),
            Axiom("x^y == 1", "definition", given="x > 0 and y == 0"),
            Axiom("x^y == 0", "definition", given="x == 0 and y > 0"),
            Axiom("x^y == 1", "definition", given="x == 1"),
            Axiom("x^y <= 1 + y*(x - 1)", "Bernoulli's inequality", given="x >= 0 and y >= 0 and y <= 1"),
            Axiom("x^y >= 1 + y*(x - 1)", "Bernoulli's inequality", given="x >= 0 and y >= 1"),
            Axiom("x^y >= 1 + y*(x - 1)", "Bernoulli's inequality", given="x > 0 and y <= 0"),
            Axiom("x^z <= y^z", "it rises with the base", given="x >= 0 and x <= y and z > 0"),
            Axiom("x^z < y^z", "it rises with the base", given="x >= 0 and x < y and z > 0"),
            Axiom("x^z*y <= y^z*(y + z*(x - y))", CONCAVE, given="x > 0 and y > 0 and z >= 0 and z <= 1"),
            Axiom("x^z*y >= y^z*(y + z*(x - y))", CONVEX, given="x > 0 and y > 0 and not (z >= 0 and z <= 1)"),
            Axiom("x^z*y >= y^z*x", CHORD, given="x > 0 and x <= y and z >= 0 and z <= 1"),
            Axiom("x^z*y <= y^z*x", CHORD, given="x > 0 and x <= y and z >= 1"),
            Axiom("x^y <= x^z", "it rises with the exponent", given="x >= 1 and y <= z"),
            Axiom("x^y >= x^z", "it falls with the exponent", given="x > 0 and x <= 1 and y <= z"),
        ),
        numpy=lambda np, x, y: _power(np, x, y), exact=lambda mp, x, y: mp.power(x, y),
        enclosure=lambda iv, x, y: iv.exp(y * iv.log(x)) if x.a > 0 else None, sympy=lambda sp, x, y: x**y,
        opt=Form("x^y"), latex=Form("{x}^{y}"), torch=Form("x**y"), c=Form("pow(x, y)"),
        triton=Form("tl.exp2(y * tl.log2(x))"),
    ),
    _two(
        name="mod", smooth="steps", means="the rest of a division, with the sign of the divisor", degree=ALIKE,
        definition="x - y*floor(x/y)", derivative=("1", "-floor(x/y)"), domain="y != 0", axioms=(),
        numpy=lambda np, x, y: np.mod(x, y), exact=lambda mp, x, y: x - y * mp.floor(x / y), enclosure=PARTS,
        sympy=lambda sp, x, y: x - sp.floor(x / y) * y,
        opt=absent("`every` and rules on lists make it"), latex=absent("it is not written by users"),
        torch=Infix("%", "product"), c=Inline("return a - floor##F(a/b)*b;"),
        triton=Template("{a} - tl.floor({a} / {b}) * {b}", atom=False),
    ),
    _two(
        name="min", smooth="kinks", means="the smaller one", definition="0.5*(x + y - abs(x - y))", degree=ALIKE,
        axioms=(),
        derivative=("1 if x < y else 0.5 if x == y else 0", "1 if y < x else 0.5 if x == y else 0"),
        numpy=lambda np, x, y: np.minimum(x, y), exact=lambda mp, x, y: min(x, y),
        enclosure=lambda iv, x, y: iv.mpf([min(x.a, y.a), min(x.b, y.b)]),
        sympy=lambda sp, x, y: sp.Piecewise((x, x <= y), (y, True)),
        opt=Call("min", 1, None, frozenset({"over", "per"})), latex=Call(r"\min"), torch=Call("torch.minimum"),
        c=Inline("T c = a < b ? a : b; return a != a ? a : c;"),
        triton=Template("tl.minimum({0}, {1}, tl.PropagateNan.ALL)"),
    ),
    _two(
        name="max", smooth="kinks", means="the larger one", definition="0.5*(x + y + abs(x - y))", degree=ALIKE,
        axioms=(),
        derivative=("1 if x > y else 0.5 if x == y else 0", "1 if y > x else 0.5 if x == y else 0"),
        numpy=lambda np, x, y: np.maximum(x, y), exact=lambda mp, x, y: max(x, y),
        enclosure=lambda iv, x, y: iv.mpf([max(x.a, y.a), max(x.b, y.b)]),
        sympy=lambda sp, x, y: sp.Piecewise((x, x >= y), (y, True)),
        opt=Call("max", 1, None, frozenset({"over", "per"})), latex=Call(r"\max"), torch=Call("torch.maximum"),
        c=Inline("T c = a > b ? a : b; return a != a ? a : c;"),
        triton=Template("tl.maximum({0}, {1}, tl.PropagateNan.ALL)"),
    ),
)  # fmt: skip


def _power(np: Any, x: Any, y: Any) -> Any:
    return np.square(x) if np.ndim(y) == 0 and y == 2 else np.power(np.asarray(x) * 1.0, y)


# ---- order and logic -------------------------------------------------------------------------------------------------


def _compared(name: str, means: str, latex: str, sign: str, numpy: str, sympy: str, holds: Any) -> Operation:
    infix = Infix(f" {sign} ", "compare")
    return Operation(
        name=name, kind="truth", arity=2, type=t.truth, means=means,
        definition=PRIMITIVE, derivative=("0", "0"), degree=COMPARED, parity=TRUTH, smooth="steps", monotone=TRUTH,
        range="[0, 1]",
        domain=EVERYWHERE, known=PAIR, axioms=NATIVE,
        numpy=lambda np, x, y: getattr(np, numpy)(x, y), exact=lambda mp, x, y: holds(x, y),
        enclosure=absent("intervals that overlap are not told apart: prove/worlds/numbers"),
        sympy=lambda sp, x, y: getattr(sp, sympy)(x, y),
        opt=infix, latex=Infix(latex, "compare"), torch=infix, c=infix, triton=infix,
    )  # fmt: skip


RELATIONS = (
    _compared("lt", "less", "<", "<", "less", "Lt", lambda x, y: x < y),
    _compared("le", "at most", r"\leq", "<=", "less_equal", "Le", lambda x, y: x <= y),
    _compared("gt", "greater", ">", ">", "greater", "Gt", lambda x, y: x > y),
    _compared("ge", "at least", r"\geq", ">=", "greater_equal", "Ge", lambda x, y: x >= y),
    _compared("eq", "equal", "=", "==", "equal", "Eq", lambda x, y: x == y),
    _compared("ne", "not equal", r"\neq", "!=", "not_equal", "Ne", lambda x, y: x != y),
)

_logic: dict[str, Any] = {
    "kind": "truth", "arity": 2, "type": t.truth, "definition": PRIMITIVE, "derivative": ("0", "0"), "degree": LOST,
    "parity": TRUTH, "smooth": "steps", "monotone": TRUTH, "range": "[0, 1]", "domain": EVERYWHERE, "known": PAIR,
    "axioms": NATIVE,
    "enclosure": absent("of truth values: prove/worlds/operations"),
}  # fmt: skip


def _connective(**columns: Any) -> Operation:
    return Operation(**{**_logic, **columns})


LOGIC = (
    _connective(
        name="and", means="both", numpy=lambda np, x, y: np.logical_and(x, y), exact=lambda mp, x, y: bool(x and y),
        sympy=lambda sp, x, y: sp.And(x, y), opt=Infix(" and ", "and"), latex=Infix(r"\text{ and }", "and"),
        torch=Infix("&", "and"), c=Infix(" & ", "and"), triton=Infix(" & ", "and"),
    ),
    _connective(
        name="or", means="one at least", numpy=lambda np, x, y: np.logical_or(x, y),
        exact=lambda mp, x, y: bool(x or y), sympy=lambda sp, x, y: sp.Or(x, y), opt=Infix(" or ", "or"),
        latex=Infix(r"\text{ or }", "or"), torch=Infix("|", "or"), c=Infix(" | ", "or"), triton=Infix(" | ", "or"),
    ),
    replace(
        _connective(
            name="not", means="the opposite", numpy=lambda np, x: np.logical_not(x), exact=lambda mp, x: not x,
            sympy=lambda sp, x: sp.Not(x), opt=Form("not x"), latex=Form(r"\neg x"), torch=Form("~x"), c=Form("!x"),
            triton=Form("x == 0"),
        ),
        arity=1, derivative=("0",), known=TRUTH,
    ),
    Operation(
        name="select", kind="control", arity=3, type=t.chosen, means="y where x holds, else z",
        definition=PRIMITIVE, derivative=("0", "1 if x else 0", "0 if x else 1"),
        degree=absent("of the two values alike: the condition has none"), parity=PAIR, smooth="steps", monotone=PAIR,
        range="(-∞, ∞)",
        domain=EVERYWHERE, known=PAIR, axioms=NATIVE,
        numpy=lambda np, x, y, z: np.where(x, y, z), exact=lambda mp, x, y, z: y if x else z,
        enclosure=absent("of the branch that is taken: prove/worlds/operations"),
        sympy=lambda sp, x, y, z: sp.Piecewise((y, x), (z, True)),
        opt=Form("y if x else z"), latex=Form(r"y \text{ if } x"), torch=Call("torch.where", 3, 3),
        c=Form("x ? y : z"), triton=Template("tl.where({0}, {1}, {2})"),
    ),
)  # fmt: skip

ARITHMETIC_ROWS = (*ONE, *TWO, *RELATIONS, *LOGIC)
