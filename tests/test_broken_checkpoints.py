"""Checkpoints that have lost something or hold what cannot be: refused in words, and nothing has moved."""

from __future__ import annotations

import copy

import pytest
import torch

from dotopt.stdlib import Adafactor, AdamW, Lion


def trained(cls=AdamW, backend="auto", steps=3):
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((4, 3), (5,))]
    optimizer = cls(params, lr=0.1, backend=backend)
    for _ in range(steps):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    return optimizer, params


def lose(key, place=0):
    return lambda saved: saved["state"][place].pop(key)


def put(key, value, place=0):
    return lambda saved: saved["state"][place].update({key: value})


BROKEN = {
    "a moment": (lose("exp_avg"), "state of parameter 0 in the checkpoint lacks `exp_avg`, which it says it had"),
    "the count": (lose("step"), "parameter 0 in the checkpoint lacks `step`"),
    "a tensor": (lambda saved: saved["state"].pop(1), "lacks the whole state of parameter 1"),
    "an emptied tensor": (lambda saved: saved["state"].update({1: {}}), "lacks the whole state of parameter 1"),
    "whole numbers": (put("exp_avg", torch.zeros(4, 3, dtype=torch.int64)), "`exp_avg` holds torch.int64"),
    "truths": (put("exp_avg", torch.zeros(4, 3, dtype=torch.bool)), "`exp_avg` holds torch.bool"),
    "a count below 0": (put("step", torch.tensor(-5.0)), "`step` is -5; a number of steps is 0, 1, 2"),
    "no number": (put("step", torch.tensor(float("nan"))), "`step` is nan"),
    "endless": (put("step", torch.tensor(float("inf"))), "`step` is inf"),
    "half a step": (put("step", 2.5), "`step` is 2.5"),
    "a word as a count": (put("step", "three"), "`step` is 'three'; one number belongs there"),
    "a word as a moment": (put("exp_avg", "zeros"), "`exp_avg` is 'zeros'; a tensor belongs there"),
    "a word as a state": (lambda saved: saved["state"].update({0: "word"}), "parameter 0 in the checkpoint is 'word'"),
    "another shape": (put("exp_avg", torch.zeros(3, 4)), r"`exp_avg` has shape \(3, 4\) .* and \(4, 3\) here"),
    "complex": (put("exp_avg", torch.zeros(4, 3, dtype=torch.complex64)), "`exp_avg` is torch.complex64"),
    "no state": (lambda saved: saved.pop("state"), "has `state` and `param_groups`"),
    "no groups": (lambda saved: saved.pop("param_groups"), "has `state` and `param_groups`"),
    "nothing": (lambda saved: saved.clear(), "has `state` and `param_groups`"),
    "groups of words": (lambda saved: saved.update({"param_groups": ["a"]}), "a dictionary with `params`"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_refused_and_nothing_has_moved(case) -> None:
    spoil, message = BROKEN[case]
    optimizer, params = trained()
    saved = copy.deepcopy(optimizer.state_dict())
    before = copy.deepcopy(saved)
    spoil(saved)
    saved.get("param_groups", [{}])[0].update({"lr": 0.5}) if case != "groups of words" else None
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(saved)
    now = optimizer.state_dict()
    assert now["param_groups"] == before["param_groups"]
    for place, state in before["state"].items():
        assert all(torch.equal(state[key], now["state"][place][key]) for key in state)
    assert len(params) == 2


def test_a_tensor_that_was_never_stepped_has_no_state_and_needs_none() -> None:
    a, b = torch.ones(3).requires_grad_(), torch.ones(2).requires_grad_()
    optimizer = Lion([a, b])
    a.grad = torch.ones(3)
    optimizer.step()
    Lion([a, b]).load_state_dict(copy.deepcopy(optimizer.state_dict()))


def test_states_of_torch_with_axes_of_size_one() -> None:
    optimizer, _ = trained(Adafactor)
    saved = optimizer.state_dict()["state"][0]
    assert saved["row_var"].shape == (4, 1) and saved["col_var"].shape == (1, 3)
    other, params = trained(Adafactor, steps=0)
    other.load_state_dict(optimizer.state_dict())
    assert other.state[params[0]]["row_var"].shape == (4,)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_steps_are_counted_beyond_the_precision_of_float32(backend) -> None:
    optimizer, params = trained(backend=backend)
    saved = copy.deepcopy(optimizer.state_dict())
    for state in saved["state"].values():
        state["step"] = torch.tensor(2.0**24 - 2)
    optimizer.load_state_dict(saved)
    for _ in range(6):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    counts = [state["step"] for state in optimizer.state.values()]
    assert [int(count) for count in counts] == [2**24 + 4] * 2
    again, _ = trained(backend=backend)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert all(int(state["step"]) == 2**24 + 4 for state in again.state.values())
