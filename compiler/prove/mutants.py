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
STRONGER = {"<=": "/", "<": "/", ">=": "*", ">": "*", "==": "*"}  # what 2 does to the right side to ask for more


def mutants(claim: s.Claim) -> Iterator[tuple[str, s.Claim]]:
    """Mutants of a claim with what was changed, at most one of each kind and place.

    >>> from dotopt.compiler.library import Library, load
    >>> claim = load(Library().find("Lion")).claims[1]
    >>> [what for what, _ in mutants(claim)]
    ['without `λ > 0`', 'without `η*λ <= 1`', 'without `‖x‖[∞] <= 1/λ`', 'factor ½', 'negative']
    """
    for i, clause in enumerate(claim.body):
        if isinstance(clause, s.Given):
            for gone, rest in _without(clause.condition):
                left = None if rest is None else replace(clause, condition=rest)
                yield f"without `{gone.span.text.strip()}`", _with(claim, i, left)
        if isinstance(clause, s.Show):
            for what, changed in _show(clause):
                yield what, _with(claim, i, changed)


def _show(clause: s.Show) -> Iterator[tuple[str, s.Show]]:
    if clause.refute:
        yield "show, not refute", replace(clause, refute=False)
        return
    match clause.goal:
        case s.Holds() | s.Stable() as goal:
            for what, changed in _expressions(goal.condition):
                yield what, replace(clause, goal=replace(goal, condition=changed))
        case s.Becomes() as goal:
            doubled = replace(goal, new=_twice(goal.new, "*"), invariant=False)
            yield "factor 2", replace(clause, goal=doubled)
            yield "negative", replace(clause, goal=replace(goal, new=_negative(goal.new), invariant=False))
        case s.Equivalent() as goal:
            if goal.condition is not None:
                for gone, rest in _without(goal.condition):
                    what = f"without `{gone.span.text.strip()}`"
                    yield what, replace(clause, goal=replace(goal, condition=rest))
            for k, binding in enumerate(goal.bindings):
                left = goal.bindings[:k] + goal.bindings[k + 1 :]
                yield f"without `{binding.span.text.strip()}`", replace(clause, goal=replace(goal, bindings=left))
            rate = s.Name(clause.span, "η")
            for what, operator in (("twice the learning rate", "*"), ("half the learning rate", "/")):
                if all(b.name != "η" for b in goal.bindings):
                    other = (*goal.bindings, s.Naming(clause.span, "η", _twice(rate, operator)))
                    yield what, replace(clause, goal=replace(goal, bindings=other))


def _without(condition: s.Expression) -> Iterator[tuple[s.Expression, s.Expression | None]]:
    """Each part of a conjunction, with what is left without it."""
    parts = list(_parts(condition))
    for k, gone in enumerate(parts):
        left = parts[:k] + parts[k + 1 :]
        rest = left[0] if left else None
        for part in left[1:]:
            rest = s.Binary(condition.span, "and", rest, part) if rest is not None else part
        yield gone, rest


def _parts(condition: s.Expression) -> Iterator[s.Expression]:
    if isinstance(condition, s.Binary) and condition.operator == "and":
        yield from _parts(condition.left)
        yield from _parts(condition.right)
    else:
        yield condition


def _with(claim: s.Claim, i: int, clause: s.Statement | None) -> s.Claim:
    rest = (clause,) if clause is not None else ()
    return replace(claim, body=(*claim.body[:i], *rest, *claim.body[i + 1 :]))


def _twice(e: s.Expression, operator: str) -> s.Expression:
    two = s.Number(e.span, Fraction(2))
    return s.Binary(e.span, "*", two, e) if operator == "*" else s.Binary(e.span, "/", e, two)


def _negative(e: s.Expression) -> s.Expression:
    return s.Unary(e.span, "-", e)


def _expressions(condition: s.Expression) -> Iterator[tuple[str, s.Expression]]:
    """The condition with one change that asks for more, or for something else."""
    match condition:
        case s.Compare(span, operators, operands):
            last, operator = operands[-1], operators[-1]
            zero = isinstance(last, s.Number) and last.value == 0
            if operator in STRONGER and not zero:
                changed = _twice(last, STRONGER[operator])
                what = "factor ½" if STRONGER[operator] == "/" else "factor 2"
                yield what, replace(condition, operands=(*operands[:-1], changed))
                yield "negative", replace(condition, operands=(*operands[:-1], _negative(last)))
            if zero:
                one = s.Number(span, Fraction(-1 if operator in ("<=", "<") else 1))
                yield "one instead of zero", replace(condition, operands=(*operands[:-1], one))
            if operator in ("<=", ">=") and zero:
                yield "strict", replace(condition, operators=(*operators[:-1], operator[0]))
        case s.Binary(span, "and", left, right):
            for what, changed in _expressions(left):
                yield what, s.Binary(span, "and", changed, right)
            for what, changed in _expressions(right):
                yield what, s.Binary(span, "and", left, changed)
        case _:
            yield "not", s.Unary(condition.span, "not", condition)
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
