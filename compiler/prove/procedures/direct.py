"""One goal as it stands: equal normal forms, signs, one variable, the entries at one place, z3 on sums and norms."""

from __future__ import annotations

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms.certificates import smt_certificate
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.polynomial import ONE, Atom, Polynomial, fraction, single, single_product
from dotopt.compiler.prove.forms.smt import excluded
from dotopt.compiler.prove.outcome import Proved
from dotopt.compiler.prove.procedures.identities import identity, of_words
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.procedures.termwise import comparisons, products_of_norms
from dotopt.compiler.prove.procedures.univariate import proof
from dotopt.compiler.prove.solver.logic import Not


def direct(goal: Node, task: Task) -> Proved | None:
    """A proof of a boolean node; raises `Unsupported` or an `ArithmeticError` where there is no normal form."""
    facts = task.facts
    if goal.op == "bool":
        return Proved("algebra", {"kind": "truth", "value": True}) if goal.attrs[0] else None
    compared = goal.op in ("eq", "le", "lt", "ge", "gt", "ne")
    if compared and all(a.type.kind not in ("bool", "tuple", "set", "list") for a in goal.args):
        left, right = (facts.normal(a) for a in goal.args)
        if goal.op in ("eq", "le", "ge"):
            same = identity(left, right, facts) or of_words(left, right, facts)
            if same is not None:
                return Proved("algebra", same)
        if goal.op == "eq":
            inside = _under_sum(left - right, facts)
            found = _entrywise(inside, "==", facts) if inside is not None else None
            if found is not None:
                return found
        if goal.op in ("le", "lt", "ge", "gt"):
            alone = proof(goal, task.premises, 50_000)
            if alone is not None:
                return Proved(*alone)
            p = left - right if goal.op in ("le", "lt") else right - left
            for form in dict.fromkeys((p, facts.normal.opened(p))):
                found = _below(form, goal.op in ("lt", "gt"), facts)
                if found is not None:
                    return found
        alone = proof(goal, task.premises)
        if alone is not None:
            return Proved(*alone)
    work = task.fuel * 0.4
    assertions, atoms = facts.question(goal)
    asked = facts.excluded(assertions, atoms, work)
    if asked is not None:
        return Proved("smt", smt_certificate(asked))
    norms = products_of_norms(goal, facts)
    if norms and excluded([*assertions, *norms], work):
        return Proved("smt", smt_certificate([*assertions, *norms]))
    summed = comparisons(goal, facts)
    question = [*assertions, *norms, *(known for known, _ in summed)]
    if not summed or not excluded(question, work):
        return None
    return Proved("smt", {"kind": "all", "parts": [*(part for _, part in summed), smt_certificate(question)]})


def _below(p: Polynomial, strict: bool, facts: Facts) -> Proved | None:
    """p <= 0 (or < 0): by its atoms, by the largest entry, or term by term under a sum."""
    if (strict and facts.positive(-p)) or (not strict and facts.nonnegative(-p)):
        uses: set[Atom] = set()
        t = facts.smt.term(p, uses)
        assertions, _ = facts.assertions(uses)
        return Proved("sign", smt_certificate([*assertions, t >= 0 if strict else t > 0]))
    for reduced in (_largest_entry(p, facts), _under_sum(p, facts)):  # strict too: there are places, and finitely many
        found = _entrywise(reduced, "<" if strict else "<=", facts) if reduced is not None else None
        if found is not None:
            return found
    return None


def _entrywise(p: Polynomial, relation: str, facts: Facts) -> Proved | None:
    """p relation 0 at every place, by z3."""
    uses: set[Atom] = set()
    formula = facts.smt.compare(p, relation, uses)
    assertions, _ = facts.assertions(uses)
    question = [*assertions, Not(formula)]
    if excluded(question, 600_000):
        return Proved("smt", smt_certificate(question) | {"entrywise": True})
    return None


def _largest_entry(p: Polynomial, facts: Facts) -> Polynomial | None:
    """c*max(e) + rest <= 0, and rest - c*min(e) <= 0 likewise, follow from the same with e at every place, c >= 0."""
    for monomial, c in p.terms:
        for a, power in monomial:
            if (a.kind, c > 0) not in (("amax", True), ("amin", False)) or power != 1:
                continue
            factor = single_product(tuple(f for f in monomial if f[0] is not a))
            rest = p - single(a) * factor * c
            if a in rest.atoms() or (rest.axes | factor.axes) & set(a.key[0]) or not facts.nonnegative(factor):
                continue
            inside: Polynomial = a.key[1]
            return rest + inside * factor * c
    return None


def _under_sum(p: Polynomial, facts: Facts) -> Polynomial | None:
    """Σ e <= 0 follows from e <= 0 at every place."""
    top, bottom = fraction(p)
    if bottom != ONE and not facts.positive(bottom):
        return None
    axis: str | None = None
    result = ONE - ONE
    for monomial, c in top.terms:
        sums = [(a, power) for a, power in monomial if a.kind == "sum"]
        sizes = [(a, power) for a, power in monomial if a.kind == "size"]
        chosen = sums[0] if sums else sizes[0] if sizes else None
        if chosen is None or chosen[1] != 1:
            return None
        a = chosen[0]
        here = a.key[0]
        if axis is None:
            axis = here
        rest = single_product(tuple(f for f in monomial if f[0] is not a))
        if here != axis or axis in rest.axes or any(b.kind == "sum" and axis == b.key[0] for b in rest.atoms()):
            return None
        result = result + rest * c * (single_product(a.key[1]) if a.kind == "sum" else ONE)
    return result


__all__ = ["direct"]
