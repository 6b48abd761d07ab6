"""Questions to z3 as formulas over polynomials with negations inside: what a proof without z3 starts from.

formula = ("and" | "or", (formula, …))  or  a literal (relation, polynomial): polynomial relation 0, one of > >= =
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from dotopt.compiler.prove.solver.logic import Term
from dotopt.compiler.prove.terms import Terms, collect, minus, product, rows

Formula = tuple[str, Any]
Cases = list[tuple[tuple[Formula, ...], Terms]]  # a term with choices: under these conditions it is this polynomial

TRUE: Formula = ("and", ())
FALSE: Formula = ("or", ())
MOST_CASES, MOST_TERMS = 64, 400  # beyond them the question is left to z3
DENIED = {">": ">=", ">=": ">"}  # not a > b: b >= a


class Foreign(Exception):
    """Not a formula over polynomials, or too large a one; the message says which."""


class Reader:
    """Reads boolean terms of questions; `name` gives the name of an unknown in the polynomials."""

    def __init__(self, name: Callable[[str], str] = str) -> None:
        self.name = name
        self.terms: dict[int, tuple[Term, Cases]] = {}  # by the identity of a term, which is kept alive

    def formula(self, e: Term, wanted: bool = True) -> Formula:
        """The formula, or its negation if it is not `wanted`; raises `Foreign`."""
        args = e.args
        match e.op:
            case "true" | "false":
                return TRUE if (e.op == "true") == wanted else FALSE
            case "not":
                return self.formula(args[0], not wanted)
            case "and" | "or":
                op = "and" if (e.op == "and") == wanted else "or"
                return join(op, [self.formula(a, wanted) for a in args])
            case "=>":
                parts = [self.formula(args[0], not wanted), self.formula(args[1], wanted)]
                return join("or" if wanted else "and", parts)
            case "ite":
                return self._either(args[0], (args[1], wanted), (args[2], wanted))
            case "=" if args[0].sort == "Bool":
                return self._either(args[0], (args[1], wanted), (args[1], not wanted))
            case "=":
                return self._compared(args[0], args[1], "=" if wanted else "!=")
            case ">=" | ">" | "<=" | "<":
                relation = e.op.replace("<", ">")
                left, right = args if e.op[0] == ">" else args[::-1]
                if not wanted:
                    left, right, relation = right, left, DENIED[relation]
                return self._compared(left, right, relation)
        raise Foreign(e.op)

    def _either(self, condition: Term, yes: tuple[Term, bool], no: tuple[Term, bool]) -> Formula:
        holds, fails = self.formula(condition), self.formula(condition, False)
        return join("or", [join("and", [holds, self.formula(*yes)]), join("and", [fails, self.formula(*no)])])

    def _compared(self, left: Term, right: Term, relation: str) -> Formula:
        return join(
            "or",
            [
                join("and", [*c, *d, literal(relation, minus(p, q))])
                for c, p in self._term(left)
                for d, q in self._term(right)
            ],
        )

    def _term(self, e: Term) -> Cases:
        if id(e) not in self.terms:
            self.terms[id(e)] = e, self._read(e)
        return self.terms[id(e)][1]

    def _read(self, e: Term) -> Cases:
        args = e.args
        match e.op:
            case "number":
                return [((), {(): args[0]} if args[0] else {})]
            case "name" if e.sort == "Real":
                return [((), {((self.name(args[0]), 1),): Fraction(1)})]
            case "+":
                return self._folded(args, lambda p, q: minus(p, minus({}, q)))
            case "-":
                return [(c, minus({}, p)) for c, p in self._term(args[0])]
            case "*":
                return self._folded(args, product)
            case "ite":
                holds, fails = self.formula(args[0]), self.formula(args[0], False)
                return [((holds, *c), p) for c, p in self._term(args[1])] + [
                    ((fails, *c), p) for c, p in self._term(args[2])
                ]
        raise Foreign(e.op)

    def _folded(self, args: Sequence[Term], function: Callable[[Terms, Terms], Terms]) -> Cases:
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
