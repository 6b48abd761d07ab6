"""Normal form N5: `A == B + O(h^n)` by rooted trees.

A step, the value of a flow after time h, and the momentum on its slow manifold all have series of elementary
differentials; the claim holds when the difference vanishes tree by tree below h^n. Trees are linearly independent (for
some f), so this decides.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import sympy

from dotopt.compiler.ir import Node, leaf
from dotopt.compiler.prove.forms.certificates import encode, inverses_of
from dotopt.compiler.prove.forms.normal import atoms_below
from dotopt.compiler.prove.forms.polynomial import ONE, ZERO, Atom, Polynomial, fraction, single, single_product
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, all_of
from dotopt.compiler.prove.procedures.flow import flow_of
from dotopt.compiler.prove.procedures.identities import settle
from dotopt.compiler.prove.procedures.multipliers import as_polynomial, as_sympy
from dotopt.compiler.prove.procedures.series import from_point, series_of, small
from dotopt.compiler.prove.procedures.slow_manifold import step_of
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.procedures.trees import POINT, Context, Series, Tree, add, after, draw, scale, shifted
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s


def expansion(case: Case, goal: s.Holds, fuel: float) -> Outcome:
    """Decides `A == B + O(h^n)`, finding the constants that `derive` names."""
    condition = case.value(goal.condition)
    if condition.op != "eq":
        raise Unreadable("an expansion that is not an equation")
    left, right = condition.args
    remainder = next((x for x in right.walk() if x.op == "claim" and x.attrs[0] == "O"), None)
    if remainder is None:
        raise Unreadable("an expansion without O(h^n)")
    power = remainder.args[0]
    h, n = (power.args[0], power.args[1].value) if power.op == "pow" else (power, Fraction(1))
    if h.op != "leaf" or n is None or n.denominator != 1:
        raise Unreadable("the order of the remainder")
    held = Task(tuple(case.premises), case.program)
    objective = next(x.name for x in case.program.callables if x.word == "objective")
    point = next((x.args[0] for x in condition.walk() if x.op == "claim" and x.attrs[0] in ("after",) and x.args), None)
    steps = [x for x in condition.walk() if x.op == "claim" and str(x.attrs[0]).startswith("step ")]
    if point is None:
        point = steps[0].args[0] if steps else None
    if point is None:
        raise Unreadable("an expansion without a point")
    c = Context(objective, point, next(iter(held.facts.normal(h).atoms())), int(n), held.facts.normal)
    unknowns = [name for x in case.claim.body if isinstance(x, s.Derive) for name in x.names]
    known: dict[Node, Series] = {point: {POINT: ONE}, remainder: {}}
    for x in condition.walk():
        if x.op == "claim" and x.attrs[0] == "after":
            if x.args[0] is not point:
                raise Unreadable(f"flows from two points: `{point!r}` and `{x.args[0]!r}`")
            motion = flow_of(case).get(x.args[0])
            if motion is None:
                raise Unreadable(f"a flow in which `ddt({x.args[0]!r})` is not given")
            field = c.cut(series_of(motion, c, {point: {POINT: ONE}}))
            known[x] = add({POINT: ONE}, after(field, c, _time(x, c)))
    outcomes: list[Outcome] = []
    found_unknowns: dict[str, Polynomial] = {}
    alternatives = [list(step_of(case, x, c, {})) for x in steps]
    for choice in sorted(product(*alternatives), key=lambda c: sum(not w.startswith("not") for _, ws in c for w in ws)):
        here = dict(known)
        where: list[str] = []
        for x, (series, chosen) in zip(steps, choice, strict=True):
            here[x] = _moved(series_of(x.args[0], c, here), series, x, c)
            where += chosen
        difference = c.cut(add(series_of(left, c, here), scale(series_of(right, c, here), -ONE)))
        outcomes.append(_vanishing(difference, unknowns, c, where, case, found_unknowns))
    return all_of(outcomes, "cases")


def _moved(origin: Series, step: Series, here: Node, c: Context) -> Series:
    """Where a step leads from a point that is θ plus terms of order h, such as another step."""
    off = from_point(origin)
    if not small(off, c):
        raise Unreadable(f"a step from `{here.args[0]!r}`, which is not {c.point!r} plus terms of order h"[:200])
    return c.cut(add(origin, *(scale(shifted(tree, off, c), p) for tree, p in step.items())))


def _time(value: Node, c: Context) -> Polynomial:
    """The time of `θ(2*h)`; raises `Unreadable` if it is not of order h."""
    time = c.normal(value.args[1])
    hidden = {a for a in time.atoms() if a is not c.h and c.h in atoms_below(single(a))}
    if hidden or any(dict(monomial).get(c.h, 0) < 1 for monomial, _ in time.terms):
        raise Unreadable(f"the value after a time that is not small with h: `{value.args[1]!r}`")
    return time


def _vanishing(
    difference: Series, unknowns: list[str], c: Context, where: list[str], case: Case, found: dict[str, Polynomial]
) -> Outcome:
    rows: list[tuple[Tree, int, Polynomial]] = []
    for tree, p in difference.items():
        powers: dict[int, Polynomial] = {}
        for monomial, k in p.terms:
            power = dict(monomial).get(c.h, 0)
            others = tuple(f for f in monomial if f[0] is not c.h)
            powers[power] = powers.get(power, ZERO) + single_product(others) * k
        rows += [(tree, power, q) for power, q in powers.items()]
    atoms = [next(iter(c.normal(leaf("free", name)).atoms())) for name in unknowns]
    if atoms and not found:
        solved = _solve([q for _, _, q in rows], atoms)
        if solved is None:
            return Open("no constants make the expansion hold")
        found.update(dict(zip(unknowns, solved, strict=True)))
    table = dict(zip(atoms, (found[name] for name in unknowns), strict=True)) if found else {}
    written = []
    zeros = [x.removesuffix("== 0").strip() for x in where if x.endswith("== 0") and not x.startswith("not")]
    for tree, power, q in rows:
        top = settle(q.replace(table.get))
        top = settle(top.replace(lambda a: ZERO if repr(a) in zeros else None))
        if not top.zero:
            return _numbers(tree, power, top, where)
        written.append({"term": f"h^{power} {draw(tree)}", "where": where, "zeros": zeros, "coefficient": encode(q)})
    certificate = {
        "kind": "trees",
        "rows": written,
        "constants": {k: repr(v) for k, v in found.items()},
        "inverses": inverses_of([q for _, _, q in rows]),
        "values": {k: [encode(p) for p in fraction(v)] for k, v in found.items()},
    }
    return Proved("trees", certificate, ("f is smooth enough for the expansion",))


def _solve(rows: list[Polynomial], atoms: list[Atom]) -> list[Polynomial] | None:
    symbols: dict[Atom, sympy.Symbol] = {}
    equations = [sympy.together(as_sympy(q, symbols)).as_numer_denom()[0] for q in rows]
    unknown = [symbols.setdefault(a, sympy.Symbol(f"a{a.number}")) for a in atoms]
    solutions = sympy.linsolve(equations, unknown)
    if not solutions:
        return None
    (solution,) = solutions
    back = {v: a for a, v in symbols.items()}
    return [as_polynomial(sympy.factor(e), back) for e in solution]


def _numbers(tree: Tree, power: int, top: Polynomial, where: list[str]) -> Outcome:
    """The coefficient that does not vanish, at numbers."""
    values = {a: Fraction(k + 2, k + 5) for k, a in enumerate(sorted(top.atoms(), key=repr))}
    total = Fraction(0)
    try:
        for monomial, k in top.terms:
            term = k
            for a, p in monomial:
                term *= values[a] ** p
            total += term
    except ZeroDivisionError:
        total = Fraction(0)
    if total == 0:
        return Open(f"the coefficient of h^{power} {draw(tree)} is {top!r}, which was not zero as a polynomial")
    shown = {repr(a): str(v) for a, v in values.items()}
    return Refuted(
        "trees",
        {
            **shown,
            "term": f"h^{power} {draw(tree)}",
            "coefficient of the difference": str(total),
            "where": where,
            "fails": "the trees are independent: f with this derivative alone shows it",
        },
    )


__all__ = ["expansion"]
