"""The type of the result of an operation, from its arguments and attributes: the rules that rows name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dotopt.compiler.ops import types as ty
from dotopt.compiler.ops.types import ANY, INT, REAL, Mismatch, Type

if TYPE_CHECKING:
    from dotopt.compiler.ir.nodes import Fold, Node

TypeRule = Callable[["tuple[Node, ...]", Any], Type]


def constant(type: Type) -> TypeRule:
    """Always the same type."""
    return lambda args, attrs: type


def number(args: tuple[Node, ...], attrs: Any) -> Type:
    """Of an exact number."""
    return INT if attrs.value.denominator == 1 else REAL


def entrywise(args: tuple[Node, ...], attrs: Any) -> Type:
    """The arguments broadcast by axis name; whole numbers stay whole."""
    type = args[0].type
    for arg in args[1:]:
        type = ty.broadcast(type, arg.type)
    return Type("int", type.axes) if type.kind == "bool" else type


def real(args: tuple[Node, ...], attrs: Any) -> Type:
    """As `entrywise`, and real."""
    type = entrywise(args, attrs)
    return Type("real", type.axes) if type.kind == "int" else type


def truth(args: tuple[Node, ...], attrs: Any) -> Type:
    """A truth value for each entry of the arguments, broadcast."""
    type = args[0].type
    for arg in args[1:]:
        type = ty.broadcast(type, arg.type)
    return Type("bool", type.axes)


def chosen(args: tuple[Node, ...], attrs: Any) -> Type:
    """One of the last two arguments, for each entry of the first."""
    branches = ty.broadcast(args[1].type, args[2].type)
    return branches if branches.any else ty.broadcast(Type(branches.kind, args[0].type.axes), branches)


def of_kind(kind: str) -> TypeRule:
    """The axes of the first argument, and this kind."""
    return lambda args, attrs: Type(kind, args[0].type.axes)


def same(args: tuple[Node, ...], attrs: Any) -> Type:
    """The type of the first argument."""
    return args[0].type


def last(args: tuple[Node, ...], attrs: Any) -> Type:
    """The type of the last argument."""
    return args[-1].type


def given(args: tuple[Node, ...], attrs: Any) -> Type:
    """The type that the attributes state."""
    stated: Type = attrs.type
    return stated


def reduced(args: tuple[Node, ...], attrs: Any) -> Type:
    """What is left of the axes."""
    return ty.reduce(args[0].type, attrs.axes)


def real_reduced(args: tuple[Node, ...], attrs: Any) -> Type:
    """As `reduced`, and real."""
    return Type("real", ty.reduce(args[0].type, attrs.axes).axes)


# ---- matrices --------------------------------------------------------------------------------------------------------


def product(args: tuple[Node, ...], attrs: Any) -> Type:
    """Of a product of matrices."""
    return ty.matmul(args[0].type, args[1].type)


def transposed(args: tuple[Node, ...], attrs: Any) -> Type:
    """Of a transpose."""
    return ty.transpose(args[0].type)


def outer(args: tuple[Node, ...], attrs: Any) -> Type:
    """Of an outer product."""
    return ty.outer(args[0].type, args[1].type)


def square(args: tuple[Node, ...], attrs: Any) -> Type:
    """A square matrix."""
    type = args[0].type
    if not type.any and (len(type.axes) < 2 or type.axes[-1] != type.axes[-2]):
        raise Mismatch(str(type), "a square matrix")
    return type


def on_axis(args: tuple[Node, ...], attrs: Any) -> Type:
    """A square matrix along one axis."""
    return Type("real", (attrs.axis, attrs.axis))


def diagonal(args: tuple[Node, ...], attrs: Any) -> Type:
    """The diagonal of a square matrix."""
    type = square(args, attrs)
    return Type(type.kind, type.axes[:-1])


def solution(args: tuple[Node, ...], attrs: Any) -> Type:
    """Of the solution of a linear system."""
    matrix, right = args[0].type, args[1].type
    ty.matmul(ty.transpose(matrix), right)
    return right if matrix.axes[-1:] == matrix.axes[-2:-1] else ty.matmul(ty.transpose(matrix), right)


def vector_of(args: tuple[Node, ...], attrs: Any) -> Type:
    """A vector with the first axis of a matrix."""
    type = args[0].type
    return Type(type.kind, type.axes[:-1])


def real_vector_of(args: tuple[Node, ...], attrs: Any) -> Type:
    """As `vector_of`, and real."""
    return Type("real", args[0].type.axes[:-1])


def scalar_of(args: tuple[Node, ...], attrs: Any) -> Type:
    """One number for each matrix."""
    axes = args[0].type.axes
    return Type("real", axes[:-2] if axes[:1] == (ty.REST,) else ())


def scalar_kind(args: tuple[Node, ...], attrs: Any) -> Type:
    """A number of the kind of the entries."""
    return Type(args[0].type.kind)


# ---- tuples, loops, sets ---------------------------------------------------------------------------------------------


def together(args: tuple[Node, ...], attrs: Any) -> Type:
    """The types of all arguments."""
    return Type("tuple", (), tuple(arg.type for arg in args))


def variables(args: tuple[Node, ...], attrs: Any) -> Type:
    """The types of the variables of a loop."""
    return Type("tuple", (), tuple(variable.type for variable in attrs.body.variables))


def member(args: tuple[Node, ...], attrs: Any) -> Type:
    """One part of a tuple."""
    return args[0].type.items[attrs.position] if args[0].type.kind == "tuple" else ANY


def element(args: tuple[Node, ...], attrs: Any) -> Type:
    """The entry of a vector, or the member of a family, at an index."""
    whole, index = args[0].type, args[1].type
    return whole.items[0] if whole.kind == "tuple" else Type("real", index.axes)


def along(args: tuple[Node, ...], attrs: Any) -> Type:
    """Whole numbers along one axis."""
    return Type("int", (attrs.axis,))


def folded(args: tuple[Node, ...], attrs: Any) -> Type:
    """Of a reduction over an index."""
    body: Fold = attrs.body
    match body.kind:
        case "argmax":
            return INT
        case "list":
            return Type("list")
        case "sum" | "mean" if body.body.type.kind == "bool":
            return Type("int", body.body.type.axes)
        case _:
            return body.body.type
