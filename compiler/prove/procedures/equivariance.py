"""P0: which changes of coordinates a step goes along with, by the types of its values alone.

A step is equivariant under a group if stepping on f∘A from A⁻¹θ gives A⁻¹ times the step on f from θ. Each value gets a
kind: it stays (`still`), it moves with θ (`moves`), its entries are products of two that move (`square`), or it is
nothing of these (None). The kinds of states are found by passing over the step until nothing changes; 0 fits all.

    permutations of the entries     entrywise operations and reductions over all entries
    sign flips of the entries       odd and even functions
    rotations                       sums, multiples, inner products and Euclidean norms
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dotopt.compiler.ir import ENTRYWISE, Node, Program

Kind = str | None
STILL, MOVES, SQUARE, ZERO = "still", "moves", "square", "zero"

ODD = frozenset(("neg", "sign", "tanh", "erf", "sin", "tan", "atanh", "stop", "cast"))
EVEN = frozenset(("abs", "cos"))
REDUCTIONS = frozenset(("sum", "mean", "norm", "amax", "amin", "std"))
COMPARED = frozenset(("lt", "le", "gt", "ge", "eq", "ne"))


def invariances(program: Program) -> Iterator[str]:
    """The groups under which the step of an optimizer with one parameter is equivariant.

    >>> from dotopt.compiler.library import Library
    >>> from dotopt.compiler.lower import lower
    >>> list(invariances(lower(Library().file("Lion"))))
    ['permutations of the entries', 'sign flips of the entries']
    """
    if program.kind != "optimizer" or len(program.params) != 1:
        return
    for name, rule in GROUPS.items():
        if _equivariant(program, rule):
            yield name


def _equivariant(program: Program, rule: Callable[[Node, list[Kind]], Kind]) -> bool:
    param = program.params[0]
    states: dict[str, Kind] = {s.name: ZERO for s in program.states}
    for _ in range(len(states) + 2):
        before = dict(states)
        done: dict[Node, Kind] = {}

        def kind(root: Node, done: dict[Node, Kind] = done) -> Kind:
            for here in root.walk():
                if here not in done:
                    done[here] = _kind(here, [done[a] for a in here.args], param.name, states, rule)
            return done[root]

        for s in program.states:
            start = ZERO if s.start.value == 0 or s.start.op == "zeros" else kind(s.start)
            states[s.name] = _join(_join(states[s.name], start), kind(s.next) if s.next is not None else start)
        if states == before:
            return kind(program.next[param.name]) in (MOVES, ZERO)
    return False


def _join(a: Kind, b: Kind) -> Kind:
    return b if a == ZERO else a if b == ZERO or a == b else None


def _kind(
    here: Node, args: list[Kind], param: str, states: dict[str, Kind], rule: Callable[[Node, list[Kind]], Kind]
) -> Kind:
    match here.op:
        case "leaf" if here.role == "param":
            return MOVES if here.name == param else None
        case "leaf" if here.role == "state":
            return states.get(here.name)
        case "leaf":
            return STILL if here.role in ("hyper", "time", "rank", "axis", "option") else None
        case "oracle":
            split = here.attrs[3]
            points = args[split[0] : split[0] + split[1]]
            moved = all(k == MOVES for k in points)
            return {"gradient": MOVES, "value": STILL}.get(here.attrs[1]) if moved else None
        case "const":
            return ZERO if here.value == 0 else STILL
        case "zeros":
            return ZERO
        case "bool" | "pi" | "inf" | "size" | "native" | "ones" | "fires":
            return STILL
    if None in args:
        return None
    if all(k in (STILL, ZERO) for k in args) and here.op in ENTRYWISE:
        return ZERO if here.op in ("mul", "neg", "stop") and ZERO in args else STILL
    if here.op == "select" and args[0] == STILL:
        return _join(args[1], args[2])
    return rule(here, args)


def _whole(here: Node) -> bool:
    """Whether a reduction runs over all entries."""
    return not here.type.axes


def _permutation(here: Node, args: list[Kind]) -> Kind:
    if here.op in ENTRYWISE or here.op == "cast":
        return MOVES
    return STILL if here.op in REDUCTIONS and _whole(here) else None


def _sign(here: Node, args: list[Kind]) -> Kind:
    odd = [k == MOVES for k in args]
    match here.op:
        case op if op in ODD:
            return MOVES
        case op if op in EVEN:
            return STILL
        case "add" | "sub":
            return _join(args[0], args[1])
        case "mul" | "div":
            return STILL if sum(odd) != 1 else MOVES
        case "pow" if args[1] == STILL and here.args[1].value is not None and here.args[1].value.denominator == 1:
            return STILL if here.args[1].value % 2 == 0 else MOVES
        case "norm":
            return STILL
        case op if op in REDUCTIONS:
            return STILL if not any(odd) else None
    return None


def _rotation(here: Node, args: list[Kind]) -> Kind:
    match here.op:
        case "add" | "sub":
            return _join(args[0], args[1])
        case "neg" | "stop" | "cast":
            return args[0]
        case "mul" if args == [MOVES, MOVES]:
            return SQUARE
        case "mul" if sorted(map(str, args)) == [MOVES, STILL]:
            scalar = here.args[args.index(STILL)]
            return MOVES if scalar.type.scalar else None
        case "div" if args == [MOVES, STILL]:
            return MOVES if here.args[1].type.scalar else None
        case "pow" if args == [MOVES, STILL] and here.args[1].value == 2:
            return SQUARE
        case "sum" | "mean" if _whole(here) and args[0] == SQUARE:
            return STILL
        case "norm" if _whole(here) and args[0] == MOVES and here.attrs[2] == 2:
            return STILL
    return None


GROUPS: dict[str, Callable[[Node, list[Kind]], Kind]] = {
    "permutations of the entries": _permutation,
    "sign flips of the entries": _sign,
    "rotations": _rotation,
}

__all__ = ["GROUPS", "invariances"]
