"""What a user gives: groups, hyperparameters, options, names, schedules; and how wrong ones are refused."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR, StepLR

from dotopt.stdlib import SGD, AdaBelief, AdamW, Lion, Muon, Prodigy


def tensors(*shapes, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes]


def gradients(params, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for p in params:
        p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)


def run(optimizer, params, steps=5):
    for step in range(steps):
        gradients(params, step)
        optimizer.step()
    return [p.detach().clone() for p in params]


def test_signature_is_that_of_torch() -> None:
    assert str(inspect.signature(Lion)) == (
        "(params, lr=0.0001, betas=(0.9, 0.99), weight_decay=0, *, "
        "foreach=None, maximize=False, capturable=False, differentiable=False, fused=None, state_dtype=None, "
        "param_rounding=None, backend='auto')"
    )


def test_positional_values_are_those_of_the_signature() -> None:
    (p,) = tensors((3,))
    group = AdamW([p], 0.01, (0.8, 0.9)).param_groups[0]
    assert (group["lr"], group["betas"], group["eps"]) == (0.01, (0.8, 0.9), 1e-8)


def test_a_default_that_follows_from_another_value() -> None:
    (p,) = tensors((3,))
    assert Prodigy([p], betas=(0.9, 0.64)).param_groups[0]["beta3"] == pytest.approx(0.8)
    assert Prodigy([p], betas=(0.9, 0.64), beta3=0.5).param_groups[0]["beta3"] == 0.5


def test_groups_with_hyperparameters_of_their_own_equal_optimizers_of_their_own() -> None:
    first, second = tensors((3, 4), (5,)), tensors((3, 4), (5,))
    together = AdamW(
        [{"params": first[:1], "lr": 0.1}, {"params": first[1:], "betas": [0.5, 0.6], "amsgrad": True}],
        weight_decay=0.3,
    )
    run(together, first)
    run(AdamW(second[:1], lr=0.1, weight_decay=0.3), second[:1])
    generator_matches = AdamW(second[1:], betas=(0.5, 0.6), amsgrad=True, weight_decay=0.3)
    for step in range(5):
        gradients(second, step)
        generator_matches.step()
    torch.testing.assert_close(first[1], second[1], rtol=1e-12, atol=0)


def test_add_param_group_in_the_middle_has_a_clock_of_its_own() -> None:
    a, b, alone = tensors((3,), (4,), (4,))
    with torch.no_grad():
        alone.copy_(b)
    optimizer = AdamW([a], lr=0.1)
    run(optimizer, [a], 3)
    optimizer.add_param_group({"params": [b], "lr": 0.02})
    other = AdamW([alone], lr=0.02)
    for step in range(4):
        a.grad = torch.ones_like(a)
        b.grad = torch.full_like(b, step - 1.5)
        alone.grad = b.grad.clone()
        optimizer.step()
        other.step()
    torch.testing.assert_close(b, alone, rtol=1e-12, atol=0)
    assert (optimizer.state[a]["step"], optimizer.state[b]["step"]) == (7, 4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"weight_decya": 0.1},
            TypeError,
            "did you mean `weight_decay`.*lr, betas, weight_decay, foreach, maximize, capturable, differentiable",
        ),
        ({"lr": -1.0}, ValueError, r"lr=-1.0 is out of range: `hyper η as lr >= 0`"),
        ({"betas": (0.9, 1.0)}, ValueError, r"betas\[1\]=1.0 is out of range: `hyper β2 as betas\[1\] in \[0, 1\)`"),
        ({"betas": 0.9}, ValueError, "betas=0.9 must be a tuple of 2 numbers"),
        ({"lr": float("nan")}, ValueError, "lr=nan is out of range"),
        ({"lr": "fast"}, TypeError, "lr='fast' is not a number"),
        ({"lr": torch.ones(2)}, ValueError, "lr must be one number"),
        ({"backend": "fpga"}, ValueError, "backend='fpga'.*'auto', 'torch'"),
    ],
)
def test_refused_at_construction(options, error, message) -> None:
    with pytest.raises(error, match=message):
        Lion(tensors((3,)), **options)


def test_an_option_outside_its_values_and_a_fractional_count_are_refused() -> None:
    with pytest.raises(ValueError, match="adjust_lr_fn='other'.*'original', 'match_rms_adamw'"):
        Muon(tensors((3, 3)), adjust_lr_fn="other")
    with pytest.raises(ValueError, match="amsgrad=1 is not a value"):
        AdamW(tensors((3, 3)), amsgrad=1)
    with pytest.raises(ValueError, match="ns_steps=2.5 must be a whole number"):
        Muon(tensors((3, 3)), ns_steps=2.5)
    with pytest.raises(TypeError, match="got lr twice"):
        AdamW(tensors((3, 3)), 0.1, lr=0.1)


def test_a_refused_group_leaves_the_optimizer_as_it_was() -> None:
    a, b = tensors((3,), (3,))
    optimizer = Lion([a])
    with pytest.raises(TypeError, match="did you mean `weight_decay`"):
        optimizer.add_param_group({"params": [b], "weight_decya": 1})
    with pytest.raises(TypeError, match="int64"):
        optimizer.add_param_group({"params": [torch.zeros(3, dtype=torch.int64)]})
    assert len(optimizer.param_groups) == 1


def test_a_value_that_a_schedule_made_illegal_stops_the_step_before_anything_moves() -> None:
    params = tensors((3,), (4, 2))
    optimizer = AdamW([{"params": params[:1]}, {"params": params[1:]}])
    run(optimizer, params, 2)
    before = [p.detach().clone() for p in params]
    optimizer.param_groups[1]["lr"] = -0.1
    gradients(params)
    with pytest.raises(ValueError, match="lr=-0.1"):
        optimizer.step()
    torch.testing.assert_close(params, before, rtol=0, atol=0)
    assert optimizer.state[params[0]]["step"] == 2


def test_names_are_kept_in_the_state_and_used_in_errors() -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = AdamW(model.named_parameters())
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    with pytest.raises(ValueError, match=r"Shampooed|SOAP needs exactly two axes .*; `bias` has shape \(2,\)"):
        from dotopt.stdlib import SOAP

        SOAP(model.named_parameters())


def test_repr_shows_the_rule() -> None:
    text = repr(Lion(tensors((3,))))
    assert "lr: 0.0001" in text and "x' = (1 - η*λ)*x - η*sign(c)" in text


@pytest.mark.parametrize("backend", ["torch", "auto"])
@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: StepLR(o, 2, 0.3),
        lambda o: CosineAnnealingLR(o, 7),
        lambda o: OneCycleLR(o, max_lr=0.1, total_steps=12, base_momentum=0.7, max_momentum=0.95),
    ],
    ids=["step", "cosine", "one cycle with momentum"],
)
def test_schedules_act_as_on_torch(schedule, backend) -> None:
    ours, theirs = tensors((3, 4), (5,)), tensors((3, 4), (5,))
    pairs = [(AdamW(ours, lr=0.05, backend=backend), ours), (torch.optim.AdamW(theirs, lr=0.05), theirs)]
    for optimizer, params in pairs:
        scheduler = schedule(optimizer)
        for step in range(10):
            gradients(params, step)
            optimizer.step()
            scheduler.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_momentum_cycles_too_where_the_rule_has_momentum() -> None:
    ours, theirs = tensors((3, 4), (5,)), tensors((3, 4), (5,))
    pairs = [(SGD(ours, lr=0.05, momentum=0.9), ours), (torch.optim.SGD(theirs, lr=0.05, momentum=0.9), theirs)]
    for optimizer, params in pairs:
        scheduler = OneCycleLR(optimizer, max_lr=0.1, total_steps=12)
        for step in range(10):
            gradients(params, step)
            optimizer.step()
            scheduler.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_the_learning_rate_as_a_tensor() -> None:
    ours, theirs = tensors((3, 4)), tensors((3, 4))
    rate = torch.tensor(0.05, dtype=torch.float64)
    optimizer = AdamW(ours, lr=rate)
    run(optimizer, ours, 3)
    rate.mul_(0.5)
    run(optimizer, ours, 3)
    other = AdamW(theirs, lr=0.05)
    run(other, theirs, 3)
    other.param_groups[0]["lr"] = 0.025
    run(other, theirs, 3)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=0)


def test_hooks_run_around_the_step() -> None:
    (p,) = tensors((3,))
    optimizer = Lion([p])
    seen = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", p.detach().clone())))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("after", p.detach().clone())))
    gradients([p])
    optimizer.step()
    assert [when for when, _ in seen] == ["before", "after"] and not torch.equal(seen[0][1], seen[1][1])


@pytest.mark.parametrize("set_to_none", [True, False])
def test_zero_grad(set_to_none) -> None:
    (p,) = tensors((3,))
    optimizer = Lion([p])
    gradients([p])
    optimizer.zero_grad(set_to_none=set_to_none)
    assert (p.grad is None) if set_to_none else torch.equal(p.grad, torch.zeros_like(p))


def test_every_combination_of_options_runs() -> None:
    for rectify in (False, True):
        for amsgrad in (False, True):
            for decouple in (False, True):
                params = tensors((3, 2), (4,))
                options = {"rectify": rectify, "amsgrad": amsgrad, "weight_decouple": decouple, "weight_decay": 0.1}
                moved = run(AdaBelief(params, **options, backend="torch"), params, 8)
                assert all(torch.isfinite(p).all() for p in moved)
