"""What the classes of all function rules share: their signature, the options, the state between calls."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor

from dotopt.runtime.functions.draws import Draws
from dotopt.runtime.functions.rule import FunctionRule
from dotopt.runtime.optimizer.signature import defaults, settings


class Face:
    """A compiled rule with values for its hyperparameters and options. `seed` is that of its draws.

    Raises TypeError for unknown keywords, ValueError for values out of range.
    """

    origin: ClassVar[tuple[str, str, str] | None] = None
    rule: ClassVar[FunctionRule]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "rule" in cls.__dict__:
            kinds = inspect.Parameter
            given = {**defaults(cls.rule), "seed": 0}
            cls.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
                [kinds(name, kinds.KEYWORD_ONLY, default=value) for name, value in given.items()]
            )

    def configure(self, given: dict[str, Any], also: tuple[str, ...] = ()) -> None:
        """Takes hyperparameters, options and the seed from `given`."""
        own = any(hyper.keyword == "seed" for hyper in self.rule.hypers)
        self.seed = 0 if own else int(given.pop("seed", 0))
        self.hyper, self.options = settings(self.rule, given, also)
        self.init, self.step_function = self.rule.functions[self.options]
        self.clear()

    def clear(self) -> None:
        self.state: dict[str, Any] | None = None
        self.t = 0

    def advance(self, arguments: list[Any], given: list[Any], sizes: dict[str, int], random: Draws) -> tuple[Any, Any]:
        """One step on the arguments (parameters and inputs, then functions): the outputs and the next parameters."""
        if self.state is None:
            self.state = self.init(*arguments, self.hyper, sizes, random)
        self.t += 1
        outputs, self.state, moved = self.step_function(
            *arguments, *given, self.state, self.t, self.t == 1, self.hyper, sizes, random
        )
        return outputs, moved

    def draws(self, like: Tensor, step: int, **more: Any) -> Draws:
        """The draws of a step, in the dtype and on the device of `like`."""
        return Draws(self.seed, step, like.dtype, like.device, **more)

    def __repr__(self) -> str:
        hypers = [f"{h.place}={self.hyper[h.name]!r}" for h in self.rule.hypers]
        options = [f"{o.keyword}={v!r}" for o, v in zip(self.rule.options, self.options, strict=True)]
        return f"{self.rule.name}({', '.join((*hypers, *options))})"

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.origin is None:
            return super().__reduce__()
        from dotopt.runtime.loading.load import unpickled

        return unpickled, (*self.origin, {k: v for k, v in self.__dict__.items() if k not in ("init", "step_function")})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.init, self.step_function = self.rule.functions[self.options]


def as_float(value: Any) -> Tensor:
    """A tensor of floating-point numbers."""
    tensor = torch.as_tensor(value)
    return tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.to(torch.get_default_dtype())
