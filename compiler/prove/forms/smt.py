"""Normal form N4: polynomials over atoms become terms of z3, with the axioms of each atom that occurs.

Soundness: an axiom states only what holds for every value of the arguments. A quotient or root is left free where it
is not defined, so a proof never leans on it; that it is defined is an obligation of its own (`domain`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms.axioms import of_one
from dotopt.compiler.prove.forms.normal import Normaliser
from dotopt.compiler.prove.forms.norms import norm_axioms
from dotopt.compiler.prove.forms.pairs import laws, never_negative, squares
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    Atom,
    Polynomial,
    fraction,
    single,
    single_product,
)
from dotopt.compiler.prove.forms.reductions import size_of
from dotopt.compiler.prove.fuel import TooLarge, spend
from dotopt.compiler.prove.solver.client import Answer, Value, ask
from dotopt.compiler.prove.solver.logic import (
    And,
    If,
    Implies,
    Int,
    Not,
    Or,
    Real,
    Term,
    product,
    real_of,
    term,
    total,
    truth,
)

PATIENCE = 2  # a call of z3 may take more than its share: few do
RELATIONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
MOST_EXTREMES = 4  # maxima and minima whose sums are looked at
TRUTHS = ("contains", "fires", "positive_definite", "apply_bool")


class Smt:
    """Translates polynomials and boolean nodes; collects the axioms of the atoms that it meets."""

    def __init__(self, normal: Normaliser) -> None:
        self.normal = normal
        self.variables: dict[Atom, Term] = {}
        self.values: dict[tuple[Atom, int], Term] = {}
        self.axioms: dict[Atom, list[Term]] = {}
        self.uses: dict[Atom, set[Atom]] = {}

    # ---- terms -----------------------------------------------------------------------------------------------------

    def term(self, p: Polynomial, uses: set[Atom]) -> Term:
        """The z3 term of p; `uses` collects its atoms."""
        parts = []
        for monomial, c in p.terms:
            uses.update(a for a, _ in monomial)
            parts.append(product([term(c), *(factor for a, power in monomial for factor in self.power(a, power))]))
        spend(sum(1 + len(monomial) for monomial, _ in p.terms))
        return total(parts)

    def power(self, a: Atom, power: int) -> tuple[Term, ...]:
        """The factors of an atom to a whole power."""
        if power < 0:
            variable = self.variable(a)
            key = (a, -1)
            if key not in self.values:
                self.values[key] = Real(f"1/{a.number}")
                self.axioms[a].append(Implies(variable != 0, self.values[key] * variable == 1))
            return (self.values[key],) * -power
        return (self.variable(a),) * power

    def variable(self, a: Atom) -> Term:
        """The z3 constant of an atom, whose axioms are recorded."""
        if a not in self.variables:
            self.variables[a] = Real(f"v{a.number}")
            self.axioms[a] = []
            self.uses[a] = set()
            self.axioms[a].extend(self._axioms(a, self.variables[a]))
        return self.variables[a]

    def _axioms(self, a: Atom, v: Any) -> Iterator[Term]:
        uses = self.uses[a]
        match a.kind, a.key:
            case "inverse", (p,):
                inside = self.term(p, uses)
                yield Implies(inside != 0, v * inside == 1)
            case "truth", (relation, p):
                inside = self.term(p, uses)
                yield v == If(inside > 0 if relation == "gt" else inside == 0, term(1), term(0))
            case "pow", (base, exponent):
                yield from self._power_axioms(a, v, base, exponent)
            case "leaf", ("time", *_):
                yield v >= 1
            case ("leaf", ("rank" | "axis", *_)):
                yield v >= 1
            case "sum", (axis, inside):
                if self._no_negative_term(single_product(inside)):
                    yield v >= 0
                    uses.update(b for b, _ in inside)
                    one = product([factor for b, power in inside for factor in self.power(b, power)])
                    yield v >= one  # the entry at this place is one of the terms
                if all(b.kind == "truth" for b, power in inside):
                    size = self.variable(_size(axis))
                    uses.add(_size(axis))
                    yield v <= size
            case "family", (*_, inside) if self._no_negative_term(single_product(inside)):
                yield v >= 0
            case "amax", (axes, p):
                yield v >= self.term(p, uses)
                uses.update(size_of(axes).atoms())
                if self._no_negative_term(p):
                    yield v >= 0
            case "amin", (axes, p):
                yield v <= self.term(p, uses)
                uses.update(size_of(axes).atoms())
                if self._no_negative_term(p):
                    yield v >= 0
            case "trace", (word,):
                sign = self.normal.words.sign_of(word)
                if sign:
                    yield v * sign >= 0
            case (kind, _) if kind in TRUTHS:
                yield Or(v == 0, v == 1)
            case _:
                yield from of_one(a, v, self)

    def _no_negative_term(self, p: Polynomial) -> bool:
        """Whether every term of p is at least zero, by its form or by the premises."""
        return all(
            c > 0 and (never_negative(monomial) or self.normal.nonnegative(single_product(monomial)))
            for monomial, c in p.terms
        )

    def _power_axioms(self, a: Atom, v: Any, base: Polynomial, exponent: Polynomial) -> Iterator[Term]:
        constant = exponent.constant
        if constant is not None:
            b, p, q = self.term(base, self.uses[a]), constant.numerator, constant.denominator
            yield Implies(b >= 0, And(v >= 0, v**q == b**p) if p > 0 else v >= 0)
            return
        if base.constant == -1 and self.normal.whole(exponent):
            yield Or(v == 1, v == -1)
        yield from of_one(a, v, self)

    def whole(self, atoms: set[Atom]) -> list[Term]:
        """That those of the atoms are integers which are."""
        return [
            self.variable(a) == real_of(Int(f"n{a.number}"))
            for a in sorted(atoms, key=lambda a: a.number)
            if a in self.normal.integers or a.kind in ("size", "floor")
        ]

    # ---- booleans --------------------------------------------------------------------------------------------------

    def formula(self, here: Node, uses: set[Atom]) -> Term:
        """The z3 formula of a boolean node."""
        match here.op:
            case "bool":
                return truth(bool(here.attrs[0]))
            case "and":
                return And(*(self.formula(a, uses) for a in here.args))
            case "or":
                return Or(*(self.formula(a, uses) for a in here.args))
            case "not":
                return Not(self.formula(here.args[0], uses))
            case "eq" if here.args[0].type.kind == "bool" and here.args[1].type.kind == "bool":
                return self.formula(here.args[0], uses) == self.formula(here.args[1], uses)
            case "ne" if here.args[0].type.kind == "bool" and here.args[1].type.kind == "bool":
                return self.formula(here.args[0], uses) != self.formula(here.args[1], uses)
            case "lt" | "le" | "gt" | "ge" | "eq" | "ne":
                return self.compare(self.normal(here.args[0]) - self.normal(here.args[1]), RELATIONS[here.op], uses)
            case "select":
                c, x, y = (self.formula(a, uses) for a in here.args)
                return If(c, x, y)
            case _:
                return self.term(self.normal(here), uses) != 0

    def compare(self, p: Polynomial, relation: str, uses: set[Atom]) -> Term:
        """p relation 0, with denominators of known sign multiplied out."""
        try:
            top, bottom = fraction(p)
        except TooLarge:
            top, bottom = p, ONE
        if bottom.constant is None:
            if self.normal.positive(bottom):
                p = top
            elif self.normal.positive(-bottom):
                p = -top
        else:
            p = top * (1 / bottom.constant)
        t = self.term(p, uses)
        match relation:
            case "<":
                return t < 0
            case "<=":
                return t <= 0
            case ">":
                return t > 0
            case ">=":
                return t >= 0
            case "==":
                return t == 0
            case _:
                return t != 0

    def numbers(self, answer: Answer, atoms: Iterable[Atom]) -> dict[Atom, Fraction]:
        """The rational values that a model gives to atoms; what it leaves open is zero."""
        values = {a: answer.values.get(self.variables[a].args[0], Value(Fraction(0))) for a in atoms}
        return {a: value.number for a, value in values.items() if value.exact}

    def closure(self, uses: set[Atom]) -> tuple[set[Atom], list[Term]]:
        """All atoms that the axioms of these reach, the axioms, and the laws between any two of them."""
        todo, seen, axioms = sorted(uses, key=lambda a: a.number), set(uses), []
        while todo:
            a = todo.pop()
            self.variable(a)
            for b in sorted((*self.uses[a], *squares(a)), key=lambda b: b.number):
                if b not in seen:
                    seen.add(b)
                    todo.append(b)
        for a in sorted(seen, key=lambda a: a.number):
            axioms.extend(self.axioms[a])
        axioms.extend(laws(seen, self))
        axioms.extend(self._extremes(seen))
        axioms.extend(norm_axioms(seen, self.normal.words, self.variable))
        return seen, axioms

    def _extremes(self, atoms: set[Atom]) -> Iterator[Term]:
        """n*min(e) <= Σ e <= n*max(e), and max(e) <= Σ e where no term is negative; the same for squares of such."""
        for a in sorted((a for a in atoms if a.kind in ("amax", "amin")), key=lambda a: a.number)[:MOST_EXTREMES]:
            axes, p = a.key
            lawful = self._no_negative_term(p)
            for power in (1, 2) if lawful else (1,):
                total = self.normal.add_up(p**power, axes)
                if not atoms.issuperset(total.atoms()):
                    continue
                v, places, t = self.variable(a) ** power, self.term(size_of(axes), set()), self.term(total, set())
                yield t <= places * v if a.kind == "amax" else t >= places * v
                if lawful and a.kind == "amax":
                    yield v <= t


def _size(axis: str) -> Atom:
    from dotopt.compiler.prove.forms.polynomial import atom

    return atom("size", axis)


def check(assertions: Iterable[Term], work: float) -> Answer:
    """What z3 says of these assertions together, after so much work; twice as much where it is needed: it is seldom."""
    return ask(assertions, work * PATIENCE)


def excluded(assertions: Iterable[Term], work: float) -> bool:
    """Whether z3 finds that no values fulfil all of these."""
    return check(assertions, work).result == "unsat"


__all__ = ["Smt", "check", "excluded", "single"]
