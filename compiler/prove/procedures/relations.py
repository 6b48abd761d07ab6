"""Linear relations between the states of two rules that run side by side with the same answers.

What must vanish for the parameters to move alike is a combination of states; what must vanish for that to vanish in
the next step is another one, and so on. There are at most as many that are independent as there are states. So the
relations come out of one linear solve after the other, and nothing is guessed:

    heavy ball beside momentum                      p == x + η*m      the point before the last step
    Nesterov beside gradients and differences       m == p + β*b      b is a ghost: a state of one rule only

Coefficients are rational functions of the knobs. A denominator must not vanish under the premises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import Any

import sympy

from dotopt.compiler.ir import TIME, Node, Program, leaf, node, number, substitute
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import ZERO, Atom, Polynomial, fraction, single_product
from dotopt.compiler.prove.procedures.identities import settle
from dotopt.compiler.prove.procedures.multipliers import as_polynomial, as_sympy
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import after

Row = dict[Node, Any]  # a combination of leaves that vanishes, coefficients on symbols


@dataclass(frozen=True)
class Relation:
    """What holds between two rules before every step: values for states of R (and its parameters), and of this rule.

    The values may read the other states of both rules; those of R are leaves `R.…`. The parameter of R has the leaf of
    the parameter here, and is a key of `theirs` only where it is something else.
    """

    theirs: Mapping[Node, Node]
    mine: Mapping[Node, Node] = field(default_factory=dict)

    def of_theirs(self, root: Node) -> Node:
        """A value of R where the relation holds."""
        return self.of_mine(substitute(root, dict(self.theirs)))

    def of_mine(self, root: Node) -> Node:
        """A value of this rule, or of what is no longer written as one of R, where the relation holds."""
        return substitute(root, dict(self.mine))

    def ahead(self, case: Case, other: Program) -> dict[Node, Node]:
        """The next values of the parameters and states here, and of the states of R where the relation holds."""
        return next_here(case) | {x: substitute(v, dict(self.theirs)) for x, v in states(other).items()}

    def visible(self, case: Case, other: Program, ahead: Mapping[Node, Node]) -> Iterator[tuple[Node, Node]]:
        """What the step must make equal, here and in R: the parameters, or without any the outputs."""
        mine = case.program
        if mine.params:
            for p in mine.params:
                here = leaf("param", p.name, p.type)
                yield substitute(self.theirs.get(here, here), dict(ahead)), other.next[p.name]
            return
        if not mine.outputs or not other.outputs:
            raise Unreadable("an equivalence of rules without a parameter and without an output")
        if len(mine.outputs) == len(other.outputs) == 1:
            yield from zip(map(case.settle, mine.outputs.values()), other.outputs.values(), strict=True)
            return
        for name, answer in other.outputs.items():
            if name not in mine.outputs:
                raise Unreadable(f"the other rule answers `{name}`, which this one does not")
            yield case.settle(mine.outputs[name]), answer


def next_here(case: Case) -> dict[Node, Node]:
    """The next values of the parameters and states of this rule, and of t."""
    return {x: case.settle(v) for x, v in after(case.program).items()}


def states(program: Program) -> dict[Node, Node]:
    """The states of a rule and their next values; one without an equation stays."""
    leaves = [(leaf("state", x.name, x.type), x) for x in program.states if not x.indices]
    return {here: x.next if x.next is not None else here for here, x in leaves}


def related(case: Case, other: Program, given: Relation) -> Relation | None:
    """`given` and the relations without which the step would make a difference; None if they are not linear."""
    task = Task((*case.premises, node("ge", TIME, number(2))), case.program)
    ahead = given.ahead(case, other)
    finder = Finder(task.facts, {x: v for x, v in ahead.items() if x is not TIME and x not in given.theirs})
    try:
        for mine, theirs in given.visible(case, other, ahead):
            finder.require(node("sub", mine, substitute(theirs, dict(given.theirs))))
        solved = finder.solved()
    except (Mismatch, NotLinear, Unsupported, ArithmeticError):
        return None
    here = {x for x in solved if x.name.startswith("R.")}
    values = {x: v for x, v in solved.items() if x in here}
    return Relation({**given.theirs, **values}, {x: v for x, v in solved.items() if x not in here})


class NotLinear(Exception):
    """What must vanish is no linear combination of states with scalar coefficients."""


class Finder:
    """Collects what must vanish, as rows in echelon form."""

    def __init__(self, facts: Facts, moves: Mapping[Node, Node]) -> None:
        self.facts, self.moves = facts, moves
        self.leaves: dict[Atom, Node] = {}
        for x in moves:
            (self.leaves[next(iter(facts.normal(x).atoms()))],) = (x,)
        self.symbols: dict[Atom, sympy.Symbol] = {}
        self.rows: dict[Node, Row] = {}  # by the leaf that each one gives
        self.scalars: dict[Atom, Node] = {}
        self._next: dict[Node, Polynomial] = {}

    def require(self, difference: Node) -> None:
        """Adds a difference that must vanish, and what must vanish for it to vanish in the steps after."""
        for here in difference.walk():
            self._scalar(here)
        waiting = [self.facts.normal(difference)]
        while waiting:
            row = self._reduced(self._row(waiting.pop()))
            if not row:
                continue
            pivot = self._pivot(row)
            self.rows = {x: self._without(r, pivot, row) for x, r in self.rows.items()} | {pivot: row}
            back = {v: a for a, v in self.symbols.items()}
            waiting.append(sum((as_polynomial(c, back) * self._following(x) for x, c in row.items()), ZERO))

    def solved(self) -> dict[Node, Node]:
        """The leaves that the relations give, as values of the others."""
        named = {self.symbols[a]: x for a, x in self.scalars.items() if a in self.symbols}
        found = {}
        for x, row in self.rows.items():
            terms = [node("mul", written(-c / row[x], named), y) for y, c in row.items() if y is not x]
            found[x] = reduce(lambda a, b: node("add", a, b), terms) if terms else node("zeros", attrs=(x.type,))
        return found

    def _scalar(self, here: Node) -> None:
        if here.op == "leaf" and here.role in ("hyper", "free") and here.type.scalar:
            self.scalars.setdefault(next(iter(self.facts.normal(here).atoms())), here)

    def _following(self, x: Node) -> Polynomial:
        if x not in self._next:
            for here in self.moves[x].walk():
                self._scalar(here)
            self._next[x] = self.facts.normal(self.moves[x])
        return self._next[x]

    def _row(self, p: Polynomial) -> Row:
        """The coefficients of the leaves; raises `NotLinear` if something else is left."""
        coefficients: dict[Node, Polynomial] = {}
        rest = ZERO
        for monomial, c in p.terms:
            mine = [(a, power) for a, power in monomial if a in self.leaves]
            factor = tuple(f for f in monomial if f[0] not in self.leaves)
            if len(mine) == 1 and mine[0][1] == 1 and all(map(self._known, single_product(factor).atoms())):
                x = self.leaves[mine[0][0]]
                coefficients[x] = coefficients.get(x, ZERO) + single_product(factor) * c
            else:
                rest = rest + single_product(monomial) * c
        if not settle(rest).zero:
            raise NotLinear
        row = {x: sympy.cancel(as_sympy(c, self.symbols)) for x, c in coefficients.items()}
        return {x: c for x, c in row.items() if c != 0}

    def _known(self, a: Atom) -> bool:
        """Whether an atom is a knob, or made of knobs."""
        return a in self.scalars or (a.kind == "inverse" and all(map(self._known, a.key[0].atoms())))

    def _reduced(self, row: Row) -> Row:
        """The row without the leaves that are given already, and without common factors."""
        for pivot, known in self.rows.items():
            row = self._without(row, pivot, known)
        if not row:
            return row
        tops, bottoms = zip(*(sympy.fraction(sympy.together(c)) for c in row.values()), strict=True)
        above, below = reduce(sympy.gcd, tops), reduce(sympy.lcm, bottoms)
        return {x: sympy.cancel(c * below / above) for x, c in row.items()}

    def _without(self, row: Row, pivot: Node, known: Row) -> Row:
        if pivot not in row:
            return row
        factor = row[pivot] / known[pivot]
        total = {x: sympy.cancel(row.get(x, 0) - factor * known.get(x, 0)) for x in {**row, **known}}
        return {x: c for x, c in total.items() if c != 0}

    def _pivot(self, row: Row) -> Node:
        """The state that the row is solved for: with a number before it, if there is one, and of R."""
        order = sorted(
            (x for x in row if x.role == "state"), key=lambda x: (not row[x].is_number, not x.name.startswith("R."))
        )
        back = {v: a for a, v in self.symbols.items()}
        for x in order:
            top, bottom = fraction(as_polynomial(row[x], back))
            if all(self.facts.positive(p) or self.facts.positive(-p) for p in (top, bottom)):
                return x
        raise NotLinear


def written(e: Any, named: Mapping[Any, Node]) -> Node:
    """A rational function on symbols as a value.

    >>> x, y = sympy.symbols("x y")
    >>> written((1 - x)/(2*y), {x: leaf("free", "β"), y: leaf("free", "η")})
    (1 - β)/(2*η)
    """
    top, bottom = sympy.fraction(sympy.factor(e))
    if bottom != 1:
        return node("div", written(top, named), written(bottom, named))
    if e.is_Rational:
        return number(Fraction(int(e.p), int(e.q)))
    if e.is_Symbol:
        return named[e]
    if top.is_Pow:
        return node("pow", written(top.base, named), number(int(top.exp)))
    parts = sorted(top.args, key=lambda a: (str(a).startswith("-"), not a.is_number, str(a)))
    op = "add" if top.is_Add else "mul"
    total = written(parts[0], named)
    for part in parts[1:]:
        if op == "add" and part.could_extract_minus_sign():
            total = node("sub", total, written(-part, named))
        else:
            total = node(op, total, written(part, named))
    return total


__all__ = ["Relation", "next_here", "related", "states"]
