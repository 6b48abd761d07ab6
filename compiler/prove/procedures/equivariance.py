"""P0: which changes of coordinates a step goes along with, by the types of its values alone.

A step is equivariant under a group if stepping on f∘A from A⁻¹θ gives A⁻¹ times the step on f from θ. Each value gets a
kind: it stays (`STILL`), it moves with θ, it moves in a way that the group knows (`coordinates`), or it is nothing of
these (None). The kinds of states and of loops are found by passing over them until nothing changes; 0 fits all. What
is made of states that no pass has reached yet has no kind yet (`UNKNOWN`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial

from dotopt.compiler.analysis.interpretation import Interpretation, fixed_point
from dotopt.compiler.ir import ENTRYWISE, Fold, Lambda, Loop, Node, Program, leaf
from dotopt.compiler.ops import OPERATIONS, Absent
from dotopt.compiler.ops.row import Powers
from dotopt.compiler.prove.procedures.coordinates import (
    STILL,
    UNKNOWN,
    ZERO,
    Group,
    Half,
    Kind,
    both_sides,
    groups,
    lines,
)

BODIES = (Fold, Lambda, Loop)  # what reads more than the arguments
UNIQUE_UP_TO_SIGNS = {"eigenvectors", "qr"}


def invariances(program: Program) -> Iterator[str]:
    """The groups under which the step of an optimizer with one parameter is equivariant.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> list(invariances(lower(Library().file("Lion"))))
    ['permutations of the entries', 'sign flips of the entries']
    >>> list(invariances(lower(Library().file("Muon"))))
    ['orthogonal matrices on both sides, G -> U G V']
    """
    if program.kind != "optimizer" or len(program.params) != 1:
        return
    found = [group.name for group in groups() if kept(program, group)]
    yield from found
    axes = program.params[0].type.axes[-2:]
    if len(axes) < 2 or "rotations" in found:
        return
    sides, along = both_sides(*axes), lines()
    if kept(program, sides):
        used = {here.op for root in program.roots for here in root.walk()}
        yield sides.name + (", where eigenvectors are unique up to sign" if used & UNIQUE_UP_TO_SIGNS else "")
    elif "permutations of the entries" not in found and kept(program, along):
        yield along.name


def kept(program: Program, group: Group, knobs: Mapping[Node, Kind] | None = None) -> bool:
    """Whether the parameter moves after a step as before it; knobs stay, but for those that have a kind."""
    (param,) = program.params
    given: dict[Node, Kind] = {leaf("param", param.name, param.type): group.moves, **(knobs or {})}
    states = [s for s in program.states if not s.indices]

    def run(kinds: list[Kind]) -> Interpretation[Kind]:
        leaves = (leaf("state", s.name, s.type) for s in states)
        return Interpretation(partial(transfer, group), {**given, **dict(zip(leaves, kinds, strict=True))})

    def step(kinds: list[Kind]) -> list[Kind]:
        here, after = run(kinds), []
        for s, kind in zip(states, kinds, strict=True):
            start = ZERO if s.start.value == 0 else here.of(s.start)
            moved = here.of(s.next) if s.next is not None else start
            after.append(_lasting(group.join(group.join(kind, start), moved)))
        return after

    found = fixed_point(step, [UNKNOWN] * len(states), 2 * len(states) + 2)
    return found is not None and run(found).of(program.next[param.name]) in (group.moves, ZERO)


def transfer(group: Group, here: Node, args: Sequence[Kind], run: Interpretation[Kind]) -> Kind:
    """The kind of a value, given those of its arguments."""
    match here.op:
        case "leaf":
            return STILL if here.role in ("hyper", "time", "rank", "axis", "option") else None
        case "const":
            return ZERO if here.value == 0 else STILL
        case "zeros":
            return ZERO
        case "bool" | "pi" | "inf" | "size" | "native" | "ones" | "fires":
            return STILL
        case "item":
            return args[0][here.attrs.position] if isinstance(args[0], list) else None
        case "loop":
            return _loop(group, here, args, run)
    if None in args or any(isinstance(k, list) for k in args) or any(isinstance(a, BODIES) for a in here.attrs):
        return None
    if UNKNOWN in args:
        return UNKNOWN
    if here.op == "oracle":
        indices, points = here.attrs.split
        asked = all(k == group.moves for k in args[indices : indices + points])
        gradient, value = group.answers or (group.moves, STILL)
        return {"gradient": gradient, "value": value}.get(here.attrs.what) if asked else None
    if vanishes(here.op, args):
        return ZERO
    if here.op == "select" and args[0] == STILL:
        return group.join(args[1], args[2])
    if args and all(k in (STILL, ZERO) for k in args) and (here.op in ENTRYWISE or group.any_still):
        return STILL
    return group.rule(here, list(args))


def _loop(group: Group, here: Node, args: Sequence[Kind], run: Interpretation[Kind]) -> Kind:
    """The kinds of the variables after all passes."""
    body: Loop = here.attrs.body
    count = len(body.variables)
    if body.index is not None or any(kind != STILL for kind in args[:-count]):
        return None

    def step(kinds: list[Kind]) -> list[Kind]:
        inside = run.inside(dict(zip(body.variables, kinds, strict=True)))
        if body.until is not None and inside.of(body.until) != STILL:
            return [None] * count
        return [_lasting(group.join(k, inside.of(e))) for k, e in zip(kinds, body.nexts, strict=True)]

    found = fixed_point(step, list(args[-count:]), 2 * count + 2)
    return None if found is None or found == [None] * count else found


def _lasting(kind: Kind) -> Kind:
    """The kind of a value that is kept: half of something is so in its own step only."""
    return None if isinstance(kind, Half) else kind


def vanishes(op: str, args: Sequence[Kind]) -> bool:
    """Whether the result is 0 because arguments are: a product of degree 1 in one, or a function with f(0) = 0."""
    row = OPERATIONS[op]
    if isinstance(row.degree, Powers):
        ups = (kind for kind, power in zip(args, row.degree.of, strict=False) if Fraction(power) > 0)
        return ZERO in ups
    alike = row.degree == "alike" and row.domain == "true"
    keeps = not isinstance(row.known, Absent) and ("0", "0") in row.known
    return (alike or keeps) and set(args) == {ZERO}


__all__ = ["invariances", "kept"]
