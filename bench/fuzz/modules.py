"""Rules over sequences in every parallel form: chunks of several sizes, pieces, token by token; forward and backward.

The judge reads token by token. Gradients have no judge: those of a whole sequence are compared with those of a loop of
`step`, whose outputs the judge has seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from bench.fuzz.rules import Rule
from bench.fuzz.runs import Refused
from bench.fuzz.sequences import random_rule
from dotopt.runtime.property import sequences
from dotopt.runtime.property.sequences import Reading

LARGEST = 1e4  # a memory that grows beyond says nothing about code
FORWARD, BACKWARD = 1e-8, 1e-6  # relative to the largest number
SIZES = ((2, 3), (3, 2), (1, 2), (2, 1), (2, 2), (1, 1))


class Modules:
    """The kind; see `bench.fuzz.runs.Kind`. Ways are sizes of chunks, in pieces and with gradients."""

    ways = ("chunks of 64", "chunks of 1", "chunks of 3", "backward", "explain")

    def rule(self, rng: Random) -> Rule:
        return random_rule(rng)

    def data(self, rng: Random, cls: Any) -> Reading:
        dk, dv = rng.choice(SIZES)
        sizes = {"dk": dk, "dv": dv}
        length = rng.choice((1, 2, 4, 7, 7, 11, 17))
        numbers = np.random.default_rng(rng.getrandbits(32))
        inputs = {}
        for x in cls.rule.inputs:
            shape = (length, *(sizes[axis] for axis in x.axes))
            low = 0.0 if x.low is not None else -1.0
            inputs[x.keyword] = numbers.uniform(low, 1, shape).round(3)
        first = rng.randint(0, length)
        return Reading({}, sizes, inputs, 64, (first, rng.randint(first, length)), rng.randint(0, 9))

    def run(self, cls: Any, given: Reading, way: str) -> str | None:
        if way == "explain":
            return _explained(cls)
        if way == "backward":
            return _backward(cls, replace(given, block=3))
        given = replace(given, block=int(way.split()[-1]))
        wanted = sequences._reference(cls, given)
        largest = max(float(np.abs(value).max(initial=0.0)) for value in wanted.values())
        if not largest < LARGEST:
            return None
        for how, found in sequences._read(cls, given, "float64").items():
            for name, value in found.items():
                message = _different(f"`{name}`, read {how}", value, wanted[name], FORWARD * (largest + 1e-3))
                if message:
                    return message
        return None

    def smaller(self, given: Reading) -> Iterator[Reading]:
        for length in sorted({1, given.length // 2, given.length - 1} - {0, given.length}):
            inputs = {name: value[:length] for name, value in given.inputs.items()}
            first, last = (min(cut, length) for cut in given.cuts)
            yield replace(given, inputs=inputs, cuts=(first, last))
        for cuts in ((0, 0), (0, given.length), (1, 1)):
            if cuts != given.cuts and cuts[1] <= given.length:
                yield replace(given, cuts=cuts)
        plain = {name: np.round(value, 1) for name, value in given.inputs.items()}
        if any(not np.array_equal(plain[name], value) for name, value in given.inputs.items()):
            yield replace(given, inputs=plain)

    def fitting(self, cls: Any, given: Reading) -> Reading:
        names = [x.keyword for x in cls.rule.inputs]
        if any(name not in given.inputs for name in names) or not names:
            raise Refused("the data do not fit")
        return replace(given, inputs={name: given.inputs[name] for name in names})

    def described(self, given: Reading) -> list[str]:
        lines = [f"sizes {dict(given.sizes)}, {given.length} tokens, one by one in {given.cuts}, seed {given.seed}"]
        return lines + [f"{name} = {value.tolist()}" for name, value in given.inputs.items()]


def _different(what: str, found: Any, wanted: Any, allowed: float) -> str:
    """A sentence, if two arrays differ."""
    off = ~(np.abs(found - wanted) <= allowed)
    if not off.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(off)[0])
    return f"{what} at {list(place)}: wanted {float(wanted[place])!r}, found {float(found[place])!r}"


def _backward(cls: Any, given: Reading) -> str | None:
    """Gradients of a weighted sum of the outputs, whole and by a loop of `step`."""
    weights = torch.Generator().manual_seed(given.seed)
    module, start = sequences._module(cls, given)
    sides: list[dict[str, torch.Tensor]] = []
    largest = 0.0
    drawn: list[torch.Tensor] = []
    for whole in (True, False):
        inputs = {name: torch.tensor(value, requires_grad=True) for name, value in given.inputs.items()}
        if whole:
            found = module(**inputs, state=dict(start))
            outputs = list(found) if isinstance(found, tuple) else [found]
        else:
            state, rows = dict(start), []
            for t in range(given.length):
                found, state = module.step(**{name: value[t] for name, value in inputs.items()}, state=state)
                rows.append(found if isinstance(found, tuple) else (found,))
            outputs = [torch.stack(column) for column in zip(*rows, strict=True)]
        if not all(bool(torch.isfinite(x).all()) and float(x.detach().abs().max()) < LARGEST for x in outputs):
            return None
        if not drawn:
            drawn = [torch.randn(x.shape, generator=weights, dtype=x.dtype) for x in outputs]
        loss = sum((x * w).sum() for x, w in zip(outputs, drawn, strict=True))
        if isinstance(loss, torch.Tensor) and loss.requires_grad:
            loss.backward()
        sides.append({n: torch.zeros_like(v) if v.grad is None else v.grad for n, v in inputs.items()})
        largest = max(largest, *(float(g.abs().max()) for g in sides[-1].values()))
    for name, by_tokens in sides[1].items():
        allowed = BACKWARD * (largest + 1e-3)
        message = _different(f"the gradient of `{name}`", sides[0][name].numpy(), by_tokens.numpy(), allowed)
        if message:
            return message
    return None


def _explained(cls: Any) -> str | None:
    """`explain` ends, without an exception; what it says of proofs is the subject of tests of their own."""
    from dotopt.runtime.report.explain import explain

    text = str(explain(Path(cls.origin[1])))
    return text[text.index("internal") :][:300] if "internal:" in text else None
