"""P2: normal forms that are equal, by cases over conditions."""

from __future__ import annotations

from typing import Any

from dotopt.compiler.prove.forms.certificates import Split, equation_certificate, smt_certificate
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.polynomial import Atom, Polynomial, fraction, number, single
from dotopt.compiler.prove.forms.smt import excluded


def of_words(left: Polynomial, right: Polynomial, facts: Facts) -> dict[str, Any] | None:
    """The same with inner products of vectors as words of matrices."""
    first, second = facts.normal.opened(left), facts.normal.opened(right)
    return identity(first, second, facts) if (first, second) != (left, right) else None


def identity(left: Polynomial, right: Polynomial, facts: Facts) -> dict[str, Any] | None:
    """A certificate that two normal forms are equal: by cases over conditions, numerators that vanish."""
    split = Split()
    if not _vanishes(left - right, facts, {}, split, 6):
        return None
    return equation_certificate(left, right, facts, split)


def _vanishes(p: Polynomial, facts: Facts, chosen: dict[Atom, int], split: Split, depth: int) -> bool:
    top = settle(p)
    for _ in range(4 if facts.rewrites else 0):
        top = settle(top.replace(facts.rewrites.get))
    if top.zero:
        split.cases.append(chosen)
        return True
    condition = next((a for a in top.atoms() if a.kind == "truth"), None)
    if condition is None or depth == 0:
        return False
    for value in (1, 0):
        uses: set[Atom] = set()
        here = facts.smt.term(single(condition), uses) == value
        assertions, _ = facts.assertions(uses)
        if excluded([*assertions, here], 100_000):
            split.excluded.append(({condition: value}, smt_certificate([*assertions, here])))
            continue
        inside = top.replace(lambda a: number(value) if a is condition else None)  # noqa: B023 - used at once
        if not _vanishes(inside, facts, {**chosen, condition: value}, split, depth - 1):
            return False
    return True


def settle(p: Polynomial) -> Polynomial:
    """The numerator; roots and absolute values are squared away by the laws of the product."""
    top, _ = fraction(p)
    return top


__all__ = ["identity", "of_words", "settle"]
