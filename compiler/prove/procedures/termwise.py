"""Sums over the same axes compared: term by term (Σ a <= Σ b where a <= b at every place, |Σ a| <= Σ b likewise), and
norms by the inequality of Cauchy and Schwarz.

z3 sees a sum as one number. What is found here is put beside the question in which the sums occur.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms import families
from dotopt.compiler.prove.forms.certificates import smt_certificate
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.normal import MODEL, Unsupported
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    Atom,
    Polynomial,
    inverse,
    single_product,
    split_content,
)
from dotopt.compiler.prove.forms.smt import excluded
from dotopt.compiler.prove.fuel import remaining
from dotopt.compiler.prove.solver.logic import Term

LEAST = 100_000  # work that must be left to compare any further
MOST = 6  # sums over the same axes
WORK = 60_000  # of z3 for one comparison

Found = tuple[Term, dict[str, Any]]  # what holds of sums, and the certificate for their terms
Axes = tuple[str, ...]
Sum = Callable[[Polynomial], Polynomial]


def products_of_norms(goal: Node, facts: Facts) -> list[Term]:
    """|⟨a, b⟩| <= ‖a‖*‖b‖ for the vectors whose norms the goal compares."""
    norms = {part for side in goal.args for part in side.walk() if part.op == "norm" and part.attrs[2] == 2}
    found: list[Term] = []
    for first, second in combinations(sorted(norms, key=repr)[:MOST], 2):
        axes = _axes(first)
        if axes is None or axes != _axes(second) or first.type.axes or second.type.axes:
            continue
        try:
            a, b = facts.normal(first.args[0]), facts.normal(second.args[0])
            total, bound = facts.normal.add_up(a * b, axes), facts.normal(first) * facts.normal(second)
        except (Unsupported, ArithmeticError):
            continue
        found += [facts.smt.term(bound + total, set()) >= 0, facts.smt.term(bound - total, set()) >= 0]
    return found


def comparisons(goal: Node, facts: Facts) -> list[Found]:
    """What the terms of the sums of a goal say about these sums."""
    terms: dict[Axes, list[Polynomial]] = {}
    for part in dict.fromkeys(part for side in goal.args for part in side.walk()):
        found = _summed(part, facts)
        if found is not None and found[1] not in terms.setdefault(found[0], []):
            terms[found[0]].append(found[1])
    shown = list(_families(goal, facts))
    for axes in sorted(terms):
        shown += _compared(partial(facts.normal.add_up, axes=axes), terms[axes][:MOST], facts)
    return shown


def _families(goal: Node, facts: Facts) -> Iterator[Found]:
    """The same of sums over the members of a family."""
    terms: dict[tuple[Node, Node], list[Polynomial]] = {}
    for part in (part for side in goal.args for part in side.walk() if part.op == "fold" and not part.type.axes):
        try:
            opened = families.opened(facts.normal, part)
        except (Unsupported, ArithmeticError):
            continue
        if opened is not None and not opened[1].axes:
            terms.setdefault((part.args[0], opened[0]), []).append(opened[1])
    for (elements, bound), own in terms.items():
        yield from _compared(partial(families.add_up, facts.normal, elements, bound), own[:MOST], facts)


def _summed(part: Node, facts: Facts) -> tuple[Axes, Polynomial] | None:
    """The axes of a sum, mean or norm, and what is summed, without factors that are the same in all terms."""
    if part.op not in ("sum", "mean", "norm") or part.type.axes:
        return None
    axes = _axes(part)
    if axes is None:
        return None
    try:
        p = facts.normal(part.args[0])
        if part.op == "norm":
            p = p**2 if part.attrs[2] == 2 else facts.normal.absolute(p)
    except (Unsupported, ArithmeticError):
        return None
    if p.zero:
        return None
    (monomial, _), _ = split_content(p)
    return axes, p * inverse(single_product(tuple(f for f in monomial if not f[0].axes & set(axes))))


def _axes(part: Node) -> Axes | None:
    """The axes of a sum; None for a square matrix, whose sums are words."""
    inner = part.args[0].type.axes
    return (*((MODEL,) if part.attrs[1] else ()), *part.attrs[0]) if len(set(inner)) == len(inner) else None


def _compared(add_up: Sum, terms: list[Polynomial], facts: Facts) -> Iterator[Found]:
    for term in terms:
        yield from _signed(add_up, term, facts)
    for first, second in combinations([*terms, ONE], 2):
        yield from _signed(add_up, first - second, facts)
        yield from _signed(add_up, first + second, facts)


def _signed(add_up: Sum, term: Polynomial, facts: Facts) -> Iterator[Found]:
    """Σ term >= 0 if term >= 0 everywhere, or <= 0 likewise."""
    for sign in (1, -1):
        if remaining() < LEAST:
            return
        uses: set[Atom] = set()
        below = facts.smt.compare(term * sign, "<", uses)
        assertions, _ = facts.assertions(uses)
        question = [*assertions, below]
        if excluded(question, WORK):
            total = add_up(term) * sign
            yield facts.smt.compare(total, ">=", set()), smt_certificate(question) | {"entrywise": True}
            return


__all__ = ["comparisons", "products_of_norms"]
