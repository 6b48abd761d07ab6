"""What happens around optimizers in torch programs: subclasses, slices of sharded models, scalers, clipping, groups."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import dotopt
from dotopt.runtime import matrices
from dotopt.stdlib import AMSGD, LAMB, SGD, SOAP, Adam, AdamW, Lion, Shampoo


class Counting(Lion):
    """A user's subclass with a step and an attribute of its own."""

    def __init__(self, params, *args, **keywords) -> None:
        super().__init__(params, *args, **keywords)
        self.count = 0

    def step(self, closure=None):
        self.count += 1
        return super().step(closure)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_a_subclass_stays_what_it_is(make) -> None:
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.ones(3)
    optimizer = Counting([p], lr=0.1)
    optimizer.step()
    other = make(optimizer)
    (q,) = other.param_groups[0]["params"]
    q.grad = torch.ones(3)
    other.step()
    p.grad = torch.ones(3)
    optimizer.step()
    assert type(other) is Counting and other.count == optimizer.count == 2 and torch.equal(p, q)


# ---- slices ----


def flat(shape, mark):
    p = nn.Parameter(torch.ones(shape))
    setattr(p, mark, True)
    return p


@pytest.mark.parametrize("mark", ["_is_flat_param", "_fsdp_flattened"])
def test_flat_slices_are_for_rules_that_move_entries(mark) -> None:
    for cls in (AdamW, SGD, Lion, Adam):
        cls([flat(6, mark)])
    for cls in (LAMB, Shampoo, AMSGD):
        with pytest.raises(ValueError, match=f"{cls.__name__} looks at whole tensors, .* `parameter 0`.*fully_shard"):
            cls([flat(6, mark)])


def test_real_flat_parameters_of_fsdp1_carry_these_marks() -> None:
    names = pytest.importorskip("torch.distributed.fsdp._common_utils")
    assert names.FSDP_FLATTENED == "_fsdp_flattened"
    flat_parameter = pytest.importorskip("torch.distributed.fsdp._flat_param").FlatParameter
    assert isinstance(flat((6,), "_is_flat_param"), flat_parameter)


def test_a_share_of_zero_is_refused_where_the_rule_sums_over_the_model(tmp_path) -> None:
    import torch.distributed as dist

    if not dist.is_available():
        pytest.skip("this torch has no torch.distributed")
    from torch.distributed.optim import ZeroRedundancyOptimizer

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        params = [nn.Parameter(torch.ones(3))]
        ZeroRedundancyOptimizer(params, AdamW, lr=0.1)
        with pytest.raises(ValueError, match="AMSGD sums over all parameters, and ZeroRedundancyOptimizer"):
            ZeroRedundancyOptimizer(params, AMSGD, lr=0.1)
    finally:
        dist.destroy_process_group()


# ---- attach ----


def attached(**options):
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    return model, dotopt.attach(model, AdamW, lr=0.1, **options)


def test_accumulation_is_warned_of_once() -> None:
    model, optimizer = attached()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(1, 3)).sum().backward()
            optimizer.step()
        model(torch.ones(1, 3)).sum().backward()
        model(torch.ones(1, 3)).sum().backward()
    with pytest.warns(UserWarning, match="2 backward passes came before this `step.*release=False"):
        optimizer.step()


def test_clipping_after_release_is_refused() -> None:
    model, optimizer = attached()
    model(torch.ones(1, 3)).sum().backward()
    for clip in (torch.nn.utils.clip_grad_norm_, torch.nn.utils.clip_grad_value_):
        with pytest.raises(RuntimeError, match="stepped and freed inside `backward`.*release=False"):
            clip(model.parameters(), 1.0)
    optimizer.detach()
    model(torch.ones(1, 3)).sum().backward()
    assert torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0) > 0
    other, _ = attached(release=False)
    other(torch.ones(1, 3)).sum().backward()
    assert torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0) > 0


def test_a_scaler_is_refused_with_the_cure_and_works_without_release() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    model, optimizer = attached()
    scaler.scale(model(torch.ones(1, 3)).sum()).backward()
    with pytest.raises(RuntimeError, match="GradScaler scales the loss.*release=False"):
        scaler.step(optimizer)
    one, first = attached(release=False)
    two, second = attached(release=False)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(one(torch.ones(1, 3)).sum()).backward()
    scaler.step(first)
    scaler.update()
    two(torch.ones(1, 3)).sum().backward()
    second.step()
    torch.testing.assert_close(one.weight, two.weight)


def test_a_group_for_the_hooks_needs_no_rule() -> None:
    model = nn.Linear(3, 2)
    optimizer = dotopt.attach(model, SOAP, rest=AdamW)
    more = nn.Linear(2, 2)
    optimizer.add_param_group({"params": list(more.named_parameters(prefix="more"))})
    assert [group["rule"] for group in optimizer.param_groups[2:]] == ["SOAP", "AdamW"]
    more(torch.ones(1, 2)).sum().backward()
    assert more.weight.grad is None


# ---- flags and numbers ----


def test_numbers_that_are_no_floats() -> None:
    p = nn.Parameter(torch.ones(3))
    for value in (np.float32(0.1), np.float64(0.1), np.int64(1), 1):
        Lion([p], lr=value)
    for value in (True, np.bool_(True), "0.1", None):
        with pytest.raises(TypeError, match="is not a number"):
            Lion([p], lr=value)


def test_flags_at_odds() -> None:
    p = nn.Parameter(torch.ones(3))
    for options in ({"fused": True, "foreach": True}, {"fused": True, "differentiable": True}):
        with pytest.raises(RuntimeError, match="exclude each other"):
            AdamW([p], **options)
    with pytest.raises(RuntimeError, match="backend='torch' for none"):
        AdamW([p], fused=True, backend="torch")
    with pytest.raises(ValueError, match="fused='yes'"):
        AdamW([p], fused="yes")


def test_decoupled_decay_of_adam_is_that_of_torch() -> None:
    for decoupled in (False, True):
        ours, theirs = nn.Parameter(torch.ones(3).double()), nn.Parameter(torch.ones(3).double())
        options = {"lr": 0.1, "weight_decay": 0.3, "decoupled_weight_decay": decoupled}
        first, second = Adam([ours], **options), torch.optim.Adam([theirs], **options)
        for _ in range(3):
            ours.grad, theirs.grad = 2 * ours.detach(), 2 * theirs.detach()
            first.step()
            second.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_decompositions_of_what_is_not_finite_are_nan_and_leave_the_others_alone() -> None:
    good = torch.eye(3).mul(2.0)
    stack = torch.stack([torch.full((3, 3), torch.nan), good])
    for word in (matrices.polar, matrices.eigenvectors, matrices.top_eigenvector, matrices.svdvals):
        (found,) = word([stack])
        assert found[0].isnan().all() and found[1].isfinite().all()
    for word in (matrices.spectral_norm, matrices.spectral_radius):
        (found,) = word([stack])
        assert found[0].isnan() and found[1] == 2
    (found,) = matrices.matrix_power([stack], -1.0)
    assert found[0].isnan().all() and torch.allclose(found[1], good.inverse())
    (found,) = matrices.inverse([torch.zeros(2, 2)])
    assert found.isnan().all()
    (found,) = matrices.solve([torch.zeros(2, 2)], [torch.ones(2)])
    assert found.isnan().all()
