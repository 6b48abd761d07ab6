"""Optimizers that ask functions of the user, or samples of their own: policies, preferences, physics, energies.

The rule sees all parameters as one vector. A question at another point is answered there: the parameters are moved,
the function of the user is called, and they are moved back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from dotopt.runtime.functions import asks
from dotopt.runtime.functions.draws import Draws, Played
from dotopt.runtime.functions.objective import Family
from dotopt.runtime.functions.rule import Asked, FunctionRule
from dotopt.runtime.optimizer.signature import defaults, settings


class Learner(torch.optim.Optimizer):
    """A compiled optimizer with functions of the user: `Rule(params, functions…, lr=…)`, then `step(samples…)`.

    Functions come after the parameters, in the order of the file or by name, or before the samples of a step; what is
    given for `~ batch` are the arguments of `step`. A sample that the parameters play themselves (`batch(at=y)`) is a
    function without arguments: it returns the values of the rule's functions as tensors with their graph, in their
    order or as a mapping.

    Raises TypeError for what is missing or unknown, ValueError for what is out of range.
    """

    origin: ClassVar[tuple[str, str, str] | None] = None
    rule: ClassVar[FunctionRule]

    def __init__(self, params: Iterable[Any], *functions: Any, **given: Any) -> None:
        rule = self.rule
        self.held = rule.held(functions, given)
        self.sizes = {name: int(size) for name, size in dict(given.pop("sizes", {})).items()}
        seeded = any(hyper.keyword == "seed" for hyper in rule.hypers)
        self.seed = 0 if seeded else int(given.pop("seed", 0))
        self.maximize = bool(given.pop("maximize", False))
        if self.maximize:
            raise ValueError(f"{rule.name} is stated for a minimum: give it the negative function")
        values, self.options = settings(rule, given)
        kept = defaults(rule) | given
        for hyper in rule.hypers:
            if hyper.position is None:
                kept[hyper.keyword] = values[hyper.name]
        super().__init__(params, kept)
        if len(self.param_groups) != 1:
            raise ValueError(f"{rule.name} moves all parameters as one vector, so it takes one group")

    # ---- a step

    def step(self, *samples: Any, **named: Any) -> None:  # type: ignore[override]
        """One step. Raises TypeError if functions or samples are missing, before anything is touched."""
        rule = self.rule
        group = self.param_groups[0]
        given = list(samples)
        functions = dict(self.held)
        drawn = {x.keyword for x in rule.samples}
        played = {a.keyword for a in rule.asked if a.samples and any(x.at for x in rule.samples)}
        for asked in rule.asked:
            if asked.keyword in named:
                functions[asked.keyword] = named.pop(asked.keyword)
            elif asked.keyword not in functions and asked.keyword not in played:
                if len(given) <= len(drawn - named.keys()):
                    raise TypeError(
                        f"{rule.name} needs the function `{asked.keyword}`: at construction, or first in step()"
                    )
                functions[asked.keyword] = given.pop(0)
        values = self._samples(given, named)
        live = [p for p in group["params"] if p.requires_grad]
        model = Model(live)
        theta = model.vector()
        hyper, _ = settings(rule, {k: group[k] for k in defaults(rule)})
        state = self.state[live[0]]
        sizes = self._sizes(theta, functions)
        t = int(state.get("t", 0)) + 1
        played_at = {x.name: Played(partial(model.play, values[x.name])) for x in rule.samples if x.at}
        random = Draws(self.seed, t, theta.dtype, theta.device, {**values, **played_at})
        init, step = rule.functions[self.options]
        with torch.no_grad():
            answers = [self._asked(a, functions.get(a.keyword), model, theta) for a in rule.asked]
            before = init(theta, hyper, sizes, random) if t == 1 else {k: v for k, v in state.items() if k != "t"}
            _, after, moved = step(theta, *answers, before, t, t == 1, hyper, sizes, random)
            (new,) = moved.values()
            if not bool(torch.isfinite(new).all()):
                raise ValueError(f"{rule.name}: step {t} would leave the numbers; the parameters are as they were")
            model.move(new)
            state.update(after)
            state["t"] = t

    def _samples(self, given: list[Any], named: dict[str, Any]) -> dict[str, Any]:
        rule = self.rule
        values = {x.name: named.pop(x.keyword) for x in rule.samples if x.keyword in named}
        waiting = [x for x in rule.samples if x.name not in values]
        if len(waiting) > len(given) == 1 and all(x.at for x in waiting):
            given = given * len(waiting)  # one function plays them all
        if named or len(given) != len(waiting):
            takes = ", ".join(x.keyword for x in rule.samples) or "no samples"
            raise TypeError(f"{rule.name}.step takes {takes}")
        return values | {x.name: value for x, value in zip(waiting, given, strict=True)}

    def _sizes(self, theta: Tensor, functions: Mapping[str, Any]) -> dict[str, int]:
        sizes = dict(self.sizes)
        for x in self.rule.params:
            sizes |= dict.fromkeys(x.axes, theta.numel())
        for asked in self.rule.asked:
            if asked.family:
                sizes[asked.family] = len(functions[asked.keyword])
        return sizes

    def _asked(self, asked: Asked, function: Any, model: Model, theta: Tensor) -> Any:
        if function is None:
            return FromSample(asked.keyword, [a.keyword for a in self.rule.asked if a.samples], model)
        (param,) = self.rule.params
        if asked.arguments and asked.arguments[0] != param.name and asked.word == "function":
            return function
        if asked.family:
            members = [AtPoint(member, model) for member in function]
            return Family(members) if asked.word == "objective" else members
        return AtPoint(function, model)

    # ---- copies

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if not k.startswith("_")}

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.origin is None or type(self).rule is not self.rule:
            return super().__reduce__()
        from dotopt.runtime.loading.load import unpickled

        return unpickled, (*self.origin, self.__getstate__())


class Model:
    """The parameters as one vector, and as what they are while a function of the user is asked elsewhere."""

    def __init__(self, params: list[Tensor]) -> None:
        if not params:
            raise ValueError("there is no parameter that requires a gradient")
        self.params = params

    def vector(self) -> Tensor:
        """The parameters as they are now, [n]."""
        return torch.cat([p.detach().reshape(-1) for p in self.params]).clone()

    def move(self, point: Tensor) -> None:
        """Sets the parameters to the entries of `point`."""
        start = 0
        with torch.no_grad():
            for p in self.params:
                p.copy_(point[start : start + p.numel()].reshape(p.shape))
                start += p.numel()

    @contextmanager
    def at(self, point: Tensor) -> Iterator[None]:
        """The parameters stand at `point` inside, and where they were afterwards.

        Moves do not count as changes for autograd: a graph that was made at a point can be differentiated there again.
        """
        kept = [p.detach().clone() for p in self.params]
        start = 0
        try:
            for p in self.params:
                p.data.copy_(point[start : start + p.numel()].reshape(p.shape))
                start += p.numel()
            yield
        finally:
            for p, value in zip(self.params, kept, strict=True):
                p.data.copy_(value)

    def play(self, function: Callable[[], Any], at: Tensor | None) -> Sample:
        """What the user's function returns with the parameters at a point; raises TypeError if it is no function."""
        if not callable(function):
            raise TypeError("the rule plays its sample at several points: give step() a function that draws one")
        assert at is not None
        with self.at(at), torch.enable_grad():
            return Sample(at, function())

    def derivative(self, value: Tensor, weight: Tensor | None, graph: bool = False) -> Tensor:
        """The gradient of `(weight * value).sum()` with respect to the parameters, [n]."""
        found = torch.autograd.grad(
            value, self.params, None if weight is None else weight.expand_as(value).to(value),
            retain_graph=True, create_graph=graph, allow_unused=True,
        )  # fmt: skip
        pieces = [torch.zeros_like(p) if g is None else g for p, g in zip(self.params, found, strict=True)]
        return torch.cat([piece.reshape(-1) for piece in pieces])


class Sample:
    """What was played at a point: tensors with their graph, one for each function of the rule."""

    def __init__(self, point: Tensor, found: Any) -> None:
        self.point, self.found = point, found


class FromSample:
    """A function whose values the sample brings along."""

    def __init__(self, name: str, names: list[str], model: Model) -> None:
        self.name, self.names, self.model = name, names, model

    def _value(self, point: Tensor, sample: Any) -> Tensor:
        if not isinstance(sample, Sample):
            raise TypeError(
                f"the rule needs the function `{self.name}`, or samples that are functions which return its value"
            )
        if point is not sample.point and not torch.equal(point, sample.point):
            raise TypeError(
                f"the rule asks `{self.name}` at another point than its sample was played at: give the function"
            )
        found = sample.found
        value = (
            found[self.name]
            if isinstance(found, Mapping)
            else (found[self.names.index(self.name)] if isinstance(found, tuple | list) else getattr(found, self.name))
        )
        if not isinstance(value, Tensor) or value.numel() != 1 or not bool(torch.isfinite(value).all()):
            raise ValueError(f"the sample's `{self.name}` is to be one finite number with its graph, and is {value!r}")
        with torch.enable_grad():
            return value.reshape(())

    def gradient(self, point: Tensor, sample: Any, wrt: int = 0) -> Tensor:
        """Its gradient where the sample was played, [n]."""
        value = self._value(point, sample)
        with self.model.at(point):
            return self.model.derivative(value, None).detach()

    def hessian_vector(self, point: Tensor, sample: Any, vector: Tensor) -> Tensor:
        """Its Hessian where the sample was played, times `vector`, [n]."""
        value = self._value(point, sample)
        with self.model.at(point), torch.enable_grad():
            slope = self.model.derivative(value, None, graph=True)
            if not slope.requires_grad:
                return torch.zeros_like(vector)
            return self.model.derivative(slope, vector).detach()

    def value(self, point: Tensor, sample: Any) -> Tensor:
        """Its value."""
        return self._value(point, sample).detach()


class AtPoint:
    """A function of the user that reads the parameters themselves: it is called where the rule asks."""

    def __init__(self, function: Callable[..., Any], model: Model) -> None:
        self.function, self.model = function, model

    def __call__(self, point: Tensor, *rest: Any) -> Any:
        with self.model.at(point), torch.no_grad():
            found = self.function(*rest)
            return found.clone() if isinstance(found, Tensor) else found  # it may be a view of what moves back

    def value(self, point: Tensor, *rest: Any) -> Tensor:
        """The value as one number."""
        return torch.as_tensor(self(point, *rest)).reshape(())

    def gradient(self, point: Tensor, *rest: Any, wrt: int = 0) -> Tensor:
        """The gradient of a number with respect to the parameters, [n]."""
        with self.model.at(point), torch.enable_grad():
            return self.model.derivative(self.function(*rest), None).detach()

    def pullback(self, point: Tensor, *rest: Any, wrt: int = 0) -> Tensor:
        """The gradient of the values times the last argument, [n]; `wrt` another argument, in its shape."""
        *arguments, weight = rest
        with self.model.at(point), torch.enable_grad():
            if wrt:
                found: Tensor = asks.pullback(self.function, wrt - 1)(*arguments, weight)
                return found
            value = self.function(*arguments)
            if not value.requires_grad:  # a part without parameters, as the right side of an equation
                return torch.zeros_like(point)
            return self.model.derivative(value, torch.as_tensor(weight)).detach()

    def hessian_vector(self, point: Tensor, *rest: Any) -> Tensor:
        """The Hessian times the last argument, [n]."""
        *arguments, vector = rest
        with self.model.at(point), torch.enable_grad():
            slope = self.model.derivative(self.function(*arguments), None, graph=True)
            if not slope.requires_grad:
                return torch.zeros_like(vector)
            return self.model.derivative(slope, vector).detach()
