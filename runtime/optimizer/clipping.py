"""Clipping by the norm of all gradients, where they are stepped and freed inside `backward`: refused.

`torch.nn.utils.clip_grad_norm_` would find no gradient, return 0 and say nothing, and torch offers no hook on it. So
as soon as an optimizer releases gradients the function is replaced, for good, by one that looks at whose parameters it
is given and then does the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

NAMES = ("clip_grad_norm_", "clip_grad_value_")

releasing: WeakSet[Any] = WeakSet()  # optimizers with `hooks`, by parameter


def watch(optimizer: Any) -> None:
    """Refuse from now on to clip gradients that this optimizer has released."""
    releasing.add(optimizer)
    for name in NAMES:
        original = getattr(torch.nn.utils, name)
        if not hasattr(original, "watches_released"):
            guarded = _guarded(original)
            setattr(torch.nn.utils, name, guarded)
            setattr(torch.nn.utils.clip_grad, name, guarded)


def _guarded(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def clip(parameters: Any, *args: Any, **keywords: Any) -> Any:
        given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        if any(p in optimizer.hooks for optimizer in releasing for p in given):
            raise RuntimeError(
                f"{original.__name__}: the gradients were stepped and freed inside `backward` (`dotopt.attach`), so "
                "there is nothing to clip; use `attach(…, release=False)`"
            )
        return original(given, *args, **keywords)

    clip.watches_released = True  # type: ignore[attr-defined]
    return clip
