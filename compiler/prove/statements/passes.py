"""Claims inside `iterate` speak of one pass: its variables are arbitrary, and x' is what they are after it.

    iterate p from g repeat n:                   for all p : like g
      p' = (p + 1/p)/2                           q = (p + 1/p)/2
      claim above:                   becomes     claim above:
        given p > 0                                given p > 0
        show p' >= 1                               show q >= 1

The index of `for j in S` is any element of S, and `until` does not hold, since no pass follows where it does. The
values from which the loop starts are not assumed, so a sentence that only the first passes keep is refuted.
"""

from __future__ import annotations

from dataclasses import replace

from dotopt.compiler.ir import Node, leaf, node
from dotopt.compiler.lower import Scope
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s


def blocks_around(file: s.File, claim: s.Claim) -> tuple[s.Iterate, ...]:
    """The loops that a claim stands in, the outermost first; raises `Unreadable` for other blocks."""
    around = next((blocks for other, blocks in file.placed_claims if other is claim), ())
    for block in around:
        if not isinstance(block, s.Iterate):
            word = "when" if isinstance(block, s.When) else "role"
            raise Unreadable(f"a claim inside `{word}`: write it at the margin, with `given` lines for what holds here")
    return tuple(block for block in around if isinstance(block, s.Iterate))


def enter_pass(case: Case, loops: tuple[s.Iterate, ...]) -> None:
    """Puts the claim of a case into a pass of these loops, each inside the one before."""
    for clause in case.claim.body:
        if isinstance(clause, s.Flow) or (isinstance(clause, s.Show) and not _of_one_moment(clause.goal)):
            raise Unreadable("a claim inside `iterate` that is not a sentence about one pass")
    free: dict[Node, Node] = {}
    for loop in loops:
        here = case.context.passes[id(loop)]
        free |= {x: leaf("free", x.name, x.type, *x.args) for x in here.variables}
        if here.index is not None:
            case.context.index_sets.setdefault(here.index.name, here.elements)
            if here.elements.op == "range":
                low, high = here.elements.args
                case.premises += [node("ge", here.index, low), node("le", here.index, high)]
        if here.until is not None:
            case.premises.append(node("not", here.until))
    case.scope = Scope(here.scope, claim=True)
    case.substitutions.append(free)
    case.program = replace(case.program, next={}, states=())
    case.premises[:] = [case.settle(p) for p in case.premises]


def _of_one_moment(goal: s.Goal) -> bool:
    return isinstance(goal, s.Holds) and not goal.all_steps


__all__ = ["blocks_around", "enter_pass"]
