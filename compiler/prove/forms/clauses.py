"""Questions to z3 as formulas over polynomials with negations inside: what a proof without z3 starts from.

formula = ("and" | "or", (formula, …))  or  a literal (relation, polynomial): polynomial relation 0, one of > >= =
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import z3

from dotopt.compiler.prove.terms import Terms, collect, minus, product, rows

Formula = tuple[str, Any]
Cases = list[tuple[tuple[Formula, ...], Terms]]  # a term with choices: under these conditions it is this polynomial

TRUE: Formula = ("and", ())
FALSE: Formula = ("or", ())
MOST_CASES, MOST_TERMS, HIGHEST = 64, 400, 40  # beyond them the question is left to z3
DENIED = {">": ">=", ">=": ">"}  # not a > b: b >= a


class Foreign(Exception):
    """Not a formula over polynomials, or too large a one; the message says which."""


class Reader:
    """Reads boolean terms of z3; `name` gives the name of a variable in the polynomials."""

    def __init__(self, name: Callable[[str], str] = str) -> None:
        self.name = name
        self.terms: dict[int, tuple[Any, Cases]] = {}  # by the id of a z3 term, which is kept alive

    def formula(self, e: Any, wanted: bool = True) -> Formula:
        """The formula, or its negation if it is not `wanted`; raises `Foreign`."""
        kind, args = e.decl().kind(), e.children()
        match kind:
            case z3.Z3_OP_TRUE | z3.Z3_OP_FALSE:
                return TRUE if (kind == z3.Z3_OP_TRUE) == wanted else FALSE
            case z3.Z3_OP_NOT:
                return self.formula(args[0], not wanted)
            case z3.Z3_OP_AND | z3.Z3_OP_OR:
                op = "and" if (kind == z3.Z3_OP_AND) == wanted else "or"
                return join(op, [self.formula(a, wanted) for a in args])
            case z3.Z3_OP_IMPLIES:
                parts = [self.formula(args[0], not wanted), self.formula(args[1], wanted)]
                return join("or" if wanted else "and", parts)
            case z3.Z3_OP_ITE:
                return self._either(args[0], (args[1], wanted), (args[2], wanted))
            case z3.Z3_OP_EQ | z3.Z3_OP_DISTINCT if len(args) == 2:
                same = (kind == z3.Z3_OP_EQ) == wanted
                if z3.is_bool(args[0]):
                    return self._either(args[0], (args[1], same), (args[1], not same))
                return self._compared(args[0], args[1], "=" if same else "!=")
            case z3.Z3_OP_GE | z3.Z3_OP_GT | z3.Z3_OP_LE | z3.Z3_OP_LT:
                relation = ">=" if kind in (z3.Z3_OP_GE, z3.Z3_OP_LE) else ">"
                left, right = args if kind in (z3.Z3_OP_GE, z3.Z3_OP_GT) else args[::-1]
                if not wanted:
                    left, right, relation = right, left, DENIED[relation]
                return self._compared(left, right, relation)
        raise Foreign(str(e.decl()))

    def _either(self, condition: Any, yes: tuple[Any, bool], no: tuple[Any, bool]) -> Formula:
        holds, fails = self.formula(condition), self.formula(condition, False)
        return join("or", [join("and", [holds, self.formula(*yes)]), join("and", [fails, self.formula(*no)])])

    def _compared(self, left: Any, right: Any, relation: str) -> Formula:
        return join(
            "or",
            [
                join("and", [*c, *d, literal(relation, minus(p, q))])
                for c, p in self._term(left)
                for d, q in self._term(right)
            ],
        )

    def _term(self, e: Any) -> Cases:
        key = e.get_id()
        if key not in self.terms:
            self.terms[key] = e, self._read(e)
        return self.terms[key][1]

    def _read(self, e: Any) -> Cases:
        if z3.is_rational_value(e):
            value = Fraction(e.numerator_as_long(), e.denominator_as_long())
            return [((), {(): value} if value else {})]
        args = e.children()
        match e.decl().kind():
            case z3.Z3_OP_UNINTERPRETED if not args and e.sort() == z3.RealSort():
                return [((), {((self.name(e.decl().name()), 1),): Fraction(1)})]
            case z3.Z3_OP_ADD:
                return self._folded(args, lambda p, q: minus(p, minus({}, q)))
            case z3.Z3_OP_SUB:
                return self._folded(args, minus)
            case z3.Z3_OP_UMINUS:
                return [(c, minus({}, p)) for c, p in self._term(args[0])]
            case z3.Z3_OP_MUL:
                return self._folded(args, product)
            case z3.Z3_OP_POWER if z3.is_rational_value(args[1]) and args[1].denominator_as_long() == 1:
                if 0 < args[1].numerator_as_long() < HIGHEST:
                    return self._folded([args[0]] * args[1].numerator_as_long(), product)
            case z3.Z3_OP_DIV if z3.is_rational_value(args[1]) and args[1].numerator_as_long():
                scale: Terms = {(): 1 / Fraction(args[1].numerator_as_long(), args[1].denominator_as_long())}
                return [(c, product(p, scale)) for c, p in self._term(args[0])]
            case z3.Z3_OP_ITE:
                holds, fails = self.formula(args[0]), self.formula(args[0], False)
                return [((holds, *c), p) for c, p in self._term(args[1])] + [
                    ((fails, *c), p) for c, p in self._term(args[2])
                ]
        raise Foreign(str(e.decl()))

    def _folded(self, args: list[Any], function: Callable[[Terms, Terms], Terms]) -> Cases:
        total = self._term(args[0])
        for a in args[1:]:
            total = [((*c, *d), function(p, q)) for c, p in total for d, q in self._term(a)]
            if len(total) > MOST_CASES or any(len(p) > MOST_TERMS for _, p in total):
                raise Foreign("too many cases or terms")
        return total


def literal(relation: str, p: Terms) -> Formula:
    """`p relation 0` as a formula: numbers are decided, `!=` is one of two inequalities."""
    if set(p) <= {()}:
        value = p.get((), Fraction(0))
        return TRUE if {">": value > 0, ">=": value >= 0, "=": value == 0, "!=": value != 0}[relation] else FALSE
    if relation == "!=":
        return ("or", ((">", frozen(p)), (">", frozen(minus({}, p)))))
    return relation, frozen(p)


def frozen(p: Terms) -> tuple[tuple[Any, Fraction], ...]:
    """The terms in one order, to compare and hash."""
    return tuple(sorted(p.items()))


def plain(f: Formula) -> list[Any]:
    """The formula as data, for the checker."""
    return [f[0], [plain(part) for part in f[1]] if f[0] in ("and", "or") else rows(dict(f[1]))]


def read(f: list[Any]) -> Formula:
    """The formula from data."""
    return f[0], tuple(map(read, f[1])) if f[0] in ("and", "or") else frozen(collect(f[1]))


def join(op: str, parts: Iterable[Formula]) -> Formula:
    """The conjunction or disjunction, flat and without what is decided.

    >>> join("or", [FALSE, (">", ()), ("or", ((">=", ()),))])
    ('or', (('>', ()), ('>=', ())))
    """
    unit, zero = (TRUE, FALSE) if op == "and" else (FALSE, TRUE)
    flat: dict[Formula, None] = {}
    for part in parts:
        if part == zero:
            return zero
        flat.update(dict.fromkeys(part[1] if part[0] == op else (part,)))
    flat.pop(unit, None)
    return next(iter(flat)) if len(flat) == 1 else (op, tuple(flat))
