"""Random examples: hypothesis draws shapes, options, hyperparameters in their ranges, groups, histories of gradients.

Values are generic (never only the defaults), and the closed ends of a range come too. Small tensors are drawn entry by
entry from eighths, so that a failure shrinks to small numbers; large ones from a seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dotopt.runtime.optimizer import signature
from dotopt.runtime.property.example import Array, Example, asks_elsewhere, program, together
from dotopt.runtime.property.pieces import PIECE
from dotopt.runtime.rule import Hyper, Rule

# one entry, nothing at all, vectors, matrices wide and tall, filters; the small ones first: examples shrink to them
SHAPES = (
    (1,), (2,), (), (3,), (1, 1), (1, 2), (2, 1), (2, 3), (0,), (7,), (0, 3), (5, 4), (3, 2, 3), (17,), (2, 1, 3, 3),
    (9, 13), (1, 3, 5), (70,), (40, 31),
)  # fmt: skip

ENTRYWISE_UP_TO = 6  # entries that are drawn one by one

# what is put into gradients besides generic values; squares of the extreme ones vanish or overflow for certain
SPECIAL = {
    "float64": (math.inf, -math.inf, math.nan, 1e-310, -1e-310, 1e200, -1e200, 1e-9, 1e9),
    "float32": (math.inf, -math.inf, math.nan, 1e-40, -1e-40, 1e30, -1e30, 1e-9, 1e9),
    "bfloat16": (math.inf, -math.inf, math.nan, 1e-40, -1e-40, 1e30, -1e30, 1e-9, 1e9),
    "float16": (math.inf, -math.inf, math.nan, 6e-8, -6e-8, 65504.0, -65504.0, 1e-5, 1e4),
}


@st.composite
def examples(
    draw: st.DrawFn, cls: Any, dtype: str, backend: str = "torch", largest: int = 10**6, most_steps: int = 8
) -> Example:
    """Examples for an optimizer class, with tensors of up to `largest` entries."""
    rule: Rule = cls.rule
    options = {o.keyword: draw(st.sampled_from(sorted(o.values, key=lambda v: v != o.default))) for o in rule.options}
    fitting = [s for s in SHAPES if rule.pattern.misfit(len(s)) is None and math.prod(s) <= largest]
    several_pieces = [s for s in fitting if math.prod(s) > PIECE]
    small = backend != "torch" and bool(several_pieces) and draw(st.booleans())
    shapes = [draw(st.sampled_from(several_pieces))] if small else []
    shapes += draw(st.lists(st.sampled_from(fitting), min_size=0 if small else 1, max_size=2 if small else 3))
    assume(any(0 not in shape for shape in shapes))
    values = tuple(options[option.keyword] for option in rule.options)
    first = program(cls.origin, values, max(len(shapes[0]), 1))
    several = len(shapes) > 1 and draw(st.booleans())
    groups = [draw(hyperparameters(rule, options))]
    if several:
        other = draw(hyperparameters(rule, options))
        groups.append(groups[0] if together(first) else other)
    members = [draw(st.sampled_from((0, 1))) if several else 0 for _ in shapes]
    members = [
        max(members) if several and k == len(shapes) - 1 and 1 not in members else m for k, m in enumerate(members)
    ]
    if set(members) != set(range(len(groups))):
        groups, members = groups[:1], [0] * len(shapes)
    starts = tuple(rounded(draw(tensors(shape)), dtype) for shape in shapes)
    steps = draw(st.integers(1, most_steps))
    mood = "plain" if asks_elsewhere(first) else draw(st.sampled_from(("plain", "plain", "zeros", "special")))
    gradients: tuple[tuple[Array | None, ...], ...] = tuple(
        tuple(rounded(draw(gradient(shape, mood, dtype)), dtype) for shape in shapes) for _ in range(steps)
    )
    if mood == "zeros":
        left_out = draw(st.lists(st.tuples(st.integers(0, steps - 1), st.integers(0, len(shapes) - 1)), max_size=2))
        gradients = tuple(
            tuple(None if (t, k) in left_out else g for k, g in enumerate(row)) for t, row in enumerate(gradients)
        )
    foreach = draw(st.sampled_from((None, None, False))) if backend == "torch" else None  # kernels take no loops
    maximize = draw(st.sampled_from((False, False, True)))
    return Example(dtype, options, tuple(groups), tuple(members), starts, gradients, foreach, maximize, small)


def rounded(values: Array, dtype: str) -> Array:
    """The values as a tensor of this dtype holds them."""
    import torch

    return np.asarray(torch.tensor(values, dtype=torch.float64).to(getattr(torch, dtype)).double().numpy())


# ---- tensors ---------------------------------------------------------------------------------------------------------


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...], low: int = -16) -> Array:
    """Arrays of generic values: eighths between low/8 and 2, or normal ones."""
    size = math.prod(shape)
    if size <= ENTRYWISE_UP_TO:
        entries = draw(st.lists(st.integers(low, 16), min_size=size, max_size=size))
        return np.array(entries, dtype=np.float64).reshape(shape) / 8
    drawn = np.random.default_rng(draw(st.integers(0, 2**16))).normal(size=shape).round(3)
    return np.abs(drawn) if low >= 0 else drawn


@st.composite
def gradient(draw: st.DrawFn, shape: tuple[int, ...], mood: str, dtype: str) -> Array:
    """A gradient: generic, sometimes 0 in places or everywhere, or with entries that are hard on an implementation."""
    made = draw(tensors(shape))
    if mood == "zeros":
        keep = draw(st.sampled_from(("all", "some", "none")))
        if keep == "none":
            made = np.zeros(shape)
        elif keep == "some" and made.size:
            made.flat[::2] = 0
    if mood == "special" and made.size:
        for _ in range(draw(st.integers(0, 2))):
            made.flat[draw(st.integers(0, made.size - 1))] = draw(st.sampled_from(SPECIAL[dtype]))
    return made


# ---- hyperparameters -------------------------------------------------------------------------------------------------


@st.composite
def hyperparameters(draw: st.DrawFn, rule: Rule, options: Mapping[str, Any]) -> dict[str, Any]:
    """Values by keyword, all inside their declared ranges."""
    values: dict[str, float] = {}
    for hyper in sorted(rule.hypers, key=lambda h: callable(h.low) + callable(h.high) + 2 * callable(h.default)):
        choices = candidates(hyper, values)
        assume(choices)
        values[hyper.name] = draw(st.sampled_from(choices))
    given = by_keyword(rule, values)
    try:
        signature.check(rule, {**signature.defaults(rule), **options, **given})
    except (TypeError, ValueError):
        assume(False)
    return given


def by_keyword(rule: Rule, values: Mapping[str, float]) -> dict[str, Any]:
    """Hyperparameters as Python takes them: `betas=(…)`."""
    given: dict[str, Any] = {}
    for hyper in rule.hypers:
        value = values[hyper.name]
        if hyper.position is None:
            given[hyper.keyword] = value
        else:
            given[hyper.keyword] = (*given.get(hyper.keyword, ()), value)
    return given


def candidates(hyper: Hyper, known: Mapping[str, float]) -> Sequence[float]:
    """Legal values, generic ones first; closed ends last."""
    low, high = (_end(end, known) for end in (hyper.low, hyper.high))
    if (low is None and hyper.low is not None) or (high is None and hyper.high is not None):
        return ()
    default = _end(hyper.default, known)
    small = -math.inf if low is None else low
    large = math.inf if high is None else high
    if hyper.integer:
        small_ones: list[float] = [n for n in (2, 3, 1, 4, 6) if small <= n <= large]
        found = small_ones or [n for n in (small, small + 1) if n <= large]
        return [int(n) for n in found if not ((hyper.open_low and n == small) or (hyper.open_high and n == large))]
    if math.isfinite(small) and math.isfinite(large):
        inner = [small + (large - small) * part for part in (0.75, 0.9, 0.3, 0.97, 0.5)]
    elif math.isfinite(small):
        scale = abs(default) if default and math.isfinite(default) and default != small else 0.1
        scale = min(max(scale, 1e-3), 10.0) if not hyper.keyword.startswith("eps") else 1e-3
        inner = [small + scale * part for part in (1.3, 0.37, 2.9, 11.0)]
    else:
        scale = abs(default) if default else 0.3
        inner = [sign * scale * part for part in (1.1, 0.6, 1.7) for sign in (math.copysign(1, default or 1),)]
    ends = [e for e, is_open in ((small, hyper.open_low), (large, hyper.open_high)) if not is_open and math.isfinite(e)]
    values = [*(float(f"{value:.3g}") for value in inner), *ends]
    if default is not None and (math.isinf(default) or (hyper.keyword.startswith("eps") and default < 1e-3)):
        values.append(default)
    return [value for value in values if _inside(value, small, large, hyper)]


def _inside(value: float, low: float, high: float, hyper: Hyper) -> bool:
    above = value > low if hyper.open_low else value >= low
    below = value < high if hyper.open_high else value <= high
    return above and below


def _end(end: Any, known: Mapping[str, float]) -> float | None:
    """An end of a range or a default, which may be a function of values that are not drawn yet."""
    if end is None or not callable(end):
        return None if end is None else float(end)
    try:
        return float(end(known))
    except KeyError:
        return None
