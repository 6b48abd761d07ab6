"""Which expression in the states of one rule each state of another one is: given, or found.

Tried are the states of equal keys and names, and multiples of them that are read off the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from dotopt.compiler import syntax as s
from dotopt.compiler.ir import Node, Program, State, leaf, node, number, substitute
from dotopt.compiler.prove.forms.facts import Facts, facts_of
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import Polynomial
from dotopt.compiler.prove.procedures.decide import settle
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import start, state_leaves
from dotopt.compiler.types import Mismatch


def matchings(case: Case, goal: s.Equivalent, other: Program) -> Iterator[dict[Node, Node]]:
    """Maps from the states of R to expressions in the states of this rule."""
    given = {n.name: case.value(n.value) for n in goal.matching}
    for name, e in given.items():
        if any(fresh(here) for here in e.walk()):
            raise Unreadable(f"a matching of `{name}` with what is new in every step")
    options: list[list[Node]] = []
    needed = _needed(other)
    keys = [x for x in other.states if leaf("state", x.name, x.type) in needed]
    if any(x.indices for x in other.states) or any(x.indices for x in case.program.states):
        raise Unreadable("an equivalence with families of states")
    for theirs in keys:
        if theirs.name.removeprefix("R.") in given:
            options.append([given[theirs.name.removeprefix("R.")]])
            continue
        options.append(list(_candidates(case, theirs)))
    if not keys:
        yield {}
        return
    for count, choice in enumerate(product(*options)):
        if count > 24:
            return
        yield {leaf("state", t.name, t.type): e for t, e in zip(keys, choice, strict=True)}


def fresh(here: Node) -> bool:
    """Whether it is new in every step: inputs, draws, answers."""
    return here.role in ("input", "draw") or here.op in ("oracle", "base", "fires")


def _candidates(case: Case, theirs: State) -> Iterator[Node]:
    mine = [x for x in case.program.states if x.type == theirs.type and not x.indices]
    ranked = sorted(mine, key=lambda x: (x.key != theirs.key, f"R.{x.name}" != theirs.name))
    for x in ranked:
        yield leaf("state", x.name, x.type)
    first = start(case.program)
    for x in ranked:
        ratio = _ratio(case, theirs, x, first)
        if ratio is not None:
            yield node("mul", ratio, leaf("state", x.name, x.type))


def _ratio(case: Case, theirs: State, mine: State, table: dict[Node, Node]) -> Node | None:
    """The scalar k with theirs = k * mine after the first step, if their normal forms are multiples."""
    if mine.next is None or theirs.next is None:
        return None
    facts = facts_of(tuple(case.premises))
    try:
        a = facts.normal(case.settle(substitute(mine.next, table)))
        own = {leaf("state", theirs.name, theirs.type): theirs.start}
        b = facts.normal(case.settle(substitute(substitute(theirs.next, own), table)))
    except (Unsupported, ArithmeticError, Mismatch):
        return None
    return _scalar_quotient(case, facts, a, b)


def _scalar_quotient(case: Case, facts: Facts, a: Polynomial, b: Polynomial) -> Node | None:
    """k among 1 - β, 1/(1 - β), lr, 1/lr, -1 … with b = k*a."""
    hypers = [leaf("hyper", h.name, h.type) for h in case.program.hypers if not h.indices]
    one = number(1)
    tried: list[Node] = [number(-1)]
    for h in hypers:
        for base in (h, node("sub", one, h)):
            tried += [base, node("div", one, base), node("neg", base)]
    for i, h in enumerate(hypers):
        for g in hypers[i + 1 :]:
            for x in (g, node("sub", one, g)):
                for y in (h, node("sub", one, h)):
                    tried += [node("mul", x, y), node("div", x, y), node("div", y, x)]
    for k in tried:
        try:
            kk = facts.normal(case.settle(k))
            if settle(kk * a - b).zero:
                return k
        except ArithmeticError:
            continue
    return None


def _needed(other: Program) -> set[Node]:
    """The states that the parameter or the outputs depend on."""
    wanted = state_leaves([*other.next.values(), *other.outputs.values()])
    nexts = {leaf("state", x.name, x.type): x.next for x in other.states if x.next is not None}
    while True:
        more = wanted | state_leaves([nexts[x] for x in wanted if x in nexts])
        if more == wanted:
            return wanted
        wanted = more


__all__ = ["fresh", "matchings"]
