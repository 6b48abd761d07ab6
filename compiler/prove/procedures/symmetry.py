"""`X -> Y under maps`: the maps move objectives, inputs and parameters; how the states move with them is found.

A motion of the states is guessed and then proved: the initial values obey it, and one step preserves it. With it, X
under the maps must equal Y.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dotopt.compiler.ir import TIME, Input, Interval, Loop, Node, leaf, node, number, substitute
from dotopt.compiler.ops.types import Mismatch
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, Vacuous, all_of
from dotopt.compiler.prove.procedures.decide import decide
from dotopt.compiler.prove.procedures.maps import Maps, Move, read
from dotopt.compiler.prove.procedures.motions import motions
from dotopt.compiler.prove.procedures.sentences import outermost
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.properties import classes
from dotopt.compiler.prove.statements.reached import given_at, hangs_on_time, reached
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import start, state_leaves, trajectory
from dotopt.compiler.prove.worlds.refute import Search
from dotopt.compiler.text import syntax as s


def becomes(case: Case, goal: s.Becomes, fuel: float) -> Outcome:
    """Decides `X -> Y under maps`."""
    if hangs_on_time(case):
        raise Unreadable("maps that hold in every step with `given` lines about t, other than `t == 1`")
    if Task(tuple(case.premises), case.program).facts.contradictory():
        return Vacuous()
    maps = read(case, goal)
    old, new = case.value(goal.old), case.value(goal.new)
    if any(here.op != "leaf" for here in maps.leaves):
        case, maps, (old, new) = _as_inputs(case, maps, (old, new))
    if old.op == "item":
        passes = _through_passes(case, maps, old, new, fuel)
        if passes is not None:
            return passes
    needed = [state for state in case.program.states if _reaches(case, state.name, old)]
    if any(state.indices for state in needed):
        raise Unreadable("how families of states move under the maps")
    problem = "no motion of the states is preserved by a step"
    for motion in motions(case, maps, [state.name for state in needed]):
        proof = _proved(case, maps, motion, old, new, fuel)
        if isinstance(proof, Proved):
            shown = {here.name: repr(there) for here, there in motion.items() if here is not there}
            return Proved(
                proof.procedure, {"kind": "symmetry", "states": shown, "parts": [proof.certificate]}, proof.assumptions
            )
    found = _counterexample(case, maps, old, new, fuel)
    if found is not None:
        return Refuted("first steps", found)
    return Open(problem)


def _as_inputs(case: Case, maps: Maps, roots: tuple[Node, Node]) -> tuple[Case, Maps, tuple[Node, ...]]:
    """`g -> c*g`: the answers that the maps move become inputs of the step, new ones in every step."""
    table = {here: leaf("input", repr(here), here.type) for here in maps.leaves if here.op != "leaf"}

    def change(root: Node) -> Node:
        return outermost(case.settle(root), table)

    given = tuple(Input(here.name, here.type, Interval()) for here in table.values())
    program = case.program.mapped(change)
    leaves = {table.get(here, here): change(there) for here, there in maps.leaves.items()}
    premises = [change(p) for p in case.premises]
    case = replace(case, program=replace(program, inputs=(*program.inputs, *given)), premises=premises)
    return case, replace(maps, leaves=leaves), tuple(map(change, roots))


def _through_passes(case: Case, maps: Maps, old: Node, new: Node, fuel: float) -> Outcome | None:
    """The result of a loop moves as claimed if its start does and one pass preserves the motion."""
    loop = old.args[0]
    if loop.op != "loop":
        return None
    body: Loop = loop.attrs[0]
    if len(body.variables) != 1 or body.until is not None or body.index is not None:
        return None
    (variable,), (following,), begin = body.variables, body.nexts, loop.args[1]

    def moved(x: Node) -> Node:
        return substitute(new, {old: x})

    try:
        first = node("eq", maps.apply(begin, {}), moved(begin))
        step = node("eq", maps.apply(following, {variable: moved(variable)}), moved(following))
    except Mismatch:
        return None
    own = frozenset(h for root in (first, step) for h in root.walk())  # nothing here is of the claim's own text
    held = Task(tuple(case.premises), case.program, own, fuel=fuel / 2, refute=False)
    parts = [decide(fold(g), held) for g in (first, step)]
    outcome = all_of(_quick(p) for p in parts)
    if not isinstance(outcome, Proved):
        return None
    return Proved(outcome.procedure, {"kind": "induction", "parts": [outcome.certificate]}, outcome.assumptions)


def _reaches(case: Case, name: str, root: Node) -> bool:
    """Whether the state is read by `root`, directly or through the next values of others."""
    wanted, seen = {n.name for n in state_leaves([root])}, set[str]()
    nexts = {x.name: case.settle(x.next) for x in case.program.states if x.next is not None}
    while wanted - seen:
        here = (wanted - seen).pop()
        seen.add(here)
        if here in nexts:
            wanted |= {n.name for n in state_leaves([nexts[here]])}
    return name in seen


def _proved(case: Case, maps: Maps, motion: Move, old: Node, new: Node, fuel: float) -> Outcome:
    own = frozenset(here for root in case.program.roots for here in case.settle(root).walk())
    moved_own = frozenset(h for root in case.program.roots for h in maps.apply(case.settle(root), motion).walk())
    held = Task(tuple(case.premises), case.program, own | moved_own, fuel=fuel / 2, refute=False)
    goals = [node("eq", maps.apply(old, motion), new)]
    table = start(case.program) if not case.at_start else {}
    for state in case.program.states:
        here = leaf("state", state.name, state.type)
        if here not in motion or case.at_start:
            continue
        begin, following = case.settle(table[here]), case.settle(state.next if state.next is not None else here)
        first, later = {TIME: number(1)}, {TIME: node("add", TIME, number(1))}
        try:
            moved = substitute(motion[here], {**first, here: begin})
            goals.append(node("eq", substitute(maps.apply(begin, {}), first), moved))
            moved = substitute(motion[here], {**later, here: following})
            goals.append(node("eq", maps.apply(following, motion), moved))
        except Mismatch:
            return Open("types")
    return all_of(_quick(decide(g, held)) for g in goals)


def _quick(outcome: Outcome) -> Outcome:
    """An equation that is not proved ends the attempt at once."""
    return Refuted("", {}) if isinstance(outcome, Open) else outcome


def _counterexample(case: Case, maps: Maps, old: Node, new: Node, fuel: float) -> dict[str, object] | None:
    """The first steps, with and without the maps, in which X does not become Y."""
    moved = {here.name for here in maps.leaves if here.role == "state"}
    if moved and not {n.name for n in state_leaves([old, new])} <= moved:
        return None
    free = case.at_start or moved or not case.program.states
    premises: tuple[Node, ...] = ()
    for table, mapped in [({}, {})] if free else _two_runs(case, maps, 3):
        given = given_at(case, table)
        if given is None:
            return None
        premises += given
        try:
            there = case.settle(substitute(maps.apply(old, {}), mapped))
            goal = node("eq", there, case.settle(substitute(new, table)))
        except Mismatch:
            return None
        search = Search(
            premises,
            goal,
            case.program,
            classes(case),
            case.index_sets,
            reached(case),
        )
        found = search.run(fuel / 3)
        if found is not None:
            return found
    return None


def _two_runs(case: Case, maps: Maps, steps: int) -> Iterator[tuple[Move, Move]]:
    """What the leaves stand for in each step, and what they do where the maps hold in every step.

    There the states go their own way; the parameter is the same, or what the maps make of it.
    """
    program = case.program
    states = [leaf("state", x.name, x.type) for x in program.states if not x.indices]
    begin = start(program)
    moved = {x: maps.apply(case.settle(begin[x]), {}) for x in states}
    for table in trajectory(program, steps):
        mapped = {**table, **moved}
        yield table, mapped
        after = {leaf("state", x.name, x.type): x.next for x in program.states if x.next is not None and not x.indices}
        moved = {**moved, **{x: substitute(maps.apply(case.settle(e), {}), mapped) for x, e in after.items()}}


__all__ = ["becomes"]
