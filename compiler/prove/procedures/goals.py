"""The goals of claims: what each form asks, as boolean nodes for `decide` or as a procedure of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dotopt.compiler import syntax as s
from dotopt.compiler.errors import OptError
from dotopt.compiler.ir import TIME, Lambda, Node, leaf, node, number, substitute
from dotopt.compiler.lower.scope import Lazy
from dotopt.compiler.prove.forms.polynomial import within
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.procedures.conjugates import conjugate_claim
from dotopt.compiler.prove.procedures.decide import BUDGET, Task, conjuncts_of, decide, with_domain
from dotopt.compiler.prove.procedures.multipliers import certificate, combination
from dotopt.compiler.prove.procedures.orders import coefficients, speaks_of_orders
from dotopt.compiler.prove.statements.properties import classes, inequalities
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import runs, start, trajectory
from dotopt.compiler.prove.worlds.numbers import text
from dotopt.compiler.prove.worlds.refute import Search
from dotopt.compiler.types import Mismatch

LOOKED_AT = (2, 3, 4, 8, 16)  # the steps at which a counterexample to an induction is sought


def outcome_of(case: Case, show: s.Show, seconds: float = BUDGET) -> Outcome:
    """The outcome of one `show` or `refute` in one case."""
    body = case.claim.body
    if any(isinstance(c, s.Derive) for c in body) and (show.refute or sum(isinstance(c, s.Show) for c in body) > 1):
        raise Unreadable("constants that are to be derived for more than one sentence, or for a `refute`")
    if show.refute:
        return _wanted_counterexample(outcome_of(case, replace(show, refute=False), seconds))
    if any(isinstance(c, s.Flow) for c in case.claim.body):
        from dotopt.compiler.prove.procedures.flow import flow

        return flow(case, show.goal, seconds)
    match show.goal:
        case s.Holds(_, condition, all_steps):
            rounded = next((c.name for c in case.claim.body if isinstance(c, s.Precision)), None)
            if rounded is not None:
                from dotopt.compiler.prove.procedures.machine import machine

                return machine(case, condition, rounded, all_steps, after(case), seconds)
            goal = case.value(condition)
            if speaks_of_orders(goal):
                return _expanded(with_invariants(case, coefficients(case, goal), seconds))
            if goal.op == "bool" and not goal.attrs[0]:
                return Refuted("arithmetic", sides(case, condition))
            if all_steps:
                return for_all_steps(case, goal, seconds)
            return with_invariants(case, goal, seconds)
        case s.Becomes():
            from dotopt.compiler.prove.procedures.symmetry import becomes

            return becomes(case, show.goal, seconds)
        case s.Equivalent():
            from dotopt.compiler.prove.procedures.equivalence import equivalent

            return equivalent(case, show.goal, seconds)
        case s.Stable():
            from dotopt.compiler.prove.procedures.stability import stable

            return stable(case, show.goal, seconds)
    raise Unreadable("this form of claim")


def _expanded(outcome: Outcome) -> Outcome:
    """The outcome for Taylor coefficients as one for the expansion."""
    if isinstance(outcome, Proved):
        return replace(outcome, assumptions=("the objective is smooth enough", *outcome.assumptions))
    return outcome


def sides(case: Case, condition: s.Expression) -> dict[str, object]:
    """The values of both sides of a comparison of numbers."""
    if not isinstance(condition, s.Compare):
        return {"fails": condition.span.text}
    numbers = [case.value(x).value for x in condition.operands]
    words = ("left", "right", "third", "fourth")
    values = {w: text(x) for w, x in zip(words, numbers, strict=False) if x is not None}
    return {**values, "fails": condition.span.text}


def _wanted_counterexample(outcome: Outcome) -> Outcome:
    """`refute c` holds when c is refuted, and is refuted when c is a theorem."""
    match outcome:
        case Refuted(procedure, counterexample):
            return Proved(procedure, {"kind": "counterexample", "values": counterexample})
        case Proved(procedure, certificate):
            return Refuted(
                procedure, {"theorem": "the sentence is proved, so it cannot be refuted", "by": certificate["kind"]}
            )
    return outcome


def task(case: Case, seconds: float, extra: tuple[Node, ...] = (), refute: bool = True) -> Task:
    """What `decide` needs to know of a case."""
    own = frozenset(here for root in case.program.roots for here in case.settle(root).walk())
    return Task(
        (*case.premises, *extra),
        case.program,
        own,
        dict(case.context.index_sets),
        classes(case),
        case.fixed_states,
        tuple(case.point_premises),
        seconds,
        refute,
    )


def with_invariants(case: Case, goal: Node, seconds: float) -> Outcome:
    """Decides a goal; if it fails for want of it, with the signs that the rule keeps by itself."""
    sentences = list(conjuncts_of(goal))
    unknowns = [leaf("free", name) for c in case.claim.body if isinstance(c, s.Derive) for name in c.names]
    if len(sentences) > 1 and not unknowns:
        return all_of(with_invariants(case, part, seconds) for part in sentences)
    if unknowns:  # some constants are asked for, so a counterexample for others says nothing
        found = by_properties(case, goal, seconds, unknowns)
        return found or Open("no constants were found for which it follows from the properties of its functions")
    abstracted = general(case, goal, seconds) or by_properties(case, goal, seconds)
    if abstracted is not None:
        return abstracted
    if any(here.op == "conjugate" for here in goal.walk()):

        def again(part: Node) -> Outcome:
            return with_invariants(case, part, seconds / 2)

        shown = conjugate_claim(case, goal, task(case, seconds / 2, refute=False), again)
        if shown is not None:
            return shown
    outcome = decide(goal, task(case, seconds))
    if isinstance(outcome, Open):
        from dotopt.compiler.prove.procedures.worst_case import worst_case

        worst = worst_case(case, goal, task(case, seconds, refute=False))
        if worst is not None:
            return Refuted("worst case", worst)
    if not isinstance(outcome, Open) and not (isinstance(outcome, Proved) and outcome.assumptions):
        return outcome
    if case.at_start or not case.program.states:
        return outcome
    kept = tuple(signs_kept(case))
    if not kept:
        return outcome
    helped = decide(goal, task(case, seconds, kept, refute=False))
    if isinstance(helped, Proved):
        proved_signs = tuple(f"{k!r} at every step (induction)" for k in kept)
        return Proved(helped.procedure, helped.certificate, (*proved_signs, *helped.assumptions))
    return outcome


def general(case: Case, goal: Node, seconds: float) -> Outcome | None:
    """A proof for all values of the definitions that the claim names: those inside others become free names."""
    named = mentioned(case)
    inner = {d: n for d, n in named.items() if any(d is not e and d in set(e.walk()) for e in named)}
    if not inner:
        return None
    table = {d: leaf("free", n, d.type) for d, n in inner.items()}
    premises = tuple(outermost(p, table) for p in case.premises)
    own = frozenset(here for root in case.program.roots for here in outermost(case.settle(root), table).walk())
    held = Task(premises, case.program, own, {}, {}, True, (), seconds / 3, refute=False)
    if held.facts.contradictory():
        return None
    outcome = all_of(decide(part, held) for part in conjuncts_of(outermost(goal, table)))
    return outcome if isinstance(outcome, Proved) else None


def by_properties(case: Case, goal: Node, seconds: float, unknowns: Sequence[Node] = ()) -> Outcome | None:
    """A proof from the declared properties: as a combination of their inequalities, else by z3 on these."""
    known = inequalities(case, [goal, *case.premises])
    if not known:
        return None
    held = task(case, seconds / 3, refute=False)
    if held.facts.contradictory():
        return None
    parts: list[Outcome] = []
    sentences = list(conjuncts_of(goal))
    if unknowns and len(sentences) > 1:
        return None  # the same constants would have to serve all of them
    for part in sentences:
        outcome: Outcome = Open("")
        if part.op in ("le", "ge"):
            low, high = part.args if part.op == "le" else part.args[::-1]
            with within(seconds):
                found = combination(node("sub", high, low), known, held, unknowns)
            if found is not None:
                outcome = with_domain(Proved("multipliers", certificate(found)), part, held)
        if not isinstance(outcome, Proved):
            facts = tuple(node("ge", k.node, number(0)) for k in known)
            outcome = decide(part, task(case, seconds / 2, facts, refute=False))
        parts.append(outcome)
    outcome = all_of(parts)
    return outcome if isinstance(outcome, Proved) else None


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


def signs_kept(case: Case, standing: bool = False) -> Iterator[Node]:
    """`s >= 0` for the states that start so and keep it in every step, each by induction on its own.

    Premises about this step say nothing of those before it, so they count only if they are `standing`.
    """
    table = start(case.program)
    premises = case.premises if standing else [p for p in case.premises if not _of_this_step(p)]
    found: list[Node] = []
    for state in case.program.states:
        if state.next is None or state.indices or state.type.kind not in ("real", "int") or state.kind != "constant":
            continue
        here = leaf("state", state.name, state.type)
        if table[here].value is None or (table[here].value or 0) < 0:
            continue
        try:
            wanted = node("ge", here, number(0))
            goal = node("ge", case.settle(state.next), number(0))
            facts = Task((*premises, *found, wanted), case.program).facts
            if facts.proves(goal, 200):
                found.append(wanted)
                yield wanted
        except Mismatch:
            continue


def _of_this_step(premise: Node) -> bool:
    """Whether a premise speaks of what may be different in every step."""
    moving = ("param", "state", "input", "draw", "time")
    return any(here.role in moving or here.op in ("oracle", "base", "fires") for here in premise.walk())


def for_all_steps(case: Case, goal: Node, seconds: float) -> Outcome:
    """Induction: true before and after the first step, and kept by every step."""
    program = case.program
    if not runs(program):
        raise Unreadable("an induction over families of states")
    if case.fixed_states:
        raise Unreadable("an induction with `given` lines about states")
    if case.at_start or any(here is TIME for p in case.premises for here in p.walk()):
        raise Unreadable("`for all steps` with `given` lines about t")
    table = start(program)
    initial = case.settle(substitute(goal, table))
    first = tuple(case.settle(substitute(p, table)) for p in case.premises)
    held = Task(tuple(p for p in first if p.op != "bool"), program, classes=classes(case), seconds=seconds / 2)
    base = (
        decide(initial, held)
        if initial.op != "bool"
        else (
            Proved("algebra", {"kind": "truth", "value": True})
            if initial.attrs[0]
            else Refuted("initial values", {"step": 1, **_at_start(case, goal), "fails": repr(goal)})
        )
    )
    if isinstance(base, Refuted):
        return base
    kept = tuple(signs_kept(case, standing=True)) if not isinstance(base, Open) else ()
    later = after(case)
    following = case.settle(substitute(goal, later))
    then = tuple(q for p in case.premises if _of_this_step(p) and (q := case.settle(substitute(p, later))).op != "bool")
    parts = [decide(part, task(case, seconds, (goal, *then, *kept), refute=False)) for part in conjuncts_of(following)]
    step = all_of(parts)
    if isinstance(base, Proved) and isinstance(step, Proved):
        return Proved(
            "induction",
            {"kind": "induction", "parts": [base.certificate, step.certificate]},
            tuple(dict.fromkeys((*base.assumptions, *step.assumptions))),
        )
    if isinstance(base, Vacuous):
        return base
    premises: tuple[Node, ...] = ()
    for t, reached in enumerate(trajectory(program, max(LOOKED_AT)), 1):
        premises += tuple(case.settle(substitute(p, reached)) for p in case.premises)
        if t not in LOOKED_AT:
            continue
        search = Search(
            tuple(p for p in premises if p.op != "bool"), case.settle(substitute(goal, reached)), program, classes(case)
        )
        search.reads_states = False
        found = search.run(seconds / 6)
        if found is not None:
            return Refuted("first steps", {"step": t, **found})
    missing = (
        step.reason
        if isinstance(step, Open)
        else base.reason
        if isinstance(base, Open)
        else "the premises exclude each other"
    )
    where = "the step" if isinstance(step, Open) else "the first step"
    seen = ", ".join(map(str, LOOKED_AT))
    return Open(f"induction: {where} is not proved ({missing}); no counterexample at steps {seen}")


def _at_start(case: Case, goal: Node) -> dict[str, str]:
    """Both sides of a comparison before the first step."""
    if len(goal.args) != 2:
        return {}
    settled = [case.settle(substitute(side, start(case.program))).value for side in goal.args]
    return {word: text(x) for word, x in zip(("left", "right"), settled, strict=True) if x is not None}


def after(case: Case) -> dict[Node, Node]:
    """What the leaves of states and parameters, and t, become in one step."""
    program = case.program
    table: dict[Node, Node] = {TIME: node("add", TIME, number(1))}
    for param in program.params:
        if param.name in program.next and not param.indices:
            table[leaf("param", param.name, param.type)] = program.next[param.name]
    for state in program.states:
        if state.next is not None and not state.indices:
            table[leaf("state", state.name, state.type)] = state.next
    return table


__all__ = ["Open", "outcome_of"]
