"""How the states of a rule may move under the maps of a claim: candidates, of which one is proved or none.

Weights (`m -> c*m`, `v -> c²*v`) are read off numbers, two or three steps with and without the map; other motions are
those of the leaves that the maps move.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from itertools import product

from dotopt.compiler.ir import Node, leaf, node, number, substitute
from dotopt.compiler.ops.types import REST, Mismatch
from dotopt.compiler.prove.procedures.maps import Maps, Move, at_step
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.prove.statements.unroll import state_leaves, trajectory
from dotopt.compiler.prove.worlds import numbers as num
from dotopt.compiler.prove.worlds.setting import Setting
from dotopt.compiler.prove.worlds.world import Undecidable, World
from dotopt.compiler.text.errors import OptError

NONZERO = tuple(Fraction(n, 2) for n in (1, 2, 3, 4, 6, -1, -2, -3, -4, -5))
WEIGHTS = (1, 0, 2, -1, Fraction(1, 2), -2, 3)


def motions(case: Case, maps: Maps, names: list[str]) -> Iterator[Move]:
    """Candidate motions of the states, the same in every step but for t."""
    for motion in _candidates(case, maps, names):
        if not any(_fresh(part) for x, there in motion.items() for part in there.walk() if part is not x):
            yield motion


def _fresh(here: Node) -> bool:
    """Whether it may be different in the next step: a motion with it says nothing of that step."""
    return here.role in ("param", "state", "input", "draw") or here.op in ("oracle", "base", "fires")


def _candidates(case: Case, maps: Maps, names: list[str]) -> Iterator[Move]:
    """Powers of the scale found from numbers, or what the maps do to the like of a state."""
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
    program = case.program
    if maps.scale is None or maps.timed:
        return None
    found: dict[Node, Fraction | int] = {}
    draw = Setting(tuple(case.premises), program).draw
    plain = list(trajectory(program, 4))
    for seed in range(12):
        world = World(seed + 5, {REST: 2}, draw=draw, small=NONZERO)
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
                    after = world.value(at_step(maps, t).apply(here, {}))[1].ravel()
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
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if not any(b != 0 for b, _ in pairs):
        return None
    for weight in WEIGHTS:
        factor = num.power(c, Fraction(weight))
        if factor is not None and all(num.same(num.mul(factor, b), a) for b, a in pairs):
            return weight
    return None


__all__ = ["motions"]
