"""Checkpoints: loading the state of an optimizer, of an older version of its rule, or of torch's own optimizer.

A state is found by its key, which is the one that torch uses where torch has the rule. A checkpoint says which keys
each tensor had: one that has been lost since is refused. A state that the rule has gained since is filled in if the
file says what it starts with, with a warning, and refused otherwise; nothing is guessed in silence.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dotopt.runtime.optimizer import damage, groups, precision, sharded, signature
from dotopt.runtime.rule import Rule, State, Step
from dotopt.runtime.scalars import Scalar

if TYPE_CHECKING:
    from dotopt.runtime.optimizer import Optimizer

TRAINING_POINT = "training_point"  # where the parameters were when `eval` moved them

# a flag of torch's groups that means nothing to a rule without an option of this name
FOREIGN = ("decoupled_weight_decay",)
# what stays as it was chosen here: a checkpoint in fewer bits or more is converted, one of another backend goes on here
OWN = ("params", "state_dtype", "param_rounding", "differentiable", "fused")
# what torch's groups of these rules always say of their decay
DECOUPLED = {"AdamW": True}
# rules of torch that keep no count
UNCOUNTED = ("SGD",)
# states of which torch keeps an axis that has been summed away, as one of size 1
KEPT_AXES = {("Adafactor", "row_var"): -1, ("Adafactor", "col_var"): -2}


def save(optimizer: Optimizer, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What `state_dict` gives: torch's `plain`, laid out as torch does, with the name of the rule and the keys."""
    state = dict(plain["state"])
    for rule, key in KEPT_AXES:
        if rule != optimizer.rule.name:
            continue
        for place, kept in state.items():
            if isinstance(kept, dict) and key in kept:
                state[place] = state[place] | {key: kept[key].unsqueeze(KEPT_AXES[rule, key])}
    keys = {place: sorted(kept) for place, kept in state.items() if isinstance(kept, dict)}
    return {**plain, "state": state, "rule": optimizer.rule.name, "keys": keys}


def load(optimizer: Optimizer, given: Mapping[str, Any]) -> None:
    """Replace groups and state by those of a checkpoint; nothing changes if something does not fit (ValueError)."""
    given = dict(given)
    for before in optimizer._optimizer_load_state_dict_pre_hooks.values():
        replaced = before(optimizer, given)
        given = given if replaced is None else replaced
    own, saved = optimizer.param_groups, damage.groups(given)
    _check_layout(optimizer, own, saved, given.get("rule"))
    had: Mapping[Any, Any] = given.get("keys", {})
    merged = [_group(optimizer, ours, theirs) for ours, theirs in zip(own, saved, strict=True)]
    names = dict(
        zip(
            chain.from_iterable(group["params"] for group in saved),
            ((p, group, was) for group, was in zip(merged, saved, strict=True) for p in group["params"]),
            strict=True,
        )
    )
    state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
    filled: dict[str, None] = {}
    if lost := [key for key in had if key in names and had[key] and not given["state"].get(key)]:
        raise ValueError(f"the checkpoint lacks the whole state of parameter {lost[0]}, which it says it had")
    for key, values in given["state"].items():
        if key not in names:
            state[key] = values
            continue
        p, group, was = names[key]
        rule = optimizer.rule_of(group)
        damage.check(rule, key, values, had.get(key, ()), counted="rule" in given or rule.name not in UNCOUNTED)
        made = _state(rule, group, p, values, filled, was)
        if made:
            state[p] = made
    if filled:
        warnings.warn(f"{optimizer.rule.name}: not in the checkpoint: {'; '.join(filled)}", stacklevel=3)
    optimizer.__setstate__({"state": state, "param_groups": merged})
    optimizer.training = not any(isinstance(v, dict) and TRAINING_POINT in v for v in state.values())
    for after in optimizer._optimizer_load_state_dict_post_hooks.values():
        after(optimizer)


def _check_layout(optimizer: Optimizer, own: list[Any], saved: list[Any], rule: str | None) -> None:
    if rule is not None and rule != optimizer.rule.name:
        raise ValueError(f"this is a checkpoint of {rule}, not of {optimizer.rule.name}")
    if len(own) != len(saved):
        raise ValueError(f"the checkpoint has {len(saved)} parameter groups, this optimizer {len(own)}")
    for place, (ours, theirs) in enumerate(zip(own, saved, strict=True)):
        if len(ours["params"]) != len(theirs["params"]):
            raise ValueError(
                f"group {place} has {len(theirs['params'])} parameters in the checkpoint and {len(ours['params'])} here"
            )


def _group(optimizer: Optimizer, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """The saved group over our own: our keywords, and what schedulers keep there."""
    rule = optimizer.rule_of(dict(theirs if "rule" in theirs else ours))
    flag, expected = theirs.get("decoupled_weight_decay"), DECOUPLED.get(rule.name)
    if flag is not None and expected is not None and flag != expected:
        raise ValueError(f"the checkpoint has decoupled_weight_decay={flag}, which {rule.name} does not do")
    known = signature.defaults(rule)
    kept = {k: v for k, v in theirs.items() if k not in OWN and (k in known or k not in FOREIGN)}
    for keyword, value in kept.items():
        if isinstance(value, tuple | list) and None in value:  # torch's Adafactor: "choose for me"
            kept[keyword] = tuple(b if a is None else a for a, b in zip(value, ours[keyword], strict=True))
    merged = {**ours, **deepcopy(kept), "params": ours["params"]}
    signature.complete(rule, merged)
    signature.check(rule, merged)
    return merged


def _state(
    rule: Rule,
    group: Mapping[str, Any],
    p: Tensor,
    values: Mapping[str, Any],
    filled: dict[str, None],
    was: Mapping[str, Any],
) -> dict[str, Any]:
    """The state of one tensor, every entry with the dtype, device and shape that the rule keeps it in."""
    values = {key: value for key, value in values.items() if value is not None}
    if not values:
        return {}
    step = rule.step(groups.options_of(rule, dict(group)), p.ndim)
    # torch's SGD keeps no count; its buffers exist after the first step, and that is all that matters to it
    t = float(values.get("step", 1.0))
    capturable = bool(group.get("capturable"))
    hypers = groups.numbers_of(rule, dict(group))
    less, before = precision.of(rule, step, group, p), precision.of(rule, step, was, p)
    beside = precision.more(p, less, 0)
    made: dict[str, Any] = {"step": groups.clock(t, groups.clock_type(t), p, capturable)}
    made |= {k: values[k].to(v.device, v.dtype, copy=True) if k in values else v for k, v in beside.items()}
    for s in step.states:
        format = less.of(s.name)
        if s.place == "group":
            continue
        if s.key not in values:
            made |= precision.fresh(s, _missing(rule, step, s, p, t, filled, hypers), format)
        elif format is not None and format == before.of(s.name):
            made |= precision.kept(s, values, p)
        elif s.place == "clock":
            made[s.key] = groups.clock(float(values[s.key]), torch.float64, p, capturable)
        else:
            value = precision.stored(s, values, before.of(s.name))
            made |= precision.fresh(s, _fitted(step, s, p, value, hypers), format)
    if TRAINING_POINT in values:
        made[TRAINING_POINT] = sharded.filled(torch.empty_like(p).detach(), values[TRAINING_POINT])
    return made


def _missing(
    rule: Rule, step: Step, s: State, p: Tensor, t: float, filled: dict[str, None], hypers: Mapping[str, Scalar]
) -> Tensor:
    if s.start is None and t > 0:
        raise ValueError(
            f"the checkpoint lacks the state `{s.key}` of {rule.name}, which is computed in the first step "
            f"and cannot be made up after {t:g} steps; load a checkpoint that has it, or start anew"
        )
    filled[f"`{s.key}`, which starts from {s.start or 0:g}"] = None
    if s.place == "clock":
        return torch.tensor(s.start or 0.0, dtype=torch.float64)
    return groups.allocate(step, s, p, hypers)


def _fitted(step: Step, s: State, p: Tensor, value: Tensor, hypers: Mapping[str, Scalar]) -> Tensor:
    like = groups.allocate(step, s, p, hypers)
    if value.is_complex() and not like.is_complex():
        raise ValueError(f"the state `{s.key}` is {value.dtype} in the checkpoint and {like.dtype} here")
    if value.shape != like.shape:
        seen = step.pattern.view(tuple(like.shape)) if s.place == "like" else tuple(like.shape)
        if _sizes(tuple(value.shape)) not in (_sizes(tuple(like.shape)), _sizes(seen)):
            raise ValueError(
                f"the state `{s.key}` has shape {tuple(value.shape)} in the checkpoint and {tuple(like.shape)} here"
            )
        value = value.reshape(like.shape)
    return sharded.filled(like, value)


def _sizes(shape: tuple[int, ...]) -> list[int]:
    """A shape without its axes of size 1, which may have been kept or not."""
    return [size for size in shape if size != 1]
