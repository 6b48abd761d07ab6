"""P0: which changes of coordinates a step goes along with, by the types of its values alone.

A step is equivariant under a group if stepping on f∘A from A⁻¹θ gives A⁻¹ times the step on f from θ. Each value gets a
kind: it stays (`STILL`), it moves with θ, it moves in a way that the group knows (`coordinates`), or it is nothing of
these (None). The kinds of states and of loops are found by passing over them until nothing changes; 0 fits all. What
is made of states that no pass has reached yet has no kind yet (`UNKNOWN`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dotopt.compiler.ir import ENTRYWISE, Fold, Lambda, Loop, Node, Program, leaf
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

KEEP_ZERO = {"neg", "add", "sub", "abs", "sqrt", "max", "min", "stop", "cast", "transpose", "sum", "mean", "norm"}
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
    kinds: dict[Node, Kind] = {leaf("param", param.name, param.type): group.moves, **(knobs or {})}
    states = {s: leaf("state", s.name, s.type) for s in program.states if not s.indices}
    kinds |= dict.fromkeys(states.values(), UNKNOWN)
    for _ in range(2 * len(states) + 2):
        here = Kinds(group, dict(kinds))
        for s, x in states.items():
            start = ZERO if s.start.value == 0 else here.of(s.start)
            moved = here.of(s.next) if s.next is not None else start
            kinds[x] = _lasting(group.join(group.join(kinds[x], start), moved))
        if all(kinds[x] == here.known[x] for x in states.values()):
            return here.of(program.next[param.name]) in (group.moves, ZERO)
    return False


class Kinds:
    """The kinds of values, given those of the parameter, the states and the variables of loops."""

    def __init__(self, group: Group, known: dict[Node, Kind]) -> None:
        self.group, self.known = group, known
        self.done: dict[Node, Kind] = {}

    def of(self, here: Node) -> Kind:
        """The kind of a value."""
        if here in self.known:
            return self.known[here]
        if here not in self.done:
            self.done[here] = self._of(here)
        return self.done[here]

    def _of(self, here: Node) -> Kind:
        """As `of`, for what is neither known nor done."""
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
                kinds = self.of(here.args[0])
                return kinds[here.attrs[0]] if isinstance(kinds, list) else None
            case "loop":
                return self._loop(here)
        args = [self.of(a) for a in here.args]
        if None in args or any(isinstance(k, list) for k in args) or any(isinstance(a, BODIES) for a in here.attrs):
            return None
        if UNKNOWN in args:
            return UNKNOWN
        if here.op == "oracle":
            split = here.attrs[3]
            asked = all(k == self.group.moves for k in args[split[0] : split[0] + split[1]])
            gradient, value = self.group.answers or (self.group.moves, STILL)
            return {"gradient": gradient, "value": value}.get(here.attrs[1]) if asked else None
        if vanishes(here.op, args):
            return ZERO
        if here.op == "select" and args[0] == STILL:
            return self.group.join(args[1], args[2])
        if args and all(k in (STILL, ZERO) for k in args) and (here.op in ENTRYWISE or self.group.any_still):
            return STILL
        return self.group.rule(here, args)

    def _loop(self, here: Node) -> Kind:
        """The kinds of the variables after all passes."""
        body: Loop = here.attrs[0]
        count = len(body.variables)
        before, starts = here.args[:-count], here.args[-count:]
        if body.index is not None or any(self.of(a) != STILL for a in before):
            return None
        kinds = [self.of(a) for a in starts]
        for _ in range(2 * count + 2):
            inside = Kinds(self.group, {**self.known, **dict(zip(body.variables, kinds, strict=True))})
            if body.until is not None and inside.of(body.until) != STILL:
                return None
            after = [_lasting(self.group.join(k, inside.of(e))) for k, e in zip(kinds, body.nexts, strict=True)]
            if after == kinds:
                return kinds
            kinds = after
        return None


def _lasting(kind: Kind) -> Kind:
    """The kind of a value that is kept: half of something is so in its own step only."""
    return None if isinstance(kind, Half) else kind


def vanishes(op: str, args: list[Kind]) -> bool:
    """Whether the result is 0 because arguments are."""
    match op:
        case "mul" | "matmul" | "outer":
            return ZERO in args
        case "div":
            return bool(args[0] == ZERO)
    return op in KEEP_ZERO and set(args) == {ZERO}


__all__ = ["invariances", "kept"]
