"""Terms and formulas of questions to z3, and their text in SMT-LIB 2.

    x, y = Real("x"), Real("y")            text([x * x + 1 < y])  =  (declare-const |x| Real) … (assert (< … |y|))

Operators build terms, as for numbers; `==` builds an equation, so terms are compared with `is`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

Number = int | str | Fraction


class Term:
    """An operation of SMT-LIB on terms; `sort` is Real, Int, Bool, or the text of a sort of IEEE numbers."""

    __slots__ = ("args", "op", "sort")

    def __init__(self, op: str, args: tuple[Any, ...], sort: str) -> None:
        self.op, self.args, self.sort = op, args, sort

    def __repr__(self) -> str:
        return _Writer([self]).written(self)

    def __bool__(self) -> bool:
        raise TypeError("a term has no truth value of its own")

    __hash__ = object.__hash__

    def __add__(self, other: Term | Number) -> Term:
        return total((self, term(other)))

    def __radd__(self, other: Number) -> Term:
        return total((term(other), self))

    def __mul__(self, other: Term | Number) -> Term:
        return product((self, term(other)))

    def __rmul__(self, other: Number) -> Term:
        return product((term(other), self))

    def __neg__(self) -> Term:
        return term(-self.args[0]) if self.op == "number" else Term("-", (self,), self.sort)

    def __sub__(self, other: Term | Number) -> Term:
        return self + -term(other)

    def __rsub__(self, other: Number) -> Term:
        return term(other) - self

    def __pow__(self, power: int) -> Term:
        return product((self,) * power)

    def __lt__(self, other: Term | Number) -> Term:
        return Term("<", (self, term(other)), "Bool")

    def __le__(self, other: Term | Number) -> Term:
        return Term("<=", (self, term(other)), "Bool")

    def __gt__(self, other: Term | Number) -> Term:
        return Term(">", (self, term(other)), "Bool")

    def __ge__(self, other: Term | Number) -> Term:
        return Term(">=", (self, term(other)), "Bool")

    def __eq__(self, other: object) -> Term:  # type: ignore[override]
        return Term("=", (self, term(other)), "Bool")  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Term:  # type: ignore[override]
        return Not(self == other)


def term(value: Term | Number) -> Term:
    """A term; a number becomes a constant."""
    return value if isinstance(value, Term) else Term("number", (Fraction(value),), "Real")


def Real(name: str) -> Term:
    """A real unknown."""
    return Term("name", (name,), "Real")


def Int(name: str) -> Term:
    """A whole unknown."""
    return Term("name", (name,), "Int")


def Bool(name: str) -> Term:
    """An unknown truth."""
    return Term("name", (name,), "Bool")


def real_of(whole: Term) -> Term:
    """A whole number as a real one."""
    return Term("to_real", (whole,), "Real")


def truth(value: bool) -> Term:
    """`true` or `false`."""
    return Term("true" if value else "false", (), "Bool")


def total(parts: Sequence[Term]) -> Term:
    """The sum; 0 for none."""
    kept = tuple(p for p in parts if not (p.op == "number" and not p.args[0]))
    return Term("+", kept, "Real") if len(kept) > 1 else kept[0] if kept else term(0)


def product(parts: Sequence[Term]) -> Term:
    """The product; 1 for none."""
    if any(p.op == "number" and not p.args[0] for p in parts):
        return term(0)
    kept = tuple(p for p in parts if not (p.op == "number" and p.args[0] == 1))
    return Term("*", kept, "Real") if len(kept) > 1 else kept[0] if kept else term(1)


def And(*parts: Term) -> Term:
    """The conjunction."""
    return Term("and", parts, "Bool") if len(parts) > 1 else parts[0] if parts else truth(True)


def Or(*parts: Term) -> Term:
    """The disjunction."""
    return Term("or", parts, "Bool") if len(parts) > 1 else parts[0] if parts else truth(False)


def Not(part: Term) -> Term:
    """The negation."""
    return part.args[0] if part.op == "not" else Term("not", (part,), "Bool")


def Implies(left: Term, right: Term) -> Term:
    """`left` only where `right`."""
    return Term("=>", (left, right), "Bool")


def If(condition: Term, yes: Term | Number, no: Term | Number) -> Term:
    """One of two terms."""
    yes, no = term(yes), term(no)
    return Term("ite", (condition, yes, no), yes.sort)


def text(assertions: Iterable[Term]) -> str:
    """The assertions with the declarations of their names, in the order in which they occur."""
    formulas = list(assertions)
    writer = _Writer(formulas)
    asserted = [f"(assert {writer.written(f)})" for f in formulas]
    return "\n".join([*writer.declared.values(), *writer.defined, *asserted])


class _Writer:
    """Writes terms; what occurs in several places is defined once and named."""

    def __init__(self, roots: Sequence[Term]) -> None:
        self.declared: dict[str, str] = {}
        self.defined: list[str] = []
        self.known: dict[int, str] = {}
        self.uses: dict[int, int] = {}
        stack = list(roots)
        while stack:
            here = stack.pop()
            self.uses[id(here)] = self.uses.get(id(here), 0) + 1
            if self.uses[id(here)] == 1 and here.op not in ("number", "name"):
                stack.extend(here.args)

    def written(self, here: Term) -> str:
        """The text of a term."""
        if id(here) not in self.known:
            made = self._written(here)
            if self.uses.get(id(here), 0) > 1 and len(made) > 30:
                name = f"|:{len(self.defined)}|"
                self.defined.append(f"(define-fun {name} () {here.sort} {made})")
                made = name
            self.known[id(here)] = made
        return self.known[id(here)]

    def _written(self, here: Term) -> str:
        match here.op:
            case "number":
                return _number(here.args[0])
            case "name":
                name = f"|{here.args[0]}|"
                self.declared.setdefault(name, f"(declare-const {name} {here.sort})")
                return name
        if not here.args:
            return here.op
        return f"({here.op} {' '.join([self.written(a) for a in here.args])})"


def _number(value: Fraction) -> str:
    """A fraction as a real constant."""
    size = f"{abs(value.numerator)}.0"
    if value.denominator != 1:
        size = f"(/ {size} {value.denominator}.0)"
    return f"(- {size})" if value < 0 else size


__all__ = [
    "And", "Bool", "If", "Implies", "Int", "Not", "Or", "Real", "Term", "product", "real_of", "term", "text", "total",
    "truth",
]  # fmt: skip
