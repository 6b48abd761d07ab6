"""Claims that are probably false, made from true ones.

A sign, a factor, an exponent, another step, swapped names, the contrary, a gradient that is a value, a premise that is
left out.

A mutant that is still proved says that a premise is not needed, or that the claim was wider than it looked; one that
is refuted shows that the claim says something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

from dotopt.compiler.text import syntax as s

Pair = tuple[str, str]
SWAPS: tuple[Pair, ...] = (("β1", "β2"), ("β2", "β3"), ("η", "λ"), ("rows", "cols"))
CONTRARY = {"==": "!=", "!=": "==", "<=": ">", "<": ">=", ">=": "<", ">": "<="}
WEAK = {"<": "<=", ">": ">=", "!=": "=="}  # what holds of equal sides
STRONGER = {"<=": "/", "<": "/", ">=": "*", ">": "*", "==": "*"}  # what 2 does to the right side to ask for more


def pairs(file: s.File) -> tuple[Pair, ...]:
    """Names of a file that a careless reader takes for each other: the usual ones, parameters and states alike."""
    held = [d for d in file.statements if isinstance(d, s.Declaration) and d.word in ("param", "state") and d.type]
    alike = [d.name for d in held if d.word == "param" or isinstance(d.type, s.Like)]
    return (*SWAPS, *pairwise(alike))


def mutants(claim: s.Claim, swaps: Sequence[Pair] = SWAPS) -> Iterator[tuple[str, s.Claim]]:
    """Mutants of a claim with what was changed, at most one of each kind and place; `swaps` are names to be swapped.

    >>> from dotopt.compiler.text.library import Library, load
    >>> claim = load(Library().find("Lion")).claims[1]
    >>> [what for what, _ in mutants(claim)]  # doctest: +NORMALIZE_WHITESPACE
    ['without `λ > 0`', 'without `η*λ <= 1`', 'without `‖x‖[∞] <= 1/λ`', 'factor ½', 'negative', 'the contrary',
    'another step']
    """
    for i, clause in enumerate(claim.body):
        if isinstance(clause, s.Given):
            for gone, rest in _without(clause.condition):
                left = None if rest is None else replace(clause, condition=rest)
                yield f"without `{gone.span.text.strip()}`", _with(claim, i, left)
        if isinstance(clause, s.Show):
            for what, changed in _show(clause, swaps):
                yield what, _with(claim, i, changed)


def _show(clause: s.Show, swaps: Sequence[Pair]) -> Iterator[tuple[str, s.Show]]:
    if clause.refute:
        yield "show, not refute", replace(clause, refute=False)
        match clause.goal:
            case s.Holds(condition=s.Compare(operands=(left, *right)) as compare) as holds:
                weak = tuple(WEAK.get(operator, operator) for operator in compare.operators)
                same = replace(compare, operators=weak, operands=(left, *(left for _ in right)))
                yield "both sides the same", replace(clause, goal=replace(holds, condition=same))
            case s.Equivalent():
                for what, shown in _show(replace(clause, refute=False), swaps):
                    yield f"show, not refute, {what}", shown
        return
    match clause.goal:
        case s.Holds() | s.Stable() as goal:
            for what, changed in _expressions(goal.condition, swaps):
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
                others = (*goal.bindings[:k], *goal.bindings[k + 1 :])
                yield f"without `{binding.span.text.strip()}`", replace(clause, goal=replace(goal, bindings=others))
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


def _expressions(condition: s.Expression, swaps: Sequence[Pair]) -> Iterator[tuple[str, s.Expression]]:
    """The condition with one change that asks for more, or for something else."""
    match condition:
        case s.Binary(span, "and", left, right):
            for what, changed in _expressions(left, swaps):
                yield what, s.Binary(span, "and", changed, right)
            for what, changed in _expressions(right, swaps):
                yield what, s.Binary(span, "and", left, changed)
            return
        case s.Compare() as compare:
            yield from _compared(compare)
        case _:
            yield "not", s.Unary(condition.span, "not", condition)
    for what, change in KINDS.items():
        changed = _first(condition, change)
        if changed is not condition:
            yield what, changed
    names = {here.name for here in condition.walk() if isinstance(here, s.Name)}
    for a, b in swaps:
        if a in names and b in names:
            swapped = _everywhere(condition, lambda n: replace(n, name={a: b, b: a}.get(n.name, n.name)))  # noqa: B023
            yield f"{a} and {b} swapped", swapped


def _compared(condition: s.Compare) -> Iterator[tuple[str, s.Expression]]:
    """The last comparison asks for more, or for the contrary."""
    last, operator = condition.operands[-1], condition.operators[-1]
    zero = isinstance(last, s.Number) and last.value == 0

    def ended(by: s.Expression = last, through: str = operator) -> s.Compare:
        operators, operands = (*condition.operators[:-1], through), (*condition.operands[:-1], by)
        return replace(condition, operators=operators, operands=operands)

    if operator in STRONGER and not zero:
        what = "factor ½" if STRONGER[operator] == "/" else "factor 2"
        yield what, ended(_twice(last, STRONGER[operator]))
        yield "negative", ended(_negative(last))
    if zero:
        yield "one instead of zero", ended(s.Number(condition.span, Fraction(-1 if operator in ("<=", "<") else 1)))
    if operator in ("<=", ">=") and zero:
        yield "strict", ended(through=operator[0])
    if operator in CONTRARY:
        yield "the contrary", ended(through=CONTRARY[operator])


def _flip(here: s.Expression) -> s.Expression:
    if isinstance(here, s.Binary) and here.operator in "+-":
        return replace(here, operator="-" if here.operator == "+" else "+")
    return here


def _raise(here: s.Expression) -> s.Expression:
    if isinstance(here, s.Binary) and here.operator == "^" and isinstance(here.right, s.Number):
        return replace(here, right=replace(here.right, value=here.right.value + 1))
    return here


def _before(here: s.Expression) -> s.Expression:
    """A step earlier: `m` for `m'`, `w[t]` for `w[t - 1]`."""
    match here:
        case s.Name(primed=True):
            return replace(here, primed=False)
        case s.Index(indices=(s.Binary(operator="-", left=s.Name() as time), *rest)):
            return replace(here, indices=(time, *rest))
    return here


def _value(here: s.Expression) -> s.Expression:
    """`f(x)` for `∇f(x)`."""
    return here.function if isinstance(here, s.Gradient) and here.order == 1 else here


KINDS = {"sign": _flip, "exponent": _raise, "another step": _before, "value, not gradient": _value}


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
