"""Checkpoints: bit for bit, through files, between backends, from and to torch.optim, and after the rule has
changed.
"""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch

import dotopt
import dotopt.stdlib as stdlib
from dotopt.stdlib import EMA, SGD, AdamW, Adan, Lion, Lookahead, NAdam, Prodigy, ScheduleFreeAdamW, SGDSaI, Shampoo

SHAPES = ((4, 3), (5,), (2, 3, 2))


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in SHAPES]


def steps(optimizer, params, first, count):
    for step in range(first, first + count):
        for i, p in enumerate(params):
            generator = torch.Generator().manual_seed(100 * step + i)
            p.grad = torch.randn(p.shape, dtype=torch.float64, generator=generator).to(p.dtype)
        optimizer.step()


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def copied(params):
    return [p.detach().clone().requires_grad_() for p in params]


RULES = {
    "AdamW": (AdamW, {"amsgrad": True}),
    "Adan": (Adan, {}),
    "NAdam": (NAdam, {}),
    "Prodigy": (Prodigy, {}),
    "Shampoo": (Shampoo, {}),
    "SGDSaI": (SGDSaI, {}),
    "ScheduleFreeAdamW": (ScheduleFreeAdamW, {"warmup_steps": 4}),
    "Lookahead(Lion)": (Lookahead(Lion), {"k": 3}),
}


@pytest.mark.parametrize("case", RULES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_loaded_optimizer_goes_on_bit_for_bit(case, dtype) -> None:
    cls, options = RULES[case]
    params = tensors(dtype)
    optimizer = cls(params, lr=0.01, **options, backend="torch")
    steps(optimizer, params, 0, 4)
    others = copied(params)
    other = cls(others, backend="torch")
    other.load_state_dict(through_a_file(optimizer.state_dict()))
    for saved, loaded in zip(
        optimizer.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True
    ):
        assert saved.keys() == loaded.keys()
        assert all(saved[key].dtype == loaded[key].dtype and torch.equal(saved[key], loaded[key]) for key in saved)
    steps(optimizer, params, 4, 4)
    steps(other, others, 4, 4)
    torch.testing.assert_close(others, params, rtol=0, atol=0)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("case", RULES)
def test_a_copy_goes_on_bit_for_bit(case, make) -> None:
    cls, options = RULES[case]
    params = tensors()
    optimizer = cls(params, lr=0.01, **options, backend="torch")
    steps(optimizer, params, 0, 4)
    other = make(optimizer)
    assert type(other) is cls and other.backend == "torch"
    others = other.param_groups[0]["params"]
    assert all(a is not b for a, b in zip(others, params, strict=True))
    steps(optimizer, params, 4, 4)
    steps(other, others, 4, 4)
    torch.testing.assert_close(others, params, rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["AdamW", "Lion", "NAdam", "Prodigy"])
@pytest.mark.parametrize(("first", "second"), [("torch", "auto"), ("auto", "torch")])
def test_a_checkpoint_travels_between_backends(rule, first, second) -> None:
    cls = getattr(stdlib, rule)
    params, whole = tensors(), tensors()
    optimizer = cls(params, lr=0.01, backend=first)
    steps(optimizer, params, 0, 4)
    other = cls(params, backend=second)
    other.load_state_dict(through_a_file(optimizer.state_dict()))
    steps(other, params, 4, 4)
    steps(cls(whole, lr=0.01, backend="torch"), whole, 0, 8)
    torch.testing.assert_close(params, whole, rtol=1e-9, atol=1e-12)


TORCH = {
    "AdamW": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1}),
    "AdamW amsgrad": ("AdamW", {"lr": 0.01, "betas": (0.8, 0.9), "amsgrad": True}),
    "Adam": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "Adam decoupled": ("Adam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "SGD": ("SGD", {"lr": 0.05}),
    "SGD momentum": ("SGD", {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1}),
    "SGD nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "RMSprop": ("RMSprop", {"lr": 0.01}),
    "RMSprop centered": ("RMSprop", {"lr": 0.01, "momentum": 0.4, "centered": True}),
    "NAdam": ("NAdam", {"lr": 0.01, "momentum_decay": 0.02, "weight_decay": 0.1}),
    "NAdam decoupled": ("NAdam", {"lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    "RAdam": ("RAdam", {"lr": 0.01, "weight_decay": 0.1}),
    "Adagrad": ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    "Adadelta": ("Adadelta", {"lr": 0.5, "rho": 0.8}),
    "Adamax": ("Adamax", {"lr": 0.01}),
    "Rprop": ("Rprop", {"lr": 0.02}),
    "ASGD": ("ASGD", {"lr": 0.02, "lambd": 0.01}),
    "Adafactor": ("Adafactor", {"lr": 0.02, "eps": (1e-6, 1e-3), "weight_decay": 0.1}),
}


@pytest.fixture
def double():
    """torch's scalar states in double precision, so that nothing is lost in translation."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.filterwarnings("ignore:.*not in the checkpoint")
@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("case", TORCH)
@pytest.mark.parametrize("direction", ["into ours", "and back"])
def test_a_running_checkpoint_of_torch_continues(case, direction, backend, double) -> None:
    name, options = TORCH[case]
    theirs, ours = getattr(torch.optim, name), getattr(stdlib, name)
    params, whole = tensors(), tensors()
    uninterrupted = theirs(whole, **options)
    steps(uninterrupted, whole, 0, 12)
    start = theirs(params, **options)
    steps(start, params, 0, 4)
    flags = {k: v for k, v in options.items() if isinstance(v, bool)}
    middle = ours(params, **flags, backend=backend)
    middle.load_state_dict(through_a_file(start.state_dict()))
    steps(middle, params, 4, 4)
    end = middle
    if direction == "and back":
        end = theirs(params, **options)
        end.load_state_dict(through_a_file(middle.state_dict()))
    steps(end, params, 8, 4)
    torch.testing.assert_close(params, whole, rtol=1e-9, atol=1e-12)
    assert end.param_groups[0]["lr"] == options["lr"]


def test_adam_and_adamw_are_told_apart() -> None:
    params = tensors()
    theirs = torch.optim.Adam(params)
    steps(theirs, params, 0, 1)
    with pytest.raises(ValueError, match="decoupled_weight_decay=False, which AdamW does not do"):
        stdlib.AdamW(params).load_state_dict(theirs.state_dict())


def test_a_checkpoint_of_another_rule_or_another_layout_is_refused() -> None:
    params = tensors()
    lion = Lion(params)
    steps(lion, params, 0, 1)
    with pytest.raises(ValueError, match="a checkpoint of Lion, not of AdamW"):
        AdamW(params).load_state_dict(lion.state_dict())
    with pytest.raises(ValueError, match="group 0 has 3 parameters in the checkpoint and 2 here"):
        Lion(params[:2]).load_state_dict(lion.state_dict())
    with pytest.raises(ValueError, match="1 parameter groups, this optimizer 2"):
        Lion([{"params": params[:2]}, {"params": params[2:]}]).load_state_dict(lion.state_dict())


def test_a_checkpoint_with_tensors_of_other_shapes_changes_nothing() -> None:
    params = tensors()
    optimizer = Lion(params, lr=0.5)
    steps(optimizer, params, 0, 1)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lr"] = 0.25
    state["state"][1]["exp_avg"] = torch.zeros(99)
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"`exp_avg` has shape \(99,\) in the checkpoint and \(5,\) here"):
        optimizer.load_state_dict(state)
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert all(
        torch.equal(a["exp_avg"], b["exp_avg"])
        for a, b in zip(before["state"].values(), optimizer.state_dict()["state"].values(), strict=True)
    )


HEAVY_BALL = """rule HeavyBall
objective f
param θ : real[...]
hyper η as lr >= 0 = 0.1
hyper μ in [0, 1) = 0.9
state b as buffer : like θ = 0
{more}
b' = μ*b + ∇f(θ)
θ' = θ - η*b'
"""


def test_a_rule_that_gained_a_state(tmp_path) -> None:
    old, constant, first = tmp_path / "old.opt", tmp_path / "constant.opt", tmp_path / "first.opt"
    old.write_text(HEAVY_BALL.format(more=""))
    constant.write_text(
        HEAVY_BALL.format(more="state n as count : like θ = 2\nn' = n + 1\n").replace("η*b'", "η*b'/n'")
    )
    first.write_text(
        HEAVY_BALL.format(more="state p as start : like θ = first θ\n").replace("η*b'", "η*(b' + θ - p)")
    )
    params = tensors()
    optimizer = dotopt.load(old).HeavyBall(params)
    steps(optimizer, params, 0, 2)
    state = copy.deepcopy(optimizer.state_dict())
    grown = dotopt.load(constant).HeavyBall(params)
    with pytest.warns(UserWarning, match="HeavyBall: not in the checkpoint: `count`, which starts from 2"):
        grown.load_state_dict(state)
    assert torch.equal(grown.state[params[0]]["count"], torch.full_like(params[0], 2))
    with pytest.raises(ValueError, match="lacks the state `start` of HeavyBall, which is computed in the first step"):
        dotopt.load(first).HeavyBall(params).load_state_dict(state)
    shrunk = dotopt.load(old).HeavyBall(params)
    shrunk.load_state_dict(grown.state_dict())
    assert set(shrunk.state[params[0]]) == {"step", "buffer"}


def test_user_hooks_see_the_checkpoint() -> None:
    params = tensors()
    optimizer = Lion(params)
    steps(optimizer, params, 0, 1)
    seen = []
    optimizer.register_state_dict_post_hook(lambda o, state: state | {"mark": 1})
    state = optimizer.state_dict()
    optimizer.register_load_state_dict_pre_hook(lambda o, given: seen.append(given.pop("mark")))
    optimizer.register_load_state_dict_post_hook(lambda o: seen.append("loaded"))
    optimizer.load_state_dict(state)
    assert seen == [1, "loaded"]


def test_frozen_and_shared_states_survive() -> None:
    params = tensors()
    optimizer = SGDSaI(params, lr=0.1)
    steps(optimizer, params, 0, 3)
    other = SGDSaI(params)
    other.load_state_dict(optimizer.state_dict())
    assert all(torch.equal(optimizer.state[p]["gsnr"], other.state[p]["gsnr"]) for p in params)
    prodigy = Prodigy(params, backend="torch")
    steps(prodigy, params, 0, 3)
    shared = prodigy.param_groups[0]["shared"]
    assert set(shared) == {"d", "d_max", "d_numerator"} and shared["d_numerator"] != 0
    again = Prodigy(params)
    again.load_state_dict(through_a_file(prodigy.state_dict()))
    assert again.param_groups[0]["shared"] == shared


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize("make", [ScheduleFreeAdamW, EMA(SGD)], ids=["schedule-free", "ema"])
def test_evaluation_mode_is_safe_for_steps_and_checkpoints(make, backend) -> None:
    params = tensors()
    optimizer = make(params, lr=0.1, backend=backend)
    optimizer.eval()
    optimizer.train()
    steps(optimizer, params, 0, 3)
    training = [p.detach().clone() for p in params]
    optimizer.eval()
    optimizer.eval()
    shown = [p.detach().clone() for p in params]
    assert all(not torch.allclose(a, b) for a, b in zip(training, shown, strict=True))
    with pytest.raises(RuntimeError, match="call `train"):
        optimizer.step()
    saved = through_a_file(optimizer.state_dict())
    others = copied(params)  # a model saved in evaluation mode
    other = make(others, lr=0.1, backend=backend)
    other.load_state_dict(saved)
    other.train()
    optimizer.train()
    torch.testing.assert_close(params, training, rtol=0, atol=0)
    torch.testing.assert_close(others, training, rtol=0, atol=0)
    steps(optimizer, params, 3, 3)
    steps(other, others, 3, 3)
    torch.testing.assert_close(others, params, rtol=0, atol=0)
