"""Groups of changes of coordinates: how the kinds of values go through operations under each.

permutations of the entries     entrywise operations, reductions over all entries
sign flips of the entries       odd and even functions
rotations                       sums, multiples, inner products and Euclidean norms
orthogonal matrices U, V        words of matrices: a value is a M bᵀ, with a and b among U, V and 1
permutations of rows, columns   whatever treats the lines of an axis alike
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from dotopt.compiler.ir import ENTRYWISE, REDUCTIONS, Node
from dotopt.compiler.ops import OPERATIONS

Kind = Any  # STILL, ZERO, a kind of the group, a list of these for the variables of a loop, or None
UNKNOWN, STILL, ZERO, MOVES, SQUARE = "unknown", "still", "zero", "moves", "square"

PRODUCTS = frozenset(("outer", "matmul", "transpose", "inverse", "matrix_power", "trace", "diagonal", "polar", "cast"))


def join(a: Kind, b: Kind) -> Kind:
    """The kind of what is one value or the other."""
    for x, y in ((a, b), (b, a)):
        if x == UNKNOWN or (x == ZERO and y != UNKNOWN):
            return y
    return a if a == b else None


@dataclass(frozen=True)
class Half:
    """Half of an odd or even value, of this step: max(x, -c) of a clipped one, exp(z) of a cosine."""

    op: str
    of: Node


@dataclass(frozen=True)
class Group:
    """How values go through operations; `moves` is the kind of the parameter.

    `any_still` says that whatever is made of values that stay, entry by entry or not, stays as well; `answers` are the
    kinds of gradients and values of the objective, if they are not `moves` and `STILL`.
    """

    name: str
    rule: Callable[[Node, list[Kind]], Kind]
    moves: Kind = MOVES
    join: Callable[[Kind, Kind], Kind] = join
    any_still: bool = True
    answers: tuple[Kind, Kind] | None = None


def groups() -> tuple[Group, ...]:
    """The groups that act on the entries of a parameter of any shape."""
    return (
        Group("permutations of the entries", _permutation, join=_constants, any_still=False),
        Group("sign flips of the entries", _sign),
        Group("rotations", _rotation),
    )


def lines() -> Group:
    """Permutations of the rows and of the columns of a matrix."""
    return Group("permutations of rows and of columns", _line, join=_constants, any_still=False)


def both_sides(rows: str, cols: str) -> Group:
    """G -> U G V with orthogonal U and V; the kind (a, b) is that of a M bᵀ, each the name of an axis or None."""
    return Group(
        "orthogonal matrices on both sides, G -> U G V", partial(_word, frozenset((rows, cols))), (rows, cols), _words
    )


# ---- permutations ----------------------------------------------------------------------------------------------------


def _constants(a: Kind, b: Kind) -> Kind:
    """As `join`; what stays is the same in all entries here, so it may be said to move."""
    return MOVES if {a, b} == {STILL, MOVES} else join(a, b)


def _permutation(here: Node, args: list[Kind]) -> Kind:
    if here.op in ENTRYWISE or here.op == "cast":
        return MOVES
    return STILL if here.op in REDUCTIONS and not here.type.axes else None


def _line(here: Node, args: list[Kind]) -> Kind:
    return MOVES if here.op in ENTRYWISE or here.op in (*REDUCTIONS, *PRODUCTS) or here.op == "eye" else None


# ---- signs -----------------------------------------------------------------------------------------------------------


def _sign(here: Node, args: list[Kind]) -> Kind:
    odd = [k == MOVES for k in args]
    match here.op:
        case op if args == [MOVES] and (parity := OPERATIONS[op].parity):
            return MOVES if parity == "odd" else STILL
        case "add" | "sub" if set(args) <= {MOVES, STILL, ZERO}:
            return join(args[0], args[1])
        case "mul" | "div" if set(args) <= {MOVES, STILL}:
            return STILL if sum(odd) != 1 else MOVES
        case "pow" if args[1] == STILL and here.args[1].value is not None and here.args[1].value.denominator == 1:
            return STILL if here.args[1].value % 2 == 0 else MOVES
        case "max" if args == [MOVES, STILL]:
            return Half("max", here.args[1])
        case "min" if args[1] == STILL and _opposite(args[0], "max", here.args[1]):
            return MOVES
        case "exp" if args == [MOVES]:
            return Half("exp", here.args[0])
        case "add" | "sub" if isinstance(args[1], Half) and _opposite(args[0], "exp", args[1].of):
            return STILL if here.op == "add" else MOVES
        case "norm" if args == [MOVES]:
            return STILL
    return None


def _opposite(kind: Kind, op: str, other: Node) -> bool:
    """Whether it is half of something with the opposite of `other`."""
    if not isinstance(kind, Half) or kind.op != op:
        return False
    for x, y in ((kind.of, other), (other, kind.of)):
        if (x.op == "neg" and x.args[0] is y) or (x.value is not None and y.value is not None and x.value == -y.value):
            return True
    return False


# ---- rotations -------------------------------------------------------------------------------------------------------


def _rotation(here: Node, args: list[Kind]) -> Kind:
    match here.op:
        case "add" | "sub":
            return join(args[0], args[1])
        case "neg" | "stop" | "cast":
            return args[0]
        case "mul" if args == [MOVES, MOVES]:
            return SQUARE
        case "mul" | "div" if (multiple := _multiple(here, args)) is not None:
            return multiple
        case "pow" if args == [MOVES, STILL] and here.args[1].value == 2:
            return SQUARE
        case "sum" | "mean" if not here.type.axes and args[0] == SQUARE:
            return STILL
        case "norm" if not here.type.axes and args[0] == MOVES and here.attrs.order == 2:
            return STILL
    return None


def _multiple(here: Node, args: list[Kind]) -> Kind:
    """The kind of a value times a number, or by a number."""
    (x, y), (a, b) = args, here.args
    if y == STILL and b.type.scalar:
        return x
    return y if here.op == "mul" and x == STILL and a.type.scalar else None


# ---- words of matrices -----------------------------------------------------------------------------------------------

EYE, ROOT = "identity", "norms of lines"


def _words(a: Kind, b: Kind) -> Kind:
    for x, y in ((a, b), (b, a)):
        if x == EYE and isinstance(y, tuple) and y[0] == y[1]:
            return y
    return join(a, b)


def _word(axes: frozenset[str], here: Node, args: list[Kind]) -> Kind:
    total = STILL if not axes & set(here.type.axes) else None  # of a reduction: over all entries of a matrix
    match here.op, args:
        case "eye", _:
            return EYE
        case (("add" | "sub"), [x, y]):
            return _words(x, y) if x != ROOT else None
        case (("neg" | "stop" | "cast"), [x]):
            return x
        case (("mul" | "div"), [_, _]) if (multiple := _multiple(here, args)) is not None:
            return multiple
        case "mul", [(a, b), (c, d)] if (a, b) == (c, d):
            return SQUARE
        case "pow", [x, _] if (x == ROOT or isinstance(x, tuple)) and here.args[1].value == 2:
            return SQUARE
        case (("sum" | "mean"), [x]) if x == SQUARE:
            return total or SQUARE
        case "norm", [x] if (x == ROOT or isinstance(x, tuple)) and here.attrs.order == 2:
            return total or ROOT
        case "matmul", [x, y]:
            if EYE in args:
                return y if x == EYE else x
            (a, b), (c, d) = _sides(x), _sides(y)
            return _sided(a, d) if b == c != "?" else None
        case (("transpose" | "inverse" | "matrix_power"), [x, *_]) if x == EYE:
            return EYE
        case (("transpose" | "inverse"), [(a, b)]):
            return (b, a)
        case "matrix_power", [(a, b), *_] if a == b:
            return (a, b)
        case "trace", [(a, b)] if a == b:
            return STILL
        case "eigenvectors", [(a, b)] if a == b:
            return (a, None)
        case (("qr" | "columns"), [(a, None), *rest]) if all(k == STILL for k in rest):
            return (a, None)
        case "polar", [(a, b)]:
            return (a, b)
        case (("spectral_norm" | "svdvals"), [(_, _)]):
            return STILL
    return None


def _sides(kind: Kind) -> tuple[Kind, Kind]:
    """What stands on the left and on the right of a value; what stays has nothing there."""
    return (None, None) if kind == STILL else kind if isinstance(kind, tuple) else ("?", "?")


def _sided(a: Kind, b: Kind) -> Kind:
    return STILL if a is None and b is None else (a, b)


__all__ = ["STILL", "UNKNOWN", "ZERO", "Group", "Half", "Kind", "both_sides", "groups", "join", "lines"]
