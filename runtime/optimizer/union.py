"""Buckets that differ only in shape, stepped as one: kernels take tensors of all shapes in one call."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from operator import is_
from typing import Any

from torch import Tensor

NUMBERS = ("rule", "step", "group", "hypers", "shared", "t", "scale", "skip", "stored", "turn")  # the same for all


class Union:
    """Several buckets as one; see `groups.Bucket`."""

    def __init__(self, buckets: Sequence[Any], cache: dict[Any, Any]) -> None:
        self.buckets, self.cache = buckets, cache
        self.params: list[Tensor] = [p for bucket in buckets for p in bucket.params]
        self.clocks: list[Tensor] = [clock for bucket in buckets for clock in bucket.clocks]
        names = buckets[0].states
        self.states = {name: [tensor for bucket in buckets for tensor in bucket.states[name]] for name in names}
        more = buckets[0].beside
        self.beside = {name: [tensor for bucket in buckets for tensor in bucket.beside[name]] for name in more}
        for name in NUMBERS:
            setattr(self, name, getattr(buckets[0], name))


def merged(buckets: Sequence[Any]) -> list[Any]:
    """One bucket for those of a group that have taken the same number of steps, whatever their shapes."""
    if any(isinstance(bucket, Union) for bucket in buckets):  # a step like the last one
        return list(buckets)
    alike: dict[tuple[object, ...], list[Any]] = {}
    for bucket in buckets:
        p = bucket.params[0]
        dtypes = tuple(column[0].dtype for column in bucket.states.values())
        key = (id(bucket.group), bucket.t, bucket.turn, p.dtype, p.device, bucket.precision, dtypes)
        alike.setdefault(key, []).append(bucket)
    return [some[0] if len(some) == 1 else _union(some) for some in alike.values()]


def _union(buckets: list[Any]) -> Union:
    """These buckets as one. What a backend keeps for them lies in the first; it does not own the others."""
    first = buckets[0]
    if first.cache is None:
        first.cache = {}
    kept = first.cache.get("union")
    if kept is None or len(kept[0]) != len(buckets) or not all(map(is_, (each() for each in kept[0]), buckets)):
        kept = first.cache["union"] = [weakref.ref(bucket) for bucket in buckets], {}
    return Union(buckets, kept[1])
