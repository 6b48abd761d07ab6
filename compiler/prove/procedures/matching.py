"""Which expression in the states of one rule each state of another one is: given, or found.

Tried are the states of equal keys and names, linear relations between all states (`relations`), and multiples that are
read off the first step.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from dotopt.compiler.ir import Node, Program, State, leaf, node, number, substitute
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.forms.facts import Facts, facts_of
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import Polynomial
from dotopt.compiler.prove.procedures.identities import settle
from dotopt.compiler.prove.procedures.relations import Relation, related, states
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import start, state_leaves
from dotopt.compiler.text import syntax as s

MOST = 24  # matchings of states with their like or multiples of it
LINEAR = {"add", "sub", "neg", "mul", "cast"}


def matchings(case: Case, goal: s.Equivalent, other: Program, params: dict[str, Node]) -> Iterator[Relation]:
    """What each state of R may be: the like of it here first, then what linear algebra says, then multiples."""
    given: dict[Node, Node] = {}
    named = {x.name.removeprefix("R."): leaf("state", x.name, x.type) for x in other.states} | params
    for n in goal.matching:
        value = case.value(n.value)
        if any(fresh(here) for here in value.walk()):
            raise Unreadable(f"a matching of `{n.name}` with what is new in every step")
        if n.name not in named:
            raise Unreadable(f"`{n.name}` is no state or parameter of the other rule; it has {', '.join(named)}")
        given[named[n.name]] = value
    if any(x.indices for x in other.states) or any(x.indices for x in case.program.states):
        raise Unreadable("an equivalence with families of states")
    needed = _needed(other)
    keys = [here for x in other.states if (here := leaf("state", x.name, x.type)) in needed and here not in given]
    options = {x: list(_candidates(case, x, other)) for x in keys}
    simple = (dict(zip(keys, choice, strict=True)) for choice in product(*options.values()))
    alike = next(simple, None)
    if alike is not None:
        yield Relation({**given, **alike})
    for kept in dict.fromkeys((frozenset(), _not_linear(keys, other))):
        if all(options[x] for x in kept):
            start_from = Relation({**given, **{x: options[x][0] for x in kept}})
            found = related(case, other, start_from)
            if found is not None:
                yield found
    for choice in islice(simple, MOST):
        yield Relation({**given, **choice})


def _not_linear(keys: list[Node], other: Program) -> frozenset[Node]:
    """The states of R under a root, in a quotient or in a comparison: they must have their like here."""
    roots = (*other.next.values(), *states(other).values(), *other.outputs.values())
    inside = {here for root in roots for here in root.walk() if here.op not in LINEAR and here.op != "leaf"}
    read = {x for here in inside for a in here.args for x in a.walk()}
    return frozenset(x for x in keys if x in read)


def fresh(here: Node) -> bool:
    """Whether it is new in every step: inputs, draws, answers."""
    return here.role in ("input", "draw") or here.op in ("oracle", "base", "fires")


def _candidates(case: Case, here: Node, other: Program) -> Iterator[Node]:
    theirs = next(x for x in other.states if x.name == here.name)
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
