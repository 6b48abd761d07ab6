"""How compiled steps ask functions of the user: derivatives of them, and many points at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]


def gradient(function: Function, argument: int) -> Function:
    """The derivative of a function with one number as its value, with respect to one of its arguments.

    Of a holomorphic function of complex arguments it is the complex derivative.

    >>> gradient(lambda u, y: (u*y).sum(), 0)(torch.ones(2), torch.tensor([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    own = getattr(function, "gradient", None)
    if own is not None:
        return lambda *arguments: own(*arguments, wrt=argument)
    return lambda *arguments: _derivative(function, argument, arguments, None)


def pullback(function: Function, argument: int) -> Function:
    """The gradient of `(r * function(…)).sum()`; `r` is the last argument of the result.

    >>> pullback(lambda W, u: W * u, 0)(torch.ones(2), torch.tensor([3.0, 4.0]), torch.tensor([1.0, 10.0])).tolist()
    [3.0, 40.0]
    """
    own = getattr(function, "pullback", None)
    if own is not None:
        return lambda *arguments: own(*arguments, wrt=argument)
    return lambda *arguments: _derivative(function, argument, arguments[:-1], arguments[-1])


def _derivative(function: Function, argument: int, arguments: Sequence[Any], weight: Any) -> Tensor:
    with torch.enable_grad():
        point = arguments[argument]
        outer = point.requires_grad
        point = point if outer else point.detach().requires_grad_()
        value = function(*arguments[:argument], point, *arguments[argument + 1 :])
        if weight is None:
            weight = torch.ones_like(value)
        (found,) = torch.autograd.grad(value, point, grad_outputs=weight, create_graph=outer, allow_unused=True)
    found = torch.zeros_like(point) if found is None else found
    return found.conj() if found.is_complex() else found


def along(function: Function, places: tuple[int | None, ...]) -> Function:
    """The function for many points at once: `places` says along which axis of each argument they lie.

    >>> along(torch.dot, (0, None))(torch.eye(2), torch.tensor([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """

    def mapped(*arguments: Any) -> Any:
        count = next(a.shape[p] for a, p in zip(arguments, places, strict=True) if p is not None)
        values = [
            function(*(a if p is None else a.select(p, k) for a, p in zip(arguments, places, strict=True)))
            for k in range(count)
        ]
        return torch.stack(values)

    return mapped


def places(elements: Sequence[int], device: Any) -> Tensor:
    """The positions of the elements of a set, which counts from 1."""
    return torch.as_tensor([element - 1 for element in elements], dtype=torch.long, device=device)


def indicator(elements: Sequence[int], shape: tuple[int, ...], dtype: torch.dtype, device: Any) -> Tensor:
    """1 at the positions of the elements, which count from 1, and 0 elsewhere.

    >>> indicator((1, 3), (4,), torch.float32, "cpu").tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    made = torch.zeros(shape, dtype=dtype, device=device)
    made[places(elements, device)] = 1.0
    return made


def complex_of(dtype: torch.dtype) -> torch.dtype:
    """The complex dtype of two numbers of `dtype`."""
    return torch.complex128 if dtype == torch.float64 else torch.complex64
