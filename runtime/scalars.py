"""Arithmetic of the numbers that a step shares among tensors: hyperparameters, t, sizes, sums over the model.

A scalar is a Python float, computed in double precision on the host, or a 0-dimensional tensor where the number lives
on a device or the step is being traced by `torch.compile`. Floats follow IEEE: nothing here raises on 1/0 or √-1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Scalar = float | Tensor


def complement(base: Scalar, exponent: Scalar) -> Scalar:
    """`1 - base^exponent` without cancellation, for a base in [0, 1]: -expm1(exponent*log(base)).

    >>> complement(0.0, 3.0), f"{complement(1 - 1e-12, 1.0):.6e}"
    (1.0, '9.999779e-13')
    """
    if isinstance(base, Tensor) or isinstance(exponent, Tensor):
        base, exponent = _tensors(base, exponent)
        return torch.where(base > 0, -torch.expm1(exponent * torch.log(base)), 1 - torch.pow(base, exponent))
    if base > 0:
        return -math.expm1(exponent * math.log(base))
    return 1 - power(base, exponent)


def power(base: Scalar, exponent: Scalar) -> Scalar:
    """`base^exponent`.

    >>> power(2.0, 0.5) == 2**0.5, power(0.0, -1.0), power(-1.0, 0.5)
    (True, inf, nan)
    """
    if isinstance(base, Tensor) or isinstance(exponent, Tensor):
        return torch.pow(*_tensors(base, exponent))
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:
        return math.inf if base == 0 else math.nan


def divide(left: Scalar, right: Scalar) -> Scalar:
    """`left/right`.

    >>> divide(1.0, 0.0), divide(-1.0, 0.0), divide(0.0, 0.0)
    (inf, -inf, nan)
    """
    if isinstance(left, Tensor) or isinstance(right, Tensor) or right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def minimum(left: Scalar, right: Scalar) -> Scalar:
    """The smaller one; NaN if one is NaN."""
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return torch.minimum(*_tensors(left, right))
    return left if left < right or left != left else right


def maximum(left: Scalar, right: Scalar) -> Scalar:
    """The larger one; NaN if one is NaN."""
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return torch.maximum(*_tensors(left, right))
    return left if left > right or left != left else right


def absolute(value: Scalar) -> Scalar:
    """The distance from 0; under a name of its own, as `abs` is a function of lists in emitted modules."""
    return value.abs() if isinstance(value, Tensor) else abs(value)


def sign(value: Scalar) -> Scalar:
    """-1, 0 or 1."""
    if isinstance(value, Tensor):
        return torch.sign(value)
    return float(value > 0) - float(value < 0)


def relu(value: Scalar) -> Scalar:
    """The value, or 0 if it is negative."""
    return maximum(value, 0.0)


def every(t: float, period: float, start: float) -> bool:
    """Whether an equation that fires at `start` and each `period` steps after fires at step `t`.

    >>> [every(t, 3, 3) for t in range(1, 7)], [every(t, 2, 1) for t in range(1, 5)]
    ([False, False, True, False, False, True], [True, False, True, False])
    """
    return t >= start and (t - start) % period == 0


def gelu(value: Scalar) -> Scalar:
    """x Φ(x), with the exact normal distribution function."""
    if isinstance(value, Tensor):
        return torch.nn.functional.gelu(value)
    return value * 0.5 * (1 + math.erf(value / math.sqrt(2)))


def sigmoid(value: Scalar) -> Scalar:
    """1/(1 + e^-x)."""
    if isinstance(value, Tensor):
        return torch.sigmoid(value)
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _function(name: str, at_edge: float = math.nan) -> Callable[[Scalar], Scalar]:
    """The function of `math` and of `torch` with this name; `at_edge` is what replaces an exception at 0."""
    on_float: Callable[[float], float] = getattr(math, name)
    on_tensor: Callable[[Tensor], Tensor] = getattr(torch, name)

    def function(value: Scalar) -> Scalar:
        if isinstance(value, Tensor):
            return on_tensor(value)
        try:
            return float(on_float(value))
        except OverflowError:
            return math.inf if value > 0 else -math.inf
        except ValueError:
            return at_edge if value == 0 else math.nan

    function.__name__ = name
    function.__doc__ = f"`{name}` of a scalar, NaN outside its domain."
    return function


def of(function: Callable[[Tensor], Tensor], value: Scalar) -> Scalar:
    """A function of torch, of a scalar.

    >>> of(torch.log1p, 0.0)
    0.0
    """
    return function(value) if isinstance(value, Tensor) else float(function(torch.tensor(value, dtype=torch.float64)))


def _tensors(left: Scalar, right: Scalar) -> tuple[Tensor, Tensor]:
    like = left if isinstance(left, Tensor) else right
    assert isinstance(like, Tensor)
    return _tensor(left, like), _tensor(right, like)


def _tensor(value: Scalar, like: Tensor) -> Tensor:
    return value if isinstance(value, Tensor) else torch.full((), value, dtype=like.dtype, device=like.device)


sqrt = _function("sqrt")
exp = _function("exp")
log = _function("log", at_edge=-math.inf)
sin, cos, tan, tanh = (_function(name) for name in ("sin", "cos", "tan", "tanh"))
acos, atanh, erf = _function("acos"), _function("atanh"), _function("erf")
floor, ceil = _function("floor"), _function("ceil")
