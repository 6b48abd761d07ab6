r"""The modified equation of a rule: the flow that its steps follow up to powers of the learning rate.

    θ⁺ - θ = h F0 + h² (F1 + …) + …      the step, momenta on their slow manifold, as a series of rooted trees
    ddt(θ) = F0 + h F1 + h² F2           its flow after time h is the same up to h³: solved order by order

The expansion is in powers of the rate at a fixed momentum, for smooth f. Rules that divide by gradients have none.

Source of the method: Hairer, Lubich, Wanner, "Geometric Numerical Integration" (2006), chapter IX.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sympy

from dotopt.compiler.ir import Node, Program, leaf, node, number, substitute
from dotopt.compiler.prove.derivations import closed_form
from dotopt.compiler.prove.derivations.conditions import Settled, settled
from dotopt.compiler.prove.derivations.late import limit
from dotopt.compiler.prove.forms.certificates import encode, inverses_of
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import ONE, ZERO, Atom, Polynomial, single, single_product
from dotopt.compiler.prove.fuel import TooLarge, within
from dotopt.compiler.prove.procedures.multipliers import as_sympy
from dotopt.compiler.prove.procedures.slow_manifold import displacement
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.procedures.trees import LEAF, POINT, Context, Series, Tree, add, after, draw, scale
from dotopt.compiler.prove.statements.intervals import inside
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Unreadable
from dotopt.grammar import spelling

WORK = 5_000_000  # of an expansion


@dataclass(frozen=True)
class ModifiedEquation:
    """`ddt(variable)` as (power of the rate, tree, coefficient), or the reason why there is none."""

    variable: str
    rate: str = ""
    terms: tuple[tuple[int, Tree, sympy.Expr], ...] = ()
    where: tuple[str, ...] = ()
    reason: str = ""
    certificate: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """The right side with g = ∇f(θ) and H = ∇²f(θ)."""
        written = ""
        for power, tree, coefficient in self.terms:
            factor = closed_form.text(coefficient * sympy.Symbol(self.rate) ** power)
            written += _term(written, factor, draw(tree).replace("θ", self.variable), "*")
        return written

    @property
    def latex(self) -> str:
        r"""The equation, `\dot\theta = …`."""
        written = ""
        for power, tree, coefficient in self.terms:
            h = spelling.latex(self.rate)
            before = "" if power == 0 else h if power == 1 else f"{h}^{power}"
            factor = closed_form.latex(coefficient)
            body = _latex_tree(tree, spelling.latex(self.variable))
            written += _term(written, factor, rf"{before}\,{body}" if before else body, r"\,")
        return rf"\dot{{{spelling.latex(self.variable)}}} = {written}"


def _term(before: str, factor: str, body: str, times: str) -> str:
    minus = factor.startswith("-")
    factor = factor.removeprefix("-")
    sign = (" - " if minus else " + ") if before else ("-" if minus else "")
    if factor == "1":
        return f"{sign}{body}"
    return f"{sign}{factor}{times}{body}"


def _latex_tree(tree: Tree, variable: str) -> str:
    if tree == POINT:
        return variable
    if tree == LEAF:
        return r"\nabla f"
    inner = [_latex_tree(child, variable) for child in tree]
    if len(tree) == 1:
        return rf"\nabla^2 f\,{inner[0]}"
    return rf"\nabla^{len(tree) + 1} f({', '.join(inner)})"


def modified_equations(program: Program, powers: int = 2) -> Iterator[ModifiedEquation]:
    """The modified equation up to the `powers`-th power of the rate, for each way in which the conditions fall.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import Static, lower
    >>> plain, _ = modified_equations(lower(Library().file("SGD"), Static(options={"nesterov": False})))
    >>> without_decay = [t for t in plain.terms if "λ" not in str(t[2])]
    >>> [(power, draw(tree), str(c)) for power, tree, c in without_decay]
    [(0, 'g', '-1'), (1, 'H @ g', '-1/2'), (2, 'H @ H @ g', '-1/3'), (2, '∇³f(g, g)', '-1/12')]
    """
    name = program.params[0].name if program.params else ""
    rate = next((h.name for h in program.hypers if h.keyword == "lr"), "")
    if program.kind != "optimizer" or len(program.params) != 1 or not rate:
        yield ModifiedEquation(name, reason="it is no optimizer with a learning rate")
        return
    for case in settled(program):
        try:
            if case.between is not None:
                raise Unreadable("the step is another one every so often")
            with within(WORK):
                yield _modified(case, rate, powers)
        except (Unreadable, Unsupported, TooLarge, ZeroDivisionError, StopIteration) as error:
            yield ModifiedEquation(name, rate, where=case.where, reason=str(error) or "not found")


def _modified(case: Settled, rate: str, powers: int) -> ModifiedEquation:
    case = _plain(case)
    program = case.program
    premises = [p for h in program.hypers if not h.indices for p in inside(leaf("hyper", h.name, h.type), h.interval)]
    facts = Task((*premises, *case.premises), program).facts
    lr = next(leaf("hyper", h.name, h.type) for h in program.hypers if h.name == rate)
    (h,) = facts.normal(lr).atoms()
    param = program.params[0]
    objective = next(x.name for x in program.callables if x.word == "objective")
    c = Context(objective, leaf("param", param.name, param.type), h, powers + 2, facts.normal)
    memory = {x: leaf("free", f"1/(1 - {x.name})") for x in _momenta(program)}
    laws = {x: node("sub", number(1), node("div", number(1), r)) for x, r in memory.items()}
    step = displacement(program, lambda root: substitute(limit(root, facts), laws), c)
    field: Series = {}
    for power in range(powers + 1):
        missing = c.cut(add(step, scale(after(field, c), -ONE)))
        field = add(field, {tree: scaled for tree, p in missing.items() if not (scaled := _at(p, h, power + 1)).zero})
    rest = add(step, scale(after(field, c), -ONE))
    certificate = _certificate(rest, h, powers + 2)
    back = {sympy.Symbol(r.name): 1 / (1 - sympy.Symbol(x.name)) for x, r in memory.items()}
    terms = [
        (power, tree, sympy.factor(_expression(_at(p, h, power, keep=0)).subs(back)))
        for power in range(powers + 1)
        for tree, p in field.items()
    ]
    ordered = sorted((t for t in terms if t[2] != 0), key=lambda t: (t[0], _rank(t[1])))
    return ModifiedEquation(param.name, rate, tuple(ordered), case.where, "", certificate)


def _plain(case: Settled) -> Settled:
    """The case with the knobs at 0 that rest at 0, such as weight decay, unless the case is about them."""
    about = {here for premise in case.premises for here in premise.walk()}
    knobs = [
        leaf("hyper", h.name, h.type) for h in case.program.hypers if h.default is not None and h.default.value == 0
    ]
    table = {knob: number(0) for knob in knobs if knob not in about}
    read = {here for root in case.program.roots for here in root.walk()}
    program = case.program.mapped(lambda root: fold(substitute(root, table)))
    return replace(case, program=program, where=(*case.where, *(f"{x.name} == 0" for x in table if x in read)))


def _momenta(program: Program) -> set[Node]:
    """The knobs β of updates β m + …: their formulas are polynomials in 1/(1 - β)."""
    products = (h for s in program.states if s.next is not None for h in s.next.walk() if h.op == "mul")
    return {h.args[0] for h in products if h.args[0].role == "hyper" and h.args[1].role == "state"}


def _rank(tree: Tree) -> tuple[bool, int, str]:
    return tree == POINT or POINT in tree, len(draw(tree)), draw(tree)


def _at(p: Polynomial, h: Atom, power: int, keep: int | None = None) -> Polynomial:
    """The terms of p with h^power; the power of h becomes `keep`, or one less."""
    total = ZERO
    for monomial, k in p.terms:
        if dict(monomial).get(h, 0) == power:
            rest = single_product(tuple(f for f in monomial if f[0] is not h)) * k
            left = power - 1 if keep is None else keep
            total = total + (rest * single(h, left) if left else rest)
    return total


def _expression(p: Polynomial) -> sympy.Expr:
    symbols: dict[Atom, sympy.Symbol] = {}
    e = as_sympy(p, symbols)
    return sympy.factor(e.subs({x: sympy.Symbol(repr(a)) for a, x in symbols.items()}, simultaneous=True))


def _certificate(rest: Series, h: Atom, order: int) -> dict[str, Any]:
    """The coefficients of the difference below h^order, which must vanish."""
    rows = []
    for tree, p in rest.items():
        for power in range(order):
            q = _at(p, h, power, keep=0)
            rows.append({"term": f"h^{power} {draw(tree)}", "where": [], "zeros": [], "coefficient": encode(q)})
    return {"kind": "trees", "rows": rows, "constants": {}, "inverses": inverses_of(list(rest.values())), "values": {}}


__all__ = ["ModifiedEquation", "modified_equations"]
