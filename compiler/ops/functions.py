"""Functions of one real number, entry by entry: exp, log, the trigonometric ones, what networks use between layers."""

from __future__ import annotations

import math
from typing import Any

from dotopt.compiler.ops import bodies
from dotopt.compiler.ops import typing as t
from dotopt.compiler.ops.row import (
    ENDS,
    PARTS,
    PLAIN,
    Axiom,
    Call,
    Form,
    Inline,
    Operation,
    Powers,
    Template,
    absent,
)

EVERYWHERE = "true"
PRIMITIVE = absent("it is not made of other operations")
TANGENT = "the graph lies on one side of its tangent at 0"


def _erf(np: Any, x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[float])(np.asarray(x, dtype=float))


def _sigmoid(np: Any, x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1 / (1 + e), e / (1 + e))


FUNCTIONS = (
    Operation(
        name="sqrt", kind="number", type=t.real, means="the root that is not negative, also written `√x`",
        definition=PRIMITIVE, derivative=("0.5/sqrt(x)",), degree=Powers(("1/2",)),
        parity=absent("it has no value for negative numbers"), smooth="roots", monotone="increasing", range="[0, ∞)",
        domain="x >= 0",
        known=(("0", "0"), ("1", "1")),
        axioms=(Axiom("sqrt(x)*sqrt(x) == x", "definition", given="x >= 0"),),
        numpy=lambda np, x: np.sqrt(x), exact=lambda mp, x: mp.sqrt(x), enclosure=ENDS,
        sympy=lambda sp, x: sp.sqrt(x),
        opt=Call("sqrt"), latex=Form(r"\sqrt{x}"), torch=Call("torch.sqrt"), c=Call("sqrt"),
        triton=Form("tl.sqrt_rn(x)"),
    ),
    Operation(
        name="exp", kind="number", type=t.real, means="e to the power x",
        definition=PRIMITIVE, derivative=("exp(x)",), degree=PLAIN,
        parity=absent("exp(-x) is 1/exp(x)"), smooth="smooth", monotone="increasing", range="(0, ∞)", domain=EVERYWHERE,
        known=(("0", "1"),),
        axioms=(
            Axiom("exp(x) == 1", "definition of a power", given="x == 0"),
            Axiom("exp(x) > 1 + x", TANGENT, given="x != 0"),
            Axiom("exp(x)*(1 - x) < 1", "the tangent of exp(-x)", given="x < 1 and x != 0"),
            Axiom("exp(x) >= exp(y)*(1 + x - y)", "convexity: the graph lies above its tangent at y"),
        ),
        numpy=lambda np, x: np.exp(x), exact=lambda mp, x: mp.exp(x), enclosure=ENDS, sympy=lambda sp, x: sp.exp(x),
        opt=Call("exp"), latex=Call(r"\exp"), torch=Call("torch.exp"), c=Form("exp_(x)"), triton=Call("tl.exp"),
    ),
    Operation(
        name="log", kind="number", type=t.real, means="the natural logarithm",
        definition=PRIMITIVE, derivative=("1/x",), degree=PLAIN,
        parity=absent("it has no value for negative numbers"), smooth="smooth", monotone="increasing", range="(-∞, ∞)",
        domain="x > 0",
        known=(("1", "0"),),
        axioms=(
            Axiom("log(x) == 0", "definition of e^0", given="x == 1"),
            Axiom("log(x) < x - 1 and log(x)*x > x - 1", "the tangent at 1, and that of -log(1/x)", "x > 0 and x != 1"),
            Axiom("(x < exp(y)) == (log(x) < y) and (x > exp(y)) == (log(x) > y)", "log undoes exp", given="x > 0"),
        ),
        numpy=lambda np, x: np.log(x), exact=lambda mp, x: mp.log(x), enclosure=ENDS, sympy=lambda sp, x: sp.log(x),
        opt=Call("log"), latex=Call(r"\log"), torch=Call("torch.log"), c=Call("log"), triton=Call("tl.log"),
    ),
    Operation(
        name="sin", kind="number", type=t.real, means="the sine of an angle in radians",
        definition=PRIMITIVE, derivative=("cos(x)",), degree=PLAIN, parity="odd",
        smooth="smooth", monotone=absent("it rises and falls"), range="[-1, 1]", domain=EVERYWHERE, known=(("0", "0"),),
        axioms=(Axiom("sin(x) <= abs(x) and sin(x) >= -abs(x)", "an arc is no shorter than its chord"),),
        numpy=lambda np, x: np.sin(x), exact=lambda mp, x: mp.sin(x), enclosure=lambda iv, x: iv.sin(x),
        sympy=lambda sp, x: sp.sin(x),
        opt=Call("sin"), latex=Call(r"\sin"), torch=Call("torch.sin"), c=Call("sin"), triton=Call("tl.sin"),
    ),
    Operation(
        name="cos", kind="number", type=t.real, means="the cosine of an angle in radians",
        definition=PRIMITIVE, derivative=("-sin(x)",), degree=PLAIN, parity="even",
        smooth="smooth", monotone=absent("it rises and falls"), range="[-1, 1]", domain=EVERYWHERE, known=(("0", "1"),),
        axioms=(Axiom("2*cos(x) >= 2 - x*x", "twice integrated: sin(x) <= x for x >= 0"),),
        numpy=lambda np, x: np.cos(x), exact=lambda mp, x: mp.cos(x), enclosure=lambda iv, x: iv.cos(x),
        sympy=lambda sp, x: sp.cos(x),
        opt=Call("cos"), latex=Call(r"\cos"), torch=Call("torch.cos"), c=Call("cos"), triton=Call("tl.cos"),
    ),
    Operation(
        name="tan", kind="number", type=t.real, means="the tangent of an angle in radians",
        definition="sin(x)/cos(x)", derivative=("1 + tan(x)^2",), degree=PLAIN, parity="odd",
        smooth="smooth", monotone=absent("it rises between its poles only"), range="(-∞, ∞)", domain="cos(x) != 0",
        known=(("0", "0"),), axioms=(),
        numpy=lambda np, x: np.tan(x), exact=lambda mp, x: mp.tan(x), enclosure=PARTS,
        sympy=lambda sp, x: sp.tan(x),
        opt=Call("tan"), latex=Call(r"\tan"), torch=Call("torch.tan"), c=Call("tan"),
        triton=Template("tl.sin({0}) / tl.cos({0})", atom=False),
    ),
    Operation(
        name="acos", kind="number", type=t.real, means="the angle from 0 to π with this cosine",
        definition=PRIMITIVE, derivative=("-(1/sqrt(1 - x^2))",), degree=PLAIN,
        parity=absent("acos(-x) is π - acos(x)"), smooth="roots", monotone="decreasing", range="[0, π]",
        domain="abs(x) <= 1",
        known=(("1", "0"), ("0", "π/2"), ("-1", "π")),
        axioms=(
            Axiom("acos(x) == 0", "cos(0) is 1", given="x == 1"),
            Axiom("acos(x) <= 0.5*π - x", "an arc is no shorter than its chord", given="0 <= x and x <= 1"),
            Axiom("acos(x) >= 0.5*π - x", "an arc is no shorter than its chord", given="-1 <= x and x <= 0"),
            Axiom("acos(x) >= 0.5*π*(1 - x)", "concave for x >= 0: above its chord", given="0 <= x and x <= 1"),
            Axiom("acos(x) <= 0.5*π*(1 - x)", "convex for x <= 0: below its chord", given="-1 <= x and x <= 0"),
        ),
        numpy=lambda np, x: np.arccos(x), exact=lambda mp, x: mp.acos(x), enclosure=ENDS,
        sympy=lambda sp, x: sp.acos(x),
        opt=Call("acos"), latex=Call("arccos"), torch=Call("torch.acos"), c=Call("acos"),
        triton=Inline(bodies.ACOS),
    ),
    Operation(
        name="tanh", kind="number", type=t.real, means="the hyperbolic tangent",
        definition="1 - 2/(1 + exp(2*x))", derivative=("1 - tanh(x)^2",), degree=PLAIN, parity="odd",
        smooth="smooth", monotone="increasing", range="(-1, 1)", domain=EVERYWHERE, known=(("0", "0"),),
        axioms=(
            Axiom("tanh(x) == 0", "it is odd", given="x == 0"),
            Axiom("tanh(x) > 0 and tanh(x) < x", TANGENT, given="x > 0"),
            Axiom("tanh(x) < 0 and tanh(x) > x", TANGENT, given="x < 0"),
        ),
        numpy=lambda np, x: np.tanh(x), exact=lambda mp, x: mp.tanh(x), enclosure=ENDS,
        sympy=lambda sp, x: sp.tanh(x),
        opt=Call("tanh"), latex=Call(r"\tanh"), torch=Call("torch.tanh"), c=Call("tanh"), triton=Inline(bodies.TANH),
    ),
    Operation(
        name="atanh", kind="number", type=t.real, means="the number with this hyperbolic tangent",
        definition="0.5*log((1 + x)/(1 - x))", derivative=("1/(1 - x^2)",), degree=PLAIN, parity="odd",
        smooth="smooth", monotone="increasing", range="(-∞, ∞)", domain="abs(x) < 1", known=(("0", "0"),),
        axioms=(
            Axiom("atanh(x) >= x", TANGENT, given="0 <= x and x < 1"),
            Axiom("atanh(x) <= x", TANGENT, given="-1 < x and x <= 0"),
        ),
        numpy=lambda np, x: np.arctanh(x), exact=lambda mp, x: mp.atanh(x), enclosure=ENDS,
        sympy=lambda sp, x: sp.atanh(x),
        opt=Call("atanh"), latex=Call("artanh"), torch=Call("torch.atanh"), c=Call("atanh"),
        triton=Inline(bodies.ATANH),
    ),
    Operation(
        name="erf", kind="number", type=t.real, means="the error function, 2/√π times the integral of exp(-s²) from 0",
        definition=PRIMITIVE, derivative=("2*exp(-x^2)/sqrt(π)",), degree=PLAIN, parity="odd",
        smooth="smooth", monotone="increasing", range="(-1, 1)", domain=EVERYWHERE, known=(("0", "0"),),
        axioms=(
            Axiom("erf(x) == 0", "it is odd", given="x == 0"),
            Axiom("erf(x) > 0 and erf(x) < 1.12838*x", "the slope is at most 2/√π", given="x > 0"),
            Axiom("erf(x) < 0 and erf(x) > 1.12838*x", "the slope is at most 2/√π", given="x < 0"),
        ),
        numpy=_erf, exact=lambda mp, x: mp.erf(x), enclosure=ENDS, sympy=lambda sp, x: sp.erf(x),
        opt=Call("erf"), latex=Call("erf"), torch=Call("torch.erf"), c=Call("erf"), triton=Call("tl.erf"),
    ),
    Operation(
        name="sigmoid", kind="number", type=t.real, means="the logistic function",
        definition="1/(1 + 1/exp(x))", derivative=("sigmoid(x)*(1 - sigmoid(x))",), degree=PLAIN,
        parity=absent("sigmoid(-x) is 1 - sigmoid(x)"), smooth="smooth", monotone="increasing", range="(0, 1)",
        domain=EVERYWHERE,
        known=(("0", "1/2"),), axioms=(),
        numpy=_sigmoid, exact=lambda mp, x: 1 / (1 + mp.exp(-x)), enclosure=ENDS,
        sympy=lambda sp, x: 1 / (1 + sp.exp(-x)),
        opt=Call("sigmoid"), latex=Call(r"\sigma"), torch=Call("torch.sigmoid"),
        c=Inline("return 1/(1 + exp##F(-a));"), triton=Call("tl.sigmoid"),
    ),
    Operation(
        name="softplus", kind="number", type=t.real, means="a smooth `relu`: log(1 + exp(x)), where nothing overflows",
        definition="log(1 + exp(x))", derivative=("sigmoid(x)",), degree=PLAIN,
        parity=absent("softplus(x) - softplus(-x) is x"), smooth="smooth", monotone="increasing", range="(0, ∞)",
        domain=EVERYWHERE,
        known=absent("no rational number has a rational value"), axioms=(),
        numpy=lambda np, x: np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))),
        exact=lambda mp, x: mp.log1p(mp.exp(-abs(x))) + max(x, 0), enclosure=ENDS,
        sympy=lambda sp, x: sp.Piecewise((x, x > 0), (0, True)) + sp.log(1 + sp.exp(-sp.Abs(x))),
        opt=Call("softplus"), latex=Call("softplus"),
        torch=Template("torch.nn.functional.softplus({0}, threshold=40)"),  # beyond it the rest is below 2^-53
        c=Inline("return (a < 0 ? (T)0 : a) + log1p##F(exp##F(-fabs##F(a)));"), triton=Inline(bodies.SOFTPLUS),
    ),
    Operation(
        name="gelu", kind="number", type=t.real, means="x times the normal distribution function, the exact one",
        definition="0.5*x*(1 + erf(x*sqrt(0.5)))",
        derivative=("0.5*(1 + erf(x/sqrt(2))) + x*(exp(-x^2/2)/sqrt(2*π))",), degree=PLAIN,
        parity=absent("gelu(x) - gelu(-x) is x"), smooth="smooth",
        monotone=absent("it falls to its least value, near -0.75"),
        range="[-0.17, ∞)", domain=EVERYWHERE, known=(("0", "0"),), axioms=(),
        numpy=lambda np, x: x * 0.5 * (1 + _erf(np, x / np.sqrt(2.0))), exact=lambda mp, x: x * mp.ncdf(x),
        enclosure=PARTS,
        sympy=lambda sp, x: x * (1 + sp.erf(x / sp.sqrt(2))) / 2,
        opt=Call("gelu"), latex=Call("gelu"), torch=Call("torch.nn.functional.gelu"),
        c=Inline("return a*(T)0.5*(1 + erf##F(a*(T)0.70710678118654752440));"),
        triton=Template("0.5 * {a} * (1.0 + tl.erf({a} * 0.7071067811865476))", atom=False),
    ),
)  # fmt: skip

