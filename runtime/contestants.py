"""Who steps in a benchmark: our rule, torch's of the same name, those of other libraries that are installed.

    contestants("AdamW", 400, "cpu")      name, class and options of each, ours first
    stepping(who, cls, options, …)        what takes a step of it
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

LEARNING_RATE = 1e-3
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")  # what torch has fused kernels for
COMPILES = 10  # tensors that heavyball is given at most: it compiles one graph for all, five minutes for 400


@dataclass(frozen=True)
class Others:
    """The same rule elsewhere: the names of the classes, and options that everybody takes."""

    torch: str | None = None
    pytorch_optimizer: str | None = None
    optimi: str | None = None
    heavyball: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


OTHERS = {
    "SGD": Others(torch="SGD", optimi="SGD", options={"momentum": 0.9}),
    "Adam": Others(torch="Adam", optimi="Adam"),
    "AdamW": Others(torch="AdamW", optimi="AdamW", heavyball="AdamW"),
    "NAdam": Others(torch="NAdam", heavyball="NAdam"),
    "RAdam": Others(torch="RAdam", optimi="RAdam"),
    "Adagrad": Others(torch="Adagrad"),
    "Muon": Others(torch="Muon"),
    "Lion": Others(pytorch_optimizer="Lion", optimi="Lion"),
    "Adan": Others(pytorch_optimizer="Adan", optimi="Adan"),
    "AdaBelief": Others(pytorch_optimizer="AdaBelief"),
    "ADOPT": Others(pytorch_optimizer="ADOPT", heavyball="ADOPT"),
    "AdamP": Others(pytorch_optimizer="AdamP"),
    "LAMB": Others(pytorch_optimizer="Lamb"),
    "SGDSaI": Others(pytorch_optimizer="SGDSaI"),
    "Prodigy": Others(pytorch_optimizer="Prodigy"),
}

Contestant = tuple[str, Any, dict[str, Any]]
Step = Callable[[], Any]


def contestants(rule: str, tensors: int, backend: str, others: bool = True) -> Iterator[Contestant]:
    """The name, class and options of everybody who can step so many tensors under `rule`; ours first.

    `AdamW 8-bit` is ours alone, with states of 8 bits.
    """
    rule, _, narrow = rule.partition(" ")
    known = OTHERS.get(rule, Others())
    options = {**known.options, "lr": LEARNING_RATE}
    ours = options | {"backend": backend} | ({"state_dtype": "int8"} if narrow else {})
    yield "dotopt", getattr(importlib.import_module("dotopt.stdlib"), rule), ours
    if not others or narrow:
        return
    if known.torch:
        cls = getattr(importlib.import_module("torch.optim"), known.torch)
        if rule in FUSED:
            yield "torch fused", cls, options | {"fused": True}
        if rule == "Muon":  # it has one form
            yield "torch", cls, options
        else:
            yield "torch foreach", cls, options | {"foreach": True}
            yield "torch for loop", cls, options | {"foreach": False}
    for package in ("pytorch_optimizer", "optimi", "heavyball"):
        name = getattr(known, package)
        if name is None or (package == "heavyball" and tensors > COMPILES):
            continue
        try:
            yield package, getattr(importlib.import_module(package), name), options
        except ImportError:
            continue


def stepping(
    who: str, cls: Any, options: Mapping[str, Any], params: Sequence[Tensor], gradients: Sequence[Tensor]
) -> Step:
    """A step of an optimizer of these parameters; heavyball takes the gradients away each time, so gets them again."""
    optimizer = cls(params, **options)

    def given() -> None:
        for p, gradient in zip(params, gradients, strict=True):
            p.grad = gradient

    def again() -> None:
        given()
        optimizer.step()

    given()
    return again if who == "heavyball" else optimizer.step
