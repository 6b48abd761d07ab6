"""What a step may ask for on its way, and the driver that answers all buckets together.

A rule that needs no more than `.grad` is a plain function. Every other one is a generator: it yields a request and
goes on with the answer. The generators of all buckets advance in lockstep, so that a sum over the model or a gradient
elsewhere is computed once for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime.scalars import Scalar


@dataclass(frozen=True)
class ModelSum:
    """The sum of `parts` over all tensors of the optimizer: one 0-dimensional tensor or number for each tensor here."""

    parts: Sequence[Tensor | float]


@dataclass(frozen=True)
class ModelMax:
    """The largest of `parts` over all tensors of the optimizer."""

    parts: Sequence[Tensor | float]


@dataclass(frozen=True)
class ModelNorm:
    """The Euclidean norm over all tensors of the optimizer, from the norms of the tensors here."""

    parts: Sequence[Tensor]


@dataclass(frozen=True)
class Value:
    """The objective at the parameters, or at `points`."""

    points: Sequence[Tensor] | None = None


@dataclass(frozen=True)
class Gradient:
    """The gradient of the objective, or the value of the operator, at `points`."""

    points: Sequence[Tensor]


@dataclass(frozen=True)
class HessianVector:
    """The Hessian of the objective at `points` (None: the parameters) times `vectors`."""

    points: Sequence[Tensor] | None
    vectors: Sequence[Tensor]


Request = ModelSum | ModelMax | ModelNorm | Value | Gradient | HessianVector
Steps = Generator[Request, Any, Any]


class Objective:
    """Answers requests by calling the user's closure with the parameters moved to where the rule asks.

    `closure` returns the loss; it may call `backward`, as for LBFGS, but must leave the graph alive where the rule
    asks for Hessian-vector products. `sign` is -1 when maximizing.
    """

    def __init__(self, closure: Callable[[], Any] | None, params: Sequence[Tensor], sign: float, loss: Any) -> None:
        self.closure = closure
        self.params = params
        self.sign = sign
        self.loss = loss

    def value(self) -> Scalar:
        """The loss at the parameters; it was computed at the beginning of the step."""
        loss = self.loss.detach() if isinstance(self.loss, Tensor) else self.loss
        return self.sign * loss if isinstance(loss, Tensor) and loss.device.type != "cpu" else self.sign * float(loss)

    def call(self) -> Any:
        """The closure once more, with gradients from zero."""
        assert self.closure is not None
        return evaluate(self.closure, self.params)

    def at(self, points: dict[Tensor, Tensor], ask: Callable[[], Any]) -> Any:
        """What `ask` returns while the parameters stand at `points`; afterwards all is as it was."""
        kept = {p: (p.detach().clone(), p.grad) for p in self.params}
        try:
            for p, point in points.items():
                p.detach().copy_(point)
            return ask()
        finally:
            for p, (value, grad) in kept.items():
                p.detach().copy_(value)
                p.grad = grad

    def gradients(self) -> list[Tensor | None]:
        """The gradients at the parameters as they stand now."""
        self.call()
        return [None if p.grad is None else self.sign * p.grad for p in self.params]

    def loss_here(self) -> float:
        """The loss at the parameters as they stand now."""
        return self.sign * float(self.call())

    def hessian_vector(self, vectors: dict[Tensor, Tensor]) -> list[Tensor | None]:
        """The derivative of the gradient along `vectors`, at the parameters as they stand now."""
        live = [p for p in self.params if p in vectors]
        loss = self.call()
        with torch.enable_grad():
            grads: Sequence[Tensor | None] = [p.grad for p in live]
            if not any(g is not None and g.requires_grad for g in grads):  # no `backward(create_graph=True)`
                grads = _again(loss, live)
            pairs = [(g, vectors[p]) for g, p in zip(grads, live, strict=True) if g is not None and g.requires_grad]
            if not pairs:
                return [torch.zeros_like(p) for p in self.params]
            products = torch.autograd.grad(
                [g for g, _ in pairs], live, grad_outputs=[v for _, v in pairs], allow_unused=True
            )
        found = dict(zip(live, products, strict=True))
        return [None if found.get(p) is None else self.sign * found[p] for p in self.params]


def evaluate(closure: Callable[[], Any], params: Sequence[Tensor]) -> Any:
    """The loss that the closure returns; the gradients are left in `.grad`, also if the closure calls no `backward`."""
    for p in params:
        p.grad = None
    with torch.enable_grad():
        loss = closure()
        if isinstance(loss, Tensor) and loss.requires_grad and all(p.grad is None for p in params):
            found = torch.autograd.grad(loss, list(params), retain_graph=True, allow_unused=True)
            for p, g in zip(params, found, strict=True):
                p.grad = g
    return loss


def _again(loss: Tensor, params: Sequence[Tensor]) -> Sequence[Tensor | None]:
    try:
        return torch.autograd.grad(loss, list(params), create_graph=True, allow_unused=True)
    except RuntimeError as error:
        raise RuntimeError(
            "this rule asks for Hessian-vector products: let the closure return the loss without calling `backward()`"
        ) from error


def drive(generators: Sequence[Steps], params: Sequence[Sequence[Tensor]], objective: Objective) -> list[Any]:
    """The results of the generators, each bucket's parameters beside it; requests of one round are answered
    together.
    """
    results: list[Any] = [None] * len(generators)
    answers: dict[int, Any] = dict.fromkeys(range(len(generators)))
    asked: dict[int, Request] = {}
    while answers:
        for place, reply in answers.items():
            asked.pop(place, None)
            try:
                asked[place] = generators[place].send(reply)
            except StopIteration as end:
                results[place] = end.value
        answers = answer({place: asked[place] for place in _first(generators, asked)}, params, objective)
    return results


def _first(generators: Sequence[Steps], asked: Mapping[int, Request]) -> list[int]:
    """The buckets whose turn it is: of those in the same function, the ones that stand at the earliest request.

    Some may have left out a request under `every`: two sums of different things must not meet in one round.
    """
    frames = {place: getattr(generators[place], "gi_frame", None) for place in asked}
    places = {place: (None, 0) if frame is None else (frame.f_code, frame.f_lasti) for place, frame in frames.items()}
    earliest: dict[Any, int] = {}
    for code, position in places.values():
        earliest[code] = min(position, earliest.get(code, position))
    return [place for place, (code, position) in places.items() if position == earliest[code]]


def answer(asked: dict[int, Request], params: Sequence[Sequence[Tensor]], objective: Objective) -> dict[int, Any]:
    """A reply for every request; buckets that ask the same kind of thing share one evaluation."""
    replies: dict[int, Any] = {}
    for kind in {type(request) for request in asked.values()}:
        group = {place: request for place, request in asked.items() if type(request) is kind}
        replies |= _answer_kind(group, params, objective)
    return replies


def _answer_kind(asked: dict[int, Any], params: Sequence[Sequence[Tensor]], objective: Objective) -> dict[int, Any]:
    first = next(iter(asked.values()))
    match first:
        case ModelSum() | ModelMax() | ModelNorm():
            parts = [part for request in asked.values() for part in request.parts]
            return dict.fromkeys(asked, OVER_MODEL[type(first)](parts))
        case Value(points=None):
            return dict.fromkeys(asked, objective.value())
        case Value():
            loss = objective.at(_moved(asked, params), objective.loss_here)
            return dict.fromkeys(asked, loss)
        case Gradient():
            found = objective.at(_moved(asked, params), objective.gradients)
        case HessianVector():
            vectors = {
                p: v.view_as(p)
                for place, request in asked.items()
                for p, v in zip(params[place], request.vectors, strict=True)
            }
            found = objective.at(_moved(asked, params), lambda: objective.hessian_vector(vectors))
    by_param = dict(zip(objective.params, found, strict=True))
    return {
        place: [
            (torch.zeros_like(v) if by_param[p] is None else by_param[p].to(v.dtype)).view(v.shape)
            for p, v in zip(params[place], request.points or request.vectors, strict=True)
        ]
        for place, request in asked.items()
    }


def _moved(asked: dict[int, Any], params: Sequence[Sequence[Tensor]]) -> dict[Tensor, Tensor]:
    return {
        p: point.reshape(p.shape)
        for place, request in asked.items()
        for p, point in zip(params[place], request.points or (), strict=bool(request.points))
    }


def gradients_at(points: dict[Tensor, Tensor], objective: Objective) -> dict[Tensor, Tensor]:
    """The gradients at these points, 0 where the objective does not depend on a parameter."""
    found = dict(zip(objective.params, objective.at(points, objective.gradients), strict=True))
    return {p: torch.zeros_like(p) if (gradient := found[p]) is None else gradient for p in points}


def total(parts: Sequence[Tensor | float]) -> Scalar:
    """The sum, in double precision: a number on the CPU, a tensor where that would make the device wait."""
    return _across(parts, torch.sum, sum)


def most(parts: Sequence[Tensor | float]) -> Scalar:
    """The largest part."""
    return _across(parts, torch.max, max)


def norm(parts: Sequence[Tensor | float]) -> Scalar:
    """The norm of all, from the norms of the parts."""
    return _across(parts, torch.linalg.vector_norm, lambda floats: math.hypot(*floats))


OVER_MODEL: dict[type, Callable[[Sequence[Tensor | float]], Scalar]] = {
    ModelSum: total,
    ModelMax: most,
    ModelNorm: norm,
}


def _across(parts: Sequence[Tensor | float], on_tensor: Any, on_floats: Any) -> Scalar:
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if not tensors:
        return float(on_floats(parts))
    device = next((t.device for t in tensors if t.device.type != "cpu"), torch.device("cpu"))
    dtype = torch.float32 if device.type == "mps" else torch.float64
    whole: Tensor = on_tensor(torch.stack([torch.as_tensor(part).to(device, dtype) for part in parts]))
    return float(whole) if device.type == "cpu" and not torch.compiler.is_compiling() else whole
