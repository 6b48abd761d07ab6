"""Aggregators: one direction out of the gradients of several tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime.functions.face import Face, as_float


class Rows:
    """The gradients of the tasks as the answers to what a rule asks at the parameters."""

    def __init__(self, matrix: Tensor, values: Tensor | None) -> None:
        self.matrix, self.values = matrix, values

    def __getitem__(self, position: int) -> Rows:
        return Rows(self.matrix[position], None if self.values is None else self.values[position])

    def gradient(self, point: Any, *samples: Any, wrt: int = 0) -> Tensor:
        """The gradients, [tasks, n]."""
        return self.matrix

    def value(self, point: Any, *samples: Any) -> Tensor:
        """The losses, [tasks]; raises TypeError if they were not given."""
        if self.values is None:
            raise TypeError("this aggregator reads the losses as well: call it with `(matrix, losses)`")
        return self.values


class Aggregator(Face):
    """A compiled rule that makes one direction of the gradients of several tasks, the rows of a matrix.

    What the rule remembers from call to call (momenta, averages) stays until `reset()`.

    >>> import torch
    >>> from dotopt.stdlib import PCGrad
    >>> PCGrad()(torch.tensor([[1.0, 0.0], [-1.0, 1.0]])).tolist()
    [0.5, 1.5]
    """

    def __init__(self, **given: Any) -> None:
        """Raises TypeError for unknown keywords, ValueError for values out of range."""
        self.configure(dict(given))

    def __call__(self, matrix: Tensor, losses: Tensor | None = None) -> Tensor:
        """The direction, [n], for the gradients [tasks, n] and, where the rule reads them, the losses [tasks].

        Raises ValueError for what is no matrix of numbers, for no tasks, and for a number of tasks or entries that
        changes between calls.
        """
        rule = self.rule
        matrix = as_float(matrix)
        if matrix.dim() != 2 or not matrix.shape[0]:
            raise ValueError(
                f"{rule.name} takes a matrix [tasks, n] with a row for each task, not {tuple(matrix.shape)}"
            )
        if not bool(torch.isfinite(matrix).all()):
            bad = sorted({int(i) for i in (~torch.isfinite(matrix)).nonzero()[:, 0]})
            raise ValueError(f"{rule.name}: the gradients of the tasks {bad} hold NaN or infinite numbers")
        for value in (self.state or {}).values():
            if value is not None and value.dim() == 2 and value.shape != matrix.shape:
                before, now = tuple(value.shape), tuple(matrix.shape)
                raise ValueError(f"{rule.name} has seen gradients {before} before, and these are {now}: call reset()")
        sizes = {asked.family: matrix.shape[0] for asked in rule.asked if asked.family}
        sizes |= {axis: matrix.shape[1] for x in rule.params for axis in x.axes}
        theta = torch.zeros(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        rows = Rows(matrix, None if losses is None else as_float(losses).to(matrix))
        with torch.no_grad():
            outputs, _ = self.advance([theta], [rows] * len(rule.asked), sizes, self.draws(matrix, self.t + 1))
        return next(iter(outputs.values()))  # type: ignore[no-any-return]

    def reset(self) -> None:
        """Forgets what was remembered."""
        self.clear()


def aggregate(
    losses: Sequence[Tensor], shared: Iterable[Tensor], aggregator: Aggregator, *, heads: Iterable[Tensor] = ()
) -> Tensor:
    """Writes the aggregated gradient into `.grad` of the shared parameters, and returns it as one vector.

    `losses` hold one loss a task. `heads` are parameters that belong to single tasks: they get the plain sum of
    gradients. What stands in `.grad` already is added to. Raises ValueError for a loss that is no number and for
    shared parameters that no loss depends on.

    >>> import torch
    >>> from dotopt.stdlib import PCGrad
    >>> w = torch.ones(2, requires_grad=True)
    >>> _ = aggregate([w[0], -w[0] + w[1]], [w], PCGrad())
    >>> w.grad.tolist()
    [0.5, 1.5]
    """
    params, own = list(shared), list(heads)
    if not params:
        raise ValueError("there is no shared parameter to aggregate gradients of")
    for k, loss in enumerate(losses):
        if loss.numel() != 1:
            raise ValueError(f"a loss is one number, and loss {k} has the shape {tuple(loss.shape)}")
    rows = []
    for k, loss in enumerate(losses):
        found = torch.autograd.grad(
            loss.reshape(()), [*params, *own], retain_graph=k + 1 < len(losses), allow_unused=True
        )
        rows.append(torch.cat([_flat(g, p) for g, p in zip(found, params, strict=False)]))
        for head, g in zip(own, found[len(params) :], strict=True):
            if g is not None:
                head.grad = g if head.grad is None else head.grad + g
    matrix = torch.stack(rows)
    direction = aggregator(matrix, torch.stack([loss.detach().reshape(()) for loss in losses]))
    start = 0
    for p in params:
        piece = direction[start : start + p.numel()].reshape(p.shape).to(p.dtype)
        p.grad = piece if p.grad is None else p.grad + piece
        start += p.numel()
    return direction


def _flat(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like).reshape(-1) if gradient is None else gradient.reshape(-1)
