"""Buckets: the tensors that one call of a compiled step moves together.

Tensors share a bucket if they are of one group, one specialisation, device and dtype, and have taken the same number of
steps, so that every number of the step (hyperparameters, t, what follows from them) is the same for all of them. Where
a rule reads sizes, they also have one shape. A tensor without a gradient is left out, and its clock stands still.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import is_
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime.backends import layout
from dotopt.runtime.optimizer import precision, sharded
from dotopt.runtime.optimizer.precision import Precision
from dotopt.runtime.rule import Pattern, Rule, State, Step
from dotopt.runtime.scalars import Scalar

LOW = (torch.float16, torch.bfloat16)  # computed in float32, with float32 states
Group = dict[str, Any]


@dataclass(eq=False)
class Bucket:
    """Tensors that are stepped together. States and numbers go by their names in the file.

    `states` are what `optimizer.state` holds: a tensor for each parameter. `shared` are the numbers that the tensors
    have in common. `clocks` hold the number of steps taken. `scale` is what the loss was multiplied by and `skip` is
    not 0 if the step is to change nothing, where kernels see to that (`torch.amp.GradScaler`). `places` are the words
    of the tensors' names, for rules that draw; `layer` is what `step.layer` asks for. `precision` says what is kept in
    fewer bits, and `beside` what else that needs, by the names of `precision.beside`. `turn` is 0 for tensors with
    memory of their own; one that shares memory with another is stepped after it. Where the user has DTensors, `params`
    are the parts in this process, `given` what the user has, `home` the states by parts, and `boxes` the whole shape
    and which box of it each part is. `cache` belongs to the backend and
    lives as long as the same tensors are stepped together.
    """

    rule: Rule
    step: Step
    group: Group
    params: list[Tensor]
    states: dict[str, list[Tensor]]
    hypers: dict[str, Scalar] = field(default_factory=dict)
    shared: dict[str, Scalar] = field(default_factory=dict)
    t: Any = 0  # a tensor where the count of a pure step is batched
    clocks: list[Tensor] = field(default_factory=list)
    scale: Tensor | None = None
    skip: Tensor | None = None
    precision: Precision = precision.FULL
    beside: dict[str, list[Tensor]] = field(default_factory=dict)
    cache: Any = None
    turn: int = 0
    places: Sequence[int] = ()
    given: Sequence[Tensor] = ()
    home: Mapping[Tensor, dict[str, Any]] = field(default_factory=dict)
    boxes: Sequence[Any] = ()
    layer: Sequence[list[Tensor]] = ()

    @property
    def grads(self) -> list[Tensor]:
        """The gradients, as the user left them."""
        return [p.grad for p in self.params if p.grad is not None]

    @property
    def stored(self) -> dict[str, str]:
        """How kernels find in memory what is not plain numbers: formats by the names of states, the rounding."""
        found = self.precision.blocks
        if self.precision.rounding is not None:
            found[f"{self.step.pattern.name} rounding"] = self.precision.rounding
        return found

    def like(self, other: Bucket) -> bool:
        """Whether these are the very tensors of the other bucket, and kept as there."""
        columns = [self.params, *self.states.values(), *self.beside.values()]
        others = [other.params, *other.states.values(), *other.beside.values()]
        return (
            self.step is other.step
            and self.precision == other.precision
            and list(map(len, columns)) == list(map(len, others))
            and all(all(map(is_, one, two)) for one, two in zip(columns, others, strict=True))
        )


EXACT = 2**24  # the last step that float32 can count to


def clock_type(t: float = 0.0) -> torch.dtype:
    """The dtype of `step`, as in torch; beyond what float32 can count to, float64."""
    return torch.float64 if t > EXACT or torch.get_default_dtype() == torch.float64 else torch.float32


def options_of(rule: Rule, group: Group) -> tuple[bool | str, ...]:
    """The values of the options of a group."""
    return tuple(group[option.keyword] for option in rule.options)


def numbers_of(rule: Rule, group: Group) -> dict[str, Scalar]:
    """The hyperparameters of a group by their names: floats, or tensors where they live on a device."""
    return {hyper.name: _number(hyper.of(group)) for hyper in rule.hypers}


def _number(value: Any) -> Scalar:
    if isinstance(value, Tensor):
        return value.item() if value.device.type == "cpu" else value.reshape(())
    return float(value)


def collect(
    tensors: Iterable[tuple[Group, Iterable[Tensor]]],
    state: Mapping[Tensor, dict[str, Any]],
    rule_of: Callable[[Group], Rule],
    turns: bool = False,
) -> list[Bucket]:
    """The buckets of this step, with `t` and the numbers filled in; states that do not exist yet are made.

    With `turns` tensors that share memory come into different buckets, in their order.
    """
    found: dict[tuple[Any, ...], list[Tensor]] = {}
    steps: dict[tuple[Any, ...], tuple[Rule, Step, Group, int, Precision, int]] = {}
    for index, (group, chosen) in enumerate(tensors):
        rule = rule_of(group)
        options = options_of(rule, group)
        one_by_one = group["foreach"] is False
        by_rank: dict[int, Step] = {}
        chosen = list(chosen)
        for p, turn in zip(chosen, layout.turns([*map(sharded.here, chosen)]) if turns else repeat(0), strict=False):
            spread = sharded.placed(p)
            step = by_rank.get(p.ndim)
            if step is None:
                step = by_rank[p.ndim] = rule.step(options, p.ndim)
            own = state.get(p)
            if own and not _clock(own.get("step")):
                own["step"] = clock(float(own["step"]), clock_type(), p, bool(group.get("capturable")))
            t = int(own["step"]) + 1 if own else 1
            kept = precision.of(rule, step, group, p)
            key = (
                index,
                id(step),
                p.device,
                p.dtype,
                t,
                tuple(float(own[s.key]) for s in step.states if s.place == "clock") if own and t > 1 else (),
                kept,
                p.shape if step.by_shape or spread is not None else None,
                spread,
                id(p) if one_by_one or step.layer else None,  # layers see different numbers of samples
                turn,
            )
            found.setdefault(key, []).append(p)
            steps[key] = rule, step, group, t, kept, turn
    in_turn = sorted(found, key=lambda key: steps[key][-1])
    return [_bucket(*steps[key], found[key], state) for key in in_turn]


def _bucket(
    rule: Rule,
    step: Step,
    group: Group,
    t: int,
    less: Precision,
    turn: int,
    params: list[Tensor],
    state: Mapping[Tensor, dict[str, Any]],
) -> Bucket:
    own = [state[p] for p in params]
    begun = sum(map(bool, state.values())) if less.rounding else 0
    for p, kept in zip(params, own, strict=True):
        if not kept:
            kept |= fresh(step, p, bool(group.get("capturable")), numbers_of(rule, group), less, begun)
            begun += 1
    missing = [s.key for s in step.states if s.place != "group" and any(s.key not in kept for kept in own)]
    if missing:
        raise RuntimeError(
            f"{rule.name} finds no `{missing[0]}` in the state of a parameter of shape {tuple(params[0].shape)}: the "
            "parameter had another shape before, or somebody removed it; empty its entry of `optimizer.state`"
        )
    tensors = [s for s in step.states if s.place in ("like", "axes", "number")]
    bucket = Bucket(rule, step, group, params, {s.name: [kept[s.key] for kept in own] for s in tensors})
    bucket.precision, bucket.turn = less, turn
    for kept in own:
        for name, tensor in precision.beside(step, less, kept):
            bucket.beside.setdefault(name, []).append(tensor)
    bucket.hypers = numbers_of(rule, group)
    bucket.t = t
    bucket.clocks = [kept["step"] for kept in own]
    numbers = group.setdefault("shared", {}) if any(s.place == "group" for s in step.states) else {}
    for s in step.states:
        if s.place == "clock":
            clock = own[0][s.key]
            bucket.shared[s.name] = float(clock) if clock.device.type == "cpu" else clock
        elif s.place == "group":
            bucket.shared[s.name] = numbers.setdefault(s.key, _start(s))
    return bucket


def _clock(step: Any) -> bool:
    """Whether this is a number that can be counted up in place."""
    return isinstance(step, Tensor) and step.dtype in (torch.float32, torch.float64) and step.numel() == 1


def clock(value: float, dtype: torch.dtype, p: Tensor, capturable: bool) -> Tensor:
    """A number that advances with the steps of `p`: beside it if graphs are to advance it, else on the host."""
    return torch.tensor(value, dtype=dtype, device=p.device if capturable else "cpu")


def fresh(
    step: Step,
    p: Tensor,
    capturable: bool = False,
    hypers: Mapping[str, Scalar] | None = None,
    less: Precision = precision.FULL,
    number: int = 0,
) -> dict[str, Any]:
    """The state of a tensor, the `number`-th of its optimizer, before its first step.

    `hypers` tell the sizes of axes that are hyperparameters.
    """
    made: dict[str, Any] = {"step": clock(0.0, clock_type(), p, capturable)}
    for s in step.states:
        if s.place == "clock":
            made[s.key] = clock(_start(s), torch.float64, p, capturable)
        elif s.place != "group":
            made |= precision.fresh(s, allocate(step, s, p, hypers), less.of(s.name))
    return made | precision.more(p, less, number)


def _start(s: State) -> float:
    return float("nan") if s.start is None else s.start


def allocate(step: Step, s: State, p: Tensor, hypers: Mapping[str, Scalar] | None = None) -> Tensor:
    """A state tensor filled with its start (0 if step 1 computes it)."""
    dtype, pattern = torch.float32 if p.dtype in LOW else p.dtype, step.pattern
    if s.place == "like":
        layout = torch.contiguous_format if pattern.merged else torch.preserve_format
        made = torch.zeros_like(p, dtype=dtype, memory_format=layout)
    elif sharded.is_spread(p) and s.place == "axes":
        from dotopt.runtime.shards import local

        made = local.allocate(step, s, p, hypers, dtype.to_real())
    else:
        shape = pattern.sizes(s.axes, pattern.view(tuple(p.shape)), hypers) if s.place == "axes" else ()
        made = torch.zeros(shape, dtype=dtype.to_real(), device=p.device)  # of pairs of reals, where `p` is complex
    return made.fill_(s.start) if s.start else made


# ---- what a step sees of the tensors
# -------------------------------------------------------------------------------------


Copy = tuple[Callable[[Tensor], Any], Tensor]


@dataclass(eq=False)
class Call:
    """The arguments of one call of a step, and copies with what writes them back afterwards."""

    bucket: Bucket
    lists: list[list[Tensor]]
    scalars: dict[str, Any]
    copies: list[Copy]


def prepare(bucket: Bucket, gradient: bool = True, traced: bool = False) -> Call:
    """Lists as the rule sees them: matrices for `real[rows, cols...]`, pairs of reals for complex, float32 for 16 bits.

    With `traced` every number that changes from step to step is a 0-dimensional tensor, so that `torch.compile` does
    not take it for a constant.
    """
    pattern = bucket.step.pattern
    copies: list[Copy] = []
    if bucket.precision.rounding is None:
        params = [_seen(p.detach(), p, pattern, copies) for p in bucket.params]
    else:
        words = zip(precision.params(bucket), bucket.params, strict=True)
        params = [_unpacked(packed, p, pattern, copies) for packed, p in words]
    lists = [params]
    if bucket.step.gradient and gradient:
        grads = [_seen(g, p, pattern, None) for g, p in zip(bucket.grads, bucket.params, strict=True)]
        lists.append(list(torch._foreach_neg(grads)) if bucket.group["maximize"] else grads)
    places = {s.name: s.place for s in bucket.step.states}
    for name, tensors in bucket.states.items():
        if name in bucket.precision.blocks:
            states = zip(precision.states(bucket, name), bucket.params, strict=True)
            lists.append([_unpacked(packed, p, pattern, copies) for packed, p in states])
            continue
        like = places[name] == "like"
        lists.append(
            [_seen(s, p, pattern, copies) for s, p in zip(tensors, bucket.params, strict=True)] if like else tensors
        )
    lists.extend(bucket.layer)
    return Call(bucket, lists, numbers(bucket, traced), copies)


def _unpacked(packed: Copy, p: Tensor, pattern: Pattern, copies: list[Copy]) -> Tensor:
    """What was kept in fewer bits, in float32 and as the rule sees it; noted to be written back."""
    write, value = packed
    unpacked = _seen(value, p, pattern, None)
    copies.append((write, unpacked))
    return unpacked


def seen(tensor: Tensor, p: Tensor, pattern: Pattern) -> Tensor:
    """`tensor`, which is like `p`, as the rule sees it; a view where possible."""
    if tensor.is_complex():
        return torch.view_as_real(tensor)
    if p.is_complex():
        return tensor
    wide = torch.float32 if p.dtype in LOW else p.dtype
    found = tensor.to(wide) if tensor.is_floating_point() else tensor
    return found.reshape(pattern.view(tuple(p.shape))) if pattern.viewed else found


def unseen(value: Tensor, like: Tensor) -> Tensor:
    """What the rule made of `like`, in the shape and dtype of `like` again."""
    if like.is_complex():
        return torch.view_as_complex(value.contiguous()).to(like.dtype)
    return value.reshape(like.shape).to(like.dtype)


def _seen(tensor: Tensor, p: Tensor, pattern: Pattern, copies: list[Copy] | None) -> Tensor:
    """A view of `tensor` where possible; otherwise a copy, noted to be written back."""
    seen_as = seen(tensor, p, pattern)
    if copies is not None and seen_as is not tensor and seen_as.data_ptr() != tensor.data_ptr():
        copies.append((lambda value: tensor.copy_(value.reshape(tensor.shape)), seen_as))
    return seen_as


MOVING = ("t", "lr", "betas", "momentum")  # what schedules change


def numbers(bucket: Bucket, traced: bool) -> dict[str, Any]:
    """The scalar arguments of a step."""
    hypers = {hyper.place.replace("[", " ").removesuffix("]"): hyper.name for hyper in bucket.rule.hypers}
    keys = {s.key: s.name for s in bucket.step.states}
    made: dict[str, Any] = {}
    for argument, source in bucket.step.sources.items():
        word, _, rest = source.partition(" ")
        if source == "t":
            value: Any = bucket.t if isinstance(bucket.t, Tensor) else float(bucket.t)
        elif source == "shape":
            value = tuple((bucket.given or bucket.params)[0].shape) or (1,)
        elif source == "random":
            from dotopt.runtime.optimizer.draws import Draws

            step = torch.tensor(bucket.t) if traced else bucket.t
            value = Draws(int(bucket.group["seed"]), step, bucket.places, bucket.boxes)
        elif word == "state":
            value = bucket.shared[keys[rest]]
        else:
            value = bucket.hypers[hypers[source.removeprefix("hyper ")]]
        if traced and isinstance(value, float) and (word in MOVING or word == "state"):
            device = bucket.params[0].device
            dtype = torch.float32 if device.type == "mps" else torch.float64
            value = torch.tensor(value, dtype=dtype, device=device)
        made[argument] = value
    return made


def finish(call: Call, results: Any, state: Mapping[Tensor, dict[str, Any]]) -> None:
    """Write copies back, keep the next values of shared numbers, and let the clocks advance."""
    bucket = call.bucket
    if call.copies:
        with torch.no_grad():
            for write, value in call.copies:
                write(value)
    shared = [s for s in bucket.step.states if s.place in ("clock", "group")]
    for s, value in zip(shared, results or (), strict=True):
        bucket.shared[s.name] = value
    advance(bucket, state)


def advance(bucket: Bucket, state: Mapping[Tensor, dict[str, Any]]) -> None:
    """Count the step of a bucket that has been stepped, and keep the numbers that go with the count."""
    for s in bucket.step.states:
        if s.place == "clock":
            value = bucket.shared[s.name]
            if not isinstance(value, Tensor):
                value = torch.tensor(value, dtype=torch.float64)
            torch._foreach_copy_([state[p][s.key] for p in bucket.params], [value] * len(bucket.params))
        elif s.place == "group":
            bucket.group["shared"][s.key] = bucket.shared[s.name]
    if bucket.t > EXACT and bucket.clocks[0].dtype is torch.float32 and not bucket.group.get("capturable"):
        for p in bucket.params:
            state[p]["step"] = state[p]["step"].double()
        bucket.clocks = [state[p]["step"] for p in bucket.params]
    torch._foreach_add_(bucket.clocks, 1.0 if bucket.skip is None else 1.0 - bucket.skip.reshape(()))


def agree(buckets: Iterable[Bucket]) -> None:
    """Keep the numbers of the groups: what tensors make of them that have taken the most steps."""
    for bucket in sorted(buckets, key=lambda bucket: bucket.t):
        for s in bucket.step.states:
            if s.place == "group":
                bucket.group["shared"][s.key] = bucket.shared[s.name]


def unscale(bucket: Bucket) -> None:
    """Divide the gradients by the loss scale, for what does not do that itself."""
    if bucket.scale is not None:
        torch._foreach_div_(bucket.grads, bucket.scale.reshape(()))
        bucket.scale = None
