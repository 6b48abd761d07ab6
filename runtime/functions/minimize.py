"""Minimisers of functions of which only values are known: populations that move together."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dotopt.runtime.functions.face import Face, as_float


@dataclass
class Result:
    """What a minimisation found: `x` and its value `fun`, why it stopped, and what it cost.

    With `runs`, `x` is [runs, d] and `fun` is [runs].
    """

    x: Any
    fun: Any
    nit: int
    nfev: int
    success: bool
    message: str
    history: list[float] = field(default_factory=list, repr=False)  # the best value after each step


class Values:
    """The user's function on whole populations; counts the points that were asked for."""

    def __init__(self, f: Callable[[Any], Any], like: Tensor, numpy: bool, batched: bool) -> None:
        self.f, self.like, self.numpy, self.batched = f, like, numpy, batched
        self.count = 0

    def values(self, points: Tensor) -> Tensor:
        """The value of each point, [..., N] for points [..., N, d]. Raises ValueError where the function gives NaN."""
        flat = points.reshape(-1, points.shape[-1])
        self.count += flat.shape[0]
        given = flat.cpu().numpy() if self.numpy else flat
        found = self.f(given) if self.batched else [self.f(row) for row in given]
        values = torch.as_tensor(np.asarray(found) if self.numpy else _stacked(found)).to(self.like)
        if values.shape != flat.shape[:1]:
            shape = tuple(values.shape)
            raise ValueError(f"the function gave a tensor of shape {shape} for {flat.shape[0]} points: one value each")
        if bool(torch.isnan(values).any()):
            worst = flat[torch.isnan(values)][0].tolist()
            raise ValueError(f"the function is NaN at {worst}; give it a large value where it is not defined")
        return values.reshape(points.shape[:-1])

    def value(self, point: Tensor) -> Tensor:
        """The value at one point."""
        return self.values(point[..., None, :])[..., 0]


def _stacked(found: Any) -> Tensor:
    return torch.stack([torch.as_tensor(value).reshape(()) for value in found]) if isinstance(found, list) else found


class Minimizer(Face):
    """A compiled rule that looks for the minimum of a function of which only values are known.

    >>> import torch
    >>> from dotopt.stdlib import CBO
    >>> found = CBO(particles=50, seed=1).minimize(lambda x: (x**2).sum(-1), torch.ones(2), steps=400)
    >>> found.success, bool(found.fun < 0.1)
    (True, True)
    """

    def __init__(self, **given: Any) -> None:
        """Raises TypeError for unknown keywords, ValueError for values out of range."""
        self.configure(dict(given))

    def minimize(
        self,
        f: Callable[[Any], Any],
        x0: Any,
        *,
        steps: int = 1000,
        seed: int | None = None,
        runs: int | None = None,
        target: float | None = None,
        tol: float | None = None,
        patience: int = 50,
        batched: bool | None = None,
        callback: Callable[[Any], Any] | None = None,
    ) -> Result:
        """Moves the population `steps` times, from around `x0` [d]; `x0` is a torch tensor or a NumPy array, and so is
        what `f` is given: points [N, d], for values [N]. A function of one point is called point by point, with a
        warning; `batched` says which of the two it is.

        `runs` independent runs (seeds `seed`, `seed + 1`, …) move side by side. Stops early once the value is at most
        `target`, once it has changed by less than `tol` over `patience` steps, or when `callback(x)` is true. Raises
        ValueError for points that are no vectors and for functions without numbers.
        """
        numpy = not isinstance(x0, Tensor)
        start = as_float(np.asarray(x0, dtype=float) if numpy else x0)
        if start.dim() != 1 or not start.numel():
            raise ValueError(f"x0 is a vector [d], and its shape is {tuple(start.shape)}")
        if not bool(torch.isfinite(start).all()):
            raise ValueError("x0 holds NaN or infinite numbers")
        if steps < 1:
            raise ValueError(f"steps={steps} must be at least 1")
        self.clear()
        self.seed = self.seed if seed is None else int(seed)
        (param,) = self.rule.params
        sizes = dict(zip(param.axes, start.shape, strict=True))
        values = Values(f, start, numpy, _batched(f, start, numpy) if batched is None else batched)
        x = start if runs is None else start.expand(runs, *start.shape)
        history: list[float] = []
        message, success, step = "the steps were used up", True, 0
        with torch.no_grad():
            for step in range(1, steps + 1):
                _, moved = self.advance([x], [values], sizes, self.draws(start, step, runs=runs))
                x = moved[param.name]
                if not bool(torch.isfinite(x).all()):
                    message, success = f"the population left the numbers in step {step}", False
                    break
                if target is not None or tol is not None:
                    history.append(float(values.value(x).max()))
                if target is not None and history[-1] <= target:
                    message = f"the value is at most {target:g}"
                    break
                if tol is not None and step > patience and abs(history[-1 - patience] - history[-1]) <= tol:
                    message = f"the value changed by less than {tol:g} in {patience} steps"
                    break
                if callback is not None and callback(x.cpu().numpy() if numpy else x):
                    message = "the callback asked to stop"
                    break
            fun = values.value(x) if success else torch.full(x.shape[:-1], torch.nan)
        shown = (x.cpu().numpy(), fun.cpu().numpy()) if numpy else (x, fun)
        plain = shown[1] if runs is not None else float(shown[1])
        return Result(shown[0], plain, step, values.count, success, message, history)

    @classmethod
    def scipy(cls, fun: Callable[..., Any], x0: Any, args: tuple[Any, ...] = (), **options: Any) -> Any:
        """For `scipy.optimize.minimize(…, method=CBO.scipy, options={…})`: options are those of the rule and of
        `minimize`. Raises ValueError for bounds, constraints: the rule does not keep them.
        """
        from scipy.optimize import OptimizeResult

        for name in ("bounds", "constraints"):
            if options.pop(name, None) not in (None, (), []):
                raise ValueError(
                    f"{cls.rule.name} does not keep {name}: leave them out, or add a penalty to the function"
                )
        for name in ("jac", "hess", "hessp"):
            options.pop(name, None)
        callback = options.pop("callback", None)
        tol = options.pop("tol", None)
        how = {k: options.pop(k) for k in ("steps", "seed", "target", "patience", "batched") if k in options}
        how.setdefault("batched", False)
        stop = (lambda x: bool(callback(x))) if callback is not None else None
        found = cls(**options).minimize(lambda x: fun(x, *args), np.asarray(x0, float), tol=tol, callback=stop, **how)
        return OptimizeResult(
            x=found.x,
            fun=found.fun,
            nit=found.nit,
            nfev=found.nfev,
            success=found.success,
            message=found.message,
            status=0,
        )


def _batched(f: Callable[[Any], Any], start: Tensor, numpy: bool) -> bool:
    """Whether the function takes several points at once and gives a value for each."""
    points = torch.stack([start, start + 1.0])
    given = points.cpu().numpy() if numpy else points
    try:
        found = f(given)
        one = [f(row) for row in given]
    except Exception:
        found, one = None, []
    shape = tuple(getattr(found, "shape", ()))
    if shape == (2,) and all(_close(a, b) for a, b in zip(found, one, strict=True)):
        return True
    if shape == (2,) and not one:
        return True
    warnings.warn(
        "the function takes one point at a time, so it is called once for each particle; a function of points [N, d] "
        "that gives values [N] is much faster (batched=False silences this)",
        RuntimeWarning,
        stacklevel=3,
    )
    return False


def _close(a: Any, b: Any) -> bool:
    x, y = float(a), float(b)
    return x == y or abs(x - y) <= 1e-5 * (1 + abs(x) + abs(y)) or (x != x and y != y)
