"""One expression of all the ways through a step: choices become selections, as far down as they reach.

`g + λ*θ if λ != 0 else g` is `g + λ*θ`, since both agree where λ is 0; where the ways differ in one place only, the
selection stands there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dotopt.compiler.ir import Node, node, number, rebuild, substitute
from dotopt.runtime.lift.numbers import Choice, Refused, simplified

Way = tuple[tuple[Choice, ...], Mapping[str, Node]]  # the choices of a run, and what it gave by name


class Merger:
    """Merges expressions; the same two are merged once."""

    def __init__(self) -> None:
        self.done: dict[tuple[Node, Node, Node], tuple[Node, frozenset[Node]]] = {}
        self.shared: set[Node] = set()  # selections that states have, so that they cost nothing elsewhere

    def ways(self, ways: Sequence[Way], depth: int = 0) -> dict[str, Node]:
        """What all ways give, by name; ways on which the class stops with an error are not among them."""
        ended = [way for way in ways if len(way[0]) <= depth]
        if ended:
            if len(ways) > 1 and any(_differ(ways[0][1], way[1]) for way in ways[1:]):
                raise Refused("the same choices lead to different steps")
            return dict(ways[0][1])
        condition = ways[0][0][depth][0]
        if any(way[0][depth][0] is not condition for way in ways):
            raise Refused("the same choices lead to different questions")
        yes = [way for way in ways if way[0][depth][1]]
        no = [way for way in ways if not way[0][depth][1]]
        if not yes or not no:
            return self.ways(yes or no, depth + 1)
        left, right = self.ways(yes, depth + 1), self.ways(no, depth + 1)
        merged: dict[str, Node] = {}
        for name in sorted(dict.fromkeys((*left, *right)), key=lambda n: n == "θ"):
            if name not in left or name not in right:  # a state that only one of them has
                merged[name] = left.get(name) or right[name]
            else:
                merged[name], chosen = self._select(condition, left[name], right[name])
                if name != "θ":
                    self.shared |= chosen
        return merged

    def select(self, condition: Node, yes: Node, no: Node) -> Node:
        """`yes if condition else no`."""
        return self._select(condition, yes, no)[0]

    def _select(self, condition: Node, yes: Node, no: Node) -> tuple[Node, frozenset[Node]]:
        """The merged node, and the selections that it has on top of what both share."""
        if yes is no:
            return yes, frozenset()
        key = (condition, yes, no)
        if key not in self.done:
            self.done[key] = self._merged(condition, yes, no)
        return self.done[key]

    def _merged(self, condition: Node, yes: Node, no: Node) -> tuple[Node, frozenset[Node]]:
        same = agreeing(condition, yes, no)
        if same is not None:
            return same, frozenset()
        if yes.op == no.op and yes.attrs == no.attrs and len(yes.args) == len(no.args) and yes.args:
            parts = [self._select(condition, a, b) for a, b in zip(yes.args, no.args, strict=True)]
            chosen = frozenset[Node]().union(*(c for _, c in parts))
            if len(chosen - self.shared) <= 1:
                made = simplified(node(yes.op, *(p for p, _ in parts), attrs=tuple(yes.attrs)))
                return made, chosen
        made = chosen_from(condition, yes, no)
        return made, frozenset((made,))


def agreeing(condition: Node, yes: Node, no: Node) -> Node | None:
    """The side that is also right where the condition decides for the other, if there is one."""
    if condition.op == "eq":
        x, c = condition.args
        if x.op == "leaf" and c.value is not None and at(no, x, c) is at(yes, x, c):
            return no
    return None


def at(root: Node, x: Node, value: Node) -> Node:
    """`root` where x has this value, without the terms that vanish there, whatever their shape."""
    return simplified(rebuild(substitute(root, {x: value}), vanishing))


def vanishing(here: Node) -> Node:
    """A term that a number makes vanish is gone, whatever its shape."""
    match here.op, here.args:
        case "zeros", _:
            return number(0)
        case "mul", (a, b) if a.value == 0 or b.value == 0:
            return number(0)
        case "mul", (a, b) if a.value == 1 or b.value == 1:
            return b if a.value == 1 else a
        case (("neg" | "div"), (a, *_)) if a.value == 0:
            return number(0)
        case "add", (a, b) if a.value == 0 or b.value == 0:
            return b if a.value == 0 else a
        case "sub", (a, b) if b.value == 0:
            return a
        case "sub", (a, b) if a.value is not None and b.value is not None:
            return number(a.value - b.value)
        case (("sign" | "abs" | "sqrt" | "floor" | "ceil" | "relu" | "tanh" | "sin"), (a,)) if a.value == 0:
            return a
        case (("sum" | "mean" | "norm" | "amax" | "amin" | "std"), (a,)) if a.value == 0:
            return a
        case (("max" | "min"), (a, b)) if a.value is not None and b.value is not None:
            return a if (a.value >= b.value) is (here.op == "max") else b
    return here


def chosen_from(condition: Node, yes: Node, no: Node) -> Node:
    """A selection, or the `max`, `min` or conjunction that it is."""
    if condition.op in ("lt", "le"):
        a, b = condition.args
        if (yes, no) == (b, a):
            return node("max", a, b)
        if (yes, no) == (a, b):
            return node("min", a, b)
    if no.op == "select" and no.args[1] is yes:  # both lead to the same
        return node("select", simplified(node("or", condition, no.args[0])), yes, no.args[2])
    if yes.op == "select" and yes.args[2] is no:
        return node("select", simplified(node("and", condition, yes.args[0])), yes.args[1], no)
    if yes.op == "select" and yes.args[1] is no:
        return node("select", simplified(node("and", condition, node("not", yes.args[0]))), yes.args[2], no)
    if no.op == "select" and no.args[2] is yes:
        return node("select", simplified(node("and", node("not", condition), no.args[0])), no.args[1], yes)
    if condition.op == "eq":  # the usual case first
        return node("select", node("ne", *condition.args), no, yes)
    return node("select", condition, yes, no)


def _differ(left: Mapping[str, Node], right: Mapping[str, Node]) -> bool:
    return left.keys() != right.keys() or any(left[n] is not right[n] for n in left)


__all__ = ["Merger", "Way", "agreeing", "at", "vanishing"]
