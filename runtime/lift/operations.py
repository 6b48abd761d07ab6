"""One row a function of torch: its expression, and the axes of what it gives.

A row is called with the mode, the function, its name, its arguments. `TABLE` is read by name, without the underscore
of functions in place. `ASKED` are questions that no data answers, which run as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch

from dotopt.compiler.ir import Node, leaf, node, number
from dotopt.compiler.ops.types import INT
from dotopt.runtime.lift.numbers import Refused, Whole, exact, plain, simplified
from dotopt.runtime.lift.tensors import (
    FULL,
    Cell,
    Dims,
    NeedsAxes,
    Tracing,
    _run,
    attach,
    broadcast,
    cell_of,
    full_type,
    place,
)

Row = Callable[[Tracing, Any, str, Any, Any], Any]


# ---- entry by entry --------------------------------------------------------------------------------------------------


def entrywise(count: int, build: Callable[..., Node], names: tuple[str, ...] = (), extra: tuple[str, ...] = ()) -> Row:
    """`count` operands, then `names` by keyword or place, each a number or a tensor; `extra` by keyword."""

    def row(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        given = list(args)
        for key in ("other", "end", "exponent", "tensor1", "tensor2", "mask"):
            if key in kwargs and len(given) < count:
                given.append(kwargs[key])
        values = [mode.value(x) for x in given[: count + len(names)]]
        found: dict[str, Node] = {}
        for key in (*names, *extra):
            if kwargs.get(key) is not None:
                value = mode.value(kwargs[key])
                values.append(value)
                found[key] = value[0]
        for key, (expression, _) in zip(names, values[count:], strict=False):
            found.setdefault(key, expression)
        tensors = [x for x in (*given, *kwargs.values()) if cell_of(x) is not None]
        sizes = {x.numel() for x in tensors if cell_of(x).dims == FULL}  # type: ignore[union-attr]
        if len(sizes) > 1:
            raise NeedsAxes
        several = next((v for v, _ in values if v.op == "tuple"), None)
        if several is not None:  # numbers side by side
            parts = [[v.args[i] if v.op == "tuple" else v for v, _ in values[:count]] for i in range(len(several.args))]
            made = node("tuple", *(simplified(build(*p, **found)) for p in parts))
            return mode.finish(func, name, args, kwargs, made, (None,))
        expression = build(*(v for v, _ in values[:count]), **found)
        return mode.finish(func, name, args, kwargs, expression, broadcast(d for _, d in values))

    return row


def _scaled(factor: Node | None, x: Node) -> Node:
    return x if factor is None or factor.value == 1 else simplified(node("mul", factor, x))


def _lerp(a: Node, b: Node, weight: Node) -> Node:
    """`a + w (b - a)`; with `w = 1 - β` as `β a + (1 - β) b`."""
    weight = simplified(weight)
    if weight.op == "sub" and weight.args[0].value == 1:
        return node("add", node("mul", weight.args[1], a), node("mul", weight, b))
    return node("add", a, node("mul", weight, node("sub", b, a)))


def _times(a: Node, b: Node) -> Node:
    return node("pow", a, number(2)) if a is b else node("mul", a, b)


def _clamp(x: Node, min: Node | None = None, max: Node | None = None) -> Node:
    if min is not None:
        x = node("max", x, min)
    return x if max is None else node("min", x, max)


def _power(a: Node, b: Node) -> Node:
    match b.value:
        case Fraction(numerator=1, denominator=2):
            return node("sqrt", a)
        case Fraction(numerator=-1, denominator=2):
            return node("div", number(1), node("sqrt", a))
    return node("pow", a, b)


def _sum(a: Node, b: Node, alpha: Node | None = None) -> Node:
    return node("add", a, _scaled(alpha, b))


def _difference(a: Node, b: Node, alpha: Node | None = None) -> Node:
    return node("sub", a, _scaled(alpha, b))


def _two(op: str) -> Callable[[Node, Node], Node]:
    return lambda a, b: node(op, a, b)


def _turned(build: Callable[[Node, Node], Node]) -> Callable[[Node, Node], Node]:
    return lambda a, b: build(b, a)


def _one(op: str) -> Row:
    return entrywise(1, lambda a: node(op, a))


def _quotient(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    if kwargs.get("rounding_mode") is not None:
        raise Refused("a division that rounds", place())
    return entrywise(2, _two("div"))(mode, func, name, args, kwargs)


def _where(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    if (
        name == "where"
        and isinstance(func, type(torch.Tensor.where))
        and cell_of(args[1]) is not None
        and (mode.node(args[0]).type.kind != "bool")
    ):
        args = (args[1], args[0], args[2])
        return entrywise(3, lambda c, a, b: node("select", c, a, b))(mode, torch.where, name, args, kwargs)
    return entrywise(3, lambda c, a, b: node("select", c, a, b))(mode, func, name, args, kwargs)


# ---- reductions ------------------------------------------------------------------------------------------------------


def _places(dims: Dims, rank: int, dim: Any) -> list[int]:
    """The axes of the tensor that are reduced."""
    if dim is None or (isinstance(dim, list | tuple) and not dim):
        return list(range(rank))
    chosen = [dim] if isinstance(dim, int) else list(dim)
    return sorted({plain(d) % rank for d in chosen})


def reduced(
    mode: Tracing, op: str, x: torch.Tensor, dim: Any, keepdim: bool, more: tuple[Any, ...] = ()
) -> tuple[Node, Dims]:
    """The reduction of a tensor."""
    expression, dims = mode.value(x)
    if expression.op == "tuple":
        if op in ("std", "mean") or more not in ((), (2,)):
            raise Refused(f"`{op}` of numbers of several tensors", place())
        return _added(op, expression.args), ()
    with torch._C.DisableTorchFunction():
        rank = x.dim()
    places = _places(dims, rank, dim)
    if dims == FULL:
        if len(places) != rank:
            raise NeedsAxes
        return node(op, _spread(expression, dims), attrs=(("…",), False, *more)), ()
    dims = (None,) * (rank - len(dims)) + dims
    axes = tuple(d for i, d in enumerate(dims) if i in places and d is not None)
    kept = tuple(None if i in places else d for i, d in enumerate(dims) if keepdim or i not in places)
    if not axes:
        return expression, kept
    return node(op, _spread(expression, dims), attrs=(axes, False, *more)), kept


def _spread(expression: Node, dims: Dims) -> Node:
    """A value that fills a tensor, as that tensor."""
    whole = full_type(dims)
    if len(expression.type.axes) == len(whole.axes):
        return expression
    return node("mul", expression, node("ones", attrs=(whole,)))


def reduction(op: str) -> Row:
    def row(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        if len(args) > 1 and isinstance(args[1], torch.Tensor):  # `torch.max(a, b)`
            return entrywise(2, _two({"amax": "max", "amin": "min"}[op]))(mode, func, name, args, kwargs)
        dim = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis"))
        keepdim = args[2] if len(args) > 2 else kwargs.get("keepdim", False)
        if name in ("max", "min") and dim is not None:
            raise Refused(f"`{name}` with positions", place())
        expression, dims = reduced(mode, op, args[0] if args else kwargs["input"], dim, keepdim)
        return mode.finish(func, name, args, kwargs, expression, dims)

    return row


def _norm(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    order = args[1] if len(args) > 1 else kwargs.get("p", kwargs.get("ord"))
    dim = args[2] if len(args) > 2 else kwargs.get("dim")
    keepdim = args[3] if len(args) > 3 else kwargs.get("keepdim", False)
    if order in ("fro", None):
        order = 2
    if isinstance(order, str):
        raise Refused(f"the norm `{order}`", place())
    exactly = None if plain(order) == float("inf") else Fraction(repr(plain(order)))
    expression, dims = reduced(mode, "norm", args[0], dim, keepdim, (exactly,))
    return mode.finish(func, name, args, kwargs, expression, dims)


def _dot(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    (a, dims), (b, other) = map(mode.value, args[:2])
    if (dims != FULL or other != FULL) and (len(dims) != 1 or dims != other):
        raise Refused("an inner product along other axes", place())
    axes = full_type(dims).axes
    return mode.finish(func, name, args, kwargs, node("sum", _times(a, b), attrs=(axes, False)), ())


# ---- shapes and matrices ---------------------------------------------------------------------------------------------


def alias(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """The same memory under another name, or in another shape where axes are not told apart."""
    found = _run(func, args, kwargs)
    cell = cell_of(args[0])
    if cell is None or found is args[0]:
        return found
    with torch._C.DisableTorchFunction():
        same = found.shape == args[0].shape
        ones = found.numel() == 1
    if same or cell.dims == FULL or ones:
        return attach(found, cell)
    return attach(found, Cell(cell.node, _reshaped(cell.dims, args[0], found), True))


def _reshaped(dims: Dims, before: torch.Tensor, after: torch.Tensor) -> Dims:
    """The axes after a change of shape that only inserts or removes axes of size 1."""
    with torch._C.DisableTorchFunction():
        old = [(n, d) for n, d in zip(before.shape, (None,) * (before.dim() - len(dims)) + dims, strict=True) if n != 1]
        made: list[str | None] = []
        for n in after.shape:
            if n == 1:
                made.append(None)
            elif old and old[0][0] == n:
                made.append(old.pop(0)[1])
            else:
                raise Refused("a change of shape that mixes axes", place())
    return tuple(made)


def _copied(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    found = _run(func, args, kwargs)
    cell = cell_of(args[0])
    return found if cell is None or found is args[0] else attach(found, Cell(cell.node, cell.dims))


def _cast(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """A conversion of the format, which expressions do not see; a narrower one is noted."""
    cell = cell_of(args[0])
    found = _run(func, args, kwargs)
    with torch._C.DisableTorchFunction():
        narrower = found.dtype in (torch.float32, torch.bfloat16, torch.float16) and args[0].dtype is torch.float64
        if narrower and cell is not None and cell.dims != ():
            mode.notes[f"rounds to {str(found.dtype).removeprefix('torch.')}"] = None
            found = args[0].clone()
    if cell is None or found is args[0]:
        return found
    expression = cell.node
    if expression.type.kind == "bool":
        expression = node("select", expression, number(1), number(0))
    return attach(found, Cell(expression, cell.dims))


def _inserted(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    expression, dims = mode.value(args[0])
    if dims == FULL:
        raise NeedsAxes
    at = args[1] if len(args) > 1 else kwargs["dim"]
    with torch._C.DisableTorchFunction():
        rank = args[0].dim()
    dims = (None,) * (rank - len(dims)) + dims
    at = at % (rank + 1)
    return attach(_run(func, args, kwargs), Cell(expression, (*dims[:at], None, *dims[at:]), True))


def _transposed(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    expression, dims = mode.value(args[0])
    if dims == FULL:
        raise NeedsAxes
    if len(dims) != 2:
        raise Refused("a transpose of other than a matrix", place())
    turned = node("transpose", expression) if None not in dims else expression
    return attach(_run(func, args, kwargs), Cell(simplified(turned), dims[::-1], True))


def _matmul(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    (a, left), (b, right) = map(mode.value, args[:2])
    if FULL in (left, right):
        raise NeedsAxes
    return mode.finish(func, name, args, kwargs, *_product(a, left, b, right))


def _product(a: Node, left: Dims, b: Node, right: Dims) -> tuple[Node, Dims]:
    if len(left) != 2 or len(right) not in (1, 2) or None in left[-1:] or left[-1] != right[0]:
        if len(left) == 2 == len(right) and left[-1] is None and right[0] is None:
            return node("outer", a, b), (left[0], right[1])
        raise Refused("a product of matrices whose axes do not meet", place())
    return node("matmul", a, b), (*left[:-1], *right[1:])


def _addmm(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    base, (a, left), (b, right) = mode.node(args[0]), mode.value(args[1]), mode.value(args[2])
    if FULL in (left, right):
        raise NeedsAxes
    product, dims = _product(a, left, b, right)
    first, second = (exact(kwargs.get(key, 1)) for key in ("beta", "alpha"))
    return mode.finish(func, name, args, kwargs, node("add", _scaled(first, base), _scaled(second, product)), dims)


# ---- what is made, asked, and stored ---------------------------------------------------------------------------------


def filled(value: Callable[[Any, Any], Any], like: bool) -> Row:
    """A tensor with one number everywhere."""

    def row(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        found = _run(func, args, {**kwargs, **({"dtype": torch.float64} if like else {})})
        cell = cell_of(args[0]) if like and args else None
        dims = cell.dims if cell is not None else ()
        with torch._C.DisableTorchFunction():
            whole = found.numel() == 1
        if not whole and dims == ():
            dims = _like_parameter(found)
        return attach(found, Cell(mode.node(value(args, kwargs)), () if whole else dims))

    return row


def _like_parameter(found: torch.Tensor) -> Dims:
    """The axes of a tensor that was made by its shape."""
    with torch._C.DisableTorchFunction():
        dims = SHAPES.get(tuple(found.shape))
    if dims is None:
        raise NeedsAxes
    return dims


SHAPES: dict[tuple[int, ...], Dims] = {}  # of the parameters of this run, and of their rows and columns


def _stored(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """`x.copy_(y)`, `x.fill_(a)`, `x.set_(y)`."""
    expression, dims = mode.value(args[1])
    return mode.finish(func, name, args, kwargs, expression, dims)


def _zeroed(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    return mode.finish(func, name, args, kwargs, number(0), ())


def _tensor(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    found = _run(func, args, kwargs)
    if isinstance(args[0], int | float):
        return attach(found, Cell(exact(args[0]), ()))
    return found


def _entries(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    cell, count = cell_of(args[0]), _run(func, args, kwargs)
    if cell is None or cell.dims == ():
        return count
    axes = full_type(cell.dims).axes
    return Whole(count, node("size", leaf("param", "θ", full_type(cell.dims)), attrs=(axes, False)))


def _shape(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    found = _run(func, args, kwargs)
    cell = cell_of(args[0])
    if cell is None or cell.dims in (FULL, ()):
        return found
    named = (
        [n if d is None else Whole(n, leaf("axis", d, INT)) for n, d in zip(found, cell.dims, strict=True)]
        if (not isinstance(found, int))
        else None
    )
    if named is not None:
        return tuple(named)
    axis = cell.dims[args[1] if len(args) > 1 else kwargs["dim"]]
    return found if axis is None else Whole(found, leaf("axis", axis, INT))


def _assigned(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """`p.data = x`: from now on other memory."""
    _run(func, args, kwargs)
    expression, dims = mode.value(args[1])
    mode.write(args[0], expression, dims)


def _indexed(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    cell = cell_of(args[0])
    if cell is None or cell.dims == ():
        found = _run(func, args, kwargs)
        return found if cell is None else attach(found, cell)
    raise Refused("a part of a tensor by its place", place())


def _stacked(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """Numbers side by side, to be added up."""
    values = [mode.value(x) for x in args[0]]
    if any(full_type(dims).axes for _, dims in values):
        raise Refused(f"tensors put together by `{name}`", place())
    return attach(_run(func, args, kwargs), Cell(node("tuple", *(v for v, _ in values)), (None,)))


def _added(op: str, parts: Any) -> Node:
    """The reduction of numbers side by side."""
    parts = [node("pow", x, number(2)) for x in parts] if op == "norm" else list(parts)
    whole = parts[0]
    for x in parts[1:]:
        whole = node({"amax": "max", "amin": "min"}.get(op, "add"), whole, x)
    return node("sqrt", simplified(whole)) if op == "norm" else whole


def _masked(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    """`x[mask] = y`."""
    target, mask, value = args
    if not isinstance(mask, torch.Tensor) or cell_of(mask) is None or mode.node(mask).type.kind != "bool":
        raise Refused("a part of a tensor is written by its place", place())
    (old, dims), (condition, _), (new, _) = mode.value(target), mode.value(mask), mode.value(value)
    _run(func, args, kwargs)
    mode.write(target, simplified(node("select", condition, new, old)), dims)


def _split(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    raise Refused(f"a tensor taken apart by `{name}`", place())


def _draw(mode: Tracing, func: Any, name: str, args: Any, kwargs: Any) -> Any:
    raise Refused(f"`{name}` draws numbers", place())


COMPARED = {"gt": "gt", "lt": "lt", "ge": "ge", "le": "le", "eq": "eq", "ne": "ne", "greater": "gt", "less": "lt",
            "greater_equal": "ge", "less_equal": "le", "not_equal": "ne"}  # fmt: skip
_ADD, _SUB, _MUL, _DIV = (entrywise(2, b, (), x) for b, x in (
    (_sum, ("alpha",)), (_difference, ("alpha",)), (_times, ()), (_two("div"), ())))  # fmt: skip

TABLE: dict[str, Row] = {
    "add": _ADD, "__add__": _ADD, "__radd__": _ADD, "__iadd__": _ADD,
    "sub": _SUB, "subtract": _SUB, "__sub__": _SUB, "__isub__": _SUB,
    "mul": _MUL, "multiply": _MUL, "__mul__": _MUL, "__rmul__": _MUL, "__imul__": _MUL,
    "div": _quotient, "true_divide": _DIV, "divide": _DIV, "__truediv__": _DIV, "__itruediv__": _DIV, "__div__": _DIV,
    **{name: entrywise(2, _turned(_two("sub"))) for name in ("rsub", "__rsub__")},
    **{name: entrywise(2, _turned(_two("div"))) for name in ("__rtruediv__", "__rdiv__")},
    **{name: entrywise(2, _power) for name in ("pow", "float_power", "__pow__", "__ipow__")},
    "__rpow__": entrywise(2, _turned(_power)),
    **{name: _one(op) for name, op in {
        "neg": "neg", "negative": "neg", "__neg__": "neg", "abs": "abs", "__abs__": "abs", "absolute": "abs",
        "sign": "sign", "sgn": "sign", "sqrt": "sqrt", "exp": "exp", "log": "log", "sin": "sin", "cos": "cos",
        "tan": "tan", "tanh": "tanh", "erf": "erf", "sigmoid": "sigmoid", "softplus": "softplus", "floor": "floor",
        "ceil": "ceil", "relu": "relu", "acos": "acos", "atanh": "atanh", "logical_not": "not", "__invert__": "not",
        "bitwise_not": "not"}.items()},
    "rsqrt": entrywise(1, lambda a: node("div", number(1), node("sqrt", a))),
    "reciprocal": entrywise(1, lambda a: node("div", number(1), a)),
    "square": entrywise(1, lambda a: node("pow", a, number(2))),
    "log1p": entrywise(1, lambda a: node("log", node("add", number(1), a))),
    "expm1": entrywise(1, lambda a: node("sub", node("exp", a), number(1))),
    "lerp": entrywise(2, _lerp, ("weight",)),
    "addcmul": entrywise(3, lambda a, b, c, value=None: node("add", a, _scaled(value, _times(b, c))), (), ("value",)),
    "addcdiv": entrywise(3, lambda a, b, c, value=None: node("add", a, node("div", _scaled(value, b), c)), (),
                         ("value",)),
    **{name: entrywise(1, _clamp, ("min", "max")) for name in ("clamp", "clip")},
    "clamp_min": entrywise(2, _two("max")), "clamp_max": entrywise(2, _two("min")),
    **{name: entrywise(2, _two("max")) for name in ("maximum", "fmax")},
    **{name: entrywise(2, _two("min")) for name in ("minimum", "fmin")},
    **{name: entrywise(2, _two(op)) for name, op in COMPARED.items()},
    **{f"__{name}__": entrywise(2, _two(op)) for name, op in COMPARED.items()},
    **{name: entrywise(2, _two("and")) for name in ("logical_and", "__and__", "bitwise_and")},
    **{name: entrywise(2, _two("or")) for name in ("logical_or", "__or__", "bitwise_or")},
    "where": _where,
    "masked_fill": entrywise(3, lambda x, mask, value: node("select", mask, value, x)),
    "copysign": entrywise(2, lambda a, b: node("select", node("lt", b, number(0)), node("neg", node("abs", a)),
                                               node("abs", a))),
    **{name: reduction(name) for name in ("sum", "mean", "amax", "amin", "std")},
    "max": reduction("amax"), "min": reduction("amin"),
    "norm": _norm, "linalg_norm": _norm, "linalg_vector_norm": _norm, "vector_norm": _norm, "dot": _dot, "vdot": _dot,
    "linalg_vecdot": _dot,
    **dict.fromkeys(("data.get", "detach", "detach_", "view_as", "view", "reshape", "flatten", "squeeze", "alias",
                     "contiguous", "expand_as", "expand", "requires_grad_", "ravel"), alias),
    "unsqueeze": _inserted,
    **dict.fromkeys(("t", "T.get", "mT.get", "transpose", "numpy_T", "adjoint"), _transposed),
    **dict.fromkeys(("matmul", "mm", "__matmul__", "mv"), _matmul),
    "addmm": _addmm,
    "clone": _copied, "__deepcopy__": _copied,
    **dict.fromkeys(("to", "type", "float", "double", "type_as", "bfloat16", "half", "cpu", "cuda", "int", "long",
                     "bool"), _cast),
    "zeros_like": filled(lambda args, kwargs: 0, True), "ones_like": filled(lambda args, kwargs: 1, True),
    "empty_like": filled(lambda args, kwargs: 0, True),
    "full_like": filled(lambda args, kwargs: args[1] if len(args) > 1 else kwargs["fill_value"], True),
    "zeros": filled(lambda args, kwargs: 0, False), "ones": filled(lambda args, kwargs: 1, False),
    "new_zeros": filled(lambda args, kwargs: 0, False), "new_ones": filled(lambda args, kwargs: 1, False),
    "full": filled(lambda args, kwargs: args[1] if len(args) > 1 else kwargs["fill_value"], False),
    "new_full": filled(lambda args, kwargs: args[2] if len(args) > 2 else args[1], False),
    "copy_": _stored, "fill_": _stored, "set_": _stored, "zero_": _zeroed, "data.set": _assigned,
    "stack": _stacked, "conj": alias, "conj_physical": _copied, "resolve_conj": alias, "real.get": alias,
    "tensor": _tensor, "scalar_tensor": _tensor, "as_tensor": _tensor,
    "numel": _entries, "nelement": _entries, "shape.get": _shape, "size": _shape,
    "item": lambda mode, func, name, args, kwargs: mode.number(args[0]),
    "__float__": lambda mode, func, name, args, kwargs: mode.number(args[0]),
    "__int__": lambda mode, func, name, args, kwargs: mode.number(args[0]),
    "__bool__": lambda mode, func, name, args, kwargs: mode.truth(args[0]),
    "__getitem__": _indexed, "__setitem__": _masked,
    **dict.fromkeys(("chunk", "split", "unbind", "narrow", "index_select"), _split),
    **dict.fromkeys(("randn", "randn_like", "rand", "rand_like", "randint", "randint_like", "bernoulli",
                     "bernoulli_", "normal_", "uniform_", "normal", "randperm", "multinomial"), _draw),
}  # fmt: skip

ASKED = frozenset((
    "grad.get", "is_sparse.get", "is_complex", "is_floating_point", "dtype.get", "device.get", "layout.get", "dim",
    "ndim.get", "ndimension", "requires_grad.get", "requires_grad.set", "is_leaf.get", "is_cuda.get", "is_cpu.get",
    "is_mps.get", "is_xpu.get", "stride", "data_ptr", "element_size", "is_contiguous", "is_same_size", "names.get",
    "__len__", "__hash__", "grad_fn.get", "grad.set", "grad.delete", "retain_grad", "retains_grad.get", "_is_view",
    "is_meta.get", "is_quantized.get", "_version.get", "get_device", "is_inference", "__dir__", "__repr__",
    "_backward_hooks.get", "is_tensor", "is_pinned", "itemsize.get", "storage_offset", "is_signed",
    "is_sparse_csr.get", "output_nr.get", "_base.get", "is_xla.get", "_foreach_utils", "is_nested.get",
    "result_type", "promote_types",
))  # fmt: skip
