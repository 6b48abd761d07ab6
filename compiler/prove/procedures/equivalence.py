"""`equivalent to R with … matching … when c`: the same parameter trajectory for every sequence of answers.

A relation between the states of this rule and those of R is given by `matching`, or found. Then by induction: it holds
at the start or after the first step, every step keeps it, and the parameter moves alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dotopt.compiler.ir import TIME, Node, Program, leaf, node, number, substitute
from dotopt.compiler.lower.expression import value
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.procedures.decide import decide
from dotopt.compiler.prove.procedures.matching import matchings
from dotopt.compiler.prove.procedures.other_rule import other_rule
from dotopt.compiler.prove.procedures.relations import Relation, next_here, states
from dotopt.compiler.prove.procedures.signs import signs_kept
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.premises import absorb, binds_function, written_conjuncts, written_parts
from dotopt.compiler.prove.statements.properties import classes
from dotopt.compiler.prove.statements.reached import given_at, hangs_on_time
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import like, start, trajectory
from dotopt.compiler.prove.worlds.refute import Search
from dotopt.compiler.text import syntax as s


def equivalent(case: Case, goal: s.Equivalent, fuel: float, depth: int = 2) -> Outcome:
    """Decides the equivalence in one case; a `when` that this case excludes says nothing of it."""
    if goal.condition is not None:
        written = [
            value(case.context, c, case.scope) for c in written_conjuncts(goal.condition) if not binds_function(case, c)
        ]
        parts = [p for w in written for p in written_parts(case.settle(w))]
        if any(p.op == "bool" and not p.attrs[0] for p in parts) or not absorb(
            case, [p for p in parts if p.op != "bool"]
        ):
            return Vacuous("cases")
    if Task(tuple(case.premises), case.program).facts.contradictory():
        return Vacuous()
    if hangs_on_time(case):
        raise Unreadable("the same steps in every step with `given` lines about t, other than `t == 1`")
    if any(x.indices for x in case.program.params) or case.program.roles:
        raise Unreadable("an equivalence of rules over families of parameters or with roles")
    other, params = other_rule(case, goal)
    problem = "no matching of the states was found; give one by `matching`"
    image: Relation | None = None
    for relation in matchings(case, goal, other, params):
        image = image or relation
        outcome = _by_induction(case, other, relation, fuel)
        if isinstance(outcome, Proved):
            pairs = (*relation.theirs.items(), *relation.mine.items())
            shown = {x.name.removeprefix("R."): repr(e) for x, e in pairs}
            return Proved(
                outcome.procedure,
                {"kind": "equivalence", "matching": shown, "parts": [outcome.certificate]},
                (*_constant(relation), *outcome.assumptions),
            )
        if isinstance(outcome, Open):
            problem = outcome.reason
    split = next(_conditions(case, other), None) if depth else None
    if split is not None:
        return all_of(_cases(case, goal, split, fuel, depth), "cases")
    found = _first_difference(case, other, image, fuel)
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


def _cases(case: Case, goal: s.Equivalent, condition: Node, fuel: float, depth: int) -> Iterator[Outcome]:
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
        outcome = equivalent(here, replace(goal, condition=None), fuel / 2, depth - 1)
        if isinstance(outcome, Refuted):
            shown = {"where": repr(premise), **outcome.counterexample}
            outcome = Refuted(outcome.procedure, shown, outcome.repair)
        yield outcome


def _constant(relation: Relation) -> Iterator[str]:
    """What is assumed of knobs that the relation reads: it would not survive a change of them between two steps."""
    read = {x.name for e in (*relation.theirs.values(), *relation.mine.values()) for x in e.walk() if x.role == "hyper"}
    if read:
        yield f"{', '.join(sorted(read))} the same in every step"


# ---- induction -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One sentence about the step: the first one from the starts, and any one before which the relation holds."""

    first: Node
    later: Node


def _by_induction(case: Case, other: Program, relation: Relation, fuel: float) -> Outcome:
    kept = tuple(signs_kept(case)) if case.program.states and not case.at_start else ()
    try:
        starts, steps = list(_starts(case, other, relation)), list(_steps(case, other, relation))
    except Mismatch as error:
        return Open(str(error))
    own = {here for root in case.program.roots for here in case.settle(root).walk()}
    own |= {here for root in other.roots for form in (root, relation.of_theirs(root)) for here in form.walk()}
    own |= {here for step in steps for form in (step.first, step.later) for here in form.walk()}
    held = Task((*case.premises, *kept), case.program, frozenset(own), fuel=fuel / 2, refute=False)
    outcomes = [_kept(g, held) for g in starts] if not case.at_start else []
    from_start = not case.at_start and all(isinstance(outcome, Proved) for outcome in outcomes)
    parts = outcomes if from_start else []
    if not case.at_start and not _same_start(case, other, relation, held):
        return Open("the parameters differ at the start")
    for step in steps:
        outcome = _kept(step.later, held) if from_start else Open("")
        if not isinstance(outcome, Proved):
            outcome = _first_and_later(case, other, step, held)
        if not isinstance(outcome, Proved):
            return Open(f"`{step.later!r}` is not proved"[:400])
        parts.append(outcome)
    return all_of(parts, "induction") if parts else Proved("algebra", {"kind": "truth", "value": True})


def _begin(case: Case, other: Program) -> dict[Node, Node]:
    """Where the states of both rules start."""
    begin = {x: substitute(v, {TIME: number(1)}) for x, v in start(case.program).items()}
    theirs = {
        leaf("state", x.name, x.type): like(substitute(x.start, begin), x.type) for x in other.states if not x.indices
    }
    return begin | theirs


def _starts(case: Case, other: Program, relation: Relation) -> Iterator[Node]:
    """The relation where both rules start."""
    begin = _begin(case, other)
    for x, e in (*relation.theirs.items(), *relation.mine.items()):
        if x.role == "state":
            yield node("eq", case.settle(substitute(e, begin)), case.settle(begin[x]))


def _same_start(case: Case, other: Program, relation: Relation, held: Task) -> bool:
    """Whether the parameters of both rules start as one."""
    begin = _begin(case, other)
    images = {x: case.settle(substitute(e, begin)) for x, e in relation.theirs.items() if x.role == "param"}
    return all(isinstance(_kept(node("eq", e, x), held), Proved) for x, e in images.items())


def _steps(case: Case, other: Program, relation: Relation) -> Iterator[Step]:
    """The parameters or outputs move alike, and the relation holds in the next step."""
    begin = _begin(case, other)
    raw = {**next_here(case), **states(other)}

    def forms(ahead: dict[Node, Node]) -> Iterator[tuple[Node, Node]]:
        yield from relation.visible(case, other, ahead)
        yield from ((substitute(e, ahead), states(other)[x]) for x, e in relation.theirs.items() if x.role == "state")

    def own(ahead: dict[Node, Node]) -> Iterator[tuple[Node, Node]]:
        yield from ((ahead[x], substitute(e, ahead)) for x, e in relation.mine.items())

    related = relation.ahead(case, other)
    firsts = [node("eq", a, b) for a, b in (*forms(raw), *own(raw))]
    laters = [node("eq", relation.of_mine(a), relation.of_theirs(b)) for a, b in forms(related)]
    laters += [node("eq", relation.of_mine(a), relation.of_mine(b)) for a, b in own(related)]
    for first, later in zip(firsts, laters, strict=True):
        yield Step(case.settle(substitute(first, begin)), later)


def _kept(g: Node, held: Task) -> Outcome:
    g = fold(g)
    if g.op == "eq" and g.args[0] is g.args[1]:
        return Proved("algebra", {"kind": "truth", "value": True})
    if g.op != "bool":
        return decide(g, held)
    return Proved("algebra", {"kind": "truth", "value": True}) if g.attrs[0] else Open("the initial values differ")


def _first_and_later(case: Case, other: Program, step: Step, held: Task) -> Outcome:
    """One step, for t = 1 with the states where they start, and for every later t."""
    begin = _begin(case, other)
    premises = tuple(case.settle(substitute(p, begin)) for p in held.premises)
    if any(p.op == "bool" and not p.attrs[0] for p in premises):
        return Open("the premises fail in the first step")
    at_first = Task(tuple(p for p in premises if p.op != "bool"), case.program, held.of_rule, refute=False)
    if case.at_start:
        return _kept(step.first, at_first)
    later = Task((*held.premises, node("ge", TIME, number(2))), case.program, held.of_rule, refute=False)
    return all_of(_kept(part, task) for part, task in ((step.first, at_first), (step.later, later)))


def _first_difference(
    case: Case, other: Program, relation: Relation | None, fuel: float
) -> dict[str, object] | None:
    """Both rules run from one start with the same answers: where the parameter or an output first differs."""
    images = {x: e for x, e in relation.theirs.items() if x.role == "param"} if relation is not None else {}
    mine, theirs = list(trajectory(case.program, 3)), list(trajectory(replace(other, inputs=case.program.inputs), 3))
    premises: tuple[Node, ...] = ()
    for t, (own, their) in enumerate(zip(mine, theirs, strict=True), 1):
        try:
            pairs = [
                node("eq", case.settle(substitute(x, own)), case.settle(substitute(y, their)))
                for x, y in Relation(images).visible(case, other, next_here(case))
            ]
            goal = pairs[0] if len(pairs) == 1 else node("and", *pairs)
            given = given_at(case, own)
        except Mismatch:
            return None
        if given is None:
            return None
        premises += given
        randoms = {r.name: r for r in (*other.randoms, *case.program.randoms)}
        program = replace(case.program, randoms=tuple(randoms.values()))
        search = Search(premises, goal, program, classes(case))
        found = search.run(fuel / 4)
        if found is not None:
            return {"step": t, **found}
    return None


__all__ = ["equivalent"]
