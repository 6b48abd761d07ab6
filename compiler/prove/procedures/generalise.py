"""A goal about an expression that it repeats, as a goal about any value in its place: ‖h/max(1, ‖h‖)‖ <= 1 for every h.

What holds of every value holds of this one; the converse is false, so only a proof means something. What is known of
the sign of an expression stays as a premise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from dotopt.compiler.ir import REDUCTIONS, Fold, Lambda, Loop, Node, leaf, node, number, substitute
from dotopt.compiler.prove.forms.domain import never_negative
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.normal import VARYING, Unsupported

BOUND = ("index", "loop", "sequence", "function", "set")
SIMPLE = 60  # nodes of an expression whose sign is looked for
LEVELS = 3  # how deep inside each other the replaced expressions are sought


def generalised(goal: Node, facts: Facts) -> Iterator[tuple[Node, tuple[Node, ...]]]:
    """Goals and premises with repeated expressions replaced: first the largest ones, then those inside them."""
    everything = {part for root in (goal, *facts.premises) for part in root.walk()}
    if any(part.op == "claim" or _binds(part) for part in everything):
        return  # means over draws and bodies of loops say something about how a value comes about
    uses = Counter(child for part in goal.walk() for child in part.args)
    roots: list[Node] = [goal]
    for _ in range(LEVELS):
        found = list(_repeated(roots, uses))
        if not found:
            return
        table = {part: stand_in(part, f"value {i}", facts) for i, part in enumerate(found, 1)}
        signs = tuple(sign for part, name in table.items() for sign in _sign(part, name, facts))
        yield substitute(goal, table), (*(substitute(premise, table) for premise in facts.premises), *signs)
        roots = [child for part in found for child in part.args]


def stand_in(part: Node, name: str, facts: Facts) -> Node:
    """A leaf with any value in the place of `part`: another one for each tensor, unless `part` has the same."""
    return leaf("free" if _shared(part, facts.normal.shared) else "state", name, part.type)


def _shared(part: Node, states: frozenset[str]) -> bool:
    """Whether a value is the same for all tensors of the model."""
    if part.op == "leaf":
        own = part.role in VARYING and (part.type.axes or (part.role == "state" and part.name not in states))
        return not own and all(_shared(index, states) for index in part.args)
    if part.op in REDUCTIONS and part.attrs[1]:
        return True
    if part.op == "oracle" and part.attrs[1] == "value":  # one number for the whole model
        return True
    return all(_shared(child, states) for child in part.args)


def _binds(part: Node) -> bool:
    return any(isinstance(attr, Loop | Fold | Lambda) for attr in part.attrs)


def _repeated(roots: list[Node], uses: Counter[Node]) -> Iterator[Node]:
    """The expressions that occur in more than one place and inside no other such one, from the top down."""
    stack, seen = [*roots], set(roots)
    while stack:
        here = stack.pop()
        if uses[here] > 1 and here.args and here.type.kind == "real" and not _indexed(here):
            yield here
            continue
        for child in here.args:
            if child not in seen:
                seen.add(child)
                stack.append(child)


def _indexed(part: Node) -> bool:
    return any(here.op == "leaf" and (here.role in BOUND or here.args) for here in part.walk())


def _sign(part: Node, name: Node, facts: Facts) -> Iterator[Node]:
    if never_negative(part):
        yield node("ge", name, number(0))
    if sum(1 for _ in part.walk()) > SIMPLE:
        return
    with suppress(Unsupported, ArithmeticError):
        p = facts.normal(part)
        if facts.positive(p):
            yield node("gt", name, number(0))
        elif facts.nonnegative(p):
            yield node("ge", name, number(0))


__all__ = ["generalised", "stand_in"]
