"""The axioms of operations, as z3 gets them: sentences of the table, about the atoms of a question.

An axiom of one value is stated of each atom; one that relates two values (`exp(x)` and `exp(y)`, `x^z` and `y^z`) of
any two atoms that match it. The range of a function needs no premise: outside its domain it may be given any value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING, Any

from dotopt.compiler.ir import Node, leaf, sentence
from dotopt.compiler.ops import OPERATIONS, Absent, Operation
from dotopt.compiler.prove.forms.polynomial import Atom, Polynomial, atom
from dotopt.compiler.prove.solver.logic import And, If, Implies, Not, Or, term

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.smt import Smt

DEFINED = ("abs", "sign")  # of which an axiom says all
X = tuple(leaf("free", name) for name in "xyz")
MOST = 4  # atoms of one kind that are compared with each other


@dataclass(frozen=True, slots=True)
class Law:
    """`given` implies `show`; `values` are the values of operations that it speaks of."""

    show: Node
    given: Node
    values: tuple[Node, ...]


@cache
def laws_of(kind: str) -> tuple[Law, ...]:
    """The axioms of an operation, its range, and that it is monotone, in `x`, `y` and `z`."""
    row = OPERATIONS.get(kind)
    if row is None:
        return ()
    stated = () if isinstance(row.axioms, Absent) else row.axioms
    texts = [(axiom.show, axiom.given) for axiom in stated]
    if row.monotone in ("increasing", "decreasing") and stated and not _algebraic(row):
        sign = "<" if row.monotone == "increasing" else ">"
        domain = "true" if isinstance(row.domain, Absent) else row.domain
        both = domain if domain == "true" else f"{domain} and {_of_y(domain)}"
        texts.append((f"(x < y) == ({kind}(x) {sign} {kind}(y))", both))
    return tuple(_law(kind, show, given) for show, given in texts)


def _algebraic(row: Operation) -> bool:
    """Whether an axiom defines it: then all else follows."""
    return not isinstance(row.axioms, Absent) and any(axiom.source == "definition" for axiom in row.axioms)


def _of_y(domain: str) -> str:
    return domain.replace("x", "y")


def _law(kind: str, show: str, given: str) -> Law:
    found = sentence(show, *X)
    values = (here for here in found.walk() if here.op == kind or (here.op not in PLAIN and len(here.args) == 1))
    return Law(found, sentence(given, *X), tuple(values))


PLAIN = frozenset(("neg", "not", "abs"))  # arithmetic around the values that an axiom speaks of


def _in_range(a: Atom, v: Any, smt: Smt) -> Iterator[Any]:
    row = OPERATIONS.get(a.kind)
    if row is None or row.kind in ("constant", "truth") or isinstance(row.range, Absent) or ", " not in row.range:
        return
    low, high = row.range[1:-1].split(", ")
    if "∞" not in low:
        bound = _formula(sentence(low), {}, smt, smt.uses[a])
        yield v > bound if row.range[0] == "(" else v >= bound
    if "∞" not in high:
        bound = _formula(sentence(high), {}, smt, smt.uses[a])
        yield v < bound if row.range[-1] == ")" else v <= bound


def of_one(a: Atom, v: Any, smt: Smt) -> Iterator[Any]:
    """The axioms of the value of one atom, and its range."""
    if a.kind not in DEFINED:
        yield from _in_range(a, v, smt)
    arguments = _arguments(a)
    for law in laws_of(a.kind):
        if len(law.values) == 1 and len(law.values[0].args) == len(arguments):
            table: dict[Node, Any] = {law.values[0]: v}
            table |= {x: smt.term(p, smt.uses[a]) for x, p in zip(law.values[0].args, arguments, strict=True)}
            yield _stated(law, table, smt, smt.uses[a])


def of_two(atoms: Sequence[Atom], smt: Smt) -> Iterator[Any]:
    """The axioms that relate the values of any two of these atoms."""
    of_kind: dict[str, list[Atom]] = {}
    for a in atoms:
        if a.kind in OPERATIONS and len(of_kind.setdefault(a.kind, [])) < MOST:
            of_kind[a.kind].append(a)
    for kind in of_kind:
        for law in laws_of(kind):
            if len(law.values) == 2:
                yield from _related(law, of_kind, smt)


def _related(law: Law, of_kind: dict[str, list[Atom]], smt: Smt) -> Iterator[Any]:
    first, second = law.values
    if first.op == second.op:
        pairs: Iterable[tuple[Atom, Atom]] = permutations(of_kind[first.op], 2)
    else:
        pairs = ((a, b) for a in of_kind.get(first.op, ()) for b in of_kind.get(second.op, ()))
    for a, b in pairs:
        bound = _bound([(first, a), (second, b)])
        if bound is not None:
            table: dict[Node, Any] = {first: smt.variable(a), second: smt.variable(b)}
            uses = set[Atom]()
            table |= {x: smt.term(p, uses) for x, p in bound.items()}
            yield _stated(law, table, smt, uses)


def _bound(values: list[tuple[Node, Atom]]) -> dict[Node, Polynomial] | None:
    """What the variables of an axiom stand for; None if the atoms do not match it."""
    found: dict[Node, Polynomial] = {}
    for value, a in values:
        arguments = _arguments(a)
        if len(arguments) != len(value.args):
            return None
        for x, p in zip(value.args, arguments, strict=True):
            if found.setdefault(x, p) != p:
                return None
    return found


def _arguments(a: Atom) -> tuple[Polynomial, ...]:
    """The arguments of the operation whose value an atom is."""
    return tuple(p for p in a.key if isinstance(p, Polynomial))


def _stated(law: Law, table: dict[Node, Any], smt: Smt, uses: set[Atom]) -> Any:
    show = _formula(law.show, table, smt, uses)
    return show if law.given.op == "bool" else Implies(_formula(law.given, table, smt, uses), show)


def _formula(root: Node, table: dict[Node, Any], smt: Smt, uses: set[Atom]) -> Any:
    """The formula or term of a sentence, whose variables and values stand in the table."""
    if root in table:
        return table[root]
    if root.op == "pi":
        uses.add(atom("pi"))
        return smt.variable(atom("pi"))
    if root.value is not None:
        return term(root.value)
    a = [_formula(arg, table, smt, uses) for arg in root.args]
    return MEANING[root.op](*a)


MEANING: dict[str, Any] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "neg": lambda x: -x,
    "abs": lambda x: If(x >= 0, x, -x),
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "and": lambda x, y: And(x, y),
    "or": lambda x, y: Or(x, y),
    "not": lambda x: Not(x),
    "select": lambda c, x, y: If(c, x, y),
}
