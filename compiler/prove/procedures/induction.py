"""`show … for all steps`: the sentence holds at the first step, and every step keeps it."""

from __future__ import annotations

from dotopt.compiler.ir import TIME, Node, leaf, node, number, substitute
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.procedures.decide import Task, conjuncts_of, decide
from dotopt.compiler.prove.procedures.sentences import task
from dotopt.compiler.prove.procedures.signs import signs_kept
from dotopt.compiler.prove.statements.properties import classes
from dotopt.compiler.prove.statements.reached import of_this_step, reached
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import runs, start, trajectory
from dotopt.compiler.prove.worlds.numbers import text
from dotopt.compiler.prove.worlds.refute import Search

LOOKED_AT = (2, 3, 4, 8, 16)  # the steps at which a counterexample to an induction is sought


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
    run = reached(case)
    held = Task(
        tuple(p for p in first if p.op != "bool"), program, classes=classes(case), reached=run, seconds=seconds / 2
    )
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
    then = tuple(q for p in case.premises if of_this_step(p) and (q := case.settle(substitute(p, later))).op != "bool")
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
    for t, table in enumerate(trajectory(program, max(LOOKED_AT)), 1):
        premises += tuple(case.settle(substitute(p, table)) for p in (*case.premises, *case.point_premises))
        if t not in LOOKED_AT:
            continue
        at_t = case.settle(substitute(goal, table))
        search = Search(tuple(p for p in premises if p.op != "bool"), at_t, program, classes(case), reached=run)
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


__all__ = ["after", "for_all_steps"]
