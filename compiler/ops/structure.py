"""Leaves, loops, sets and lists, and what the user gives: objectives, operators, functions, the base of a transform."""

from __future__ import annotations

from typing import Any

from dotopt.compiler.ops import attributes as a
from dotopt.compiler.ops import typing as t
from dotopt.compiler.ops.row import COMPARED, LOST, SAME, Call, Form, Infix, Kind, Operation, absent
from dotopt.compiler.ops.types import BOOL, Type

GIVEN = absent("it stands for what is given")
CONTROL = absent("it says what is computed, not how")
HOST = absent("of values of the host, not of numbers: evaluate")
USER = absent("the user computes it")
PROVER = absent("the prover reads its body: prove")
NO_SPELLING = absent("it has no word of its own: statements make it")
NO_KERNEL = absent("no kernel has it: such a rule runs on torch")
EMITTER = absent("its emitter writes statements for it: emit")


def _row(kind: Kind, name: str, means: str, type: t.TypeRule, reason: Any, **columns: Any) -> Operation:
    """A row without the columns of functions of numbers, for `reason`."""
    facts = ("definition", "derivative", "degree", "parity", "smooth", "monotone", "range", "domain", "known", "axioms")
    blank = dict.fromkeys(facts, reason)
    meanings = dict.fromkeys(("numpy", "exact", "enclosure", "sympy"), reason)
    words = {"opt": NO_SPELLING, "latex": NO_SPELLING, "torch": EMITTER, "c": NO_KERNEL, "triton": NO_KERNEL}
    head = {"kind": kind, "name": name, "means": means, "type": type}
    return Operation(**{**head, **blank, **meanings, **words, **columns})


CONTROL_ROWS = (
    _row(
        "constant", "leaf", "a name: a parameter, a state, a hyperparameter, an input, the time, …", t.given, GIVEN,
        arity=None, attributes=a.Leaf, opt=Form("x"), latex=Form("x_{t}"), torch=Form("x"), c=Form("x[i]"),
        triton=Form("x"),
    ),
    _row("control", "loop", "passes: `iterate … repeat N`", t.variables, CONTROL, arity=None, attributes=a.Looped),
    _row("control", "item", "one of the results of a loop, or of a tuple", t.member, CONTROL, arity=None,
         attributes=a.Member),
    _row("control", "fold", "a reduction over an index: `sum(… for i in S)`", t.folded, CONTROL, arity=None,
         attributes=a.Folded, latex=Form(r"\sum_{i \in S} x")),
    _row("control", "tuple", "several values", t.together, CONTROL, arity=None, opt=Form("(x, y)")),
    _row("control", "window", "a reduction over the values of the last steps", t.same, CONTROL, arity=2,
         attributes=a.Window, degree=SAME, opt=Form("sum(x over last C)")),
    _row("control", "fires", "whether `every C from a` fires in this step", t.constant(BOOL), CONTROL, arity=2,
         derivative=("0", "0"), degree=LOST, range="[0, 1]", opt=Form("every C from a"), c=Form("t >= a & …"),
         triton=Form("t >= a & …")),
    _row("control", "attention", "causal softmax attention over the tokens so far", t.last, CONTROL, arity=None,
         attributes=a.Attention, opt=Call("attention", 3, 3, frozenset({"bias", "strict", "window"})),
         latex=Call("attention"), torch=Call("attend", 3, 3)),
)  # fmt: skip

LISTS = (
    _row("list", "set", "a set of numbers", t.constant(Type("set")), HOST, arity=None, opt=Form("{x, y}")),
    _row("list", "range", "the whole numbers from x to y", t.constant(Type("set")), HOST, arity=2,
         opt=Infix("..", "range"), latex=Form(r"\{x, \ldots, y\}")),
    _row("list", "contains", "whether y is in x", t.constant(BOOL), HOST, arity=2, derivative=("0", "0"),
         degree=COMPARED, range="[0, 1]", opt=Form("y in x"), latex=Form(r"y \in x")),
    _row("list", "element", "the entry of a vector, or the member of a family, at an index", t.element, HOST, arity=2,
         opt=Form("x[i]"), latex=Form("x_{i}")),
    _row("list", "indicator", "the vector that is 1 on a set of places", t.given, HOST, attributes=a.Typed,
         derivative=("0",), degree=LOST, range="[0, 1]", opt=Call("indicator"), latex=Call("indicator")),
    _row("list", "host", "a function on lists: append, suffix, occurs, top", t.given, HOST, arity=None,
         attributes=a.Word, opt=Form("append(x, y)")),
)  # fmt: skip

ORACLES = (
    _row("oracle", "oracle", "what an objective or operator answers: value, gradient, Hessian times vector, …", t.given,
         USER, arity=None, attributes=a.Asked, opt=Form("∇f(x)"), latex=Form(r"\nabla f(x)")),
    _row("oracle", "apply", "a function of the user at a point, or its derivative", t.given, USER, arity=None,
         attributes=a.Applied, opt=Form("K(x)"), latex=Form("K(x)")),
    _row("oracle", "conjugate", "the conjugate of a convex function, or its gradient", t.given, PROVER, arity=None,
         attributes=a.Conjugated, opt=Form("K^*(x)"), latex=Form("K^{*}(x)")),
    _row("oracle", "jvp", "the derivative of a function along a direction", t.given, USER, arity=None,
         attributes=a.Typed, opt=Call("jvp", 3, 3)),
    _row("oracle", "argmin", "the minimiser of an inner problem", t.given, PROVER, arity=None, attributes=a.Solved,
         opt=Call("argmin", keywords=frozenset({"from", "tol", "most", "by"})), latex=Call("argmin")),
    _row("oracle", "root", "the root of an inner problem", t.given, PROVER, arity=None, attributes=a.Solved,
         opt=Call("root", keywords=frozenset({"from", "tol", "most", "by"})), latex=Call("root")),
    _row("oracle", "cg", "the solution of a linear system by conjugate gradients", t.given, PROVER, arity=None,
         attributes=a.Products),
    _row("oracle", "base", "the step of the base rule of a transform", t.given, USER, arity=None, attributes=a.Base,
         opt=Form("B(θ, g)")),
    _row("oracle", "base_member", "a hyperparameter of the base rule of a transform", t.given, USER, arity=0,
         attributes=a.Word, opt=Form("B.lr")),
    _row("oracle", "claim", "a word that only claims know: ddt, expect, run, O, jacobian, …", t.given, PROVER,
         arity=None, attributes=a.Word, opt=Form("ddt(x)")),
)  # fmt: skip
