"""The words that emitted steps are written in: functions of lists of tensors, one entry a parameter.

Each takes its kernel from `torch._foreach_*` if this torch has it, and loops over the list otherwise. A trailing
underscore means in place: the first list is overwritten and returned. Where a list is expected beside another one, its
tensors may be smaller (a norm, a mean over rows) as long as they broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime.scalars import Scalar

Tensors = list[Tensor] | tuple[Tensor, ...]
Function = Callable[..., Any]
Kernel = Callable[..., list[Tensor]]


def kernel(name: str, single: Function) -> Kernel:
    """`torch._foreach_<name>`, or a loop of `single` over the entries where torch has no such function.

    >>> kernel("no_such_kernel", torch.add)([torch.ones(1)], [torch.ones(1)])
    [tensor([2.])]
    """
    native: Kernel | None = getattr(torch, f"_foreach_{name}", None)
    return native if native is not None else looped(single)


def looped(single: Function) -> Kernel:
    """`single` applied to each place of its lists; other arguments are the same for all."""

    def loop(first: Tensors, *rest: Any, **keywords: Any) -> list[Tensor]:
        columns = [entry if isinstance(entry, list | tuple) else [entry] * len(first) for entry in rest]
        return [single(*row, **keywords) for row in zip(first, *columns, strict=True)]

    return loop


def entrywise(name: str, single: Function | None = None) -> tuple[Kernel, Callable[[Tensors], Tensors]]:
    """The pair (new lists, in place) of a function of one argument."""
    function = single or getattr(torch, name)
    new = kernel(name, function)
    inplace = kernel(f"{name}_", lambda tensor: tensor.copy_(function(tensor)))

    def overwrite(x: Tensors) -> Tensors:
        inplace(x)
        return x

    return new, overwrite


abs, abs_ = entrywise("abs")
neg, neg_ = entrywise("neg")
sign, sign_ = entrywise("sign")
sqrt, sqrt_ = entrywise("sqrt")
exp, exp_ = entrywise("exp")
log, log_ = entrywise("log")
sin, sin_ = entrywise("sin")
cos, cos_ = entrywise("cos")
tan, tan_ = entrywise("tan")
tanh, tanh_ = entrywise("tanh")
acos, acos_ = entrywise("acos")
atanh, atanh_ = entrywise("atanh")
erf, erf_ = entrywise("erf")
sigmoid, sigmoid_ = entrywise("sigmoid")
floor, floor_ = entrywise("floor")
ceil, ceil_ = entrywise("ceil")
reciprocal, reciprocal_ = entrywise("reciprocal")
relu, relu_ = entrywise("relu")
gelu, gelu_ = entrywise("gelu", torch.nn.functional.gelu)

_add, _add_ = kernel("add", torch.add), kernel("add_", Tensor.add_)
_sub, _sub_ = kernel("sub", torch.sub), kernel("sub_", Tensor.sub_)
_mul, _mul_ = kernel("mul", torch.mul), kernel("mul_", Tensor.mul_)
_div, _div_ = kernel("div", torch.div), kernel("div_", Tensor.div_)
_pow, _pow_ = kernel("pow", torch.pow), kernel("pow_", Tensor.pow_)
_lerp, _lerp_ = kernel("lerp", torch.lerp), kernel("lerp_", Tensor.lerp_)
_addcmul = kernel("addcmul", lambda x, y, z, value: torch.addcmul(x, y, z, value=value))
_addcmul_ = kernel("addcmul_", lambda x, y, z, value: x.addcmul_(y, z, value=value))
_addcdiv = kernel("addcdiv", lambda x, y, z, value: torch.addcdiv(x, y, z, value=value))
_addcdiv_ = kernel("addcdiv_", lambda x, y, z, value: x.addcdiv_(y, z, value=value))
_clamp_min, _clamp_min_ = kernel("clamp_min", torch.clamp_min), kernel("clamp_min_", Tensor.clamp_min_)
_clamp_max, _clamp_max_ = kernel("clamp_max", torch.clamp_max), kernel("clamp_max_", Tensor.clamp_max_)
_maximum, _maximum_ = kernel("maximum", torch.maximum), kernel("maximum_", lambda x, y: x.copy_(torch.maximum(x, y)))
_minimum, _minimum_ = kernel("minimum", torch.minimum), kernel("minimum_", lambda x, y: x.copy_(torch.minimum(x, y)))
_norm = kernel("norm", torch.linalg.vector_norm)
_copy_ = kernel("copy_", Tensor.copy_)


# ---- sums and products -----------------------------------------------------------------------------------------------


def add(x: Tensors, y: Tensors | Scalar, alpha: Scalar = 1.0) -> Tensors:
    """`x + alpha*y`; an alpha that is a truth counts as 1 or 0, which torch refuses."""
    if isinstance(y, list | tuple):
        return _add(x, _mul(y, alpha)) if isinstance(alpha, Tensor) else _add(x, y, alpha=+alpha)
    return _add(x, y * alpha)


def add_(x: Tensors, y: Tensors | Scalar, alpha: Scalar = 1.0) -> Tensors:
    """`x + alpha*y`, into x."""
    if not isinstance(y, list | tuple):
        _add_(x, y * alpha)
    elif isinstance(alpha, Tensor):
        _add_(x, _mul(y, alpha))
    else:
        _add_(x, y, alpha=+alpha)
    return x


def sub(x: Tensors | Scalar, y: Tensors | Scalar) -> Tensors:
    """`x - y`; one of the two may be a scalar."""
    if not isinstance(x, list | tuple):
        return _add(_mul(y, -1.0), x)
    return _sub(x, y) if isinstance(y, list | tuple) else _add(x, -y)


def sub_(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """`x - y`, into x."""
    if isinstance(y, list | tuple):
        _sub_(x, y)
    else:
        _add_(x, -y)
    return x


def mul(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """`x*y`."""
    return _mul(x, y)


def mul_(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """`x*y`, into x."""
    if not (isinstance(y, float | int) and y == 1):  # a decay that is off
        _mul_(x, y)
    return x


def div(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """`x/y`."""
    return _div(x, y)


def div_(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """`x/y`, into x."""
    _div_(x, y)
    return x


def power(x: Tensors | Scalar, y: Tensors | Scalar) -> Tensors:
    """`x^y` entrywise; one of the two may be a scalar."""
    if isinstance(x, list | tuple):
        return [torch.pow(a, y) for a in x] if isinstance(y, Tensor) else _pow(x, y)
    assert isinstance(y, list | tuple)
    return [torch.pow(x, b) for b in y]


def square(x: Tensors) -> Tensors:
    """`x²`."""
    return _mul(x, x)


def square_(x: Tensors) -> Tensors:
    """`x²`, into x."""
    _mul_(x, x)
    return x


def lerp(x: Tensors, y: Tensors, weight: Scalar) -> Tensors:
    """`(1 - weight)*x + weight*y`."""
    return _add(x, _mul(_sub(y, x), weight)) if isinstance(weight, Tensor) else _lerp(x, y, weight)


def lerp_(x: Tensors, y: Tensors, weight: Scalar) -> Tensors:
    """`(1 - weight)*x + weight*y`, into x."""
    if isinstance(weight, Tensor):
        _add_(x, _mul(_sub(y, x), weight))
    else:
        _lerp_(x, y, weight)
    return x


def addcmul(x: Tensors, y: Tensors, z: Tensors, value: Scalar = 1.0) -> Tensors:
    """`x + value*y*z`."""
    return _add(x, _mul(_mul(y, z), value)) if isinstance(value, Tensor) else _addcmul(x, y, z, value)


def addcmul_(x: Tensors, y: Tensors, z: Tensors, value: Scalar = 1.0) -> Tensors:
    """`x + value*y*z`, into x."""
    if isinstance(value, Tensor):
        _add_(x, _mul(_mul(y, z), value))
    else:
        _addcmul_(x, y, z, value)
    return x


def addcdiv(x: Tensors, y: Tensors, z: Tensors, value: Scalar = 1.0) -> Tensors:
    """`x + value*y/z`."""
    return _add(x, _mul(_div(y, z), value)) if isinstance(value, Tensor) else _addcdiv(x, y, z, value)


def addcdiv_(x: Tensors, y: Tensors, z: Tensors, value: Scalar = 1.0) -> Tensors:
    """`x + value*y/z`, into x."""
    if isinstance(value, Tensor):
        _add_(x, _mul(_div(y, z), value))
    else:
        _addcdiv_(x, y, z, value)
    return x


# ---- choices ---------------------------------------------------------------------------------------------------------


def maximum(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """The larger of `x` and `y`, entrywise."""
    if isinstance(y, list | tuple):
        return [torch.maximum(a, b) for a, b in zip(x, y, strict=True)] if _ragged(x, y) else _maximum(x, y)
    return [torch.clamp(a, min=y.to(a.dtype)) for a in x] if isinstance(y, Tensor) else _clamp_min(x, y)


def maximum_(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """The larger of `x` and `y`, into x."""
    if isinstance(y, Tensor) or (isinstance(y, list | tuple) and _ragged(x, y)):
        _copy_(x, maximum(x, y))
    elif isinstance(y, list | tuple):
        _maximum_(x, y)
    else:
        _clamp_min_(x, y)
    return x


def minimum(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """The smaller of `x` and `y`, entrywise."""
    if isinstance(y, list | tuple):
        return [torch.minimum(a, b) for a, b in zip(x, y, strict=True)] if _ragged(x, y) else _minimum(x, y)
    return [torch.clamp(a, max=y.to(a.dtype)) for a in x] if isinstance(y, Tensor) else _clamp_max(x, y)


def minimum_(x: Tensors, y: Tensors | Scalar) -> Tensors:
    """The smaller of `x` and `y`, into x."""
    if isinstance(y, Tensor) or (isinstance(y, list | tuple) and _ragged(x, y)):
        _copy_(x, minimum(x, y))
    elif isinstance(y, list | tuple):
        _minimum_(x, y)
    else:
        _clamp_max_(x, y)
    return x


def choose(condition: Tensors, x: Tensors | Scalar, y: Tensors | Scalar, like: Tensors) -> list[Tensor]:
    """`x` where the condition holds, `y` elsewhere; scalars get the dtype of `like`."""
    xs, ys = _columns(x, like), _columns(y, like)
    return [torch.where(c, a, b) for c, a, b in zip(condition, xs, ys, strict=True)]


def compare(name: str) -> Callable[[Tensors | Scalar, Tensors | Scalar], list[Tensor]]:
    """The comparison `torch.<name>` on lists; one side may be a scalar."""
    single: Function = getattr(torch, name)
    swapped: Function = getattr(torch, {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}.get(name, name))

    def comparison(x: Tensors | Scalar, y: Tensors | Scalar) -> list[Tensor]:
        if not isinstance(x, list | tuple):
            assert isinstance(y, list | tuple)
            return [swapped(b, x) for b in y]
        columns = y if isinstance(y, list | tuple) else [y] * len(x)
        return [single(a, b) for a, b in zip(x, columns, strict=True)]

    return comparison


lt, le, gt, ge, eq, ne = (compare(name) for name in ("lt", "le", "gt", "ge", "eq", "ne"))


def both(x: Tensors | bool, y: Tensors | bool) -> list[Tensor]:
    """`x and y`."""
    return _logical(torch.logical_and, x, y)


def either(x: Tensors | bool, y: Tensors | bool) -> list[Tensor]:
    """`x or y`."""
    return _logical(torch.logical_or, x, y)


def negate(x: Tensors) -> list[Tensor]:
    """`not x`."""
    return [torch.logical_not(a) for a in x]


def numbers(x: Tensors, like: Tensors) -> list[Tensor]:
    """Truth values as 0 and 1, in the dtype of `like`."""
    return [a.to(b.dtype) for a, b in zip(x, like, strict=True)]


def constant(value: Scalar, like: Tensors) -> list[Tensor]:
    """Tensors like `like`, every entry `value`."""
    return [torch.zeros_like(a) + value for a in like]


def single(value: Scalar, like: Tensors) -> list[Tensor]:
    """One 0-dimensional tensor for each of `like`, with its dtype and on its device."""
    return list(_columns(value, like))


# ---- reductions, one tensor at a time; `dims` are counted from the end, None is the whole tensor
# ---------------------------


def sums(x: Tensors, dims: tuple[int, ...] | None = None) -> list[Tensor]:
    """The sum of the entries."""
    return [a.sum() if dims is None else a.sum(dims) for a in x]


def means(x: Tensors, dims: tuple[int, ...] | None = None) -> list[Tensor]:
    """The mean of the entries."""
    return [a.mean() if dims is None else a.mean(dims) for a in x]


def norms(x: Tensors, dims: tuple[int, ...] | None = None, order: float = 2.0) -> Tensors:
    """The norm of the entries."""
    return _norm(x, order) if dims is None else [torch.linalg.vector_norm(a, order, dims) for a in x]


def spreads(x: Tensors, dims: tuple[int, ...] | None = None) -> list[Tensor]:
    """The standard deviation of the entries, with N - 1."""
    return [a.std() if dims is None else a.std(dims) for a in x]


def largest(x: Tensors, dims: tuple[int, ...] | None = None) -> list[Tensor]:
    """The largest entry; -∞ of none."""
    return [_extreme(a, dims, torch.amax, -math.inf) for a in x]


def smallest(x: Tensors, dims: tuple[int, ...] | None = None) -> list[Tensor]:
    """The smallest entry; ∞ of none."""
    return [_extreme(a, dims, torch.amin, math.inf) for a in x]


def _extreme(a: Tensor, dims: tuple[int, ...] | None, reduce: Any, of_none: float) -> Tensor:
    along = tuple(range(a.ndim)) if dims is None else dims
    if a.numel() or all(a.shape[dim] for dim in along):
        return reduce(a, along)  # type: ignore[no-any-return]
    left = [size for dim, size in enumerate(a.shape) if dim not in {d % a.ndim for d in along}]
    return a.new_full(left, of_none)


def units(x: Tensors) -> list[Tensor]:
    """Each tensor divided by its norm."""
    return [a / torch.linalg.vector_norm(a) for a in x]


def sizes(x: Tensors) -> list[float]:
    """How many entries each tensor has."""
    return [float(a.numel()) for a in x]


# ---- storage ---------------------------------------------------------------------------------------------------------


def unsqueeze(x: Tensors, *dims: int) -> Tensors:
    """Views with axes of size 1 put in at `dims`, one after the other."""
    for dim in dims:
        x = [a.unsqueeze(dim) for a in x]
    return x


def store(x: Tensors, value: Tensors) -> None:
    """Write `value` into x, unless it was computed there."""
    if value is x:
        return
    try:
        _copy_(x, value)
    except NotImplementedError:  # lists of DTensors: torch copies them one by one only
        for old, new in zip(x, value, strict=True):
            old.copy_(new)


def copies(x: Tensors) -> list[Tensor]:
    """The same values in memory of their own."""
    return [a.clone() for a in x]


def _columns(x: Tensors | Scalar, like: Tensors) -> Tensors:
    if isinstance(x, list | tuple):
        return x
    return [torch.as_tensor(x, dtype=b.dtype, device=b.device) for b in like]


def _ragged(x: Tensors, y: Tensors) -> bool:
    return any(a.shape != b.shape for a, b in zip(x, y, strict=True))


def _logical(single: Function, x: Tensors | bool, y: Tensors | bool) -> list[Tensor]:
    lists = x if isinstance(x, list | tuple) else y
    assert isinstance(lists, list | tuple)
    xs = x if isinstance(x, list | tuple) else [torch.full_like(b, x) for b in lists]
    ys = y if isinstance(y, list | tuple) else [torch.full_like(a, y) for a in lists]
    return [single(a, b) for a, b in zip(xs, ys, strict=True)]
