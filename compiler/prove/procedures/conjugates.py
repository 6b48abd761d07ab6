"""`F^*(y) == e` for a formula F whose inside is known: the conjugate is the largest value of ⟨y, m⟩ - F(m).

Two obligations: ⟨y, m⟩ - F(m) <= e for every m, and equality at some m. The point of equality is tried among 0, y and
the gradient of e in y, which is where it must be if e is differentiable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from dotopt.compiler.calculus import NotDifferentiable, gradient
from dotopt.compiler.ir import Node, leaf, node, substitute
from dotopt.compiler.lower.functions import function_of
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.outcome import Outcome, Proved, Refuted, all_of
from dotopt.compiler.prove.procedures.decide import decide
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.properties import inner
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError

Bound = Callable[[Node], Node]


def conjugate_claim(case: Case, goal: Node, held: Task, again: Callable[[Node], Outcome]) -> Outcome | None:
    """A proof of an equation with a conjugate of a known formula on one side; None if it is not of this form."""
    if goal.op != "eq":
        return None
    for star, e in (goal.args, goal.args[::-1]):
        if star.op != "conjugate" or star.attrs[1] != 0 or star.attrs[0] in {c.name for c in case.program.callables}:
            continue
        y = star.args[0]
        body = _inside(case, star.attrs[0])
        if body is None:
            return None
        m = leaf("free", "m of the conjugate", y.type)

        def below(point: Node, body: Bound = body, y: Node = y) -> Node:
            return node("sub", inner(y, point), body(point))

        try:
            upper = again(node("le", below(m), e))
            if isinstance(upper, Refuted):  # the conjugate is at least ⟨y, m⟩ - F(m)
                return upper
            if not isinstance(upper, Proved):
                return None
            for point in _points(y, e):
                attained = decide(case.settle(node("eq", below(point), e)), held)
                if isinstance(attained, Proved):
                    return all_of([upper, attained], "conjugate")
        except (OptError, Mismatch):
            return None
    return None


def _inside(case: Case, name: str) -> Bound | None:
    """The formula at a point; in its own file, with the parameters of that file."""
    head = case.file.head
    if name == head.name and case.program.result is not None and head.parameters:
        result = case.settle(case.program.result)
        own = next((x for x in result.walk() if x.role == "free" and x.name == head.parameters[0].name), None)
        if own is not None:
            return lambda point: substitute(result, {own: point})
    try:
        function = function_of(case.context, s.Name(case.claim.span, name), case.scope)
    except OptError:
        return None
    return lambda point: case.settle(function.at((point,)))


def _points(y: Node, e: Node) -> Iterator[Node]:
    yield node("zeros", attrs=(y.type,))
    if y.op == "leaf" and y in set(e.walk()):
        with contextlib.suppress(NotDifferentiable):
            yield gradient(e, y)
    yield y


__all__ = ["conjugate_claim"]
