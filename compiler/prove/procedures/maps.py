"""The maps of `X -> Y under maps`: what they do to leaves, to the answers of functions, and to whole expressions."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from dotopt.compiler.calculus import gradient, jacobian_vector
from dotopt.compiler.ir import TIME, Node, leaf, node, number, rebuild, substitute
from dotopt.compiler.lower import Scope
from dotopt.compiler.lower.expression import value
from dotopt.compiler.lower.functions import function_of
from dotopt.compiler.lower.scope import Value
from dotopt.compiler.prove.statements.statement import Case, Unreadable
from dotopt.compiler.text import syntax as s

Move = dict[Node, Node]


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

    @property
    def timed(self) -> bool:
        """Whether they change with t otherwise than for inputs, so that they cannot be carried out in a run."""
        there = [there for here, there in self.leaves.items() if here.role != "input"]
        return any(TIME in set(root.walk()) for root in (*there, *(body for _, body in self.answers.values())))

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


def at_step(maps: Maps, t: int) -> Maps:
    """The maps of a run of t steps: those of the inputs once for each step, on the inputs of that step."""
    leaves: Move = {}
    for here, there in maps.leaves.items():
        for k in range(1, t + 1 if here.role == "input" else 2):
            table = {x: _of_step(x, k) for x in (here, *there.walk()) if x.role in ("input", "draw") or x is TIME}
            leaves[table.get(here, here)] = substitute(there, table)
    answers = {name: (x, substitute(body, {TIME: number(1)})) for name, (x, body) in maps.answers.items()}
    return replace(maps, leaves=leaves, answers=answers)


def _of_step(here: Node, k: int) -> Node:
    if here is TIME:
        return number(k)
    return leaf(here.role, f"{here.name}#{k}", here.type) if k > 1 else here


__all__ = ["Maps", "Move", "at_step", "read"]
