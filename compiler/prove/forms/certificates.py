"""Certificates as the checker reads them: polynomials over named atoms, quotients, cases, and questions to z3.

Every atom has a name of its own within a claim: its text where that is short and not taken, else a word and a number,
with the text in `where`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import z3

from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.polynomial import Atom, Polynomial, fraction

SHORT, LONGEST = 24, 300  # characters of a name, and of what is said about it

_NAMES: dict[Atom, str] = {}
_TAKEN: dict[str, Atom] = {}


def name(a: Atom) -> str:
    """The name of an atom, which no other atom of this claim has."""
    if a not in _NAMES:
        text = repr(a)
        if len(text) > SHORT or text in _TAKEN:
            text = f"{a.kind}#{len(_NAMES)}"
        _NAMES[a] = text
        _TAKEN[text] = a
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


def smt_certificate(assertions: Iterable[z3.BoolRef]) -> dict[str, Any]:
    """The question in SMT-LIB, to be asked again; z3 gives no small proof."""
    solver = z3.Solver()
    solver.add(*assertions)
    return {"kind": "smt-unsat", "smtlib": solver.to_smt2()}
