"""`A == B + O(h^n)` outside a flow: the first n Taylor coefficients in h are equal at h = 0.

Each is a derivative along h with h = 0 put in, which is an equation like any other; the objective is taken to be
smooth enough for as many derivatives.
"""

from __future__ import annotations

from dotopt.compiler.calculus import NotDifferentiable, jacobian_vector
from dotopt.compiler.ir import Node, node, number, substitute
from dotopt.compiler.ops import having
from dotopt.compiler.prove.procedures.univariate import bounds
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import state_leaves
from dotopt.compiler.text import syntax as s

MOST = 6  # the highest order that is asked for
# what may be done to h: no kinks and no roots, whose derivative at 0 is a convention
SMOOTH = {
    *(op for op, smooth in having(lambda row: row.smooth).items() if smooth == "smooth"),
    *("leaf", "const", "oracle"),
}


def speaks_of_orders(goal: Node) -> bool:
    """Whether `O(…)` stands in it."""
    return any(here.op == "claim" and here.attrs[0] == "O" for here in goal.walk())


def coefficients(case: Case, goal: Node) -> Node:
    """The equations of the Taylor coefficients, as one boolean node; raises `Unreadable`."""
    if goal.op != "eq" or not speaks_of_orders(goal):
        raise Unreadable("`O(…)` in another place than one side of an equation")
    small, order = _order(goal)
    if state_leaves([goal]):
        raise Unreadable(f"states in an expansion: they may depend on {small!r}; a `flow` expands the rule with them")
    _refuse_ties(case, small)
    left, right = (_without(side) for side in goal.args)
    rest = node("sub", left, right)
    _refuse_kinks(case, rest, small)
    zero = {small: number(0)}
    equations = []
    for k in range(order):
        try:
            rest = jacobian_vector(rest, small, number(1)) if k else rest
        except NotDifferentiable as error:
            raise Unreadable(f"a derivative of order {k} in {small!r}: {error}") from error
        at_zero = fold(case.settle(substitute(rest, zero)))
        equations.append(node("eq", at_zero, number(0)))
    result = equations[0]
    for equation in equations[1:]:
        result = node("and", result, equation)
    return result


def _refuse_ties(case: Case, small: Node) -> None:
    """Other names stay as they are while h goes to 0; premises must allow that, and h near 0."""
    for premise in case.premises:
        leaves = {here for here in premise.walk() if here.op == "leaf"}
        if small in leaves and len(leaves) > 1:
            raise Unreadable(f"`given {premise!r}`, which ties {small!r} to other names while it goes to 0")
    low, high = bounds(small, case.premises)
    if (low is not None and low > 0) or (high is not None and high < 0):
        raise Unreadable(f"an expansion at {small!r} = 0, which its range leaves out")


def _refuse_kinks(case: Case, root: Node, small: Node) -> None:
    """Derivatives must be what expansions need: no kinks, and no function that is convex and nothing more."""
    rough = {
        d.name
        for d in case.file.statements
        if isinstance(d, s.Declaration) and d.properties and all(p.name != "smooth" for p in d.properties)
    }
    for here in root.walk():
        if here is small or small not in set(here.walk()):
            continue
        whole = here.op != "pow" or (here.args[1].value is not None and here.args[1].value.denominator == 1)
        if here.op not in SMOOTH or not whole or (here.op == "oracle" and here.attrs[0] in rough):
            raise Unreadable(f"an expansion of `{here!r}`, which may have a kink")


def _order(goal: Node) -> tuple[Node, int]:
    found = {here.args[0] for here in goal.walk() if here.op == "claim" and here.attrs[0] == "O"}
    if len(found) != 1:
        raise Unreadable("two different `O(…)`")
    (inside,) = found
    small, exponent = (inside.args if inside.op == "pow" else (inside, number(1)))
    power = exponent.value
    if small.op != "leaf" or small.role not in ("hyper", "free") or not small.type.scalar:
        raise Unreadable("`O(…)` of something else than a power of one name")
    if power is None or power.denominator != 1 or not 1 <= power <= MOST:
        raise Unreadable(f"an order that is no whole number from 1 to {MOST}")
    return small, int(power)


def _without(side: Node) -> Node:
    """One side without its `O(…)`."""
    if side.op == "claim" and side.attrs[0] == "O":
        return number(0)
    if side.op == "add":
        left, right = (_without(a) for a in side.args)
        if left.value == 0 and left is not side.args[0]:
            return right
        return left if right.value == 0 and right is not side.args[1] else node("add", left, right)
    return side


__all__ = ["coefficients", "speaks_of_orders"]
