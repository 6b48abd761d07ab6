"""`equivalent to R with … matching … when c`: the same parameter trajectory for every sequence of answers.

A map from the states of this rule to those of R is given by `matching`, or found. Then by induction: the map holds at
the start, one step keeps it, and the parameter moves alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dotopt.compiler import syntax as s
from dotopt.compiler.ir import TIME, Node, Program, leaf, node, number, substitute
from dotopt.compiler.lower.expression import value
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, all_of
from dotopt.compiler.prove.procedures.decide import Task, decide
from dotopt.compiler.prove.procedures.matching import matchings
from dotopt.compiler.prove.procedures.other_rule import other_rule
from dotopt.compiler.prove.procedures.signs import signs_kept
from dotopt.compiler.prove.statements.premises import absorb, binds_function, written_conjuncts, written_parts
from dotopt.compiler.prove.statements.properties import classes
from dotopt.compiler.prove.statements.reached import given_at, hangs_on_time
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import after, start, trajectory
from dotopt.compiler.prove.worlds.refute import Search
from dotopt.compiler.types import Mismatch


def equivalent(case: Case, goal: s.Equivalent, seconds: float, depth: int = 2) -> Outcome:
    """Decides the equivalence in one case; a `when` that this case excludes makes it hold."""
    if goal.condition is not None:
        written = [
            value(case.context, c, case.scope) for c in written_conjuncts(goal.condition) if not binds_function(case, c)
        ]
        parts = [p for w in written for p in written_parts(case.settle(w))]
        if any(p.op == "bool" and not p.attrs[0] for p in parts) or not absorb(
            case, [p for p in parts if p.op != "bool"]
        ):
            return Proved("cases", {"kind": "truth", "value": True})
    if hangs_on_time(case):
        raise Unreadable("the same steps in every step with `given` lines about t, other than `t == 1`")
    if any(x.indices for x in case.program.params) or case.program.roles:
        raise Unreadable("an equivalence of rules over families of parameters or with roles")
    other = other_rule(case, goal)
    problem = "no matching of the states was found; give one by `matching`"
    for match in matchings(case, goal, other):
        outcome = _by_induction(case, other, match, seconds)
        if isinstance(outcome, Proved):
            shown = {x: repr(e) for x, e in ((k.name.removeprefix("R."), v) for k, v in match.items())}
            return Proved(
                outcome.procedure,
                {"kind": "equivalence", "matching": shown, "parts": [outcome.certificate]},
                outcome.assumptions,
            )
        if isinstance(outcome, Open):
            problem = outcome.reason
    split = next(_conditions(case, other), None) if depth else None
    if split is not None:
        return all_of(_cases(case, goal, split, seconds, depth), "cases")
    found = _first_difference(case, other, seconds)
    if found is not None:
        return Refuted("first steps", found)
    return Open(f"equivalence: {problem}")


def _conditions(case: Case, other: Program) -> Iterator[Node]:
    """Equations of knobs and numbers on which one of the rules turns."""
    for root in (*other.roots, *map(case.settle, case.program.roots)):
        for here in root.walk():
            if here.op == "select" and here.args[0].op == "eq":
                x, y = here.args[0].args
                if y.value is not None and x.op == "leaf" and x.role in ("hyper", "free") and x.type.scalar:
                    yield here.args[0]


def _cases(case: Case, goal: s.Equivalent, condition: Node, seconds: float, depth: int) -> Iterator[Outcome]:
    """The equivalence where the condition holds, and where it does not."""
    for premise in (condition, node("not", condition)):
        here = replace(
            case,
            premises=list(case.premises),
            substitutions=list(case.substitutions),
            functions=dict(case.functions),
            point_premises=list(case.point_premises),
            asked=list(case.asked),
        )
        if not absorb(here, [premise]):
            continue
        outcome = equivalent(here, replace(goal, condition=None), seconds / 2, depth - 1)
        if isinstance(outcome, Refuted):
            shown = {"where": repr(premise), **outcome.counterexample}
            outcome = Refuted(outcome.procedure, shown, outcome.repair)
        yield outcome


def visible(mine: Program, theirs: Program) -> Iterator[tuple[Node, Node]]:
    """What must move alike: the parameters, or without any the outputs of equal names."""
    if mine.params:
        yield from ((mine.next[p.name], theirs.next[p.name]) for p in mine.params)
        return
    if not mine.outputs or not theirs.outputs:
        raise Unreadable("an equivalence of rules without a parameter and without an output")
    if len(mine.outputs) == len(theirs.outputs) == 1:
        yield from zip(mine.outputs.values(), theirs.outputs.values(), strict=True)
        return
    for name, answer in theirs.outputs.items():
        if name not in mine.outputs:
            raise Unreadable(f"the other rule answers `{name}`, which this one does not")
        yield mine.outputs[name], answer


# ---- induction -------------------------------------------------------------------------------------------------------


def _by_induction(case: Case, other: Program, match: dict[Node, Node], seconds: float) -> Outcome:
    own = frozenset(
        here for p in (case.program, other) for root in p.roots for here in substitute(case.settle(root), match).walk()
    )
    kept = tuple(signs_kept(case)) if case.program.states and not case.at_start else ()
    held = Task((*case.premises, *kept), case.program, own, seconds=seconds / 2, refute=False)
    goals: list[Node] = []
    try:
        for mine, theirs in visible(case.program, other):
            goals.append(node("eq", case.settle(mine), substitute(theirs, match)))
        if not case.at_start:
            begin, step = start(case.program), after(case.program)
            for x in other.states:
                here = leaf("state", x.name, x.type)
                if here not in match:
                    continue
                first, second = substitute(match[here], begin), substitute(x.start, begin)
                goals.append(node("eq", case.settle(fold(first)), case.settle(second)))
                kept_on = x.next if x.next is not None else here
                goals.append(node("eq", case.settle(substitute(match[here], step)), substitute(kept_on, match)))
    except Mismatch as error:
        return Open(str(error))
    parts = []
    for g in goals:
        if g.args[0] is g.args[1]:
            continue
        outcome = _kept(g, held)
        if not isinstance(outcome, Proved) and TIME in set(g.walk()) and not case.at_start:
            outcome = _first_and_later(case, g, held)
        if not isinstance(outcome, Proved):
            return Open(f"`{g!r}` is not proved"[:400])
        parts.append(outcome)
    return all_of(parts, "induction") if parts else Proved("algebra", {"kind": "truth", "value": True})


def _kept(g: Node, held: Task) -> Outcome:
    g = fold(g)
    if g.op != "bool":
        return decide(g, held)
    return Proved("algebra", {"kind": "truth", "value": True}) if g.attrs[0] else Open("the initial values differ")


def _first_and_later(case: Case, g: Node, held: Task) -> Outcome:
    """One step, for t = 1 with the states where they start, and for every later t."""
    begin = start(case.program)
    table = {k: substitute(v, {TIME: number(1)}) for k, v in begin.items()}
    first = case.settle(substitute(substitute(g, table), {TIME: number(1)}))
    premises = tuple(case.settle(substitute(substitute(p, table), {TIME: number(1)})) for p in held.premises)
    if any(p.op == "bool" and not p.attrs[0] for p in premises):
        return Open("the premises fail in the first step")
    at_first = Task(tuple(p for p in premises if p.op != "bool"), case.program, held.of_rule | set(first.walk()))
    at_first.refute = False
    later = Task((*held.premises, node("ge", TIME, number(2))), case.program, held.of_rule, refute=False)
    return all_of(_kept(part, task) for part, task in ((first, at_first), (g, later)))


def _first_difference(case: Case, other: Program, seconds: float) -> dict[str, object] | None:
    """Both rules run from one start with the same answers: where the parameter or an output first differs."""
    mine, theirs = list(trajectory(case.program, 3)), list(trajectory(replace(other, inputs=case.program.inputs), 3))
    premises: tuple[Node, ...] = ()
    for t, (own, their) in enumerate(zip(mine, theirs, strict=True), 1):
        try:
            pairs = [
                node("eq", case.settle(substitute(x, own)), case.settle(substitute(y, their)))
                for x, y in visible(case.program, other)
            ]
            goal = pairs[0] if len(pairs) == 1 else node("and", *pairs)
            given = given_at(case, own)
        except Mismatch:
            return None
        if given is None:
            return None
        premises += given
        search = Search(premises, goal, case.program, classes(case))
        found = search.run(seconds / 4)
        if found is not None:
            return {"step": t, **found}
    return None


__all__ = ["equivalent"]
