"""Decides one boolean node under premises: the procedures in their order, the first answer counts.

P1  a few random worlds                              refutes
P2  normal form of the difference is zero            proves an equation
P6  z3 on the entries at one place                   proves, or gives a model that is evaluated exactly
P6s a sum is compared term by term                   proves an inequality between sums
P5  worlds from models and more random ones          refutes
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import z3

from dotopt.compiler.ir import Node, Program, node
from dotopt.compiler.prove.forms.certificates import Split, encode, equation_certificate, inverses_of, smt_certificate
from dotopt.compiler.prove.forms.domain import unmet
from dotopt.compiler.prove.forms.facts import Facts, conjuncts, facts_of
from dotopt.compiler.prove.forms.families import instances
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    Atom,
    Polynomial,
    fraction,
    number,
    remaining,
    single,
    single_product,
    within,
)
from dotopt.compiler.prove.forms.smt import check
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.procedures.generalise import generalised
from dotopt.compiler.prove.procedures.missing import missing
from dotopt.compiler.prove.procedures.termwise import comparisons, products_of_norms
from dotopt.compiler.prove.procedures.univariate import proof
from dotopt.compiler.prove.statements.reached import Reached
from dotopt.compiler.prove.worlds.refute import Search

BUDGET = 2.0  # seconds a claim in the default profile
SMALL = 12  # nodes of a goal that is first tried as it stands
HURRIED = 0.25  # the same for a first attempt of each kind


@dataclass
class Task:
    """Premises, and what else the procedures need to know about the rule."""

    premises: tuple[Node, ...]
    program: Program | None = None
    of_rule: frozenset[Node] = frozenset()  # nodes of the rule: its own quotients are taken as defined
    index_sets: dict[str, Node] = field(default_factory=dict)
    classes: dict[str, Any] = field(default_factory=dict)  # the user's functions with properties, for counterexamples
    reached: Reached | None = None  # what runs reach; None where nothing moves, or counterexamples may choose it
    points: tuple[Node, ...] = ()  # premises that the proofs have put in, for counterexamples
    seconds: float = BUDGET
    refute: bool = True  # whether to look for counterexamples
    facts: Facts = field(init=False)

    def __post_init__(self) -> None:
        shared = frozenset(s.name for s in self.program.states if s.shared) if self.program else frozenset()
        randoms = self.program.randoms if self.program else ()
        chosen = tuple((r.name, r.args[0]) for r in randoms if r.law == "choose")
        self.facts = facts_of((*self.premises, *instances(self.premises, self.index_sets)), shared, chosen)


def decide(goal: Node, task: Task) -> Outcome:
    """The outcome for a boolean node."""
    if task.facts.contradictory():
        return Vacuous()
    return all_of(_one(part, task) for part in conjuncts_of(goal))


def conjuncts_of(goal: Node) -> Iterator[Node]:
    """The parts of a conjunction, and of an equation of tuples."""
    if goal.op == "and":
        for part in goal.args:
            yield from conjuncts_of(part)
    elif goal.op == "eq" and all(a.op == "tuple" for a in goal.args):
        for left, right in zip(goal.args[0].args, goal.args[1].args, strict=False):
            yield from conjuncts_of(node("eq", left, right))
    else:
        yield goal


def _one(goal: Node, task: Task) -> Outcome:
    search = Search(
        (*task.premises, *task.points), goal, task.program, task.classes, task.index_sets, reached=task.reached
    )
    if task.refute:
        found = search.quick()
        if found is not None:
            return Refuted("sampling", found)
    reason = ""
    outcome: Proved | None = None
    try:
        with within(task.seconds * 0.5):
            outcome = _proved(goal, task)
    except Unsupported as error:
        reason = str(error)
    except (ArithmeticError, z3.Z3Exception) as error:
        reason = f"{error}"
    if outcome is not None:
        with within(task.seconds * 0.5):
            return with_domain(outcome, goal, task)
    if task.refute:
        found = search.run(task.seconds * 0.6)
        if found is not None:
            return Refuted("smt" if not search.points else "sampling", found, repair(goal, task))
    lacks = reason or missing(goal, task.facts)
    why = f"no procedure decides it{': ' * bool(lacks)}{lacks}"
    if not task.refute:
        return Open(why)
    if not search.points:
        return Open(f"{why}; no numbers were found for which the premises hold")
    return Open(f"{why}; no counterexample among {search.points} points", search.points)


def with_domain(outcome: Proved, goal: Node, task: Task) -> Outcome:
    """The outcome, with the conditions under which both sides have a value; those of the claim's own text are owed."""
    assumptions = list(outcome.assumptions)
    for condition in unmet(task.facts, [goal]):
        if condition.source in task.of_rule:
            assumptions.append(f"where {condition.holds!r}")
        else:
            return Open(f"true wherever both sides have a value; add `given {condition.holds!r}`")
    return Proved(outcome.procedure, outcome.certificate, tuple(dict.fromkeys(assumptions)))


def _proved(goal: Node, task: Task) -> Proved | None:
    """A proof as it stands, where it is defined, or for any values in the place of those that the goal repeats."""
    if goal.op not in ("lt", "le", "gt", "ge"):
        outcome = _prove(goal, task)
        return outcome if outcome is not None or not task.refute else _where_defined(goal, task)
    small = sum(1 for _ in goal.walk()) <= SMALL
    sides = (_prove, _by_sides, _where_defined)
    attempts = (*sides, _for_any_value) if small else (_for_any_value, *sides)
    hurried = replace(task, seconds=min(task.seconds, HURRIED))
    failed: Exception | None = None
    for held in (hurried, task):
        for attempt in attempts:
            try:
                outcome = attempt(goal, held)
            except (Unsupported, ArithmeticError) as error:
                failed = failed or error
                continue
            if outcome is not None:
                return outcome
    if failed is not None:
        raise failed
    return None


def _by_sides(goal: Node, task: Task) -> Proved | None:
    """|e| <= c by e <= c and -e <= c, max(a, b) <= c by both, and so on, where z3 sees no sum or maximum as a whole."""
    small, large = goal.args if goal.op in ("le", "lt") else goal.args[::-1]
    relation = "le" if goal.op in ("le", "ge") else "lt"
    match small.op, large.op:
        case "abs", _:
            parts = [node(relation, side, large) for side in (small.args[0], node("neg", small.args[0]))]
        case "max", _:
            parts = [node(relation, side, large) for side in small.args]
        case _, "min":
            parts = [node(relation, small, side) for side in large.args]
        case _:
            return None
    found = []
    for part in parts:
        outcome = _prove(part, task) or _by_sides(part, task)
        if outcome is None:
            return None
        found.append(outcome)
    return Proved(found[0].procedure, {"kind": "all", "parts": [outcome.certificate for outcome in found]})


def _where_defined(goal: Node, task: Task) -> Proved | None:
    """A proof that takes quotients, roots and logarithms of the goal as defined; `with_domain` says so or refuses."""
    owed = tuple(condition.implied for condition in unmet(task.facts, [goal]))
    if not owed:
        return None
    stronger = replace(task, premises=(*task.premises, *owed))
    return None if stronger.facts.contradictory() else _prove(goal, stronger)


def _for_any_value(goal: Node, task: Task) -> Proved | None:
    """A proof for every value in the place of those that the goal repeats."""
    for wider, premises in generalised(goal, task.facts):
        general = replace(task, premises=premises)
        with suppress(Unsupported, ArithmeticError), within(remaining() / 2):
            outcome = _prove(wider, general) or _where_defined(wider, general)
            if outcome is not None:
                return outcome
    return None


# ---- proofs --------------------------------------------------------------------------------------------------------


def _prove(goal: Node, task: Task) -> Proved | None:
    facts = task.facts
    if goal.op == "bool":
        return Proved("algebra", {"kind": "truth", "value": True}) if goal.attrs[0] else None
    compared = goal.op in ("eq", "le", "lt", "ge", "gt", "ne")
    if compared and all(a.type.kind not in ("bool", "tuple", "set", "list") for a in goal.args):
        left, right = (facts.normal(a) for a in goal.args)
        if goal.op in ("eq", "le", "ge"):
            same = identity(left, right, facts) or _of_words(left, right, facts)
            if same is not None:
                return Proved("algebra", same)
        if goal.op == "eq":
            inside = _under_sum(left - right, facts)
            found = _entrywise(inside, "==", facts) if inside is not None else None
            if found is not None:
                return found
        if goal.op in ("le", "lt", "ge", "gt"):
            alone = proof(goal, task.premises, 0.05)
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
    milliseconds = int(task.seconds * 400)
    assertions, _ = facts.question(goal)
    if check(assertions, milliseconds)[0] == "unsat":
        return Proved("smt", smt_certificate(assertions))
    norms = products_of_norms(goal, facts)
    if norms and check([*assertions, *norms], milliseconds)[0] == "unsat":
        return Proved("smt", smt_certificate([*assertions, *norms]))
    summed = comparisons(goal, facts)
    question = [*assertions, *norms, *(known for known, _ in summed)]
    if not summed or check(question, milliseconds)[0] != "unsat":
        return None
    return Proved("smt", {"kind": "all", "parts": [*(part for _, part in summed), smt_certificate(question)]})


def _of_words(left: Polynomial, right: Polynomial, facts: Facts) -> dict[str, Any] | None:
    """The same with inner products of vectors as words of matrices."""
    first, second = facts.normal.opened(left), facts.normal.opened(right)
    return identity(first, second, facts) if (first, second) != (left, right) else None


def identity(left: Polynomial, right: Polynomial, facts: Facts) -> dict[str, Any] | None:
    """A certificate that two normal forms are equal: by cases over conditions, numerators that vanish."""
    split = Split()
    if not _vanishes(left - right, facts, {}, split, 6):
        return None
    return equation_certificate(left, right, facts, split)


def _vanishes(p: Polynomial, facts: Facts, chosen: dict[Atom, int], split: Split, depth: int) -> bool:
    top = settle(p)
    for _ in range(4 if facts.rewrites else 0):
        top = settle(top.replace(facts.rewrites.get))
    if top.zero:
        split.cases.append(chosen)
        return True
    condition = next((a for a in top.atoms() if a.kind == "truth"), None)
    if condition is None or depth == 0:
        return False
    for value in (1, 0):
        uses: set[Atom] = set()
        here = facts.smt.term(single(condition), uses) == value
        assertions, _ = facts.assertions(uses)
        if check([*assertions, here], 100)[0] == "unsat":
            split.excluded.append(({condition: value}, smt_certificate([*assertions, here])))
            continue
        inside = top.replace(lambda a: number(value) if a is condition else None)  # noqa: B023 - used at once
        if not _vanishes(inside, facts, {**chosen, condition: value}, split, depth - 1):
            return False
    return True


def settle(p: Polynomial) -> Polynomial:
    """The numerator; roots and absolute values are squared away by the laws of the product."""
    top, _ = fraction(p)
    return top


def _below(p: Polynomial, strict: bool, facts: Facts) -> Proved | None:
    """p <= 0 (or < 0): by its atoms, by the largest entry, or term by term under a sum."""
    if (strict and facts.positive(-p)) or (not strict and facts.nonnegative(-p)):
        uses: set[Atom] = set()
        t = facts.smt.term(p, uses)
        assertions, _ = facts.assertions(uses)
        return Proved("sign", smt_certificate([*assertions, t >= 0 if strict else t > 0]))
    if strict:
        return None
    for reduced in (_largest_entry(p), _under_sum(p, facts)):
        found = _entrywise(reduced, "<=", facts) if reduced is not None else None
        if found is not None:
            return found
    return None


def _entrywise(p: Polynomial, relation: str, facts: Facts) -> Proved | None:
    """p relation 0 at every place, by z3."""
    uses: set[Atom] = set()
    formula = facts.smt.compare(p, relation, uses)
    assertions, _ = facts.assertions(uses)
    question = [*assertions, z3.Not(formula)]
    if check(question, 600)[0] == "unsat":
        return Proved("smt", smt_certificate(question) | {"entrywise": True})
    return None


def _largest_entry(p: Polynomial) -> Polynomial | None:
    """max(e) + rest <= 0, and rest - min(e) <= 0 likewise, follow from the same with e at every place."""
    for monomial, c in p.terms:
        for a, power in monomial:
            if (a.kind, c > 0) in (("amax", True), ("amin", False)) and power == 1 and len(monomial) == 1:
                rest = p - single(a) * c
                axes = set(a.key[0])
                if not any(a in m_atoms for m_atoms in (set(rest.atoms()),)) and not rest.axes & axes:
                    inside: Polynomial = a.key[1]
                    return rest + inside * c
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


def repair(goal: Node, task: Task) -> str:
    """A premise under which the goal is provable, tried from a short list; empty if there is none."""
    leaves = sorted(
        {here for here in goal.walk() if here.op == "leaf" and here.role in ("hyper", "free") and here.type.scalar},
        key=lambda n: n.name,
    )
    deadline = time.process_time() + 0.6
    candidates = [node("eq", x, zero) for x in leaves for zero in (_number(0),)]
    candidates += [node("gt", x, _number(0)) for x in leaves]
    candidates += [node("le", node("mul", x, y), _number(1)) for i, x in enumerate(leaves) for y in leaves[i + 1 :]]
    candidates += [node("le", x, y) for x in leaves for y in leaves if x is not y]
    for extra in candidates:
        if time.process_time() > deadline:
            return ""
        if extra in task.premises:
            continue
        try:
            trial = Task((*task.premises, extra), task.program, task.of_rule, seconds=0.3, refute=False)
            if trial.facts.contradictory(100):
                continue
            if _prove(goal, trial) is not None:
                return f"given {extra!r}"
        except (Unsupported, ArithmeticError, z3.Z3Exception):
            continue
    return ""


def _number(value: int) -> Node:
    from dotopt.compiler.ir import number as const

    return const(value)


__all__ = ["BUDGET", "Task", "conjuncts", "decide", "encode", "inverses_of", "smt_certificate"]
