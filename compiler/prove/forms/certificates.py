"""Certificates as the checker reads them: polynomials over named atoms, quotients, cases, and what is impossible.

Every atom has a name of its own within a claim: its text where that is short and not taken, else a word and a number,
with the text in `where`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dotopt.compiler.prove.forms.atoms import numbered
from dotopt.compiler.prove.forms.clauses import TRUE, Foreign, Reader, plain, read
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.polynomial import Atom, Polynomial, fraction
from dotopt.compiler.prove.forms.positive import Work
from dotopt.compiler.prove.forms.tableau import refutation
from dotopt.compiler.prove.solver.logic import Term, text

INVERSE = "1/"  # before the name of an atom: what times the atom is 1, wherever the atom is not 0
MOST = 4_000_000  # work for the proofs of one certificate
SHORT, LONGEST = 24, 300  # characters of a name, and of what is said about it

_NAMES: dict[Atom, str] = {}
_TAKEN: dict[str, Atom] = {}


def name(a: Atom) -> str:
    """The name of an atom, which no other atom of this claim has."""
    if a not in _NAMES:
        known = repr(a)
        if len(known) > SHORT or known in _TAKEN or known.startswith(INVERSE):
            known = f"{a.kind}#{len(_NAMES)}"
        _NAMES[a] = known
        _TAKEN[known] = a
    return _NAMES[a]


def forget_names() -> None:
    """Starts anew, for another claim."""
    _NAMES.clear()
    _TAKEN.clear()


def encode(p: Polynomial) -> list[list[Any]]:
    """A polynomial for the checker: [coefficient, [[atom, power], …]] for every term."""
    return [[str(c), [[name(a), power] for a, power in m]] for m, c in p.terms]


def inverses_of(polynomials: Iterable[Polynomial]) -> dict[str, Any]:
    """What stands below each quotient that occurs, for the checker."""
    found: dict[str, Any] = {}
    stack = list(polynomials)
    while stack:
        for a in stack.pop().atoms():
            if a.kind == "inverse" and name(a) not in found:
                found[name(a)] = encode(a.key[0])
                stack.append(a.key[0])
    return found


def equation_certificate(left: Polynomial, right: Polynomial, facts: Facts, split: Split) -> dict[str, Any]:
    """Both sides as numerators and denominators, the laws of their roots, and what the premises and cases put in."""
    sides = [*fraction(left), *fraction(right)]
    laws: dict[str, Any] = {}
    values: dict[str, Any] = {}
    where: dict[str, str] = {}
    stack = list(sides)
    while stack:
        for a in stack.pop().atoms():
            known = name(a)
            if known not in where and known != repr(a):
                where[known] = repr(a)[:LONGEST]
            if a.kind in ("sqrt", "abs") and known not in laws:
                inside: Polynomial = a.key[0] if a.kind == "sqrt" else a.key[0] ** 2
                laws[known] = encode(inside)
                stack.append(inside)
            if a in facts.rewrites and known not in values:
                values[known] = encode(facts.rewrites[a])
                stack.append(facts.rewrites[a])
    found: dict[str, Any] = {
        "kind": "nf-zero",
        "left": [encode(p) for p in sides[:2]],
        "right": [encode(p) for p in sides[2:]],
        "laws": laws,
        "values": values,
        "cases": [named(choice) for choice in split.cases],
    }
    if split.excluded:
        found["excluded"] = [[named(choice), question] for choice, question in split.excluded]
    return found | ({"where": where} if where else {})


class Split:
    """The cases over conditions in which an equation was shown, and those that the premises exclude."""

    def __init__(self) -> None:
        self.cases: list[dict[Atom, int]] = []
        self.excluded: list[tuple[dict[Atom, int], dict[str, Any]]] = []


def named(choice: dict[Atom, int]) -> dict[str, int]:
    """A case by the names of its conditions."""
    return {name(a): value for a, value in choice.items()}


# ---- what is impossible --------------------------------------------------------------------------------------------


def smt_certificate(assertions: Sequence[Term]) -> dict[str, Any]:
    """The certificate that assertions exclude each other, which z3 has found: a question that can be asked again.

    The last assertion is what is denied, where one is.
    """
    reader = Reader(_named)
    try:
        formulas = [reader.formula(e) for e in assertions]
    except (Foreign, ValueError):
        return {"kind": "smt-unsat", "smtlib": text(assertions)}
    return {
        "kind": "smt-unsat",
        "formulas": [plain(f) for f in (*(f for f in formulas[:-1] if f != TRUE), formulas[-1])],
    }


def _named(unknown: str) -> str:
    """The name of the atom that a variable of z3 stands for, or of its inverse."""
    inverted = unknown.startswith("1/")
    digits = unknown[2:] if inverted else unknown[1:]
    if not digits.isdigit():
        return unknown
    known = name(numbered(int(digits)))
    return f"{INVERSE}{known}" if inverted else known


def strengthened(certificate: dict[str, Any]) -> dict[str, Any]:
    """The certificate with proofs that the checker multiplies out in the place of questions to z3, where it has them.

    Such a part becomes one of kind `positive`; for the whole certificate only so much work is done.
    """
    work = Work(MOST)
    proofs: dict[str, dict[str, Any] | None] = {}

    def better(here: Any) -> Any:
        match here:
            case {"kind": "smt-unsat", "formulas": formulas}:
                known = repr(formulas)
                if known not in proofs:
                    proofs[known] = refutation([read(f) for f in formulas], _age, work)
                proof = proofs[known]
                return here if proof is None else {**here, "kind": "positive", "proof": proof}
            case dict():
                return {key: better(value) for key, value in here.items()}
            case list() | tuple():
                return [better(value) for value in here]
        return here

    stronger: dict[str, Any] = better(certificate)
    return stronger


def _age(known: str) -> float:
    """How young an atom is, by its name: what is made of others comes after them."""
    inverted = known not in _TAKEN and known.startswith(INVERSE)
    found = _TAKEN.get(known.removeprefix(INVERSE) if inverted else known)
    return -1.0 if found is None else found.number + 0.5 * inverted
