"""One step on parts of tensors: local programs and messages in turn, in lockstep for all buckets.

    prepared(optimizer, buckets)    what is to be run, checked and agreed on; nothing has moved
    run(work)                       the phases; parameters and states move in the last local program only

Sums over the model run over the buckets of all parts and of whole tensors, which count once, not once a process.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dotopt.runtime.optimizer import groups
from dotopt.runtime.optimizer.groups import Bucket, Call
from dotopt.runtime.rule import Step
from dotopt.runtime.shards import messages
from dotopt.runtime.shards.layout import Layout, beside, cut_axes, in_rows, is_spread, layout, names
from dotopt.runtime.shards.local import axes_of
from dotopt.runtime.shards.messages import Line, Matrix
from dotopt.runtime.shards.pieces import Pieces, Refused, pieces, sizes

TENSORS = ("like", "axes", "number")


@dataclass(eq=False)
class Part:
    """A bucket in this process, with the layout of its parameters (None: whole tensors) and what is handed on."""

    bucket: Bucket
    whole: Layout | None
    pieces: Pieces
    call: Call
    lists: dict[str, list[Tensor]] = field(default_factory=dict)  # parameter, states and temporaries by name
    numbers: dict[str, Any] = field(default_factory=dict)  # sizes, and sums over the model
    totals: list[Any] = field(default_factory=list)  # sums over the model of this stage

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameters, as the rule sees it."""
        shape = self.whole.shape if self.whole is not None else tuple(self.bucket.params[0].shape)
        return self.bucket.step.pattern.view(shape)

    @property
    def dtype(self) -> torch.dtype:
        """In what is computed."""
        return self.lists[self.bucket.step.pattern.name][0].dtype

    def lines(self, axes: Iterable[str]) -> tuple[Line, ...]:
        """The processes over which a sum along these axes runs."""
        if self.whole is None:
            return ()
        named = names(self.bucket.step.pattern, len(self.whole.shape))
        return tuple((self.whole.mesh, dim) for dim, axis in self.whole.cuts.items() if named[axis] in set(axes))


# ---- before anything moves ----


def prepared(buckets: Sequence[Bucket]) -> list[Part]:
    """The parts of a step; raises RuntimeError, everywhere alike, for what cannot be stepped in parts."""
    made = []
    for bucket in buckets:
        whole = layout(bucket.given[0]) if bucket.boxes else None
        cut = cut_axes(bucket.step.pattern, whole) if whole is not None else frozenset()
        try:
            found = pieces(bucket.step, cut)
        except Refused as error:
            raise RuntimeError(f"{bucket.rule.name} cannot step parts of tensors: {error}") from None
        call = groups.prepare(bucket)
        part = Part(bucket, whole, found, call)
        lists = iter(call.lists)
        part.lists[bucket.step.pattern.name] = next(lists)
        if bucket.step.gradient:
            part.lists["gradient"] = next(lists)
        part.lists |= dict(zip((s.name for s in bucket.step.states if s.place in TENSORS), lists, strict=True))
        part.numbers = sizes(found.plan, axes_of(found.last.program, part.shape))
        made.append(part)
    count = sum(len(part.bucket.params) * _count(part.shape) for part in made)
    for part in made:
        part.numbers |= {name: float(count) for name, (_, model) in part.pieces.plan.sizes.items() if model}
    return made


def _lines(params: Sequence[Any]) -> dict[Line, list[Any]]:
    """The DTensors among these, by the processes that have them."""
    found: dict[Line, list[Any]] = {}
    for p in filter(is_spread, params):
        whole = layout(p)
        for dim in range(len(whole.placements)):
            if whole.mesh.size(dim) > 1:
                found.setdefault((whole.mesh, dim), []).append(p)
    return found


def anywhere(flag: Tensor, params: Sequence[Any]) -> Tensor:
    """The largest `flag` of all processes, such as whether a gradient is not finite."""
    found = flag.detach().float().reshape(1).clone()
    for mesh, dim in _lines(params):
        dist.all_reduce(found, dist.ReduceOp.MAX, group=mesh.get_group(dim))
    return found


def agreed(params: Sequence[Any]) -> None:
    """Raises RuntimeError, everywhere alike, if a gradient is missing in some processes only: one message a line."""
    present = _lines(params)
    odd = torch.zeros(())
    for (mesh, dim), some in present.items():
        flags = torch.tensor([[float(p.grad is None), float(p.grad is not None)] for p in some], device=some[0].device)
        packed = torch.cat([flags.reshape(-1), odd.to(flags.device).reshape(1)])
        dist.all_reduce(packed, dist.ReduceOp.MAX, group=mesh.get_group(dim))
        both = packed[:-1].view(-1, 2).amin(1)
        odd = torch.maximum(both.amax(), packed[-1]).cpu()
    if bool(odd):
        raise RuntimeError(
            "a parameter has a gradient in some processes and none in others; let all of them take part in the same "
            "backward pass, or set the missing gradient to zeros"
        )


def _count(shape: Sequence[int]) -> int:
    found = 1
    for size in shape:
        found *= size
    return found


# ---- the step ----


def run(parts: Sequence[Part], state: Any) -> None:
    """Take the step; `state` is that of the optimizer."""
    levels = sorted({phase.level for part in parts for phase in part.pieces.plan.phases})
    for _, some in groupby(levels, key=lambda level: level[0]):
        stage = list(some)
        for level in stage:
            _round(parts, level, level == stage[-1])
    for part in parts:
        results = _run(part, part.pieces.last.step)
        mine = {s.name for s in part.bucket.step.states}
        shared = [s for s in part.pieces.last.step.states if s.place not in TENSORS]
        after = {s.name: value for s, value in zip(shared, results or (), strict=True) if s.name in mine}
        counted = [s for s in part.bucket.step.states if s.place not in TENSORS]
        values = [after.get(s.name, part.bucket.shared[s.name]) for s in counted]
        groups.finish(part.call, values, part.bucket.home or state)


def _round(parts: Sequence[Part], level: tuple[int, int], closing: bool) -> None:
    """The local programs of one level, and the messages after them."""
    sums: dict[str, list[tuple[Tensor, Sequence[Line]]]] = {"sum": [], "amax": []}
    owned = []
    for part in parts:
        for place, phase in enumerate(part.pieces.plan.phases):
            if phase.level != level:
                continue
            local, owner = part.pieces.local[place], part.pieces.owned[place]
            if local is not None:
                part.lists |= {state.name: _new(part, state.type.axes) for state in phase.made}
                _run(part, local.step)
            for joined in phase.sums:
                if joined.model:
                    part.totals.append(joined)
                else:
                    lines = part.lines(joined.axes)
                    sums[joined.how] += [(tensor, lines) for tensor in part.lists[joined.name]]
            if owner is not None:
                owned.append((part, phase.owned, owner.step))
    totals = _model_sums(parts, sums) if closing else []
    for how, some in sums.items():
        messages.joined(some, how)
    for count, how, several in totals:
        over = torch.stack([tensor.reshape(()) for tensor in several])
        value = over.sum() if how == "sum" else over.amax()
        number = float(value) if value.device.type == "cpu" else value
        for part in parts:
            if count < len(part.totals):
                part.numbers[part.totals[count].name] = number
    if closing:
        for part in parts:
            part.totals = []
    _matrices(owned)


def _model_sums(parts: Sequence[Part], sums: dict[str, Any]) -> list[tuple[int, str, list[Tensor]]]:
    """What is to be joined for sums over the model: one number for all tensors that are cut alike."""
    made = []
    for count in range(max((len(part.totals) for part in parts), default=0)):
        having = [part for part in parts if count < len(part.totals)]
        how = having[0].totals[count].how
        alike: dict[tuple[Line, ...], list[Tensor]] = {}
        for part in having:
            lines = part.lines(part.bucket.step.pattern.axes)
            alike.setdefault(lines, []).extend(part.lists[part.totals[count].name])
        several = []
        for lines, tensors in alike.items():
            exact = torch.float32 if tensors[0].device.type == "mps" else torch.float64
            over = torch.stack([tensor.reshape(()).to(exact) for tensor in tensors])
            several.append((over.sum() if how == "sum" else over.amax()).reshape(1))
            sums[how].append((several[-1], lines))
        made.append((count, how, several))
    return made


def _new(part: Part, axes: tuple[str, ...]) -> list[Tensor]:
    """Tensors with these axes, beside the parts of the parameters."""
    pattern, params = part.bucket.step.pattern, part.bucket.params
    shape = pattern.sizes(axes, pattern.view(tuple(params[0].shape)), part.bucket.hypers)
    return [torch.zeros(shape, dtype=part.dtype, device=p.device) for p in params]


def _run(part: Part, step: Step, lists: dict[str, list[Tensor]] | None = None) -> Any:
    """Call a piece with the lists that it reads."""
    lists = part.lists if lists is None else lists
    given = [lists[step.pattern.name]]
    if step.gradient:
        given.append(lists["gradient"])
    given += [lists[s.name] for s in step.states if s.place in TENSORS]
    return step.run(*given, **_numbers(part, step))


def _numbers(part: Part, step: Step) -> dict[str, Any]:
    """The scalar arguments of a piece."""
    bucket = part.bucket
    kept = bucket.step, bucket.shared
    bucket.step, bucket.shared = step, bucket.shared | part.numbers
    try:
        return groups.numbers(bucket, False)
    finally:
        bucket.step, bucket.shared = kept


# ---- whole matrices ----


def _matrices(owned: Sequence[tuple[Part, Any, Step]]) -> None:
    """What owners compute: parts to them, results and their states back; two messages for all alike."""
    by_line: dict[Any, list[tuple[Part, Any, Step]]] = {}
    for part, plan, step in owned:
        assert part.whole is not None
        key = part.whole.mesh, tuple(part.whole.cuts), part.dtype, part.bucket.params[0].device
        by_line.setdefault(key, []).append((part, plan, step))
    for (mesh, dims, _, _), some in by_line.items():
        costs = [_cost(part.shape) for part, _, _ in some for _ in part.bucket.params]
        places = iter(messages.owners(costs, mesh, dims))
        jobs = [_Job(part, plan, step, [next(places) for _ in part.bucket.params]) for part, plan, step in some]
        like = some[0][0].lists[some[0][0].bucket.step.pattern.name][0]
        messages.to_owners([matrix for job in jobs for matrix in job.coming], mesh, dims, like)
        for job in jobs:
            job.compute(dims)
        messages.from_owners([matrix for job in jobs for matrix in job.going], mesh, dims, like)
        for job in jobs:
            job.keep()


def _cost(shape: Sequence[int]) -> float:
    """About how long the products with a matrix of this shape take."""
    ends = sorted(shape)[-2:]
    return float(_count(shape)) * min(ends, default=1)


class _Job:
    """The matrices of one bucket, and what their owners compute."""

    def __init__(self, part: Part, plan: Any, step: Step, owners: Sequence[dict[int, int]]) -> None:
        self.part, self.step = part, step
        axes = {state.name: state.type.axes for state in plan.program.states}
        self.ins, self.outs, self.kept = plan.inputs, plan.outputs, plan.kept
        layouts = {name: self._layout(name, axes[name]) for name in (*self.ins, *self.outs, *self.kept)}
        self.layouts = layouts
        self.coming = [Matrix([layouts[n] for n in (*self.ins, *self.kept)], owner) for owner in owners]
        self.going = [Matrix([layouts[n] for n in (*self.outs, *self.kept)], owner) for owner in owners]
        for place, matrix in enumerate(self.coming):
            parts = [part.lists[name][place].reshape(-1) for name in (*self.ins, *self.kept)]
            matrix.held = {matrix.here: torch.cat(parts)}
        self.axes = axes

    def _layout(self, name: str, axes: tuple[str, ...]) -> Layout:
        part, pattern = self.part, self.part.bucket.step.pattern
        assert part.whole is not None
        if axes == pattern.axes:
            return part.whole
        shape = pattern.sizes(axes, part.shape, part.bucket.hypers)
        if name in self.kept:
            return in_rows(shape, part.whole)
        found = beside(pattern, axes, shape, part.whole)
        if found is None:
            raise RuntimeError(f"{part.bucket.rule.name} needs a value along a merged axis that is cut unevenly")
        return found

    def compute(self, dims: Sequence[int]) -> None:
        """What the owner makes of the matrices that are here."""
        part, pattern = self.part, self.part.bucket.step.pattern
        mine = [place for place, matrix in enumerate(self.coming) if matrix.mine(dims)]
        if not mine:
            return
        lists: dict[str, list[Tensor]] = {name: [] for name in (*self.ins, *self.kept)}
        for place in mine:
            for name, tensor in zip((*self.ins, *self.kept), self.coming[place].assembled(), strict=True):
                lists[name].append(tensor.view(part.shape) if self.axes[name] == pattern.axes else tensor)
        like = part.lists[pattern.name][0]
        lists[pattern.name] = [like.new_empty(1).expand(part.shape) for _ in mine]
        for name in self.outs:
            shape = pattern.sizes(self.axes[name], part.shape, part.bucket.hypers)
            lists[name] = [like.new_empty(shape) for _ in mine]
        everywhere = part.bucket.places
        part.bucket.places = [everywhere[place] for place in mine] if everywhere else ()
        part.bucket.boxes, boxes = (), part.bucket.boxes
        try:
            _run(part, self.step, lists)
        finally:
            part.bucket.places, part.bucket.boxes = everywhere, boxes
        for index, place in enumerate(mine):
            whole = [lists[name][index].reshape(self.layouts[name].shape) for name in (*self.outs, *self.kept)]
            self.going[place].take_apart(whole, dims)

    def keep(self) -> None:
        """Results and states where their parts belong."""
        part = self.part
        part.lists |= {name: _new(part, self.axes[name]) for name in self.outs}
        for place, matrix in enumerate(self.going):
            (flat,) = matrix.held.values()
            sizes = [layout.count(matrix.here) for layout in matrix.layouts]
            for name, value in zip((*self.outs, *self.kept), flat.split(sizes), strict=True):
                kept = part.lists[name][place]
                kept.copy_(value.view(kept.shape))
