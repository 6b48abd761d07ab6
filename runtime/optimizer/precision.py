"""States and parameters that are kept in fewer bits than they are computed in: `state_dtype` and `param_rounding`.

    of(rule, step, group, p)      which format each state of a parameter has, and how the parameter is rounded
    fresh, stored, kept           the tensors of a state: made, brought to plain numbers, copied
    states, params                what a step of the torch code sees, and what writes it back

Kernels read and write the formats themselves. What a state needs besides its codes stands in `optimizer.state` under
`<key>_scale`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dotopt.runtime.rule import Rule, State, Step

if TYPE_CHECKING:
    from dotopt.runtime.optimizer.groups import Bucket

Group = Mapping[str, Any]
Packed = tuple[Callable[[Tensor], Any], Tensor]  # what writes a value back, and the value

NAMES = {torch.float32: "fp32", torch.float64: "fp64", torch.bfloat16: "bf16", torch.float16: "fp16"}


@dataclass(frozen=True)
class Precision:
    """`formats` of states by name, where they are not the usual one; the word and the seed of `rounding`."""

    formats: tuple[tuple[str, str], ...] = ()
    rounding: str | None = None
    seed: int = 0

    def of(self, name: str) -> str | None:
        """The format of a state."""
        return dict(self.formats).get(name)

    @cached_property
    def blocks(self) -> dict[str, str]:
        """The states of 8 bits, which have scales."""
        if not self.formats:
            return {}
        from dotopt.compiler.schedule.storage import FORMATS

        return {name: format for name, format in self.formats if FORMATS[format].blocks}


FULL = Precision()


def check(rule: Rule, group: Group) -> None:
    """Raises `StorageError`, a ValueError, if `state_dtype` or `param_rounding` asks for what there is not."""
    if group.get("state_dtype") is None and group.get("param_rounding") is None:
        return
    from dotopt.compiler.schedule.state_dtype import resolve, rounding

    every = {s.name: s for step in rule.steps.values() for s in step.states}
    resolve(rule.name, _stored(tuple(every.values())), group.get("state_dtype"))
    for p in group.get("params", ()):
        if isinstance(p, Tensor):
            rounding(group.get("param_rounding"), NAMES.get(p.dtype, ""))


def of(rule: Rule, step: Step, group: Group, p: Tensor) -> Precision:
    """How the states of `p` and `p` itself are kept."""
    given, word = group.get("state_dtype"), group.get("param_rounding")
    if (given is None and word is None) or p.is_complex():
        return FULL
    pairs = given if isinstance(given, str) or given is None else tuple(given.items())
    return _resolved(rule.name, step.states, pairs, word, NAMES[p.dtype], p.numel())


@lru_cache(maxsize=4096)
def _resolved(rule: str, states: tuple[State, ...], given: Any, word: str | None, dtype: str, count: int) -> Precision:
    from dotopt.compiler.schedule.state_dtype import resolve, rounding
    from dotopt.compiler.schedule.storage import FORMATS, SMALL

    named = dict(given) if isinstance(given, tuple) else given
    if isinstance(named, dict):  # options may have dropped a state
        there = {word for s in _stored(states) for word in (s.name, s.key)}
        named = {name: word for name, word in named.items() if name in there or _ascii(name, states)}
    formats = resolve(rule, _stored(states), named)
    kept = {n: f for n, f in formats.items() if count >= SMALL or not FORMATS[f].blocks}
    rounded = rounding(word, dtype)
    seed = int((word or "").partition(":")[2] or 0)
    return Precision(tuple(sorted(kept.items())), rounded, seed)


def _ascii(name: str, states: tuple[State, ...]) -> bool:
    from dotopt.grammar.spelling import ascii

    return name in {ascii(s.name) for s in states}


def _stored(states: tuple[State, ...]) -> Any:
    from dotopt.compiler.schedule.state_dtype import Stored

    return tuple(Stored(s.name, s.key, FIXED.get(s.place, ""), s.nonnegative) for s in states)


FIXED = {
    "axes": "it has another shape than the parameter",
    "number": "it is one number",
    "clock": "it is one number",
    "group": "it is one number",
}


# ---- tensors ----


def scale_key(s: State) -> str:
    """Where the scales of a state stand."""
    return f"{s.key}_scale"


def fresh(s: State, plain: Tensor, format: str | None) -> dict[str, Tensor]:
    """The tensors of a state with the values `plain`, by key."""
    if format is None:
        return {s.key: plain}
    from dotopt.compiler.schedule.storage import FORMATS
    from dotopt.runtime.quantise import encode

    if not FORMATS[format].blocks:
        return {s.key: plain.to(getattr(torch, FORMATS[format].dtype))}
    codes, scales = encode(plain, format)
    return {s.key: codes, scale_key(s): scales}


def more(p: Tensor, less: Precision, number: int) -> dict[str, Tensor]:
    """What is kept beside a new parameter because of its rounding, by key."""
    if less.rounding is None:
        return {}
    from dotopt.compiler.schedule.state_dtype import KEPT_BESIDE
    from dotopt.runtime.optimizer.rounding import beside

    return {KEPT_BESIDE[less.rounding]: beside(p, less.rounding, less.seed, number)}


def kept(s: State, values: Mapping[str, Any], p: Tensor) -> dict[str, Tensor]:
    """Copies of the tensors of a state, which are in the right format already, beside `p`."""
    return {key: values[key].to(p.device, copy=True) for key in (s.key, scale_key(s)) if key in values}


def stored(s: State, values: Mapping[str, Any], format: str | None) -> Any:
    """The state in plain numbers, from the tensors of `optimizer.state`; raises ValueError for codes of no format."""
    if scale_key(s) not in values:
        return values[s.key]
    if format is None:
        raise ValueError(f"`{s.key}` is in 8 bits, and its group does not say in `state_dtype` how")
    from dotopt.runtime.quantise import decode

    return decode(values[s.key], values[scale_key(s)], format)


def beside(step: Step, precision: Precision, own: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """What a kernel needs beside parameter and states: scales, second words, keys; by the names that kernels use.

    Raises RuntimeError if the tensors of the states are not in the formats that the group asks for by now.
    """
    for s in step.states:
        if (s.name in precision.blocks) != (scale_key(s) in own):
            raise RuntimeError(f"`state_dtype` changed after the first step, and `{s.key}` did not: {CONVERT}")
        if s.name in precision.blocks:
            yield f"{s.name} scale", own[scale_key(s)]
    if precision.rounding is not None:
        from dotopt.compiler.schedule.state_dtype import KEPT_BESIDE

        if KEPT_BESIDE[precision.rounding] not in own:
            raise RuntimeError(f"`param_rounding` changed after the first step: {CONVERT}")
        yield f"{step.pattern.name} beside", own[KEPT_BESIDE[precision.rounding]]


CONVERT = "make an optimizer that has it from the start, and load the `state_dict` of this one into it"


# ---- for the torch code ----


def states(bucket: Bucket, name: str) -> Iterator[Packed]:
    """The states called `name`, in float32."""
    from dotopt.runtime.quantise import decode, encode

    format = bucket.precision.blocks[name]

    def writer(codes: Tensor, scales: Tensor) -> Callable[[Tensor], Any]:
        def write(value: Tensor) -> None:
            for old, new in zip((codes, scales), encode(value.reshape(codes.shape), format), strict=True):
                old.copy_(new)

        return write

    for codes, scales in zip(bucket.states[name], bucket.beside[f"{name} scale"], strict=True):
        yield writer(codes, scales), decode(codes, scales, format)


def params(bucket: Bucket) -> Iterator[Packed]:
    """The parameters, in float32 with what stands beside them."""
    from dotopt.runtime.optimizer.rounding import joined, split

    word = bucket.precision.rounding
    assert word is not None

    def writer(p: Tensor, more: Tensor) -> Callable[[Tensor], Any]:
        return lambda value: split(p, more, value.reshape(p.shape), word, bucket.t)

    for p, more in zip(bucket.params, bucket.beside[f"{bucket.step.pattern.name} beside"], strict=True):
        yield writer(p.detach(), more), joined(p.detach(), more, word)
