"""The user's objectives as compiled steps ask for them: values, gradients, products with the Hessian."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class Objective:
    """A function of tensors with one number as its value.

    >>> f = Objective(lambda x: (x**3).sum())
    >>> x = torch.tensor([1.0, 2.0])
    >>> f.gradient(x).tolist(), f.hessian_vector(x, torch.ones(2)).tolist()
    ([3.0, 12.0], [6.0, 12.0])
    """

    def __init__(self, function: Callable[..., Any], shape: tuple[int, ...] | None = None) -> None:
        self.function = function
        self.shape = shape  # in which the user sees the first argument

    def value(self, point: Tensor, *rest: Any) -> Tensor:
        """The value at a point. Raises ValueError if it is not one number."""
        value = torch.as_tensor(self.function(self._seen(point), *rest))
        if value.numel() != 1:
            raise ValueError(
                f"an objective gives one number, and this one gives a tensor of shape {tuple(value.shape)}"
            )
        return value.reshape(())

    def gradient(self, point: Tensor, *rest: Any, wrt: int = 0) -> Tensor:
        """The gradient with respect to one of the arguments."""
        arguments = [point, *rest]
        with torch.enable_grad():
            moved = arguments[wrt].detach().requires_grad_()
            arguments[wrt] = moved
            value = self.value(*arguments)
            if not value.requires_grad:
                raise ValueError(
                    "the objective has no derivative: its value does not depend on the point through torch"
                )
            (slope,) = torch.autograd.grad(value, moved)
        found: Tensor = slope
        return found

    def hessian_vector(self, point: Tensor, *rest: Any) -> Tensor:
        """The Hessian at `point` times the last argument."""
        *samples, vector = rest
        with torch.enable_grad():
            moved = point.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.value(moved, *samples), moved, create_graph=True)
            if not slope.requires_grad:
                return torch.zeros_like(point)
            (product,) = torch.autograd.grad(slope, moved, grad_outputs=vector, allow_unused=True)
        return torch.zeros_like(point) if product is None else product

    def _seen(self, point: Tensor) -> Tensor:
        return point if self.shape is None else point.reshape(self.shape)


class Family:
    """One objective for each element of a set; answers of all of them lie along a first axis."""

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = members

    def __getitem__(self, position: int) -> Any:
        return self.members[position]

    def __len__(self) -> int:
        return len(self.members)

    def value(self, *arguments: Any) -> Tensor:
        """The value of each, [members]."""
        return torch.stack([member.value(*arguments) for member in self.members])

    def gradient(self, *arguments: Any, wrt: int = 0) -> Tensor:
        """The gradient of each, [members, …]."""
        return torch.stack([member.gradient(*arguments, wrt=wrt) for member in self.members])

    def hessian_vector(self, *arguments: Any) -> Tensor:
        """The product of each Hessian with the last argument, [members, …]."""
        return torch.stack([member.hessian_vector(*arguments) for member in self.members])
