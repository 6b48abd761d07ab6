"""P3 and P4: an inequality as a combination of known ones, with constants to be found.

    goal = Σ λ_k * inequality_k + Σ c * unknown terms          identically, with λ_k >= 0

At a random rational point of the parameters z3 finds which multipliers a vertex needs; on that support one exact
linear solve over the field of parameters gives them as formulas, and z3 proves their signs from the premises. The
certificate is the identity, which the checker multiplies out again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Any

import sympy

from dotopt.compiler.ir import Node, leaf
from dotopt.compiler.prove.forms.certificates import encode, inverses_of, name, smt_certificate
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.normal import atoms_below
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    ZERO,
    Atom,
    Monomial,
    Polynomial,
    fraction,
    inverse,
    number,
    single,
)
from dotopt.compiler.prove.forms.smt import check
from dotopt.compiler.prove.procedures.identities import settle
from dotopt.compiler.prove.procedures.sdp import with_squares
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.solver.client import Answer, ask
from dotopt.compiler.prove.solver.logic import Real, Term
from dotopt.compiler.prove.solver.logic import term as constant_of
from dotopt.compiler.prove.solver.logic import total as sum_of
from dotopt.compiler.prove.statements.properties import Inequality

POINTS, MOST = 3, 10  # points of the parameters that are looked at, and choices of multipliers

Row = dict[Monomial, Polynomial]  # by the part that varies with the vectors: its coefficient in the parameters


@dataclass(frozen=True)
class Combination:
    """Multipliers by the names of the inequalities, and the values of the unknown constants."""

    multipliers: dict[str, Polynomial]
    unknowns: dict[str, Polynomial]
    goal: Polynomial
    products: list[tuple[Polynomial, Polynomial]]
    signs: list[dict[str, Any]]
    squares: tuple[tuple[Fraction, Polynomial], ...] = ()  # weights and combinations of vectors
    inner: tuple[tuple[Atom, Atom, Atom], ...] = ()  # an inner product and its two vectors


def combination(
    goal: Node, known: Sequence[Inequality], task: Task, unknowns: Sequence[Node] = ()
) -> Combination | None:
    """Multipliers with goal >= 0, as Σ λ_k * known_k = goal; None if there are none of this form."""
    normal = task.facts.normal
    g = normal(goal)
    pairs = [(k.name, p) for k in known if (p := _form(k, task.facts)) is not None]
    pairs += [(f"‖{a!r}‖² >= 0", single(a)) for a in _squares([g, *(p for _, p in pairs)])]
    pairs = list({p: (n, p) for n, p in pairs}.values())
    free = [next(iter(normal(u).atoms())) for u in unknowns]
    goal_rows = _rows(g, free)
    if goal_rows is None:
        return None
    constant, linear = goal_rows
    rows = [split(p) for _, p in pairs]
    atoms = _parameters(constant, linear, rows)
    where: dict[Atom, Fraction] | None = None
    tried: list[list[int]] = []
    for seed in range(MOST):
        values = where or _point(atoms, task.facts, seed)
        where = None
        support = _support(constant, linear, rows, values, seed) if values is not None else None
        if support is None and seed >= POINTS and not tried:
            break
        if support is None or support in tried:
            continue
        tried.append(support)
        found = _exact(constant, linear, rows, support)
        if found is None:
            continue
        lambdas, constants = found
        if any(_vector(a) or a.kind not in ("leaf", "inverse", "pow") for c in constants for a in _below(c)):
            continue  # what depends on the vectors is no constant
        signs, where = _signs(lambdas, atoms, task.facts)
        if signs is None:
            continue  # other multipliers are needed where one is negative; they may do everywhere
        value = dict(zip(free, constants, strict=True))
        total = g.replace(lambda a: value.get(a))  # noqa: B023 - used at once
        for k, multiplier in zip(support, lambdas, strict=True):
            total = total - multiplier * pairs[k][1]
        if not settle(total).zero:
            continue
        return Combination(
            {pairs[k][0]: m for k, m in zip(support, lambdas, strict=True)},
            {u.name: c for u, c in zip(unknowns, constants, strict=True)},
            g,
            [(m, pairs[k][1]) for k, m in zip(support, lambdas, strict=True)],
            signs,
        )
    return _with_squares(g, constant, rows, pairs, task) if not unknowns else None


def _with_squares(
    g: Polynomial, constant: Row, rows: list[Row], pairs: list[tuple[str, Polynomial]], task: Task
) -> Combination | None:
    """The same with squares of combinations of vectors beside the known inequalities; all parameters are numbers."""
    kept = [k for k, row in enumerate(rows) if not lone_square(row)]
    found = with_squares(constant, [rows[k] for k in kept])
    if found is None:
        return None
    products = [(number(x), pairs[kept[k]][1]) for k, x in found.multipliers.items()]
    total = g
    for multiplier, p in products:
        total = total - multiplier * p
    inner: dict[Atom, tuple[Atom, Atom]] = {}
    for weight, combination_ in found.squares:
        vectors = [m[0][0] for m, _ in combination_.terms]
        axes = vectors[0].axes
        for v, w in combinations_with_replacement(vectors, 2):
            (product_,) = task.facts.normal.add_up(single(v) * single(w), tuple(axes)).atoms()
            inner[product_] = (v, w)
        total = total - task.facts.normal.add_up(combination_ * combination_, tuple(axes)) * weight
    if not settle(total).zero:
        return None
    named = {pairs[kept[k]][0]: number(x) for k, x in found.multipliers.items()}
    return Combination(named, {}, g, products, [], tuple(found.squares), tuple((p, *vw) for p, vw in inner.items()))


def _form(known: Inequality, facts: Facts) -> Polynomial | None:
    """The normal form of an inequality that says something."""
    try:
        p = facts.normal(known.node)
    except ZeroDivisionError:  # with 1/(L - μ) where μ = L
        return None
    return None if p.zero else p


def certificate(found: Combination) -> dict[str, Any]:
    """The combination for the report and the checker."""
    squares = {
        "squares": [[str(weight), [[str(c), name(m[0][0])] for m, c in p.terms]] for weight, p in found.squares],
        "inner": [[name(a) for a in triple] for triple in found.inner],
    }
    return (squares if found.squares else {}) | {
        "kind": "multipliers",
        "multipliers": {name: repr(m) for name, m in found.multipliers.items()},
        "constants": {name: repr(c) for name, c in found.unknowns.items()},
        "goal": encode(found.goal),
        "products": [[encode(m), encode(p)] for m, p in found.products],
        "inverses": inverses_of([found.goal, *(q for pair in found.products for q in pair), *found.unknowns.values()]),
        "values": {name: [encode(q) for q in fraction(c)] for name, c in found.unknowns.items()},
        "parts": found.signs,
    }


def _vector(a: Atom) -> bool:
    """Whether the atom belongs to the vectors: an inner product, a norm, or a value of a function."""
    if a.kind == "sqrt":
        return any(_vector(b) for b in a.key[0].atoms())
    return a.kind in ("sum", "trace", "oracle", "apply", "conjugate") or bool(a.axes)


def _below(p: Polynomial) -> set[Atom]:
    return {b for a in p.atoms() for b in (a, *atoms_below(single(a)))}


def split(p: Polynomial) -> Row:
    """By the part of each term that belongs to the vectors: what it is multiplied by."""
    rows: Row = {}
    for monomial, c in p.terms:
        inside = tuple(f for f in monomial if _vector(f[0]))
        outside = tuple(f for f in monomial if not _vector(f[0]))
        term = number(c)
        for a, power in outside:
            term = term * single(a, power)
        rows[inside] = rows.get(inside, ZERO) + term
    return {m: c for m, c in rows.items() if not settle(c).zero}


def _rows(p: Polynomial, free: list[Atom]) -> tuple[Row, list[Row]] | None:
    """The part without unknowns, and the part that each unknown multiplies."""
    constant, linear = p, [ZERO] * len(free)
    for i, u in enumerate(free):
        without = constant.replace(lambda a: ZERO if a is u else None)  # noqa: B023 - used at once
        rest = constant - without
        linear[i] = rest * inverse(single(u))
        if any(a in free for a in linear[i].atoms()):
            return None
        constant = without
    return split(constant), [split(q) for q in linear]


def lone_square(row: Row) -> bool:
    """Whether it is a multiple of one squared norm."""
    return len(row) == 1 and all(len(m) == 1 and len(m[0][0].key[1]) == 1 for m in row if m and m[0][0].kind == "sum")


def _squares(polynomials: list[Polynomial]) -> list[Atom]:
    """The squared norms that occur: they are never negative."""
    found = {
        a for p in polynomials for a in p.atoms() if a.kind == "sum" and len(a.key[1]) == 1 and a.key[1][0][1] == 2
    }
    return sorted(found, key=repr)


# ---- which multipliers ---------------------------------------------------------------------------------------------


def _parameters(constant: Row, linear: list[Row], rows: list[Row]) -> list[Atom]:
    """The atoms of the coefficients."""
    coefficients = (c for r in (constant, *linear, *rows) for c in r.values())
    return sorted({a for c in coefficients for b in c.atoms() for a in _leaves(b)}, key=repr)


def _support(
    constant: Row, linear: list[Row], rows: list[Row], values: dict[Atom, Fraction], seed: int
) -> list[int] | None:
    """The positive multipliers of a vertex at one point of the parameters, by z3's simplex; others for other seeds."""
    rng = random.Random(seed)
    weights = [rng.randint(1, 9) * (not lone_square(row)) if seed else 1 for row in rows]
    names = sorted({m for r in (constant, *linear, *rows) for m in r}, key=repr)
    lambdas = [Real(f"l{k}") for k in range(len(rows))]
    constants = [Real(f"c{k}") for k in range(len(linear))]
    given: list[Term] = []
    try:
        for m in names:
            total = constant_of(_at(constant.get(m, ZERO), values))
            for c, r in zip(constants, linear, strict=True):
                total = total + c * constant_of(_at(r.get(m, ZERO), values))
            for v, r in zip(lambdas, rows, strict=True):
                if m in r:
                    total = total - v * constant_of(_at(r[m], values))
            given.append(total == 0)
    except (KeyError, ZeroDivisionError):
        return None
    given += [v >= 0 for v in lambdas]
    least = sum_of([v * weight for v, weight in zip(lambdas, weights, strict=True)]) if lambdas else None
    model = ask(given, 1_500_000, minimise=least)
    if model.result != "sat":
        return None
    return [k for k, v in enumerate(lambdas) if model.value(v) > 0]


def _leaves(a: Atom) -> Iterator[Atom]:
    if a.kind == "inverse":
        for b in a.key[0].atoms():
            yield from _leaves(b)
    else:
        yield a


def _point(atoms: list[Atom], facts: Facts, seed: int) -> dict[Atom, Fraction] | None:
    """Rational values of the parameters that satisfy the premises."""
    rng = random.Random(seed)
    uses = set(atoms)
    assertions, _reached = facts.assertions(uses)
    for spread in range(8):
        fixed: list[Term] = []
        model: Answer | None = None
        for a in atoms:  # random where the premises allow it: at their ends fewer multipliers would be enough
            for size in (Fraction(1, 1 + spread), Fraction(20), Fraction(1, 20), Fraction(1000), Fraction(-1)):
                target = size * Fraction(rng.randint(1, 40), rng.choice((7, 11, 13)))
                here = facts.smt.variable(a) == target
                answer = ask([*assertions, *fixed, here], 300_000)
                if answer.result == "sat":
                    fixed, model = [*fixed, here], answer
                    break
        if model is None:
            model = ask([*assertions, *fixed], 300_000)
        values = facts.smt.numbers(model, atoms)
        if model.result == "sat" and len(values) == len(atoms):
            return values
    return None


def _at(p: Polynomial, values: dict[Atom, Fraction]) -> Fraction:
    total = Fraction(0)
    for monomial, c in p.terms:
        term = c
        for a, power in monomial:
            base = 1 / _at(a.key[0], values) if a.kind == "inverse" else values[a]
            term = term * base**power
        total += term
    return total


# ---- the exact solve -----------------------------------------------------------------------------------------------


def _exact(
    constant: Row, linear: list[Row], rows: list[Row], support: list[int]
) -> tuple[list[Polynomial], list[Polynomial]] | None:
    symbols: dict[Atom, sympy.Symbol] = {}
    unknown = sympy.symbols(f"u0:{len(support) + len(linear)}") if support or linear else ()
    names = sorted({m for r in (constant, *linear, *(rows[k] for k in support)) for m in r}, key=repr)
    equations = []
    for m in names:
        total = as_sympy(constant.get(m, ZERO), symbols)
        for u, k in zip(unknown, support, strict=False):
            total -= u * as_sympy(rows[k].get(m, ZERO), symbols)
        for u, r in zip(unknown[len(support) :], linear, strict=True):
            total += u * as_sympy(r.get(m, ZERO), symbols)
        equations.append(sympy.together(total).as_numer_denom()[0])
    if not unknown:
        return ([], []) if all(sympy.expand(e) == 0 for e in equations) else None
    solutions = sympy.linsolve(equations, list(unknown))
    if not solutions:
        return None
    (solution,) = solutions
    if any(u in sympy.sympify(e).free_symbols for e in solution for u in unknown):
        zero = dict.fromkeys(unknown, 0)
        solution = tuple(sympy.sympify(e).subs(zero) for e in solution)
    back = {v: a for a, v in symbols.items()}
    values = [as_polynomial(sympy.factor(e), back) for e in solution]
    return values[: len(support)], values[len(support) :]


def as_sympy(p: Polynomial, symbols: dict[Atom, sympy.Symbol]) -> Any:
    total = sympy.Integer(0)
    for monomial, c in p.terms:
        term: Any = sympy.Rational(c.numerator, c.denominator)
        for a, power in monomial:
            if a.kind == "inverse":
                base = 1 / as_sympy(a.key[0], symbols)
            else:
                base = symbols.setdefault(a, sympy.Symbol(f"a{a.number}"))
            term = term * base**power
        total += term
    return total


def as_polynomial(e: Any, back: dict[Any, Atom]) -> Polynomial:
    """A rational function of SymPy as one of ours."""
    top, bottom = sympy.fraction(sympy.together(e))
    return _plain(sympy.expand(top), back) * inverse(_plain(sympy.expand(bottom), back))


def _plain(e: Any, back: dict[Any, Atom]) -> Polynomial:
    total = ZERO
    for term in sympy.Add.make_args(e):
        value = ONE
        for factor in sympy.Mul.make_args(term):
            base, power = factor.as_base_exp()
            if base.is_Rational and power == 1:
                value = value * Fraction(int(base.p), int(base.q))
            elif base.is_Rational:
                value = value * Fraction(int(base.p), int(base.q)) ** int(power)
            else:
                value = value * single(back[base], int(power))
        total = total + value
    return total


def _signs(
    lambdas: list[Polynomial], atoms: list[Atom], facts: Facts
) -> tuple[list[dict[str, Any]] | None, dict[Atom, Fraction] | None]:
    """z3 certificates that the multipliers are not negative; else a point of the parameters where one is."""
    found = []
    for multiplier in lambdas:
        top, bottom = fraction(multiplier)
        uses: set[Atom] = set(atoms)
        t = facts.smt.term(top * bottom, uses)
        assertions, _ = facts.assertions(uses)
        question = [*assertions, t < 0]
        answer = check(question, 1_500_000)
        if answer.result != "unsat":
            values = facts.smt.numbers(answer, atoms) if answer.result == "sat" else {}
            return None, values if len(values) == len(atoms) else None
        found.append(smt_certificate(question))
    return found, None


__all__ = ["Combination", "certificate", "combination", "leaf", "lone_square", "split"]
