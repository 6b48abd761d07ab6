"""Buckets that differ only in shape, stepped as one: kernels take tensors of all shapes in one call."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

from torch import Tensor

NUMBERS = ("rule", "step", "group", "hypers", "shared", "t", "scale", "skip", "stored")  # the same for all


class Union:
    """Several buckets as one; see `groups.Bucket`."""

    def __init__(self, buckets: Sequence[Any]) -> None:
        self.buckets = buckets
        self.params: list[Tensor] = [p for bucket in buckets for p in bucket.params]
        self.clocks: list[Tensor] = [clock for bucket in buckets for clock in bucket.clocks]
        names = buckets[0].states
        self.states = {name: [tensor for bucket in buckets for tensor in bucket.states[name]] for name in names}
        more = buckets[0].beside
        self.beside = {name: [tensor for bucket in buckets for tensor in bucket.beside[name]] for name in more}
        self.cache: Any = None

    def refresh(self) -> None:
        """Take over the numbers of this step."""
        for name in NUMBERS:
            setattr(self, name, getattr(self.buckets[0], name))


def merged(buckets: Sequence[Any]) -> list[Any]:
    """One bucket for those of a group that have taken the same number of steps, whatever their shapes."""
    if any(isinstance(bucket, Union) for bucket in buckets):  # a step like the last one
        return list(buckets)
    alike: dict[tuple[object, ...], list[Any]] = {}
    for bucket in buckets:
        p = bucket.params[0]
        alike.setdefault((id(bucket.group), bucket.t, p.dtype, p.device, bucket.precision), []).append(bucket)
    return [some[0] if len(some) == 1 else _union(some) for some in alike.values()]


def _union(buckets: list[Any]) -> Union:
    """The union of these very buckets, which the first of them keeps as long as it lives."""
    first = buckets[0]
    if first.cache is None:
        first.cache = {}
    kept: Union | None = first.cache.get("union")
    if kept is None or len(kept.buckets) != len(buckets) or not all(map(is_, kept.buckets, buckets)):
        kept = first.cache["union"] = Union(buckets)
    kept.refresh()
    return kept
