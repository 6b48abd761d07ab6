"""Weights of a rule over sequences: inputs that are the same at all tokens, which the module holds and learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from dotopt.runtime.sequence.rule import Input


@dataclass(frozen=True)
class Weights:
    """Makes the parameters of a module, and gives them to inputs that are not passed."""

    name: str  # of the rule
    inputs: tuple[Input, ...]
    heads: int | None
    seed: int
    sizes: Mapping[str, int]  # those that hyperparameters name
    names: dict[str, str] = field(default_factory=dict)  # keyword -> attribute of the module

    def hold(self, module: nn.Module, given: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
        """Registers a parameter for each weight: what is given, or drawn, or left open until its sizes are known."""
        known = {**self.sizes, **sizes}
        told = bool(sizes) or self.heads is not None  # otherwise a block around the module may tell how many heads
        for x in self.learned:
            value = given.get(x.keyword)
            made: Any  # a parameter, also one whose sizes are not known yet
            if value is not None:
                made = value if isinstance(value, nn.Parameter) else nn.Parameter(torch.as_tensor(value))
            elif told and all(axis.isdigit() or axis in known for axis in x.axes):
                made = nn.Parameter(self.begun(x, known))
            else:
                made = UninitializedParameter()
            name = x.keyword
            while hasattr(module, name):  # `step` is a method of every module
                name += "_"
            self.names[x.keyword] = name
            module.register_parameter(name, made)

    @property
    def learned(self) -> tuple[Input, ...]:
        """The inputs that are weights."""
        return tuple(x for x in self.inputs if x.start is not None)

    def complete(self, module: nn.Module, heads: int, known: Mapping[str, int]) -> None:
        """Makes the parameters that are still open, one for each head unless the module was told otherwise."""
        everything = replace(self, heads=heads if self.heads is None else self.heads, sizes={**self.sizes, **known})
        for x in self.learned:
            weight = getattr(module, self.names[x.keyword])
            if isinstance(weight, UninitializedParameter):
                everything.draw(x, weight, torch.zeros(()))

    def draw(self, x: Input, weight: UninitializedParameter, like: Tensor) -> None:
        """Gives a parameter that is still open its start, with the dtype and the device of `like`."""
        begun = self.begun(x, self.sizes)
        dtype = like.dtype if like.is_floating_point() else begun.dtype
        weight.materialize(begun.shape, device=like.device, dtype=dtype)
        with torch.no_grad():
            weight.copy_(begun)

    def begun(self, x: Input, known: Mapping[str, int]) -> Tensor:
        """What a weight starts with, `[*axes]` or `[heads, *axes]`; every head has draws of its own."""
        own = tuple(int(axis) if axis.isdigit() else known[axis] for axis in x.axes)
        shape = own if self.heads is None else (self.heads, *own)
        if x.start == "eye":
            return torch.eye(own[-1]).expand(shape).clone()
        if callable(x.start):
            generator = torch.Generator().manual_seed(self.seed + self.learned.index(x))
            drawn: Tensor = x.start(shape, known, generator, known)
            return drawn
        assert x.start is not None and not isinstance(x.start, str)
        return torch.full(shape, float(x.start))

    def filled(self, module: nn.Module, given: Mapping[str, Any], tokens: bool) -> dict[str, Any]:
        """The inputs by keyword, with the module's own weights where none is passed.

        A weight has no axis of tokens: one is put in where the others have it.
        """
        lacking = [x for x in self.learned if x.keyword not in given]
        if not lacking:
            return dict(given)
        known = dict(self.sizes)
        for x in self.inputs:
            if x.keyword in given:
                shape = torch.as_tensor(given[x.keyword]).shape
                known.update(zip(x.axes, shape[len(shape) - len(x.axes) :], strict=True))
        found = dict(given)
        for x in lacking:
            weight = getattr(module, self.names[x.keyword])
            if isinstance(weight, UninitializedParameter):
                unknown = [axis for axis in x.axes if not axis.isdigit() and axis not in known]
                if unknown:
                    hint = f"no input tells the size of the axis `{unknown[0]}` of `{x.keyword}`"
                    raise ValueError(f"{self.name}: {hint}; give `sizes={{{unknown[0]!r}: …}}`")
                replace(self, sizes=known).draw(x, weight, torch.as_tensor(next(iter(given.values()))))
            found[x.keyword] = weight.unsqueeze(weight.dim() - len(x.axes)) if tokens and weight.dim() else weight
        return found
