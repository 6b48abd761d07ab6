"""What cannot be the checkpoint of an optimizer: parts that are missing, and values that no step could have left.

Each is a ValueError in the words of the checkpoint, raised before anything has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from dotopt.runtime.rule import Rule

# dtypes in which no state is ever kept (codes are in 8 bits)
WHOLE = (torch.int16, torch.int32, torch.int64, torch.bool)


def groups(given: Mapping[str, Any]) -> list[Any]:
    """The groups of a checkpoint; raises ValueError if this is none."""
    found, state = given.get("param_groups"), given.get("state")
    if not isinstance(found, list | tuple) or not isinstance(state, Mapping):
        raise ValueError("a checkpoint of an optimizer has `state` and `param_groups`, as `state_dict()` gives them")
    if not all(isinstance(group, Mapping) and "params" in group for group in found):
        raise ValueError("every group of a checkpoint is a dictionary with `params`")
    return list(found)


def check(rule: Rule, place: Any, values: Any, had: Iterable[str], counted: bool) -> None:
    """Raises ValueError for the state of one tensor that cannot be one, or has lost something."""
    where = f"the state of parameter {place} in the checkpoint"
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} is {values!r}; a dictionary of tensors belongs there")
    if lost := [key for key in had if key not in values]:
        raise ValueError(f"{where} lacks `{lost[0]}`, which it says it had; load a checkpoint that has it")
    if not values:
        return
    if "step" not in values and counted:
        raise ValueError(f"{where} lacks `step`, the number of steps that {rule.name} has taken")
    keys = {s.key: s for step in rule.steps.values() for s in step.states}
    for key, value in values.items():
        number = key == "step" or (key in keys and keys[key].place in ("clock", "number"))
        if number and _number(value) is None:
            raise ValueError(f"{where}: `{key}` is {value!r}; one number belongs there")
        if key in keys and not number and keys[key].place != "group" and value is not None:
            _check_tensor(f"{where}: `{key}`", value)
    count = _number(values.get("step", 1.0))
    assert count is not None
    if count < 0 or not count.is_integer():  # infinity and NaN are none
        raise ValueError(f"{where}: `step` is {count:g}; a number of steps is 0, 1, 2, …")


def _check_tensor(what: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} is {value!r}; a tensor belongs there")
    if value.dtype in WHOLE:
        raise ValueError(f"{what} holds {value.dtype}; real numbers belong there")


def _number(value: Any) -> float | None:
    """A number or a tensor of one as a float; None for anything else."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 and not value.is_complex() else None
    if isinstance(value, bool):
        return None
    return float(value) if isinstance(value, Real) else None
