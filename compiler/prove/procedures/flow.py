"""`flow`: time is continuous. `ddt(x) = …` defines the flow, and `ddt(H)` is the derivative of H along it.

An energy claim `ddt(H) <= e` becomes e - ddt(H) >= 0 and is shown as a combination of the inequalities that the
properties of the functions give; constants named by `derive` are solved for. H is taken as differentiable along the
flow, which the report says.
"""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.calculus import NotDifferentiable, jacobian_vector
from dotopt.compiler.ir import TIME, Node, leaf, node, number, rebuild, substitute
from dotopt.compiler.ops.types import REAL
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, all_of
from dotopt.compiler.prove.procedures.decide import conjuncts_of, decide
from dotopt.compiler.prove.procedures.multipliers import certificate, combination
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.properties import classes, conjugate_gradient, inequalities
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s

STAR = "^* as a function"
INSTANT = leaf("free", "t", REAL)  # no number of steps: any real number, as far as the premises allow


def flow(case: Case, goal: s.Goal, fuel: float) -> Outcome:
    """Decides a claim about a flow."""
    if not isinstance(goal, s.Holds):
        raise Unreadable("this form of claim about a flow")
    if any(here.op == "claim" and here.attrs[0] in ("after", "O") for here in case.value(goal.condition).walk()):
        from dotopt.compiler.prove.procedures.expansion import expansion

        return expansion(case, goal, fuel)
    motion = flow_of(case)
    stated = case.value(goal.condition)
    _require_motion(stated, motion)
    condition = along(stated, motion)
    unknowns = [leaf("free", name, REAL) for c in case.claim.body if isinstance(c, s.Derive) for name in c.names]
    smooth = kinks(stated, motion)
    condition, *smooth = (substitute(here, {TIME: INSTANT}) for here in (condition, *smooth))
    case.premises = [substitute(p, {TIME: INSTANT}) for p in case.premises]
    case.point_premises = [substitute(p, {TIME: INSTANT}) for p in case.point_premises]
    parts = list(conjuncts_of(condition))
    if unknowns and len(parts) > 1:
        raise Unreadable("constants that are to be derived for more than one sentence")
    if not smooth:
        return all_of(_part(case, part, unknowns, fuel) for part in parts)
    facts = Task(tuple(case.premises), case.program).facts
    missing = [k for k in smooth if not facts.proves(k, 200)]
    case.premises += missing
    outcome = all_of(_part(case, part, unknowns, fuel) for part in parts)
    if missing and isinstance(outcome, Proved):
        return Open(f"true wherever the derivative exists; add `given {missing[0]!r}`")
    return outcome


def flow_of(case: Case) -> dict[Node, Node]:
    """The derivative of each variable of the flow; `ddt` of another variable in it is replaced by what it is."""
    from dotopt.compiler.lower.expression import value

    motion: dict[Node, Node] = {TIME: number(1)}
    for clause in case.claim.body:
        if isinstance(clause, s.Definition) and isinstance(clause.targets[0], s.Call):
            target = clause.targets[0]
            if isinstance(target.function, s.Name) and target.function.name == "ddt":
                here = value(case.context, target.arguments[0], case.scope)
                motion[here] = case.value(clause.value)
    for _ in motion:
        motion = {x: along(v, motion) for x, v in motion.items()}
    return motion


def _require_motion(stated: Node, motion: dict[Node, Node]) -> None:
    """Raises `Unreadable` for a `ddt` of something of which the claim does not say how it moves: it does not stand."""
    for here in stated.walk():
        if here.op == "claim" and here.attrs[0] == "ddt" and here.args[0] not in motion:
            inside = list(here.args[0].walk())
            still = [x for x in inside if x.role in ("param", "state") and x not in motion]
            if still or not any(x in motion for x in inside):
                name = still[0].name if still else repr(here.args[0])
                raise Unreadable(f"how `{name}` moves: the claim has no line `ddt({name}) = …`")


def kinks(stated: Node, motion: dict[Node, Node]) -> list[Node]:
    """What must hold for the derivatives of `stated` to exist: no |0| and ‖0‖, no tie in max(a, b), no jump."""
    found: dict[Node, None] = {}
    for claimed in stated.walk():
        if claimed.op != "claim" or claimed.attrs[0] != "ddt" or claimed.args[0] in motion:
            continue
        for here in _sharp(claimed.args[0]):
            if not any(x in motion for x in here.walk()):
                continue
            match here.op:
                case "abs" | "sign" | "relu":
                    found[node("ne", here.args[0], number(0))] = None
                case "floor" | "ceil":
                    found[node("ne", here.args[0], here)] = None
                case "norm" if here.attrs[2] == 1:
                    found[node("ne", here.args[0], number(0))] = None
                case "max" | "min" | "lt" | "le" | "gt" | "ge" | "eq" | "ne":
                    found[node("ne", *here.args)] = None
                case "amax" | "amin" | "norm" if here.op != "norm" or here.attrs[2] is None:
                    x = node("abs", here.args[0]) if here.op == "norm" else here.args[0]
                    ties = node("sum", node("eq", x, here), attrs=(here.attrs[0], False))
                    found[node("eq", ties, number(1))] = None
                case "norm" | "std":
                    found[node("ne", here, number(0))] = None
    return list(found)


def _sharp(root: Node) -> Iterator[Node]:
    """The nodes below without lengths that stand under powers above the first only: ‖x‖² is smooth."""
    found = {root}
    for here in root.walk():
        smooth = here.op == "pow" and here.args[1].value is not None and here.args[1].value > 1
        found.update(a for a in here.args if not (smooth and _is_length(a)))
    yield from found


def _is_length(here: Node) -> bool:
    return here.op == "abs" or (here.op == "norm" and here.attrs[2] not in (1, None))


def along(root: Node, motion: dict[Node, Node]) -> Node:
    """`root` with every `ddt(e)` replaced by the derivative of e along the flow."""

    def change(here: Node) -> Node:
        if here.op == "claim" and here.attrs[0] == "ddt":
            return derivative(here.args[0], motion)
        return here

    return rebuild(root, change)


def derivative(e: Node, motion: dict[Node, Node]) -> Node:
    """The total derivative of e; raises `Unreadable` where e has none."""
    if e in motion:
        return motion[e]
    starred = rebuild(e, _star)
    total: Node | None = None
    for x, velocity in motion.items():
        if x not in set(starred.walk()):
            continue
        direction = leaf("free", f"velocity of {x.name}", x.type)
        try:
            part = jacobian_vector(starred, x, direction)
        except NotDifferentiable as error:
            raise Unreadable(f"the derivative along the flow: {error.why}") from None
        part = substitute(part, {direction: velocity})
        total = part if total is None else node("add", total, part)
    return number(0) if total is None else rebuild(total, _unstar)


def _star(here: Node) -> Node:
    if here.op == "conjugate" and here.attrs[1] == 0:
        return node("apply", *here.args, attrs=(here.attrs[0] + STAR, 0, None, (0, 1), REAL))
    return here


def _unstar(here: Node) -> Node:
    if here.op == "apply" and here.attrs[0].endswith(STAR):
        name = here.attrs[0].removesuffix(STAR)
        if here.attrs[1] == 0:
            return node("conjugate", *here.args, attrs=(name, 0, REAL))
        return conjugate_gradient(name, here.args[0])
    return here


def _part(case: Case, goal: Node, unknowns: list[Node], fuel: float) -> Outcome:
    points = tuple(case.point_premises)
    held = Task(tuple(case.premises), case.program, points=points, fuel=fuel)
    if held.facts.contradictory():
        from dotopt.compiler.prove.outcome import Vacuous

        return Vacuous()
    if goal.op in ("le", "ge", "lt", "gt"):
        low, high = goal.args if goal.op in ("le", "lt") else goal.args[::-1]
        gap = node("sub", high, low)
        known = inequalities(case, [gap, *case.premises]) if goal.op in ("le", "ge") else []
        found = combination(gap, known, held, unknowns) if known else None
        if found is not None:
            smooth = "the energy is differentiable along the flow"
            return Proved("multipliers", certificate(found), (smooth,))
    if unknowns:
        return Open("no constants were found for which it is a combination of the inequalities of its functions")
    free = Task(tuple(case.premises), case.program, classes=classes(case), points=points, fuel=fuel)
    return decide(goal, free)


__all__ = ["along", "derivative", "flow", "flow_of"]
