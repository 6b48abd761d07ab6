"""Inner problems of compiled steps: minimisers, roots, linear systems known by their products.

Each loop stays on the device of its tensors. The derivative of a minimiser or a root is that of the condition that it
meets (the implicit function theorem): no pass of the loop is kept, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, hessian, jacrev

Function = Callable[..., Any]


class NoConvergence(RuntimeWarning):
    """An inner problem was left before its tolerance was reached."""


def argmin(objective: Function, start: Tensor, tol: float = 1e-12, most: float = 100, by: str = "newton") -> Tensor:
    """A point where the gradient of `objective` is at most `tol` in norm, from `start`, in at most `most` passes.

    Newton's method with damping: the Hessian is made positive by adding a multiple of the unit matrix, which shrinks
    while steps succeed (Levenberg and Marquardt). Warns with `NoConvergence` and what was reached otherwise. The
    result has the derivative of the minimiser with respect to what `objective` reads.

    >>> argmin(lambda w: ((w - 3)**2).sum(), torch.zeros(2, dtype=torch.float64)).tolist()
    [3.0, 3.0]
    """
    del by  # every method stops at the same point
    shape = start.shape
    flat = _flat(objective, shape)
    point = start.detach().reshape(-1)
    with torch.no_grad():
        point, slope = _descend(flat, point, float(tol), int(most))
    reached = float(torch.linalg.vector_norm(slope))
    if not reached <= _loosest(tol, point):
        _warn(
            f"argmin stopped after {int(most)} passes: the gradient is {reached:.3g} in norm, and {tol:g} was asked for"
        )
    return _implicit(grad(flat), point, hessian(flat)).reshape(shape)


def unmet(most: float, condition: str) -> None:
    """Warns with `NoConvergence`: a loop made all its passes, and what it goes on until does not hold."""
    _warn(f"a loop stopped after {int(most)} passes, and `{condition}` does not hold")


def root(residual: Function, start: Tensor, tol: float = 1e-12, most: float = 100) -> Tensor:
    """A point where `residual` is at most `tol` in norm, by Newton's method; with its implicit derivative.

    >>> round(float(root(lambda u: u*u - 2, torch.ones(1, dtype=torch.float64))), 12)
    1.414213562373
    """
    shape = start.shape
    flat = _flat(residual, shape, values=True)
    point = start.detach().reshape(-1)
    for _ in range(int(most)):
        value = flat(point).detach()
        if torch.linalg.vector_norm(value) <= tol:
            break
        point = point - _solved(jacrev(flat)(point).detach(), value)
    reached = float(torch.linalg.vector_norm(flat(point).detach()))
    if not reached <= _loosest(tol, point):
        _warn(
            f"root stopped after {int(most)} passes: the residual is {reached:.3g} in norm, and {tol:g} was asked for"
        )
    return _implicit(flat, point, jacrev(flat)).reshape(shape)


def conjugate_gradients(operator: Function, right: Any, tol: float = 1e-10, most: float = 1000) -> Any:
    """The solution of `operator(x) == right` for a linear, symmetric, positive `operator`; tuples of tensors allowed.

    Stops where the residual is at most `tol` times the right side, or where rounding lets it fall no further.
    """
    parts = right if isinstance(right, tuple) else (right,)
    joined = _joined(parts)
    x, r, p = torch.zeros_like(joined), joined, joined
    squared = r @ r
    goal = (float(tol) ** 2) * squared
    for _ in range(int(most)):
        if bool(squared <= goal):
            break
        q = _joined(_tuple(operator(*_apart(p, parts))))
        curvature = p @ q
        if not bool(curvature > 0):  # rounding, or no curvature along p: no step is known to help
            break
        a = squared / curvature
        x, r = x + a * p, r - a * q
        after = r @ r
        p, squared = r + (after / squared) * p, after
    solved = _apart(x, parts)
    return solved if isinstance(right, tuple) else solved[0]


# ---- parts


def _flat(function: Function, shape: torch.Size, values: bool = False) -> Function:
    def at(point: Tensor) -> Any:
        value = function(point.reshape(shape))
        return value.reshape(-1) if values else value.reshape(())

    return at


def _descend(flat: Function, point: Tensor, tol: float, most: int) -> tuple[Tensor, Tensor]:
    damping = torch.zeros((), dtype=point.dtype, device=point.device)
    level, slope = flat(point), grad(flat)(point)
    for _ in range(most):
        if bool(torch.linalg.vector_norm(slope) <= tol):
            break
        curvature = hessian(flat)(point)
        curvature = (curvature + curvature.mT) / 2
        values, vectors = torch.linalg.eigh(curvature)
        scale = values.abs().max().clamp(min=torch.finfo(point.dtype).tiny)
        along = vectors.mT @ slope
        floor = 1e-12 if point.dtype == torch.float64 else 1e-6
        for _ in range(40):
            step = vectors @ (along / (values.abs().clamp(min=floor * scale) + damping * scale))
            moved = point - step
            after = flat(moved)
            if bool(after <= level) or bool(torch.linalg.vector_norm(step) <= 1e-15 * torch.linalg.vector_norm(point)):
                break
            damping = (10 * damping).clamp(min=1e-6)
        else:
            break
        unchanged = bool((moved == point).all())
        point, level, slope = moved, after, grad(flat)(moved)
        damping = torch.where(damping > 1e-9, damping / 10, torch.zeros_like(damping))
        if unchanged:
            break
    return point, slope


def _implicit(condition: Function, point: Tensor, slope: Function) -> Tensor:
    """`point` with the derivative of the solution: one Newton step, of which only the condition is differentiated."""
    value = condition(point)
    if not (isinstance(value, Tensor) and value.requires_grad):
        return point
    matrix = slope(point).detach()
    return point - _solved(matrix, value - value.detach())


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """The solution of a linear system, of least norm where the matrix is singular."""
    solution, info = torch.linalg.solve_ex(matrix, right)
    found: Tensor = solution
    if int(info) != 0 or not bool(torch.isfinite(found).all()):
        found = torch.linalg.pinv(matrix) @ right
    return found


def _loosest(tol: float, point: Tensor) -> float:
    """The tolerance that rounding allows at a point."""
    size = 1 + float(torch.linalg.vector_norm(point))
    return max(float(tol), 1e3 * torch.finfo(point.dtype).eps * size)


def _tuple(value: Any) -> Sequence[Tensor]:
    return value if isinstance(value, tuple) else (value,)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])


def _apart(flat: Tensor, parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    pieces = flat.split([part.numel() for part in parts])
    return tuple(piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True))


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, NoConvergence, stacklevel=4)
