"""`X -> Y under maps`: the maps move objectives, inputs and parameters; how the states move with them is found.

The weights of states are guessed from numbers (two steps with and without the map) and then proved: the initial
values obey them, and one step preserves them. With them, X under the maps must equal Y.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from itertools import product
from typing import Any

from dotopt.compiler import syntax as s
from dotopt.compiler.calculus import gradient, jacobian_vector
from dotopt.compiler.errors import OptError
from dotopt.compiler.ir import Input, Interval, Loop, Node, leaf, node, number, rebuild, substitute
from dotopt.compiler.lower import Scope
from dotopt.compiler.lower.functions import function_of
from dotopt.compiler.prove.outcome import Open, Outcome, Proved, Refuted, all_of
from dotopt.compiler.prove.procedures.decide import Task, decide
from dotopt.compiler.prove.procedures.sentences import outermost
from dotopt.compiler.prove.statements.properties import classes
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.prove.statements.unroll import start, state_leaves, trajectory
from dotopt.compiler.prove.worlds.refute import Search
from dotopt.compiler.types import REST, Mismatch

Move = dict[Node, Node]
NONZERO = tuple(Fraction(n, 2) for n in (1, 2, 3, 4, 6, -1, -2, -3, -4, -5))
WEIGHTS = (1, 0, 2, -1, Fraction(1, 2), -2, 3)


@dataclass
class Maps:
    """What the maps do: to leaves, and to the answers of functions (`f -> c*f`)."""

    leaves: Move
    answers: dict[str, tuple[Node, Node]]  # f -> (variable, body with the old answers inside)
    scale: Node | None  # the scalar of `f -> c*f` or `g -> c*g`

    def apply(self, root: Node, states: Move) -> Node:
        """`root` where the maps have been carried out."""
        table = {**self.leaves, **states}
        moved = rebuild(root, lambda here: self._answer(here, table))
        return moved

    def _answer(self, here: Node, table: Move) -> Node:
        if here in table:
            return table[here]
        if here.op not in ("oracle", "apply") or here.attrs[0] not in self.answers:
            return here
        variable, body = self.answers[here.attrs[0]]
        indices, _ = here.attrs[3][0], here.attrs[3][1]
        point = here.args[indices]
        same = {variable: point}
        body = _with_samples(body, here, variable)
        match here.attrs[1]:
            case "value" | "field" | 0:
                return substitute(body, same)
            case "gradient" | 1:
                return substitute(gradient(body, variable), same)
            case "hessian_vector":
                direction = leaf("free", "direction of the product", variable.type)
                return substitute(
                    jacobian_vector(gradient(body, variable), variable, direction), {**same, direction: here.args[-1]}
                )
        raise Unreadable(f"a map of `{here.attrs[0]}` where it is asked for its {here.attrs[1]}")


def _with_samples(body: Node, asked: Node, variable: Node) -> Node:
    """The body with the samples and indices of the place where the function is asked."""
    indices, points = asked.attrs[3][0], asked.attrs[3][1]
    extra = asked.args[indices + points :]
    if asked.attrs[1] == "hessian_vector":
        extra = extra[:-1]
    if not extra and not indices and asked.attrs[2] is None:
        return body

    def one(here: Node) -> Node:
        if here.op == "oracle" and here.attrs[0] == asked.attrs[0] and here.attrs[3][1] == 1 and len(here.args) == 1:
            type = asked.type if here.attrs[1] == asked.attrs[1] else here.type
            attrs = (*here.attrs[:2], asked.attrs[2], asked.attrs[3], type)
            return node("oracle", *asked.args[:indices], here.args[0], *extra, attrs=attrs)
        return here

    return rebuild(body, one)


def read(case: Case, goal: s.Becomes) -> Maps:
    """The maps of the goal; raises `Unreadable` for a map of something derived."""
    leaves: Move = {}
    answers: dict[str, tuple[Node, Node]] = {}
    scale: Node | None = None
    for m in goal.maps:
        function = _function_name(case, m.old)
        if function is not None:
            variable, body, factor = _new_function(case, function, m.new)
            answers[function] = (variable, body)
            scale = factor if factor is not None else scale
            continue
        old = case.value(m.old)
        new = case.value(m.new)
        if old.op != "leaf" and not (old.op == "oracle" and old.attrs[1] in ("gradient", "field")):
            raise Unreadable(f"the map moves `{m.old.span.text}`, which is derived (E403)")
        leaves[old] = new
        if new.op == "mul" and old in new.args and scale is None:
            other = new.args[0] if new.args[1] is old else new.args[1]
            scale = other if other.type.scalar else None
    return Maps(leaves, answers, scale)


def _function_name(case: Case, old: s.Expression) -> str | None:
    if not isinstance(old, s.Name):
        return None
    names = {c.name for c in case.program.callables}
    found = case.scope.find(old.name)
    return old.name if old.name in names and found is not None and type(found[0]).__name__ == "User" else None


def _new_function(case: Case, name: str, new: s.Expression) -> tuple[Node, Node, Node | None]:
    """The variable and the body of the new function; `f -> h` for a local h, `f -> c*f + a` pointwise."""
    param = case.program.params[0] if case.program.params else None
    type = param.type if param is not None else case.program.inputs[0].type
    own = next(
        (
            here
            for root in case.program.roots
            for here in case.settle(root).walk()
            if here.op in ("oracle", "apply") and here.attrs[0] == name
        ),
        None,
    )
    if own is not None:
        type = own.args[own.attrs[3][0]].type
    variable = leaf("free", "the point", type)
    if isinstance(new, s.Name) and new.name != name:
        body = case.settle(function_of(case.context, new, case.scope).at((variable,)))
        return variable, body, None
    scope = Scope(case.scope, claim=True)
    from dotopt.compiler.lower.expression import value
    from dotopt.compiler.lower.scope import Value

    scope.names["·point"] = Value(variable)
    body = case.settle(value(case.context, _called(new, name, case), scope))
    factor = None
    if body.op == "mul":
        factor = next((a for a in body.args if a.op in ("leaf", "const") and a.type.scalar), None)
    return variable, body, factor


def _called(e: s.Expression, name: str, case: Case) -> s.Expression:
    """`c*f` as the value `c*f(point)`."""

    if isinstance(e, s.Name) and e.name == name:
        return s.Call(e.span, e, (s.Name(e.span, "·point"),))
    changes: dict[str, Any] = {}
    for entry in fields(e):
        old = getattr(e, entry.name)
        if isinstance(old, s.Expression):
            changes[entry.name] = _called(old, name, case)
        elif isinstance(old, tuple) and old and all(isinstance(o, s.Expression) for o in old):
            changes[entry.name] = tuple(_called(o, name, case) for o in old)
    return replace(e, **changes) if changes else e


# ---- the proof -----------------------------------------------------------------------------------------------------


def becomes(case: Case, goal: s.Becomes, seconds: float) -> Outcome:
    """Decides `X -> Y under maps`."""
    maps = read(case, goal)
    old, new = case.value(goal.old), case.value(goal.new)
    if any(here.op != "leaf" for here in maps.leaves):
        case, maps, (old, new) = _as_inputs(case, maps, (old, new))
    if old.op == "item":
        passes = _through_passes(case, maps, old, new, seconds)
        if passes is not None:
            return passes
    needed = [state for state in case.program.states if _reaches(case, state.name, old)]
    if any(state.indices for state in needed):
        raise Unreadable("how families of states move under the maps")
    problem = "no motion of the states is preserved by a step"
    for motion in _motions(case, maps, [state.name for state in needed]):
        proof = _proved(case, maps, motion, old, new, seconds)
        if isinstance(proof, Proved):
            shown = {here.name: repr(there) for here, there in motion.items() if here is not there}
            return Proved(
                proof.procedure, {"kind": "symmetry", "states": shown, "parts": [proof.certificate]}, proof.assumptions
            )
    found = _counterexample(case, maps, old, new, seconds)
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


def _at_step(maps: Maps, t: int) -> Maps:
    """The maps with those of the inputs of step 1 repeated for the inputs of the steps up to t."""
    leaves = dict(maps.leaves)
    inputs = [here for here in maps.leaves if here.role == "input"]
    for k in range(2, t + 1):
        later = {here: leaf("input", f"{here.name}#{k}", here.type) for here in inputs}
        leaves |= {later[here]: substitute(maps.leaves[here], later) for here in inputs}
    return replace(maps, leaves=leaves)


def _through_passes(case: Case, maps: Maps, old: Node, new: Node, seconds: float) -> Outcome | None:
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
    held = Task(tuple(case.premises), case.program, own, seconds=seconds / 2, refute=False)
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


def _motions(case: Case, maps: Maps, names: list[str]) -> Iterator[Move]:
    """Candidate motions of the states: powers of the scale found from numbers, or what the maps do to their like."""
    states = [x for x in case.program.states if x.name in names and not x.indices]
    leaves = [leaf("state", x.name, x.type) for x in states]
    if not leaves:
        yield {}
        return
    if maps.scale is not None:
        guessed = _weights(case, maps, leaves)
        if guessed is not None:
            for weights in product(*([w] if w is not None else WEIGHTS[:4] for w in guessed)):
                yield {x: _scaled(x, maps.scale, w) for x, w in zip(leaves, weights, strict=True)}
            return
    options: list[list[Node]] = []
    for x in leaves:
        own: list[Node] = [x]
        for moved, there in maps.leaves.items():
            if moved.type == x.type:
                own.append(substitute(there, {moved: x}))
                own.append(_linear_part(there, moved, x))
        own += _turned(maps, x)
        options.append(list(dict.fromkeys(own)))
    for count, choice in enumerate(product(*options)):
        if count > 60:
            return
        yield dict(zip(leaves, choice, strict=True))


def _linear_part(there: Node, moved: Node, x: Node) -> Node:
    """Of `θ -> θ + b` the identity: the motion without its constant part."""
    if there.op in ("add", "sub") and moved in there.args:
        return x
    return substitute(there, {moved: x})


def _turned(maps: Maps, x: Node) -> list[Node]:
    """What the matrices of `k -> R @ k` and `G -> A @ G @ Bᵀ` may do to a state: from the left, the right, or both."""
    matrices = dict.fromkeys(m for there in maps.leaves.values() for m in _matrices(there))
    found: list[Node] = []
    for a in matrices:
        for left, right in ((a, x), (x, node("transpose", a))):
            with contextlib.suppress(Mismatch):
                found.append(node("matmul", left, right))
        for b in matrices:
            with contextlib.suppress(Mismatch):
                found.append(node("matmul", node("matmul", a, x), node("transpose", b)))
    return [y for y in found if y.type == x.type]


def _matrices(there: Node) -> list[Node]:
    """The leaves among the factors of a product of matrices, without their transposes."""
    factors = [m.args[0] if m.op == "transpose" else m for m in _factors(there)]
    return [m for m in factors if m.op == "leaf" and len(m.type.axes) == 2] if len(factors) > 1 else []


def _factors(here: Node) -> list[Node]:
    return [*_factors(here.args[0]), *_factors(here.args[1])] if here.op == "matmul" else [here]


def _scaled(x: Node, scale: Node, weight: Fraction | int) -> Node:
    if weight == 0:
        return x
    return node("mul", node("pow", scale, number(Fraction(weight))), x)


def _weights(case: Case, maps: Maps, leaves: list[Node]) -> list[Fraction | int | None] | None:
    """The power of the scale by which each state grows, read off two or three steps in a random world."""
    from dotopt.compiler.prove.worlds.world import Undecidable, World

    program = case.program
    if maps.scale is None:
        return None
    found: dict[Node, Fraction | int] = {}
    search = Search(tuple(case.premises), number(0), program)
    plain = list(trajectory(program, 4))
    for seed in range(12):
        world = World(seed + 5, {REST: 2}, draw=search.draw, small=NONZERO)
        try:
            if not all(world.truth(p) is True for p in case.premises if not state_leaves([p])):
                continue
            c = world.value(maps.scale)[1].item()
            if c == 1 or c == 0:
                continue
            for t, table in enumerate(plain[1:], 1):
                for x in leaves:
                    if x in found:
                        continue
                    here = case.settle(table[x])
                    before = world.value(here)[1].ravel()
                    after = world.value(_at_step(maps, t).apply(here, {}))[1].ravel()
                    weight = _power(before, after, c)
                    if weight is not None:
                        found[x] = weight
        except (Undecidable, OptError, Mismatch, OverflowError):
            continue
        if len(found) == len(leaves):
            break
    return [found.get(x) for x in leaves]


def _power(before: list[object], after: list[object], c: Fraction) -> Fraction | int | None:
    """The weight w with after = c^w * before, if there is one and not all is zero."""
    from dotopt.compiler.prove.worlds import numbers as num

    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if not any(b != 0 for b, _ in pairs):
        return None
    for weight in WEIGHTS:
        factor = num.power(c, Fraction(weight))
        if factor is not None and all(num.same(num.mul(factor, b), a) for b, a in pairs):
            return weight
    return None


def _proved(case: Case, maps: Maps, motion: Move, old: Node, new: Node, seconds: float) -> Outcome:
    own = frozenset(here for root in case.program.roots for here in case.settle(root).walk())
    moved_own = frozenset(h for root in case.program.roots for h in maps.apply(case.settle(root), motion).walk())
    held = Task(tuple(case.premises), case.program, own | moved_own, seconds=seconds / 2, refute=False)
    goals = [node("eq", maps.apply(old, motion), new)]
    table = start(case.program) if not case.at_start else {}
    for state in case.program.states:
        here = leaf("state", state.name, state.type)
        if here not in motion or case.at_start:
            continue
        begin = table[here]
        try:
            goals.append(
                node("eq", maps.apply(case.settle(begin), {}), substitute(motion[here], {here: case.settle(begin)}))
            )
            if state.next is not None:
                following = case.settle(state.next)
                goals.append(node("eq", maps.apply(following, motion), substitute(motion[here], {here: following})))
        except Mismatch:
            return Open("types")
    return all_of(_quick(decide(g, held)) for g in goals)


def _quick(outcome: Outcome) -> Outcome:
    """An equation that is not proved ends the attempt at once."""
    return Refuted("", {}) if isinstance(outcome, Open) else outcome


def _counterexample(case: Case, maps: Maps, old: Node, new: Node, seconds: float) -> dict[str, object] | None:
    """A run of the first steps in which the mapped run ends elsewhere."""
    moved = {here.name for here in maps.leaves if here.role == "state"}
    if moved and not {n.name for n in state_leaves([old, new])} <= moved:
        return None
    free = case.at_start or moved or not case.program.states
    forms: list[Move] = [{}] if free else list(trajectory(case.program, 3))
    premises: tuple[Node, ...] = ()
    for t, table in enumerate(forms, 1):
        premises += tuple(case.settle(substitute(p, table)) for p in case.premises)
        run_old = case.settle(substitute(old, table))
        moved_table = dict(table.items())
        run_new = case.settle(substitute(new, moved_table))
        try:
            goal = node("eq", _at_step(maps, t).apply(run_old, {}), run_new)
        except Mismatch:
            return None
        search = Search(
            tuple(p for p in premises if p.op != "bool"),
            goal,
            case.program,
            classes(case),
            dict(case.context.index_sets),
        )
        search.reads_states = False
        found = search.run(seconds / 3)
        if found is not None:
            return found
    return None


__all__ = ["becomes"]
