"""One sentence about one step: as it stands, for all values of its definitions, by properties of its functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from dotopt.compiler.ir import Lambda, Node, leaf, node, number
from dotopt.compiler.lower.scope import Lazy
from dotopt.compiler.prove.forms.scalars import Unsupported
from dotopt.compiler.prove.fuel import within
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, all_of
from dotopt.compiler.prove.procedures.conjugates import conjugate_claim
from dotopt.compiler.prove.procedures.decide import conjuncts_of, decide, with_domain
from dotopt.compiler.prove.procedures.generalise import stand_in
from dotopt.compiler.prove.procedures.multipliers import certificate, combination
from dotopt.compiler.prove.procedures.repair import repair
from dotopt.compiler.prove.procedures.signs import signs_kept
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.properties import (
    cauchy_schwarz,
    classes,
    inequalities,
    of_premises,
    square,
    sub,
)
from dotopt.compiler.prove.statements.reached import every_step, reached
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError

SOON = 40  # of the time of a claim one part is for counterexamples that are found soon


def task(case: Case, fuel: float, extra: tuple[Node, ...] = (), refute: bool = True) -> Task:
    """What `decide` needs to know of a case."""
    own = frozenset(here for root in case.program.roots for here in case.settle(root).walk())
    return Task(
        (*case.premises, *extra),
        case.program,
        own,
        case.index_sets,
        classes(case),
        reached(case) if refute else None,
        tuple(case.point_premises),
        fuel,
        refute,
    )


def with_invariants(case: Case, goal: Node, fuel: float) -> Outcome:
    """Decides a goal; if it fails for want of it, with the signs that the rule keeps by itself."""
    sentences = list(conjuncts_of(goal))
    unknowns = [leaf("free", name) for c in case.claim.body if isinstance(c, s.Derive) for name in c.names]
    if len(sentences) > 1 and not unknowns:
        return all_of(with_invariants(case, part, fuel) for part in sentences)
    if unknowns:  # some constants are asked for, so a counterexample for others says nothing
        found = by_properties(case, goal, fuel, unknowns)
        return found or Open("no constants were found for which it follows from the properties of its functions")
    abstracted = general(case, goal, fuel) or _plainly_false(case, goal, fuel)
    abstracted = abstracted or by_properties(case, goal, fuel)
    if abstracted is not None:
        return abstracted
    if any(here.op == "conjugate" for here in goal.walk()):

        def again(part: Node) -> Outcome:
            return with_invariants(case, part, fuel / 2)

        shown = conjugate_claim(case, goal, task(case, fuel / 2, refute=False), again)
        if shown is not None:
            return shown
    outcome = decide(goal, task(case, fuel))
    if isinstance(outcome, Open):
        from dotopt.compiler.prove.procedures.worst_case import worst_case

        worst = worst_case(case, goal, task(case, fuel, refute=False))
        if worst is not None:
            return Refuted("worst case", worst)
    if not isinstance(outcome, Open) and not (isinstance(outcome, Proved) and outcome.assumptions):
        return outcome
    if case.at_start or not case.program.states:
        return outcome
    kept = tuple(signs_kept(every_step(case), [goal]))
    if not kept:
        return outcome
    helped = decide(goal, task(case, fuel, kept, refute=False))
    if isinstance(helped, Proved):
        proved_signs = tuple(f"{k!r} at every step (induction)" for k in kept)
        return Proved(helped.procedure, helped.certificate, (*proved_signs, *helped.assumptions))
    return outcome


def _plainly_false(case: Case, goal: Node, fuel: float) -> Refuted | None:
    """A counterexample that is found soon, before the properties of functions are tried, which takes longer."""
    held = task(case, fuel)
    if not held.classes:
        return None
    search = held.search(goal)
    found = search.run(fuel / SOON)
    return None if found is None else Refuted("sampling", found, repair(goal, held))


def general(case: Case, goal: Node, fuel: float) -> Outcome | None:
    """A proof for all values of the definitions that the claim names: those inside others become free names."""
    named = mentioned(case)
    inner = {d: n for d, n in named.items() if any(d is not e and d in set(e.walk()) for e in named)}
    if not inner:
        return None
    facts = task(case, fuel, refute=False).facts
    table = {d: stand_in(d, n, facts) for d, n in inner.items()}
    premises = tuple(outermost(p, table) for p in case.premises)
    own = frozenset(here for root in case.program.roots for here in outermost(case.settle(root), table).walk())
    held = Task(premises, case.program, own, fuel=fuel / 3, refute=False)
    if held.facts.contradictory():
        return None
    outcome = all_of(decide(part, held) for part in conjuncts_of(outermost(goal, table)))
    return outcome if isinstance(outcome, Proved) else None


def by_properties(case: Case, goal: Node, fuel: float, unknowns: Sequence[Node] = ()) -> Outcome | None:
    """A proof from the declared properties: as a combination of their inequalities, else by z3 on these."""
    known = inequalities(case, [goal, *case.premises])
    if not known:
        return None
    held = task(case, fuel / 3, refute=False)
    if held.facts.contradictory():
        return None
    parts: list[Outcome] = []
    sentences = list(conjuncts_of(goal))
    if unknowns and len(sentences) > 1:
        return None  # the same constants would have to serve all of them
    known += of_premises(case)
    for part in sentences:
        outcome: Outcome = Open("")
        for gap in gaps(part, held):
            with within(fuel):
                found = combination(gap, [*known, *cauchy_schwarz(part)], held, unknowns)
            if found is not None:
                outcome = with_domain(Proved("multipliers", certificate(found)), part, held)
                break
        if not isinstance(outcome, Proved):
            facts = tuple(node("ge", k.node, number(0)) for k in known)
            outcome = decide(part, task(case, fuel / 2, facts, refute=False))
        parts.append(outcome)
    outcome = all_of(parts)
    return outcome if isinstance(outcome, Proved) else None


def gaps(part: Node, held: Task) -> Iterator[Node]:
    """What must not be negative: the difference of both sides; that of their squares where neither is negative and a
    norm occurs; for vectors that are equal, minus the square of their difference."""
    if part.op == "eq" and len(part.args[0].type.axes) == len(part.args[1].type.axes) == 1:
        yield node("neg", square(sub(*part.args)))
    if part.op not in ("le", "ge"):
        return
    low, high = part.args if part.op == "le" else part.args[::-1]
    yield sub(high, low)
    if any(here.op == "norm" for here in part.walk()):
        with suppress(Unsupported, ArithmeticError):
            if all(held.facts.nonnegative(held.facts.normal(side)) for side in (low, high)):
                yield sub(node("mul", high, high), node("mul", low, low))


def mentioned(case: Case) -> dict[Node, str]:
    """The definitions that the text of the claim names, with their values."""
    found: dict[Node, str] = {}
    for clause in case.claim.body:
        if not isinstance(clause, s.Given | s.Show | s.Definition):
            continue
        for here in clause.walk():
            if isinstance(here, s.Name):
                entry = case.scope.find(here.name, here.primed)
                if entry is not None and isinstance(entry[0], Lazy):
                    try:
                        node_ = case.value(here)
                    except OptError:
                        continue
                    if node_.args and node_.type.kind == "real":
                        found.setdefault(node_, here.name + ("'" if here.primed else ""))
    return found


def outermost(root: Node, table: dict[Node, Node]) -> Node:
    """`root` with the largest nodes of `table` replaced, nothing inside them."""
    done: dict[Node, Node] = dict(table)

    def change(here: Node) -> Node:
        if here not in done:
            args = tuple(change(a) for a in here.args)
            attrs = tuple(Lambda(a.variables, change(a.body)) if isinstance(a, Lambda) else a for a in here.attrs)
            same = all(a is b for a, b in zip(args, here.args, strict=True)) and attrs == here.attrs
            done[here] = here if same else node(here.op, *args, attrs=attrs, span=here.span)
        return done[here]

    return change(root)


__all__ = ["by_properties", "mentioned", "outermost", "task", "with_invariants"]
