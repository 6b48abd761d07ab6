"""`show … for all steps`: the sentence holds in the first steps, and follows from itself in the steps before.

`given` lines hold in every step up to the one that is spoken of. What they say of states and parameters is used as
little as possible: if it is needed beyond the first step, the answer says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import islice

from dotopt.compiler.ir import TIME, Node, node, number
from dotopt.compiler.prove.fuel import until
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.procedures.decide import conjuncts_of, decide
from dotopt.compiler.prove.procedures.sentences import by_properties, task
from dotopt.compiler.prove.procedures.signs import signs_kept
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.properties import classes
from dotopt.compiler.prove.statements.run import (
    ASKED,
    MOVING,
    Step,
    any_step,
    first_step,
    moves,
    speaks_of_states,
    steps,
)
from dotopt.compiler.prove.statements.sequences import Instant, all_numbers, before, speaks_of_t
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.worlds.numbers import text
from dotopt.compiler.prove.worlds.refute import Search

LOOKED_AT = (2, 3, 4, 8, 16)  # the steps at which a counterexample to an induction is sought
EARLY = 2  # how many of them before more than one step back is tried
LOOKS_BACK = (0, 1, 2)  # how many steps before the one that is shown an induction may use
TRIVIAL = Proved("algebra", {"kind": "truth", "value": True})


def for_all_steps(case: Case, goal: Node, fuel: float, hunt: bool = True) -> Outcome:
    """The outcome of a sentence about all steps; counterexamples in later steps are sought if `hunt`."""
    if case.at_start or not all(_of_early_steps(case, p) for p in case.premises if speaks_of_t(p)):
        raise Unreadable("`for all steps` with `given` lines about t that the first steps do not fulfil")
    if case.begins and any(here.role == "draw" for p in (goal, *case.premises, *_laws(case)) for here in p.walk()):
        raise Unreadable("draws beside sequences")
    first = _first(case)
    begin = said_of(first, (*case.premises, *case.lemmas), before(case))
    if begin is None:
        return Vacuous()
    base = _base(case, goal, first, begin, fuel / 2)
    if isinstance(base, Refuted | Vacuous):
        return base
    end = until(fuel)
    step: Outcome = Open("")
    ways, later = list(_inductions(case, goal)), _counterexamples(case, goal, first, fuel)
    for depth in LOOKS_BACK:
        for way in ways:
            induction = replace(way, depth=depth)
            step = induction.outcome(goal, fuel / 2)
            if isinstance(step, Proved):
                shown = base if depth == 1 else induction.first_steps(goal, first, fuel / 2)
                if isinstance(shown, Proved):
                    return _proved(shown, step, induction.needed(goal, fuel / 4))
            if end.passed:
                break
        if depth == 1:
            tried = step
        for found in islice(later if hunt else (), EARLY if depth == 1 else 0 if depth == 0 else None):
            if found is not None:
                return found
    missing = tried.reason if isinstance(tried, Open) else base.reason if isinstance(base, Open) else ""
    where = "the step" if isinstance(tried, Open) else "the first step"
    seen = ", ".join(map(str, LOOKED_AT))
    return Open(f"induction: {where} is not proved ({missing}); no counterexample at steps {seen}")


def kept_by_itself(case: Case, goal: Node, fuel: float) -> Proved | None:
    """A proof of the sentence for every step, of a case whose premises all speak of every step."""
    first = first_step(case.program, case.settle)
    begin = said_of(first, case.premises)
    base = _base(case, goal, first, begin, fuel / 2, refute=False) if begin is not None else None
    if not isinstance(base, Proved):
        return None
    induction = replace(next(_inductions(case, goal)), depth=1)
    step = induction.outcome(goal, fuel / 2)
    return _proved(base, step, ()) if isinstance(step, Proved) else None


def _of_early_steps(case: Case, premise: Node) -> bool:
    """Whether a premise about t alone is true before it is false; one about what is new in each step may be any."""
    if any((here.role in MOVING and here is not TIME) or here.op in ASKED for here in premise.walk()):
        return True
    now, later = steps(_any(case), 2)
    lasting = tuple(p for p in case.premises if not moves(p))
    held = replace(task(case, 1, refute=False), premises=(*lasting, later.read(premise)))
    return held.facts.proves(now.read(premise), 300)


def _proved(base: Proved, step: Proved, notes: Iterable[str]) -> Proved:
    certificate = {"kind": "induction", "parts": [base.certificate, step.certificate]}
    return Proved("induction", certificate, tuple(dict.fromkeys((*notes, *base.assumptions, *step.assumptions))))


def _and(left: Node, right: Node) -> Node:
    return node("and", left, right)


def _first(case: Case) -> Step:
    """The first step of a run, or of sequences."""
    if case.begins:
        return Instant(case.recurrences, case.begins, case.settle, 0, number(1))
    return first_step(case.program, case.settle)


def _any(case: Case) -> Step:
    """A step from any state, or any time of sequences."""
    if case.begins:
        return Instant(case.recurrences, case.begins, case.settle, 0, TIME)
    return any_step(case.program, case.settle, case.functions)


# ---- the first step --------------------------------------------------------------------------------------------------


def said_of(moment: Step, premises: Iterable[Node], known: Iterable[Node] = ()) -> tuple[Node, ...] | None:
    """What is known and what the premises say of a step; None if one of them is false there."""
    read = [*known, *(moment.read(p) for p in premises)]
    return None if any(p.op == "bool" and not p.attrs[0] for p in read) else tuple(p for p in read if p.op != "bool")


def _laws(case: Case) -> list[Node]:
    return [law.body for law in case.recurrences.values()]


def _of_rule(case: Case, moment: Step) -> frozenset[Node]:
    """What the rule or the recurrences compute in a step: their own quotients are taken as defined."""
    found: set[Node] = set()
    for root in (*case.program.roots, *_laws(case)):
        try:
            found.update(moment.read(root).walk())
        except Unreadable:  # a recurrence that does not hold yet
            continue
    return frozenset(found)


def _shown(case: Case, goal: Node, held: Task) -> Outcome:
    """The outcome of a sentence about written steps, from the properties of functions too."""
    outcome = decide(goal, held)
    if not isinstance(outcome, Open):
        return outcome
    written = replace(case, premises=list(held.premises), point_premises=[])
    return by_properties(written, goal, held.fuel / 2) or outcome


def _base(
    case: Case, goal: Node, first: Step, premises: tuple[Node, ...], fuel: float, refute: bool = True
) -> Outcome:
    """The sentence at the first step."""
    initial = first.read(goal)
    if initial.op == "bool" and initial.attrs[0]:
        return TRIVIAL
    held = replace(
        task(case, fuel, refute=refute and all_numbers(case, (initial, *premises))),
        premises=premises,
        of_rule=_of_rule(case, first),
        points=(),
        reached=None,
    )
    outcome = _shown(case, initial, held)
    if not (isinstance(outcome, Refuted) and initial.op == "bool"):
        return outcome
    sides = [first.read(side).value for side in goal.args] if len(goal.args) == 2 else []
    shown = {word: text(x) for word, x in zip(("left", "right"), sides, strict=False) if x is not None}
    return Refuted("initial values", {"step": 1, **outcome.counterexample, **shown, "fails": repr(goal)})


# ---- the step --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Induction:
    """From `depth` steps in which the sentence holds to the next, under these premises."""

    case: Case
    depth: int
    premises: tuple[Node, ...]
    kept: tuple[Node, ...]  # what every step keeps by itself
    of_states: tuple[Node, ...] = ()  # those of the premises that speak of states, if they are used in every step

    def outcome(self, goal: Node, fuel: float) -> Outcome:
        """Whether the sentence follows from itself in the steps before."""
        case = self.case
        *earlier, last = steps(_any(case), self.depth + 1)
        known: list[Node] = []
        own: set[Node] = set()
        for moment in (*earlier, last):
            read = said_of(moment, [p for p in self.premises if moment.later == 0 or moves(p)])
            if read is None:
                return Vacuous()
            known += read
            known += [moment.read(k) for k in self.kept]
            own.update(_of_rule(case, moment))
        known += [moment.read(goal) for moment in earlier]
        held = replace(
            task(case, fuel, refute=False),
            premises=tuple(k for k in known if k.op != "bool"),
            of_rule=frozenset(own),
            points=(),
            reached=None,
        )
        return all_of(_shown(case, part, held) for part in conjuncts_of(last.read(goal)))

    def needed(self, goal: Node, fuel: float) -> tuple[str, ...]:
        """What is told of premises on states: nothing if they hold at the first step and every step keeps them too."""
        if not self.of_states:
            return ()
        lasting = tuple(p for p in self.premises if p not in self.of_states)
        alone = replace(self, depth=1, premises=lasting, kept=(), of_states=())
        for invariant in (reduce(_and, self.of_states), reduce(_and, self.of_states, goal)):
            if isinstance(alone.outcome(invariant, fuel), Proved):
                return ()
        return tuple(f"{p!r} in every step" for p in self.of_states)

    def first_steps(self, goal: Node, first: Step, fuel: float) -> Outcome:
        """The sentence in so many first steps."""
        if self.depth == 0:
            return TRIVIAL
        known: tuple[Node, ...] = tuple(before(self.case))
        parts: list[Outcome] = []
        for moment in steps(first, self.depth):
            read = said_of(moment, (*(self.premises if moment.later else self.case.premises), *self.kept), known)
            if read is None:
                return Open("the premises exclude each other in the first steps")
            known = read
            own = _of_rule(self.case, moment)
            held = replace(
                task(self.case, fuel, refute=False), premises=known, of_rule=own, points=(), reached=None
            )
            parts.append(_shown(self.case, moment.read(goal), held))
        return all_of(parts)


def _inductions(case: Case, goal: Node) -> Iterator[Induction]:
    """Ways to look back: what premises say of states first holds at the first step alone, then in every step."""
    lasting = tuple(p for p in case.premises if not speaks_of_states(p))
    of_states = tuple(p for p in case.premises if speaks_of_states(p))
    signs = signs_kept(replace(case, premises=list(lasting)), [goal])
    yield Induction(case, 0, lasting, (*signs, *case.lemmas))
    if of_states:
        yield Induction(case, 0, tuple(case.premises), (*signs_kept(case, [goal]), *case.lemmas), of_states)


# ---- counterexamples -------------------------------------------------------------------------------------------------


def _counterexamples(case: Case, goal: Node, first: Step, fuel: float) -> Iterator[Refuted | None]:
    """For each step that is looked at, a run in which the premises hold up to it and the sentence fails there."""
    known: tuple[Node, ...] = tuple(before(case))
    for moment in steps(first, max(LOOKED_AT)):
        read = said_of(moment, case.premises, known)
        if read is None:
            return
        known = read
        if not all_numbers(case, (moment.read(goal), *known)):
            return
        if moment.later + 1 not in LOOKED_AT:
            continue
        search = Search(
            known, moment.read(goal), case.program, classes(case), case.index_sets
        )
        found = search.run(fuel / 6)
        yield Refuted("first steps", {"step": moment.later + 1, **found}) if found is not None else None


__all__ = ["for_all_steps", "kept_by_itself"]
