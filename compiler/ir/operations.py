"""The operations: how many arguments each takes, its attributes by name, and the type of its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dotopt.compiler.ops import types as ty
from dotopt.compiler.ops.types import ANY, BOOL, INT, REAL, Mismatch, Type

if TYPE_CHECKING:
    from dotopt.compiler.ir.nodes import Fold, Node

Rule = Callable[["tuple[Node, ...]", tuple[Any, ...]], Type]


def _entrywise(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = args[0].type
    for arg in args[1:]:
        type = ty.broadcast(type, arg.type)
    return Type("int", type.axes) if type.kind == "bool" else type


def _real(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = _entrywise(args, attrs)
    return Type("real", type.axes) if type.kind == "int" else type


def _truth(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = args[0].type
    for arg in args[1:]:
        type = ty.broadcast(type, arg.type)
    return Type("bool", type.axes)


def _select(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    branches = ty.broadcast(args[1].type, args[2].type)
    whole = ty.broadcast(Type(branches.kind, args[0].type.axes), branches) if not branches.any else branches
    return whole


def _reduced(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return ty.reduce(args[0].type, attrs[0])


def _real_reduced(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return Type("real", ty.reduce(args[0].type, attrs[0]).axes)


def _same(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return args[0].type


def _given(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    given: Type = attrs[-1]
    return given


def _constant(type: Type) -> Rule:
    return lambda args, attrs: type


def _square(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = args[0].type
    if not type.any and (len(type.axes) < 2 or type.axes[-1] != type.axes[-2]):
        raise Mismatch(str(type), "a square matrix")
    return type


def _diagonal(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = _square(args, attrs)
    return Type(type.kind, type.axes[:-1])


def _solve(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    matrix, right = args[0].type, args[1].type
    ty.matmul(ty.transpose(matrix), right)
    return right if matrix.axes[-1:] == matrix.axes[-2:-1] else ty.matmul(ty.transpose(matrix), right)


def _vector_of(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    type = args[0].type
    return Type(type.kind, type.axes[:-1])


def _scalar_of(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    axes = args[0].type.axes
    return Type("real", axes[:-2] if axes[:1] == (ty.REST,) else ())


def _loop(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return Type("tuple", (), tuple(variable.type for variable in attrs[0].variables))


def _item(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return args[0].type.items[attrs[0]] if args[0].type.kind == "tuple" else ANY


def _element(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    whole, index = args[0].type, args[1].type
    return whole.items[0] if whole.kind == "tuple" else Type("real", index.axes)


def _tuple(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    return Type("tuple", (), tuple(arg.type for arg in args))


def _fold(args: tuple[Node, ...], attrs: tuple[Any, ...]) -> Type:
    body: Fold = attrs[0]
    match body.kind:
        case "argmax":
            return INT
        case "list":
            return Type("list")
        case "sum" | "mean":
            return Type("int", body.body.type.axes) if body.body.type.kind == "bool" else body.body.type
        case _:
            return body.body.type


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: the number of arguments (None: any), its attributes by name, and the rule for its type."""

    arity: int | None
    attrs: tuple[str, ...]
    type: Rule


UNARY_REAL = ("sqrt", "exp", "log", "sin", "cos", "tan", "tanh", "acos", "atanh", "erf", "sigmoid", "gelu")
UNARY_SAME = ("neg", "abs", "sign", "relu", "floor", "ceil")
BINARY = ("add", "sub", "mul", "min", "max")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
REDUCTIONS = ("sum", "mean", "amax", "amin", "norm", "std")
# what computes each entry from entries at the same place
ENTRYWISE = frozenset(
    (*UNARY_REAL, *UNARY_SAME, *BINARY, *COMPARISONS, "div", "pow", "mod", "and", "or", "not", "select", "stop")
)

OPS: dict[str, Op] = {
    "leaf": Op(None, ("role", "name", "type"), _given),
    "const": Op(0, ("value",), lambda args, attrs: INT if attrs[0].denominator == 1 else REAL),
    "bool": Op(0, ("value",), _constant(BOOL)),
    "inf": Op(0, (), _constant(REAL)),
    "pi": Op(0, (), _constant(REAL)),
    **{name: Op(1, (), _real) for name in UNARY_REAL},
    **{name: Op(1, (), _entrywise) for name in UNARY_SAME},
    **{name: Op(2, (), _entrywise) for name in BINARY},
    **{name: Op(2, (), _truth) for name in (*COMPARISONS, "and", "or")},
    "not": Op(1, (), _truth),
    "div": Op(2, (), _real),
    "pow": Op(2, (), _real),
    "mod": Op(2, (), _entrywise),
    "select": Op(3, (), _select),
    "cis": Op(1, (), lambda args, attrs: Type("complex", args[0].type.axes)),
    "re": Op(1, (), lambda args, attrs: Type("real", args[0].type.axes)),
    "im": Op(1, (), lambda args, attrs: Type("real", args[0].type.axes)),
    "conj": Op(1, (), _same),
    "stop": Op(1, (), _same),
    "cast": Op(1, ("dtype",), _same),
    # `axes` are summed away; `model`: over all tensors of the optimizer; `order` of a norm: a number or None for ∞
    "sum": Op(1, ("axes", "model"), _reduced),
    "mean": Op(1, ("axes", "model"), _real_reduced),
    "amax": Op(1, ("axes", "model"), _reduced),
    "amin": Op(1, ("axes", "model"), _reduced),
    "std": Op(1, ("axes", "model"), _real_reduced),
    "norm": Op(1, ("axes", "model", "order"), _real_reduced),
    "size": Op(1, ("axes", "model"), _constant(INT)),
    "native": Op(1, ("axis",), _constant(INT)),
    "argmax": Op(1, (), _constant(INT)),
    "argsort": Op(1, (), lambda args, attrs: Type("int", args[0].type.axes)),
    "rank_of": Op(1, (), lambda args, attrs: Type("int", args[0].type.axes)),
    "keep_largest": Op(2, (), _same),
    "cumsum": Op(1, (), _same),
    "matmul": Op(2, (), lambda args, attrs: ty.matmul(args[0].type, args[1].type)),
    "transpose": Op(1, (), lambda args, attrs: ty.transpose(args[0].type)),
    "outer": Op(2, (), lambda args, attrs: ty.outer(args[0].type, args[1].type)),
    "eye": Op(0, ("axis",), lambda args, attrs: Type("real", (attrs[0], attrs[0]))),
    "zeros": Op(None, ("type",), _given),
    "ones": Op(None, ("type",), _given),
    "trace": Op(1, (), lambda args, attrs: Type(args[0].type.kind)),
    "diagonal": Op(1, (), _diagonal),
    "tril": Op(1, (), _same),
    "inverse": Op(1, (), _square),
    "solve": Op(2, (), _solve),
    "qr": Op(1, (), _same),
    "eigenvectors": Op(1, (), _square),
    "top_eigenvector": Op(1, (), _vector_of),
    "svdvals": Op(1, (), lambda args, attrs: Type("real", args[0].type.axes[:-1])),
    "polar": Op(1, (), _same),
    "matrix_power": Op(2, (), _square),
    "spectral_norm": Op(1, (), _scalar_of),
    "spectral_radius": Op(1, (), _scalar_of),
    "positive_definite": Op(1, (), _constant(BOOL)),
    "columns": Op(2, (), _same),
    "unit": Op(1, (), _same),
    "indicator": Op(1, ("type",), _given),
    "tuple": Op(None, (), _tuple),
    "set": Op(None, (), _constant(Type("set"))),
    "range": Op(2, (), _constant(Type("set"))),
    "contains": Op(2, (), _constant(BOOL)),  # (set or list, element)
    "item": Op(None, ("position",), _item),  # of a loop or tuple; further arguments are indices of a family
    "element": Op(2, (), _element),
    "arange": Op(0, ("axis", "start"), lambda args, attrs: Type("int", (attrs[0],))),  # along an axis
    "loop": Op(None, ("body",), _loop),
    "fold": Op(None, ("body",), _fold),
    "window": Op(2, ("kind",), _same),  # kind of e over the last C steps
    "fires": Op(2, (), _constant(BOOL)),  # (period, start): whether `every` fires at this t
    # `split` = (number of indices, number of points): arguments are indices, then points, then samples
    "oracle": Op(None, ("name", "what", "argument", "split", "type"), _given),
    "apply": Op(None, ("name", "order", "argument", "split", "type"), _given),  # a user function; order 1: its gradient
    "conjugate": Op(None, ("name", "order", "type"), _given),  # K^*, or its gradient
    "attention": Op(3, (), lambda args, attrs: args[2].type),
    "jvp": Op(None, ("type",), _given),
    "argmin": Op(None, ("function", "method", "options", "type"), _given),  # arguments: values of the options
    "root": Op(None, ("function", "method", "options", "type"), _given),
    "cg": Op(None, ("function", "options", "type"), _given),  # first argument: the right side
    "host": Op(None, ("name", "type"), _given),  # lists: append suffix occurs top
    "base": Op(None, ("names", "type"), _given),  # where the base rule goes: (parameter, [gradient], *overrides)
    "base_member": Op(0, ("name", "type"), _given),
    "claim": Op(None, ("name", "type"), _given),  # words that only claims know: ddt, expect, run, O, jacobian, …
}
