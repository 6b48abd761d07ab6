"""Claims that are probably false, made from true ones: a sign, a factor, swapped names, a premise that is left out.

A mutant that is still proved says that a premise is not needed, or that the claim was wider than it looked; one that
is refuted shows that the claim says something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

from dotopt.compiler import syntax as s

SWAPS = (("β1", "β2"), ("β2", "β3"), ("η", "λ"), ("rows", "cols"))


def mutants(claim: s.Claim) -> Iterator[tuple[str, s.Claim]]:
    """Mutants of a claim with what was changed, at most one of each kind and place."""
    for i, clause in enumerate(claim.body):
        if isinstance(clause, s.Given):
            yield f"without `{clause.span.text.strip()}`", _with(claim, i, None)
        if not isinstance(clause, s.Show):
            continue
        goal = clause.goal
        if isinstance(goal, s.Holds):
            for what, changed in _expressions(goal.condition):
                yield what, _with(claim, i, replace(clause, goal=replace(goal, condition=changed)))
        if isinstance(goal, s.Stable):
            for what, changed in _expressions(goal.condition):
                yield what, _with(claim, i, replace(clause, goal=replace(goal, condition=changed)))
        if isinstance(goal, s.Becomes) and not goal.invariant:
            doubled = _twice(goal.new)
            yield "factor 2", _with(claim, i, replace(clause, goal=replace(goal, new=doubled)))
        if isinstance(goal, s.Equivalent) and goal.condition is not None:
            yield "without `when`", _with(claim, i, replace(clause, goal=replace(goal, condition=None)))


def _with(claim: s.Claim, i: int, clause: s.Statement | None) -> s.Claim:
    rest = (clause,) if clause is not None else ()
    return replace(claim, body=(*claim.body[:i], *rest, *claim.body[i + 1 :]))


def _twice(e: s.Expression) -> s.Expression:
    return s.Binary(e.span, "*", s.Number(e.span, Fraction(2)), e)


def _expressions(condition: s.Expression) -> Iterator[tuple[str, s.Expression]]:
    """The condition with one change."""
    match condition:
        case s.Compare(_, operators, operands):
            last = operands[-1]
            yield "factor 2", replace(condition, operands=(*operands[:-1], _twice(last)))
            if operators[-1] in ("<=", "<"):
                half = s.Binary(last.span, "/", last, s.Number(last.span, Fraction(2)))
                yield "factor ½", replace(condition, operands=(*operands[:-1], half))
    changed = _first(condition, _flip)
    if changed is not condition:
        yield "sign", changed
    names = {here.name for here in condition.walk() if isinstance(here, s.Name)}
    for a, b in SWAPS:
        if a in names and b in names:
            swapped = _everywhere(condition, lambda n: replace(n, name={a: b, b: a}.get(n.name, n.name)))  # noqa: B023
            yield f"{a} and {b} swapped", swapped


def _flip(here: s.Expression) -> s.Expression:
    if isinstance(here, s.Binary) and here.operator in "+-":
        return replace(here, operator="-" if here.operator == "+" else "+")
    return here


def _first(here: s.Expression, change: Callable[[s.Expression], s.Expression]) -> s.Expression:
    """`here` with the first part that `change` changes, changed."""
    changed = change(here)
    if changed is not here:
        return changed
    for entry in fields(here):
        old = getattr(here, entry.name)
        if isinstance(old, s.Expression):
            new = _first(old, change)
            if new is not old:
                return _changed(here, {entry.name: new})
        elif isinstance(old, tuple):
            for i, item in enumerate(old):
                if isinstance(item, s.Expression):
                    new = _first(item, change)
                    if new is not item:
                        return _changed(here, {entry.name: (*old[:i], new, *old[i + 1 :])})
    return here


def _changed(here: s.Expression, changes: dict[str, Any]) -> s.Expression:
    return replace(here, **changes)


def _everywhere(here: s.Expression, change: Callable[[s.Name], s.Name]) -> s.Expression:
    """`here` with every name changed."""
    if isinstance(here, s.Name):
        return change(here)
    changes: dict[str, Any] = {}
    for entry in fields(here):
        old = getattr(here, entry.name)
        if isinstance(old, s.Expression):
            changes[entry.name] = _everywhere(old, change)
        elif isinstance(old, tuple) and any(isinstance(item, s.Expression) for item in old):
            changes[entry.name] = tuple(_everywhere(i, change) if isinstance(i, s.Expression) else i for i in old)
    return replace(here, **changes) if changes else here
