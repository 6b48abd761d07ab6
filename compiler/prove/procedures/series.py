"""Normal form N5: `A == B + O(h^n)` by rooted trees.

A tree is an elementary differential of the objective f: a leaf is ∇f, [τ1, …, τm] is ∇^(m+1) f applied to τ1, …, τm,
all at one point. A vector that depends on h is a series {tree: coefficient}, with coefficients that are polynomials
in h and the constants. A step, the value of a flow after time h, and the momentum on its slow manifold all have such
series; the claim holds when the difference vanishes tree by tree below h^n. Trees are linearly independent (for some
f), so this decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import factorial
from typing import Any

import sympy

from dotopt.compiler import syntax as s
from dotopt.compiler.ir import TIME, Node, Program, leaf, node, substitute
from dotopt.compiler.lower import Static
from dotopt.compiler.lower.assemble import context_of
from dotopt.compiler.prove.forms.normal import Normaliser
from dotopt.compiler.prove.forms.polynomial import ONE, ZERO, Atom, Polynomial, fraction, inverse, make, single
from dotopt.compiler.prove.forms.polynomial import number as constant
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, all_of
from dotopt.compiler.prove.procedures.decide import Task, encode, inverses_of, settle
from dotopt.compiler.prove.statements.cases import specialise
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Unreadable

Tree = tuple["Tree", ...]  # children, sorted
Series = dict[Tree, Polynomial]
LEAF: Tree = ()
POINT: Tree = (LEAF,) * 97  # θ itself, whose derivative along a field is the field; no tree in use has 97 branches
PROBE: Tree = (LEAF,) * 99  # stands for a state whose series is looked for


@dataclass
class Context:
    """The point, the step size, and the order up to which series are kept."""

    objective: str
    point: Node
    h: Atom
    order: int  # powers of h from this one on are dropped
    normal: Normaliser

    def short(self, p: Polynomial) -> Polynomial:
        """p without powers of h from `order` on."""
        kept = {m: k for m, k in p.terms if dict(m).get(self.h, 0) < self.order}
        return p if len(kept) == len(p.terms) else make(kept)

    def cut(self, series: Series) -> Series:
        """Without powers of h from `order` on, and without zeros."""
        result: Series = {}
        for tree, p in series.items():
            kept = self.short(p)
            if not settle(kept).zero:
                result[tree] = kept
        return result


def _one(monomial: Any, c: Fraction) -> Polynomial:
    from dotopt.compiler.prove.forms.polynomial import single_product

    return single_product(monomial) * c


def add(*many: Series) -> Series:
    """The sum of series."""
    total: Series = {}
    for series in many:
        for tree, p in series.items():
            total[tree] = total.get(tree, ZERO) + p
    return total


def scale(series: Series, factor: Polynomial) -> Series:
    """A multiple of a series."""
    return {tree: p * factor for tree, p in series.items()}


# ---- grafting ------------------------------------------------------------------------------------------------------


def along(tree: Tree, field: Series) -> Series:
    """The derivative of an elementary differential along a vector field: the field is grafted on every vertex."""
    if tree == POINT:
        return field
    total: Series = {}
    for branch, p in field.items():
        total = add(total, {tuple(sorted((*tree, branch))): p})
    for i, child in enumerate(tree):
        for moved, p in along(child, field).items():
            total = add(total, {tuple(sorted((*tree[:i], moved, *tree[i + 1 :]))): p})
    return total


def after(field: Series, c: Context) -> Series:
    """θ(h) - θ of the flow of `field`."""
    h = single(c.h)
    total: Series = {}
    term = field
    for k in range(1, c.order):
        total = add(total, scale(term, h**k * Fraction(1, factorial(k))))
        following: Series = {}
        for tree, p in term.items():
            following = add(following, scale(along(tree, field), p))
        term = c.cut(following)
    return c.cut(total)


def shifted(tree: Tree, step: Series, c: Context) -> Series:
    """An elementary differential at θ + step, by Taylor's formula; `step` is of order h."""
    if tree == POINT:
        return add({POINT: ONE}, step)
    forest: Series = {(): ONE}  # by the branches of the root
    for child in tree:
        forest = _grown(forest, shifted(child, step, c), c)
    total = forest
    for j in range(1, c.order):
        forest = scale(_grown(forest, step, c), constant(Fraction(1, j)))
        total = add(total, forest)
    return c.cut(total)


def _grown(forest: Series, branches: Series, c: Context) -> Series:
    """Every tree of `forest` with one more branch at its root."""
    total: Series = {}
    for tree, p in forest.items():
        for branch, q in branches.items():
            grown = tuple(sorted((*tree, branch)))
            total[grown] = total.get(grown, ZERO) + c.short(p * q)
    return {tree: p for tree, p in total.items() if not p.zero}


# ---- reading -------------------------------------------------------------------------------------------------------


def series_of(here: Node, c: Context, known: dict[Node, Series]) -> Series:
    """The series of a vector-valued node; `known` gives those of leaves."""
    if here in known:
        return known[here]
    if here.value == 0:
        return {}
    match here.op:
        case "add" | "sub":
            left, right = (series_of(a, c, known) for a in here.args)
            return add(left, right if here.op == "add" else scale(right, -ONE))
        case "neg":
            return scale(series_of(here.args[0], c, known), -ONE)
        case "mul":
            for x, y in (here.args, here.args[::-1]):
                if x.type.scalar:
                    return scale(series_of(y, c, known), c.normal(x))
        case "div" if here.args[1].type.scalar:
            return scale(series_of(here.args[0], c, known), inverse(c.normal(here.args[1])))
        case "oracle" if here.attrs[0] == c.objective:
            return _differential(here, c, known)
        case "matmul" if here.args[0].op == "oracle" and here.args[0].attrs[1] == "hessian":
            return _applied((series_of(here.args[1], c, known),), _at(here.args[0].args[0], c, known), c)
        case "matmul" if here.args[0].op in ("mul", "div") and any(a.type.scalar for a in here.args[0].args):
            x, y = here.args[0].args
            if x.type.scalar and here.args[0].op == "mul":
                x, y = y, x
            moved = node("matmul", x, here.args[1])
            return series_of(node(here.args[0].op, moved, y), c, known)
        case "matmul" if here.args[0].op == "matmul":
            a, b = here.args[0].args
            return series_of(node("matmul", a, node("matmul", b, here.args[1])), c, known)
    raise Unreadable(f"`{here!r}` as a series of elementary differentials"[:200])


def _at(point: Node, c: Context, known: dict[Node, Series]) -> Series:
    """point - θ, for a point that is θ plus terms of order h: Taylor's formula needs them small."""
    step = from_point(series_of(point, c, known))
    if not _small(step, c):
        raise Unreadable(f"the gradient at `{point!r}`, which is not {c.point!r} plus terms of order h"[:200])
    return step


def from_point(series: Series) -> Series:
    """The series minus θ."""
    rest = add(series, {POINT: -ONE})
    return {tree: p for tree, p in rest.items() if not p.zero}


def _small(step: Series, c: Context) -> bool:
    return all(dict(monomial).get(c.h, 0) >= 1 for p in step.values() for monomial, _ in p.terms)


def _differential(here: Node, c: Context, known: dict[Node, Series]) -> Series:
    what, split = here.attrs[1], here.attrs[3]
    if split[0] or len(here.args) < 1:
        raise Unreadable("an indexed objective in a series")
    step = _at(here.args[0], c, known)
    match what:
        case "gradient":
            return shifted(LEAF, step, c)
        case "hessian_vector" | "third":
            return _applied(tuple(series_of(a, c, known) for a in here.args[1:]), step, c)
    raise Unreadable(f"the {what} of the objective in a series")


def _applied(directions: tuple[Series, ...], step: Series, c: Context) -> Series:
    total: Series = {}
    for choice in product(*(d.items() for d in directions)):
        coefficient = ONE
        for _, p in choice:
            coefficient = coefficient * p
        tree = tuple(sorted(t for t, _ in choice))
        if step:
            raise Unreadable("second derivatives at another point in a series")
        total = add(total, {tree: coefficient})
    return c.cut(total)


# ---- steps of rules ------------------------------------------------------------------------------------------------


def step_of(case: Case, here: Node, c: Context, static: dict[str, bool | str]) -> Iterator[tuple[Series, list[str]]]:
    """θ⁺ - θ for one step of an imported rule, by cases over conditions on its knobs; states on their slow manifold."""
    _, name, *keywords = here.attrs[0].split(" ")
    file = case.library.file(name)
    if file is None:
        raise Unreadable(f"there is no rule `{name}`")
    program = context_of(specialise(file, {}), Static(static), case.library)[0]
    options = {o.name: o.default for o in program.options}
    program = context_of(specialise(file, {}), Static(options), case.library)[0]
    bound = dict(zip(keywords, here.args[1:], strict=True))
    table: dict[Node, Node] = {}
    for hyper in program.hypers:
        asked = bound.get(hyper.keyword) or bound.get(hyper.name)
        value = asked if asked is not None else hyper.default
        if value is None:
            raise Unreadable(f"`{name}` needs `{hyper.keyword}`")
        table[leaf("hyper", hyper.name, hyper.type)] = value
    yield from _cases(case, program, table, c, [])


def _cases(
    case: Case, program: Program, table: dict[Node, Node], c: Context, chosen: list[str]
) -> Iterator[tuple[Series, list[str]]]:
    """One series for each way in which conditions on the constants fall; equations are put in where they hold."""

    def settled(root: Node) -> Node:
        return fold(substitute(fold(substitute(root, table)), table))

    param = program.params[0]
    roots = [settled(program.next[param.name]), *(settled(x.next) for x in program.states if x.next is not None)]
    for root in roots:
        for here in root.walk():
            if here.op != "select":
                continue
            condition = here.args[0]
            leaves = [x for x in condition.walk() if x.op == "leaf"]
            if condition.op == "eq" and TIME in leaves:
                yield from _cases(case, program, table | {condition: _truth(False)}, c, chosen)
                return
            held = Task(tuple(case.premises), case.program).facts
            if held.proves(condition, 200):
                yield from _cases(case, program, table | {condition: _truth(True)}, c, chosen)
                return
            if held.proves(node("not", condition), 200):
                yield from _cases(case, program, table | {condition: _truth(False)}, c, chosen)
                return
            if condition.op == "eq" and len(leaves) == 1 and any(a.value is not None for a in condition.args):
                fixed = next(a for a in condition.args if a.value is not None)
                yield from _cases(
                    case,
                    program,
                    {k: substitute(v, {leaves[0]: fixed}) for k, v in table.items()},
                    c,
                    [*chosen, repr(condition)],
                )
                yield from _cases(
                    case, program, table | {condition: _truth(False)}, c, [*chosen, f"not ({condition!r})"]
                )
                return
            raise Unreadable(f"a step with the condition `{condition!r}`")
    yield displacement(program, settled, c), chosen


def _truth(value: bool) -> Node:
    from dotopt.compiler.ir import boolean

    return boolean(value)


def displacement(program: Program, settled: Any, c: Context) -> Series:
    """θ⁺ - θ when the states are functions of θ that every step keeps: (1 - ρ) B = rest - (B(θ⁺) - B(θ)), iterated."""
    from dotopt.compiler.prove.statements.unroll import state_leaves

    param = program.params[0]
    theta = leaf("param", param.name, param.type)
    following = settled(program.next[param.name])
    needed = state_leaves([following])
    if len(needed) > 1:
        raise Unreadable("a slow manifold of several states")
    inner = Context(_objective(program), theta, c.h, c.order, c.normal)
    here: dict[Node, Series] = {theta: {POINT: ONE}}
    if not needed:
        return from_point(c.cut(series_of(following, inner, here)))
    (state,) = needed
    update = settled(next(x.next for x in program.states if x.name == state.name))
    if state_leaves([update]) - {state}:
        raise Unreadable("a slow manifold of several states")
    probe = series_of(update, inner, {**here, state: {PROBE: ONE}})
    rho = probe.pop(PROBE, ZERO)
    if any(_holds(tree, PROBE) for tree in probe):
        raise Unreadable("a state that is asked about inside a gradient")
    if settle(ONE - rho).zero:
        raise Unreadable("a state without a slow manifold")
    manifold: Series = scale(probe, inverse(ONE - rho))
    for _ in range(c.order):
        step = from_point(c.cut(series_of(following, inner, {**here, state: manifold})))
        if not _small(step, c):
            raise Unreadable("a step that is not of order h")
        moved: Series = {}
        for tree, p in manifold.items():
            least = min((dict(monomial).get(c.h, 0) for monomial, _ in p.terms), default=c.order)
            near = replace(c, order=c.order - least)  # what is multiplied by h^least may stop earlier
            moved = add(moved, scale(shifted(tree, near.cut(step), near), p))
        change = c.cut(add(moved, scale(manifold, -ONE)))
        manifold = c.cut(scale(add(probe, scale(change, -ONE)), inverse(ONE - rho)))
    return from_point(c.cut(series_of(following, inner, {**here, state: manifold})))


def _holds(tree: Tree, inside: Tree) -> bool:
    return tree == inside or any(_holds(child, inside) for child in tree)


def _objective(program: Program) -> str:
    return next(x.name for x in program.callables if x.word == "objective")


# ---- the claim -----------------------------------------------------------------------------------------------------


def expansion(case: Case, goal: s.Holds, seconds: float) -> Outcome:
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
            from dotopt.compiler.prove.procedures.flow import flow_of

            field = c.cut(series_of(flow_of(case)[x.args[0]], c, {point: {POINT: ONE}}))
            known[x] = add({POINT: ONE}, after(field, c))
    outcomes: list[Outcome] = []
    found_unknowns: dict[str, Polynomial] = {}
    alternatives = [list(step_of(case, x, c, {})) for x in steps]
    for choice in sorted(product(*alternatives), key=lambda c: sum(not w.startswith("not") for _, ws in c for w in ws)):
        here = dict(known)
        where: list[str] = []
        for x, (series, chosen) in zip(steps, choice, strict=True):
            here[x] = add({POINT: ONE}, series)
            where += chosen
        difference = c.cut(add(series_of(left, c, here), scale(series_of(right, c, here), -ONE)))
        outcomes.append(_vanishing(difference, unknowns, c, where, case, found_unknowns))
    return all_of(outcomes, "cases")


def _vanishing(
    difference: Series, unknowns: list[str], c: Context, where: list[str], case: Case, found: dict[str, Polynomial]
) -> Outcome:
    rows: list[tuple[Tree, int, Polynomial]] = []
    for tree, p in difference.items():
        powers: dict[int, Polynomial] = {}
        for monomial, k in p.terms:
            power = dict(monomial).get(c.h, 0)
            others = tuple(f for f in monomial if f[0] is not c.h)
            powers[power] = powers.get(power, ZERO) + _one(others, k)
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
    from dotopt.compiler.prove.procedures.multipliers import as_polynomial, as_sympy

    symbols: dict[Atom, sympy.Symbol] = {}
    equations = [sympy.together(as_sympy(q, symbols)).as_numer_denom()[0] for q in rows]
    unknown = [symbols.setdefault(a, sympy.Symbol(f"a{a.number}")) for a in atoms]
    solutions = sympy.linsolve(equations, unknown)
    if not solutions:
        return None
    (solution,) = solutions
    back = {v: a for a, v in symbols.items()}
    return [as_polynomial(sympy.factor(e), back) for e in solution]


def draw(tree: Tree) -> str:
    """An elementary differential in words: `H @ g`, `∇³f(g, g)`.

    >>> draw((LEAF,)), draw((LEAF, LEAF))
    ('H @ g', '∇³f(g, g)')
    """
    if not tree:
        return "g"
    if tree == POINT:
        return "θ"
    if len(tree) == 1:
        inside = draw(tree[0])
        return f"H @ {inside}"
    order = "⁰¹²³⁴⁵⁶⁷⁸⁹"[min(len(tree) + 1, 9)]
    return f"∇{order}f({', '.join(draw(child) for child in tree)})"


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


__all__ = ["displacement", "expansion"]
