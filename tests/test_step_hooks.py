"""What torch lets others see of a step: hooks, profiles, schedulers; they work when the step is a replayed one too."""

from __future__ import annotations

import pytest
import torch
from torch.optim import optimizer as hooks

import dotopt.stdlib as stdlib


def optimizer():
    p = torch.nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    made = stdlib.Lion([p], lr=0.1)
    for _ in range(3):
        made.step()
    return made


def test_hooks_that_are_added_later_run() -> None:
    one, seen = optimizer(), []
    handles = [
        one.register_step_pre_hook(lambda *_: seen.append("before")),
        one.register_step_post_hook(lambda *_: seen.append("after")),
        hooks.register_optimizer_step_pre_hook(lambda *_: seen.append("any before")),
        hooks.register_optimizer_step_post_hook(lambda *_: seen.append("any after")),
    ]
    one.step()
    for handle in handles:
        handle.remove()
    one.step()
    assert seen == ["any before", "before", "after", "any after"]


def test_a_hook_may_change_the_gradient() -> None:
    one = optimizer()
    (p,) = one.param_groups[0]["params"]
    before = p.detach().clone()

    def spoil(*_):
        p.grad.fill_(-100.0)

    one.register_step_pre_hook(spoil)
    one.step()
    assert bool((p > before).all())


def test_a_profile_names_the_step() -> None:
    one = optimizer()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        one.step()
    assert any(event.key == "Optimizer.step#Lion.step" for event in profile.key_averages())


def test_a_scheduler_sees_that_a_step_was_taken(recwarn: pytest.WarningsRecorder) -> None:
    one = optimizer()
    schedule = torch.optim.lr_scheduler.StepLR(one, 1, 0.5)
    one.step()
    schedule.step()
    assert one.param_groups[0]["lr"] == 0.05
    assert not [w for w in recwarn if "lr_scheduler" in str(w.message)]
