"""Solvers: outputs made of inputs, by loops that may ask functions of the user."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dotopt.runtime.functions.face import Face, as_float
from dotopt.runtime.functions.objective import Family, Objective
from dotopt.runtime.functions.rule import Asked
from dotopt.runtime.sequence.rule import Input

REST = "…"


class Solver(nn.Module, Face):
    """A compiled rule that makes outputs of inputs. Functions of the user come first, at construction or at the call.

    >>> import torch
    >>> from dotopt.stdlib import MIFGSM
    >>> def loss(x, y):
    ...     return (x[:, 0] * y).sum()
    >>> MIFGSM(eps=0.1, alpha=0.05, steps=5)(loss, torch.full((1, 2), 0.5), torch.tensor([1])).tolist()
    [[0.6000000238418579, 0.5]]
    """

    def __init__(self, *functions: Any, **given: Any) -> None:
        """Raises TypeError for unknown keywords, ValueError for values out of range."""
        super().__init__()
        self.held = self.rule.held(functions, given)
        self.configure(given)

    def forward(self, *args: Any, **named: Any) -> Any:
        """The output, or a tuple of the outputs; raises TypeError for what is missing, ValueError for what misfits."""
        rule = self.rule
        waiting = [a for a in rule.asked if a.keyword not in self.held]
        functions = {a.keyword: self.held.get(a.keyword) for a in rule.asked}
        rest = list(args)
        for asked in waiting:
            functions[asked.keyword] = (
                named.pop(asked.keyword) if asked.keyword in named else rest.pop(0) if rest else None
            )
        if missing := [name for name, f in functions.items() if f is None]:
            raise TypeError(f"{rule.name} needs the function{'s' * (len(missing) > 1)} {', '.join(missing)}")
        keywords = [x.keyword for x in rule.inputs]
        given = dict(zip(keywords, rest, strict=False)) | named
        if len(rest) > len(keywords) or set(given) != set(keywords):
            raise TypeError(f"{rule.name} takes {', '.join([*(a.keyword for a in waiting), *keywords])}")
        inputs, sizes, shape = self._fitted(given)
        like = next((x for x in inputs if isinstance(x, Tensor) and x.is_floating_point()), torch.zeros(()))
        answers = [self._asked(a, functions[a.keyword], shape, sizes) for a in rule.asked]
        self.clear()
        outputs, _ = self.advance(inputs, answers, sizes, self.draws(like, 1))
        found = tuple(self._shown(outputs[name], axes, shape) for name, axes in rule.outputs.items())
        for name, value in zip(rule.outputs, found, strict=True):
            if isinstance(value, Tensor) and not bool(torch.isfinite(value.detach()).all()):
                raise ValueError(f"{rule.name}: the output `{name}` left the numbers: the problem has no solution here")
        return found[0] if len(found) == 1 else found

    def _fitted(self, given: dict[str, Any]) -> tuple[list[Any], dict[str, int], tuple[int, ...]]:
        """The inputs with the axes that the rule does not name in one, the sizes, and those axes as they were."""
        rule, sizes, found = self.rule, dict[str, int](), []
        shape: tuple[int, ...] = ()
        for x in rule.inputs:
            value = given[x.keyword]
            if x.name in rule.families:
                members = [as_float(v) for v in value]
                sizes[rule.families[x.name]] = len(members)
                if len({m.shape for m in members}) != 1:
                    raise ValueError(f"{rule.name}: the members of `{x.keyword}` have different shapes")
                value = torch.stack(members)
                own: Sequence[int] = value.shape[1:]
            else:
                value = torch.as_tensor(value)
                value = value if value.dtype in (torch.int64, torch.int32, torch.bool) else as_float(value)
                own = value.shape
            if REST in x.axes:
                named = len(x.axes) - 1
                shape = tuple(own[named:])
                value = value.reshape(*own[:named], math.prod(shape))
                own = value.shape
            if len(own) != len(x.axes):
                axes = ", ".join("..." if a == REST else a for a in x.axes)
                raise ValueError(f"{rule.name}: `{x.keyword}` is [{axes}], and {tuple(own)} was given")
            for axis, size in zip(x.axes, own, strict=True):
                if sizes.setdefault(axis, size) != size:
                    raise ValueError(f"{rule.name}: axis `{axis}` is {sizes[axis]} elsewhere, {size} in `{x.keyword}`")
            self._checked(x, value)
            found.append(value)
        return found, sizes, shape

    def _checked(self, x: Input, value: Tensor) -> None:
        name = f"{self.rule.name}: `{x.keyword}`"
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} holds NaN or infinite numbers")
        slack = 1e-6 if value.dtype != torch.float64 else 1e-12
        if value.numel() and x.low is not None and float(value.min()) < x.low - slack:
            raise ValueError(f"{name} is {float(value.min()):.4g} somewhere, and must be at least {x.low:g}")
        if value.numel() and x.high is not None and float(value.max()) > x.high + slack:
            raise ValueError(f"{name} is {float(value.max()):.4g} somewhere, and must be at most {x.high:g}")

    def _asked(self, asked: Asked, function: Any, shape: tuple[int, ...], sizes: dict[str, int]) -> Any:
        if asked.family:
            members = list(function)
            if sizes.setdefault(asked.family, len(members)) != len(members):
                raise ValueError(
                    f"{self.rule.name}: {len(members)} functions `{asked.keyword}` for {sizes[asked.family]}"
                )
            return Family([self._objective(f, shape) for f in members]) if asked.word == "objective" else members
        return self._objective(function, shape) if asked.word == "objective" else function

    def _objective(self, function: Callable[..., Any], shape: tuple[int, ...]) -> Objective:
        name = self.rule.name
        flattened = any(REST in x.axes for x in self.rule.inputs)

        def seen(x: Tensor, *rest: Any) -> Any:
            x = x.reshape(*x.shape[:-1], *shape) if flattened else x
            value = function(x) if _classifies(function, rest) else function(x, *rest)
            if isinstance(value, Tensor) and bool(torch.isnan(value.detach()).any()):
                raise ValueError(f"{name}: the objective is NaN at a point that the rule asks for")
            if _classifies(function, rest):
                return functional.cross_entropy(value, rest[0], reduction="sum")
            return value.sum() if isinstance(value, Tensor) and value.numel() > 1 else value

        return Objective(seen)

    def _shown(self, value: Any, axes: tuple[str, ...], shape: tuple[int, ...]) -> Any:
        return value.reshape(*value.shape[:-1], *shape) if REST in axes else value

    def extra_repr(self) -> str:
        """The hyperparameters and options."""
        return Face.__repr__(self).partition("(")[2][:-1]


def _classifies(function: Any, rest: Sequence[Any]) -> bool:
    """Whether a model is given in the place of its loss: then the loss is the summed cross entropy of its logits."""
    return isinstance(function, nn.Module) and len(rest) == 1
