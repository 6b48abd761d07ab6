"""Optimizers on every backend: shapes that fit the view, gradients that may be missing, hyperparameters, options."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np

from bench.fuzz.rules import Rule
from bench.fuzz.runs import Refused
from bench.fuzz.statements import random_rule
from dotopt.runtime.property.compare import difference
from dotopt.runtime.property.draw import rounded
from dotopt.runtime.property.example import Array, Example, program, sums_over_model
from dotopt.runtime.property.runs import Machine

WAYS: dict[str, tuple[str, bool | None]] = {  # the backend, and whether one tensor at a time
    "torch": ("torch", None), "torch, one by one": ("torch", False), "cpu": ("cpu", None), "triton": ("triton", None),
}  # fmt: skip
# no axes, one entry, vectors, one column, one row, wide, tall, square, filters, nothing, several pieces
SHAPES = (
    (), (1,), (5,), (3,), (5, 1), (1, 5), (3, 4), (4, 3), (3, 3), (2, 3, 2), (2, 1, 3, 2), (0,), (0, 3), (67,), (9, 13),
    (13, 9), (1, 1), (2, 70),
)  # fmt: skip
STEPS = (3, 5, 5, 8)


class Optimizers:
    """The kind; see `bench.fuzz.runs.Kind`."""

    ways = tuple(WAYS)

    def rule(self, rng: Random) -> Rule:
        return random_rule(rng)

    def data(self, rng: Random, cls: Any) -> Example:
        return random_example(rng, cls)

    def run(self, cls: Any, given: Example, way: str) -> str | None:
        backend, foreach = WAYS[way]
        example = replace(given, foreach=foreach)
        found = difference(cls, example, Machine(cls, example, backend))
        if found is None:
            return None
        where = f"`{found.name}{list(found.place)}` of tensor {found.tensor} after step {found.step + 1}"
        return f"{where}: judge {found.reference!r}, {way} {found.backend!r}, allowed {found.allowed:.2g}"

    def smaller(self, given: Example) -> Iterator[Example]:
        return smaller(given)

    def fitting(self, cls: Any, given: Example) -> Example:
        options = {option.keyword: given.options.get(option.keyword, option.default) for option in cls.rule.options}
        if any(cls.rule.pattern.misfit(start.ndim) is not None for start in given.starts):
            raise Refused("the data do not fit")
        return replace(given, options=options)

    def described(self, given: Example) -> list[str]:
        return described(given)


def random_example(rng: Random, cls: Any) -> Example:
    """Data for a rule that was loaded."""
    rule = cls.rule
    fitting = [shape for shape in SHAPES if rule.pattern.misfit(len(shape)) is None]
    shapes = [rng.choice(fitting) for _ in range(rng.choice((1, 2, 2, 3)))]
    if all(0 in shape for shape in shapes):
        shapes.append(next(shape for shape in fitting if 0 not in shape))
    options = {option.keyword: rng.choice(option.values) for option in rule.options}
    chosen = tuple(options[option.keyword] for option in rule.options)
    programs = [program(cls.origin, chosen, max(len(shape), 1)) for shape in shapes]
    dtype = rng.choice(("float64", "float64", "float32"))
    numbers = np.random.default_rng(rng.getrandbits(32))
    starts = tuple(rounded(numbers.normal(size=shape).round(3), dtype) for shape in shapes)
    elsewhere = bool(rule.reasons)
    steps = rng.choice(STEPS)
    sitting_out = not elsewhere and rng.random() < 0.3

    def gradient(shape: tuple[int, ...]) -> Array | None:
        if sitting_out and rng.random() < 0.25:
            return None
        made = numbers.normal(size=shape).round(3) * rng.choice((1, 1, 1, 0.1, 3))
        if rng.random() < 0.1:
            made = made * (numbers.random(shape) < 0.5)
        return rounded(made, dtype)

    gradients = tuple(tuple(gradient(shape) for shape in shapes) for _ in range(steps))
    several = len(shapes) > 1 and not any(map(sums_over_model, programs)) and rng.random() < 0.2
    groups = tuple(_knobs(rng, rule) for _ in range(2 if several else 1))
    members = tuple(int(several and k == len(shapes) - 1) for k in range(len(shapes)))
    small = any(math.prod(shape) > 64 for shape in shapes)
    return Example(
        dtype, options, groups, members, starts, gradients, None, maximize=rng.random() < 0.15, small=small
    )


def _knobs(rng: Random, rule: Any) -> dict[str, Any]:
    """Every knob, since a default that follows from others is made once, for all groups."""
    known: dict[str, Any] = {}
    for hyper in rule.hypers:
        default = hyper.default(known) if callable(hyper.default) else hyper.default
        known[hyper.name] = default if hyper.keyword != "lr" else rng.choice((0.1, 0.3, 0.05))
    return {hyper.keyword: known[hyper.name] for hyper in rule.hypers}


def smaller(example: Example) -> Iterator[Example]:
    """Less data: fewer steps, fewer tensors, fewer entries, nothing missing, plain numbers."""
    steps = len(example.gradients)
    for fewer in sorted({1, 2, steps - 1} - {0}):
        if fewer < steps:
            yield replace(example, gradients=example.gradients[:fewer])
            yield replace(example, gradients=example.gradients[steps - fewer :])
    for k in range(len(example.starts) if len(example.starts) > 1 else 0):
        rest = [i for i in range(len(example.starts)) if i != k]
        yield replace(
            example, groups=example.groups[:1], members=(0,) * len(rest), starts=tuple(example.starts[i] for i in rest),
            gradients=tuple(tuple(row[i] for i in rest) for row in example.gradients),
        )  # fmt: skip
    if len(example.groups) > 1:
        yield replace(example, groups=example.groups[:1], members=(0,) * len(example.starts))
    if example.maximize:
        yield replace(example, maximize=False)
    if example.small:
        yield replace(example, small=False)
    if example.dtype != "float64":
        yield replace(example, dtype="float64")
    if any(g is None for row in example.gradients for g in row):
        full = [
            tuple(np.ones_like(start) if g is None else g for g, start in zip(row, example.starts, strict=True))
            for row in example.gradients
        ]
        yield replace(example, gradients=tuple(full))
    for k, start in enumerate(example.starts):
        for axis, length in enumerate(start.shape):
            if length > 1:
                yield _cut(example, k, axis, 1)
                yield _cut(example, k, axis, length - 1)
    for digits in (0, 1):
        plain = tuple(np.round(start, digits) for start in example.starts)
        rows = tuple(tuple(None if g is None else np.round(g, digits) for g in row) for row in example.gradients)
        if any(not np.array_equal(a, b) for a, b in zip(plain, example.starts, strict=True)):
            yield replace(example, starts=plain, gradients=rows)


def _cut(example: Example, k: int, axis: int, length: int) -> Example:
    def cut(values: Array | None) -> Array | None:
        return None if values is None else np.take(values, range(length), axis)

    starts = tuple(cut(start) if i == k else start for i, start in enumerate(example.starts))
    rows = tuple(tuple(cut(g) if i == k else g for i, g in enumerate(row)) for row in example.gradients)
    return replace(example, starts=starts, gradients=rows)  # type: ignore[arg-type]


def described(example: Example) -> list[str]:
    """The data as lines of Python."""
    lines = [f"dtype {example.dtype}, groups {[dict(group) for group in example.groups]}, members {example.members}"]
    lines += [f"options {dict(example.options)}"] if example.options else []
    lines += [word for word in ("maximize", "small") if getattr(example, word)]
    for k, start in enumerate(example.starts):
        lines.append(f"tensor {k}: shape {start.shape}, {start.tolist() if start.size < 13 else 'generic'}")
        for t, row in enumerate(example.gradients):
            g = row[k]
            lines.append(f"  gradient {t + 1}: {None if g is None else g.tolist() if g.size < 13 else 'generic'}")
    return lines
