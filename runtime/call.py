"""Rules without a state of their own, as torch modules: one call, or one layer after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dotopt.runtime.given import Asking, Given
from dotopt.runtime.optimizer.signature import settings
from dotopt.runtime.rule import Hyper, Option
from dotopt.runtime.sequence.rule import Input

State = dict[str, Any]


@dataclass(frozen=True)
class CallRule:
    """A rule without a state: signature, inputs, outputs, the user's functions, and what is called for each choice.

    `calls` holds `call` alone, or `start`, `layer` and `finish`.
    """

    name: str
    doc: str
    source: str
    text: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    functions: tuple[Given, ...]
    hypers: tuple[Hyper, ...]
    options: tuple[Option, ...]
    calls: Mapping[tuple[bool | str, ...], tuple[Callable[..., Any], ...]]


class CallModule(Asking):
    """A compiled rule that makes outputs of its inputs.

    Inputs have any leading axes, then those that the rule names. The functions that the rule asks for are given first,
    in the order of the file or by name: any `nn.Module` or callable, for a family a sequence of them. Hyperparameters
    are keywords; one that is given as `nn.Parameter` is learned.

    >>> import torch
    >>> from dotopt.stdlib import InContextLearning
    >>> InContextLearning()(torch.zeros(2, 3), torch.ones(1, 3), torch.ones(1, 2), torch.ones(3))
    tensor([3., 3.])
    """

    rule: ClassVar[CallRule]
    compiled = "calls"

    def __init__(self, *functions: Any, **given: Any) -> None:
        """Raises TypeError for unknown keywords and missing functions, ValueError for values out of range."""
        super().__init__()
        rule = self.rule
        self.hold(rule.name, rule.functions, functions, given)
        self.hyper, self.options = settings(rule, given, tuple(f.name for f in rule.functions))
        for hyper in rule.hypers:
            if isinstance(self.hyper[hyper.name], nn.Parameter):
                self.register_parameter(hyper.place.replace("[", "_").rstrip("]"), self.hyper[hyper.name])
        self.calls = rule.calls[self.options]

    def extra_repr(self) -> str:
        """The hyperparameters and options."""
        hypers = [f"{h.place}={self.hyper[h.name]!r}" for h in self.rule.hypers]
        options = [f"{o.keyword}={v!r}" for o, v in zip(self.rule.options, self.options, strict=True)]
        return ", ".join((*hypers, *options))

    def forward(self, *args: Tensor, **named: Tensor) -> Any:
        """The output, or a tuple of the outputs; raises TypeError and ValueError for inputs that do not fit."""
        (call,) = self.calls
        return self._results(call(*self._inputs(args, named), *self.answers(), self.hyper))

    def _results(self, found: Mapping[str, Any]) -> Any:
        results = tuple(found[name] for name in self.rule.outputs)
        return results[0] if len(results) == 1 else results

    def _inputs(self, args: tuple[Tensor, ...], named: Mapping[str, Tensor]) -> list[Tensor]:
        rule = self.rule
        keywords = [x.keyword for x in rule.inputs]
        given = dict(zip(keywords, args, strict=False)) | dict(named)
        if len(args) > len(keywords) or len(given) != len(args) + len(named) or set(given) != set(keywords):
            raise TypeError(f"{rule.name} takes the inputs {', '.join(keywords)}")
        sizes: dict[str, int] = {}
        for x in rule.inputs:
            value = torch.as_tensor(given[x.keyword])
            if value.dim() < len(x.axes):
                found = tuple(value.shape)
                raise ValueError(f"{rule.name}: `{x.keyword}` is [..., {', '.join(x.axes)}], and {found} was given")
            for axis, size in zip(x.axes, value.shape[value.dim() - len(x.axes) :], strict=True):
                if sizes.setdefault(axis, size) != size:
                    clash = f"{sizes[axis]} elsewhere, {size} in `{x.keyword}`"
                    raise ValueError(f"{rule.name}: axis `{axis}` is {clash}")
        return [torch.as_tensor(given[keyword]) for keyword in keywords]


class LayerModule(CallModule):
    """A compiled rule over the layers of a network: `forward` runs all, `step` one, so that others can stand between.

    >>> import torch
    >>> from dotopt.stdlib import MomentumSMoE
    >>> experts = [torch.nn.Linear(3, 3) for _ in range(2)]          # any modules
    >>> network = MomentumSMoE(experts, mu=0.9)
    >>> x = torch.ones(5, 3)
    >>> h, state = network.step(x)                                    # layer 1
    >>> h, state = network.step(h, state)                             # attention may have changed h in between
    >>> torch.equal(h, network(x))
    True
    """

    def forward(self, *args: Tensor, **named: Tensor) -> Any:
        """The output after all layers; raises TypeError and ValueError for inputs that do not fit."""
        start, layer, finish = self.calls
        inputs = self._inputs(args, named)
        values = start(*inputs, self.hyper)
        for number in range(1, self.layers + 1):
            values = layer(number, *self._of(number), *values.values(), self.hyper)
        return self._results(finish(*inputs, *values.values(), self.hyper))

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The hidden state after the next layer, and what the layer after it needs besides (momenta, and their number).

        Start every pass through the network without a state. Raises ValueError after the last layer.
        """
        start, layer, _ = self.calls
        number = 1 if state is None else int(state["layer"]) + 1
        if number > self.layers:
            raise ValueError(f"{self.rule.name} has {self.layers} layers; begin a new pass with state=None")
        values = start(x, self.hyper) if state is None else {n: v for n, v in state.items() if n != "layer"}
        hidden = next(iter(start(x, self.hyper)))
        values = {hidden: x} | {n: v for n, v in values.items() if n != hidden}
        later = layer(number, *self._of(number), *values.values(), self.hyper)
        return later[hidden], {"layer": number, **later}

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return next(len(f) for f, given in zip(self.answers(), self.rule.functions, strict=True) if given.family)

    def _of(self, number: int) -> list[Any]:
        pairs = zip(self.answers(), self.rule.functions, strict=True)
        return [whole[number - 1] if given.family else whole for whole, given in pairs]
