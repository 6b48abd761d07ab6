"""How far one step goes, whatever the gradients were: a bound that is found in the equations, and proved as claims.

    signs           |x' - x| <= η, with decay <= η*(1 + λ*|x|)
    quotients       a running mean over the root of one that dominates it (`dominated`)
    Newton-Schulz   an odd polynomial that keeps the singular values within [-b, b]: the largest one of the step

`bound` asks the caller to prove each sentence; that passes act on singular values alone is shown by types.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce

import numpy as np
import sympy

from dotopt.compiler.analysis.ranges import number_at
from dotopt.compiler.ir import Loop, Node, Program, leaf, node, number, substitute
from dotopt.compiler.ir.print import decimal, infix
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.derivations import closed_form
from dotopt.compiler.prove.derivations.dominated import Dominated, Knobs, dominated, named
from dotopt.compiler.prove.derivations.guards import guards
from dotopt.compiler.prove.derivations.largest_step import interior
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.normal import Unsupported, atoms_below
from dotopt.compiler.prove.forms.polynomial import Polynomial, single
from dotopt.compiler.prove.fuel import within
from dotopt.compiler.prove.procedures.coordinates import both_sides
from dotopt.compiler.prove.procedures.equivariance import kept
from dotopt.compiler.prove.procedures.sentences import outermost
from dotopt.compiler.prove.procedures.task import Task

WORK = 300_000  # for the normal forms of a quotient
LONGEST = 300  # characters of a bound that anyone would read
Proves = Callable[[str], bool]  # whether the engine proves a claim with these lines


@dataclass(frozen=True)
class Bound:
    """The sentence, the conditions on knobs under which it holds, and what its letters stand for."""

    text: str
    where: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def bound(program: Program, proves: Proves) -> Bound | None:
    """The first bound that is proved.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> bound(lower(Library().file("SignSGD")), lambda claim: True).text
    "|θ' - θ| <= η"
    """
    for find in (_signs, _quotients, _iterates):
        for found, claims in find(program):
            if all(map(proves, claims)):
                return found
    return None


def _step(program: Program) -> tuple[str, Node, Node]:
    """The name of the parameter, its leaf and its next value."""
    (param,) = program.params
    return param.name, leaf("param", param.name, param.type), program.next[param.name]


def _knob(program: Program, keyword: str) -> str:
    return next((h.name for h in program.hypers if h.keyword == keyword), "")


def _signs(program: Program) -> Iterator[tuple[Bound, list[str]]]:
    name, _, step = _step(program)
    rate, decay = _knob(program, "lr"), _knob(program, "weight_decay")
    if rate and any(here.op == "sign" for here in step.walk()):
        for size in (rate, *([f"{rate}*(1 + {decay}*|{name}|)"] if decay else [])):
            said = f"|{name}' - {name}| <= {size}"
            yield Bound(said), [f"show {said}"]


# ---- quotients -------------------------------------------------------------------------------------------------------


def _quotients(program: Program) -> Iterator[tuple[Bound, list[str]]]:
    defaults = {h.name: number_at(h.default, 1, program) for h in program.hypers if h.default is not None}
    knobs = {sympy.Symbol(k): sympy.Rational(str(v)) for k, v in defaults.items() if v is not None and np.isfinite(v)}
    facts = Task(tuple(interior(program)), program).facts
    try:
        with within(WORK):
            pairs = list(dominated(program, facts, knobs))
    except (Unsupported, ArithmeticError, ValueError):
        return
    resting = [leaf("hyper", h.name, h.type) for h in program.hypers if defaults.get(h.name) == 0]
    for pair in pairs:
        with within(WORK):
            found = _quotient(program, pair, knobs, resting)
        if found is not None:
            yield found


def _quotient(program: Program, pair: Dominated, knobs: Knobs, resting: list[Node]) -> tuple[Bound, list[str]] | None:
    """The bound where the step is a multiple of the pair's numerator over its denominator."""
    name, x, step = _step(program)
    top, bottom = leaf("free", "numerator", x.type), leaf("free", "denominator", x.type)
    assert pair.by.next is not None
    step = outermost(step, {pair.numerator: top, pair.by.next: bottom})
    if any(here.op == "select" for here in step.walk()):  # another form in other steps
        return None
    normal = Task(tuple(interior(program)), program).facts.normal
    one, nothing = {bottom: number(1)}, number(0)
    at_zero = {leaf("hyper", h.name, h.type): nothing for h in guards(program)}
    try:
        off = {h for h in resting if h in set(step.walk())} if _reads_more(normal(step)) else set()
        step = substitute(step, dict.fromkeys(off, nothing))
        if _reads_more(normal(step)) or not {top, bottom} <= set(step.walk()):
            return None
        rest = closed_form.text(named(normal(substitute(step, {top: nothing, **one}))))
        size = named(normal(substitute(step, {**at_zero, x: nothing, top: number(1), **one})))
    except (Unsupported, ArithmeticError, Mismatch):
        return None
    at = size.subs(knobs)
    sign = at.subs(dict.fromkeys(at.free_symbols, 0.5))
    if not sign.is_number or sign == 0:
        return None
    where = [*([pair.where] if pair.where else []), *(f"{h.name} == 0" for h in sorted(off, key=lambda h: h.name))]
    given = "".join(f"given {condition}\n  " for condition in where)
    factor = sympy.Symbol("C") if pair.value != 1 else 1
    said = f"|{name}' - {_operand(rest)}| <= {closed_form.text(factor * size * (1 if sign > 0 else -1))}"
    if len(said) > LONGEST:
        return None
    if pair.claim:
        claims = [f"{given}show {pair.claim} for all steps"]
    else:
        always = f"{pair.by.name} >= 0"
        claims = [f"{given}show {always} for all steps", f"{given}given {always}\n  show {pair.premise}"]
    claims.append(f"{given}given {pair.premise}\n  show {said.replace('C', pair.constant, 1) if factor != 1 else said}")
    at = pair.value.subs(knobs)
    note = f"C = {pair.constant}" + (f", {float(at):.3g} at the defaults" if at.is_number else "")
    return Bound(said, tuple(where), (note,) if factor != 1 else ()), claims


def _reads_more(p: Polynomial) -> bool:
    """Whether states or answers are left."""
    inside = {b for a in p.atoms() for b in (a, *atoms_below(single(a)))}
    return any(a.kind in ("oracle", "apply") or (a.kind == "leaf" and a.key[0] == "state") for a in inside)


def _operand(text: str) -> str:
    """A value as what is subtracted."""
    return text if text.isidentifier() or " " not in re.sub(r"\([^()]*\)", "", text) else f"({text})"


# ---- Newton and Schulz -----------------------------------------------------------------------------------------------


def _iterates(program: Program) -> Iterator[tuple[Bound, list[str]]]:
    """A multiple of an orthogonalised matrix: G -> U G V goes through the passes, which act on the singular values."""
    name, x, step = _step(program)
    axes = x.type.axes[-2:]
    results = {here for here in step.walk() if here.op == "item" and here.args[0].op == "loop"}
    if len(axes) < 2 or len(results) != 1 or not kept(program, both_sides(*axes)):
        return
    (result,) = results
    body: Loop = result.args[0].attrs[0]
    facts = Task(tuple(interior(program)), program).facts
    apart = _multiple(step, result, facts)
    if len(body.variables) != 1 or apart is None or not _unit(result.args[0].args[-1], facts):
        return
    try:
        p = sympy.Poly(_of_singular_values(body.nexts[0], body.variables[0]), sympy.Symbol("z"))
    except (Unreadable, sympy.PolynomialError):
        return
    size = _most(p)
    if size is None or any(k % 2 == 0 for (k,) in p.monoms()):
        return
    rest, times = apart
    passes = " + ".join(f"({decimal(Fraction(int(c.p), int(c.q)))})*z^{k}" for (k,), c in reversed(p.terms()))
    said = f"spectral_norm({name}' - {_operand(infix(rest))}) <= {size}*{infix(times)}"
    note = f"singular values start in [0, 1], and no pass leaves [-{size}, {size}]"
    yield Bound(said, (), (note,)), [f"for all z in [0, {size}]\n  show -{size} <= {passes} <= {size}"]


def _multiple(step: Node, result: Node, facts: Facts) -> tuple[Node, Node] | None:
    """What the step is without a multiple of `result`, and the number before it, if that is never negative."""
    if step.op not in ("add", "sub") or result in set(step.args[0].walk()):
        return None
    here, factors = step.args[1], list[Node]()
    while here is not result:
        if here.op != "mul" or result not in here.args[1].walk() or not here.args[0].type.scalar:
            return None
        factors, here = [*factors, here.args[0]], here.args[1]
    times = reduce(lambda a, b: node("mul", a, b), factors or [number(1)])
    return (step.args[0], times) if facts.nonnegative(facts.normal(times)) else None


class Unreadable(Exception):
    """The pass does something else than multiply and add matrices."""


def _unit(begin: Node, facts: Facts) -> bool:
    """Whether it is a matrix divided by its Frobenius norm, or by more."""
    if begin.op != "div":
        return False
    top, below = begin.args
    parts = below.args if below.op == "add" else (below,)
    lengths = [p for p in parts if _frobenius(p) is top]
    return len(lengths) == 1 and all(facts.nonnegative(facts.normal(p)) for p in parts if p not in lengths)


def _frobenius(here: Node) -> Node | None:
    """The matrix of which it is the norm, over both axes at once or one after the other."""
    inside: Node | None = here
    while inside is not None and inside.op == "norm" and inside.attrs[2] == 2:
        inside = inside.args[0]
    return inside if inside is not here and here.type.scalar else None


def _of_singular_values(here: Node, variable: Node) -> sympy.Expr:
    """What a pass does to a singular value z of its matrix."""
    if here is variable:
        return sympy.Symbol("z")
    if here.value is not None:
        return sympy.Rational(here.value.numerator, here.value.denominator)
    args = [_of_singular_values(a, variable) for a in here.args]
    match here.op:
        case "add":
            return args[0] + args[1]
        case "sub":
            return args[0] - args[1]
        case "mul" | "matmul":
            return args[0] * args[1]
        case "neg":
            return -args[0]
        case "transpose":
            return args[0]
    raise Unreadable


def _most(p: sympy.Poly) -> str | None:
    """The least b >= 1, rounded up, with |p| <= b on [0, b]."""
    values, b = np.array([float(c) for c in p.all_coeffs()]), 1.0
    for _ in range(100):
        grid = np.linspace(0, b, 4001)
        most = float(np.abs(np.polyval(values, grid)).max())
        if most <= b:
            return decimal(Fraction(round(b * 1e4), 10**4))
        b = float(np.ceil(most * 1e4) / 1e4)
        if b > 4:
            return None
    return None


__all__ = ["Bound", "bound"]
