"""What users of `torch.optim` rely on, as functions of an optimizer class and a backend; each raises if it fails.

They are torch's own expectations of an optimizer, written for rules of any kind: `Case` makes parameters that a rule
accepts, gives them gradients and steps, by a closure where the rule asks for one.
"""

from __future__ import annotations

import copy
import gc
import io
import pickle
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim import optimizer as hooks

Tensors = list[torch.Tensor]
BEHAVIOURS: dict[str, Callable[[Case], None]] = {}


def behaviour(check: Callable[[Case], None]) -> Callable[[Case], None]:
    BEHAVIOURS[check.__name__] = check
    return check


@dataclass(frozen=True)
class Case:
    """An optimizer class on a backend: `torch`, `tensor` (one by one) or `cpu`."""

    cls: Any
    backend: str

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        fits = self.cls.rule.misfit if hasattr(self.cls.rule, "misfit") else self.cls.rule.pattern.misfit
        return tuple(shape for shape in ((4, 3), (5,), (2, 5), ()) if fits(len(shape)) is None)

    def params(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensors:
        generator = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in self.shapes]

    def make(self, params: Any, **options: Any) -> Any:
        if self.backend == "tensor":
            return self.cls(params, **{"foreach": False, "backend": "torch", **options})
        return self.cls(params, **{"backend": self.backend if self.backend != "cpu" else "auto", **options})

    def loss(self, params: Tensors, number: int) -> torch.Tensor:
        """A quadratic around a point of its own for each step."""
        generator = torch.Generator().manual_seed(1000 + number)
        total = torch.zeros((), dtype=torch.float64)
        for p in params:
            target = torch.randn(p.shape, dtype=torch.float64, generator=generator).to(p.dtype)
            total = total + (0.5 * (p - target).abs() ** 2).sum().double()
        return total

    def step(self, optimizer: Any, params: Tensors, number: int) -> None:
        optimizer.zero_grad()
        if self.cls.rule.reasons:
            optimizer.step(lambda: self.loss(params, number))
        else:
            self.loss(params, number).backward()
            optimizer.step()

    def steps(self, optimizer: Any, params: Tensors, count: int = 4, first: int = 0) -> Tensors:
        for number in range(first, first + count):
            self.step(optimizer, params, number)
        return values(params)

    def trained(self, count: int = 3, **options: Any) -> tuple[Any, Tensors]:
        params = self.params()
        optimizer = self.make(params, **options)
        self.steps(optimizer, params, count)
        return optimizer, params

    @property
    def lr(self) -> str | None:
        """The keyword of the learning rate, if the rule has one."""
        return "lr" if "lr" in self.cls.__signature__.parameters else None


def values(params: Tensors) -> Tensors:
    return [p.detach().clone() for p in params]


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def same(first: Tensors, second: Tensors) -> None:
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


def exactly(first: Tensors, second: Tensors) -> None:
    torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)


# ---- groups and hyperparameters ----


@behaviour
def groups_share_numbers(case: Case) -> None:
    one, two = case.params(), case.params()
    case.steps(case.make([{"params": one[:1]}, {"params": one[1:]}]), one)
    case.steps(case.make([{"params": two[:1]}, {"params": two[1:]}], foreach=False, backend="torch"), two)
    same(one, two)


@behaviour
def unknown_keys_of_groups_are_kept(case: Case) -> None:
    params = case.params()
    optimizer = case.make([{"params": params, "lr_scale": 0.5, "tag": "body"}])
    case.steps(optimizer, params)
    assert optimizer.param_groups[0]["lr_scale"] == 0.5
    other = case.make(params)
    other.load_state_dict(through_a_file(optimizer.state_dict()))
    assert other.param_groups[0]["tag"] == "body" and copy.deepcopy(optimizer).param_groups[0]["tag"] == "body"
    with pytest.raises(TypeError):
        case.make(params, lr_scale=0.5)


@behaviour
def groups_of_torch_are_taken(case: Case) -> None:
    params = case.params()
    groups = torch.optim.SGD(params, lr=0.01).param_groups
    optimizer = case.make([dict(group) for group in groups])
    case.steps(optimizer, params)
    if case.lr:
        assert optimizer.param_groups[0]["lr"] == 0.01


@behaviour
def numbers_of_numpy(case: Case) -> None:
    if case.lr is None:
        return
    one, two = case.params(), case.params()
    case.steps(case.make(one, lr=np.float32(0.125)), one)
    case.steps(case.make(two, lr=0.125), two)
    exactly(one, two)


@behaviour
def lr_as_a_tensor(case: Case) -> None:
    if case.lr is None:
        return
    one, two = case.params(), case.params()
    case.steps(case.make(one, lr=torch.tensor(0.01, dtype=torch.float64)), one)
    case.steps(case.make(two, lr=0.01), two)
    exactly(one, two)


@behaviour
def duplicates_and_strangers_are_refused(case: Case) -> None:
    params = case.params()
    with pytest.raises(TypeError):
        case.make(params[0])
    with pytest.raises((TypeError, ValueError)):
        case.make(["not a tensor"])
    with pytest.raises(ValueError):
        case.make([])
    with pytest.raises(ValueError):
        case.make([{"params": params[:1]}, {"params": params[:1]}])
    with pytest.raises(ValueError):
        case.make([params[0] * 2])
    if case.lr:
        with pytest.raises(ValueError):
            case.make(params, lr=-1.0)


@behaviour
def groups_are_added_later(case: Case) -> None:
    params = case.params()
    optimizer = case.make(params[:1])
    case.steps(optimizer, params, 2)
    optimizer.add_param_group({"params": params[1:]})
    before = values(params)
    case.steps(optimizer, params, 3, 2)
    assert all(not torch.equal(a, b) for a, b in zip(before, params, strict=True))


@behaviour
def names_of_parameters(case: Case) -> None:
    one, two = case.params(), case.params()
    optimizer = case.make([(f"layer.{i}", p) for i, p in enumerate(one)])
    case.steps(optimizer, one)
    saved = through_a_file(optimizer.state_dict())
    assert saved["param_groups"][0]["param_names"][0] == "layer.0"
    other = case.make(two)
    other.load_state_dict(saved)


@behaviour
def schedules(case: Case) -> None:
    if case.lr is None:
        return
    for make in (
        lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=3),
        lambda o: lr_scheduler.LinearLR(o, start_factor=0.5, total_iters=2),
        lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.1, 2), lr_scheduler.ExponentialLR(o, 0.9)], milestones=[2]
        ),
        lambda o: lr_scheduler.LambdaLR(o, lambda k: 1 / (k + 1)),
    ):
        params = case.params()
        optimizer = case.make(params)
        schedule = make(optimizer)
        for number in range(5):
            case.step(optimizer, params, number)
            schedule.step(1.0) if isinstance(schedule, lr_scheduler.ReduceLROnPlateau) else schedule.step()
        assert all(torch.isfinite(p).all() for p in params)


@behaviour
def a_learning_rate_of_zero_moves_nothing_far(case: Case) -> None:
    if case.lr is None:
        return
    optimizer, params = case.trained()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    case.steps(optimizer, params, 2, 3)
    assert all(torch.isfinite(p).all() for p in params)


# ---- ways to run ----


@behaviour
def one_by_one_is_all_at_once(case: Case) -> None:
    one, two = case.params(), case.params()
    case.steps(case.make(one), one, 6)
    case.steps(case.make(two, foreach=False, backend="torch"), two, 6)
    same(one, two)


@behaviour
def fused_is_the_kernels(case: Case) -> None:
    if case.backend != "cpu":
        return
    one, two = case.params(), case.params()
    try:
        case.steps(case.make(one, fused=True), one)
    except RuntimeError as error:
        assert "fused" in str(error)
        return
    case.steps(case.make(two), two)
    exactly(one, two)
    with pytest.raises(RuntimeError):
        case.make(one, fused=True, foreach=True)


@behaviour
def torch_flags(case: Case) -> None:
    params = case.params()
    case.steps(case.make(params, foreach=None, maximize=False, capturable=False, differentiable=False), params, 2)


@behaviour
def maximize_is_descent_on_the_negative(case: Case) -> None:
    if case.cls.rule.reasons or case.cls.rule.layered:
        return
    up, down = case.params(), case.params()
    first, second = case.make(up, maximize=True), case.make(down)
    for number in range(4):
        for params, sign in ((up, 1), (down, -1)):
            for i, p in enumerate(params):
                generator = torch.Generator().manual_seed(10 * number + i)
                p.grad = sign * torch.randn(p.shape, dtype=p.dtype, generator=generator)
        first.step()
        second.step()
    same(up, down)


@behaviour
def backward_through_a_stepped_parameter_is_noticed(case: Case) -> None:
    optimizer, params = case.trained()
    outcome = sum((p * p).sum() for p in params)
    case.step(optimizer, params, 9)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outcome.backward()


@behaviour
def parameters_without_gradients_wait(case: Case) -> None:
    params = case.params()
    optimizer = case.make(params)
    if case.cls.rule.reasons:
        return
    optimizer.step()
    assert not any(optimizer.state.values())
    optimizer.zero_grad()
    params[0].grad = torch.ones_like(params[0])
    before = values(params)
    optimizer.step()
    exactly(params[1:], before[1:])


@behaviour
def gradients_of_zero_leave_finite_numbers(case: Case) -> None:
    if case.cls.rule.reasons:
        return
    params = case.params()
    optimizer = case.make(params)
    for _ in range(3):
        for p in params:
            p.grad = torch.zeros_like(p)
        optimizer.step()
    assert all(torch.isfinite(p).all() for p in params)


@behaviour
def empty_tensors(case: Case) -> None:
    if case.cls.rule.reasons:
        return
    params = [*case.params(), torch.zeros(0, 3, dtype=torch.float64).requires_grad_()]
    if case.cls.rule.pattern.misfit(2):
        return
    optimizer = case.make(params)
    for _ in range(2):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert params[-1].shape == (0, 3)


@behaviour
def a_gradient_that_is_nan_makes_nan_and_no_exception(case: Case) -> None:
    if case.cls.rule.reasons:
        return
    optimizer, params = case.trained()
    for _ in range(2):
        for p in params:
            p.grad = torch.full_like(p, float("nan"))
        optimizer.step()
    assert all(optimizer.state[p].get("step", 5.0) == 5.0 for p in params)


@behaviour
def sparse_gradients_are_refused(case: Case) -> None:
    if case.cls.rule.reasons or case.cls.rule.pattern.misfit(2):
        return
    table = torch.nn.Embedding(4, 3, sparse=True)
    optimizer = case.make(table.parameters())
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="sparse"):
        optimizer.step()


@behaviour
def complex_parameters_are_pairs_or_refused(case: Case) -> None:
    if case.cls.rule.reasons:
        return
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(s, dtype=torch.complex128, generator=generator).requires_grad_() for s in case.shapes]
    try:
        optimizer = case.make(params)
    except ValueError as error:
        assert "complex" in str(error)
        return
    pairs = [torch.view_as_real(p.detach()).clone().requires_grad_() for p in params]
    for number in range(3):
        for p in params:
            generator = torch.Generator().manual_seed(number)
            p.grad = torch.randn(p.shape, dtype=p.dtype, generator=generator)
        optimizer.step()
    assert all(torch.isfinite(torch.view_as_real(p)).all() for p in params)
    if case.cls.rule.ranked or case.cls.rule.pattern.viewed:
        return
    other = case.make(pairs)
    for number in range(3):
        for p, q in zip(params, pairs, strict=True):
            generator = torch.Generator().manual_seed(number)
            q.grad = torch.view_as_real(torch.randn(p.shape, dtype=p.dtype, generator=generator))
        other.step()
    same([torch.view_as_real(p.detach()) for p in params], pairs)


@behaviour
def sixteen_bits(case: Case) -> None:
    for dtype in (torch.bfloat16, torch.float16):
        params = case.params(dtype)
        optimizer = case.make(params)
        case.steps(optimizer, params)
        assert all(p.dtype == dtype and torch.isfinite(p).all() for p in params)


@behaviour
def default_dtype_does_not_matter(case: Case) -> None:
    one, two = case.params(torch.float32), case.params(torch.float32)
    case.steps(case.make(one), one)
    torch.set_default_dtype(torch.float64)
    try:
        case.steps(case.make(two), two)
    finally:
        torch.set_default_dtype(torch.float32)
    exactly(one, two)


@behaviour
def dtypes_are_mixed(case: Case) -> None:
    params = [*case.params(torch.float32), *case.params(torch.float64)]
    case.steps(case.make(params), params)
    assert all(torch.isfinite(p).all() for p in params)


@behaviour
def a_closure_gives_the_loss_back(case: Case) -> None:
    params = case.params()
    optimizer = case.make(params)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = case.loss(params, 0)
        loss.backward()
        return loss

    if case.cls.rule.reasons:
        return
    assert isinstance(optimizer.step(closure), torch.Tensor)


@behaviour
def gradients_are_left_alone(case: Case) -> None:
    if case.cls.rule.reasons:
        return
    optimizer, params = case.trained()
    before = [p.grad.clone() for p in params]
    optimizer.step()
    exactly([p.grad for p in params], before)


# ---- state and copies ----


@behaviour
def a_checkpoint_goes_on(case: Case) -> None:
    optimizer, params = case.trained()
    others = [p.detach().clone().requires_grad_() for p in params]
    other = case.make(others)
    other.load_state_dict(through_a_file(optimizer.state_dict()))
    exactly(case.steps(optimizer, params, 3, 3), case.steps(other, others, 3, 3))


@behaviour
def loading_leaves_the_checkpoint_alone(case: Case) -> None:
    optimizer, params = case.trained()
    saved = copy.deepcopy(optimizer.state_dict())
    other = case.make(params)
    other.load_state_dict(saved)
    before = copy.deepcopy(saved)
    case.steps(other, params, 2, 3)
    for key, state in before["state"].items():
        for name, value in state.items():
            assert not isinstance(value, torch.Tensor) or torch.equal(value, saved["state"][key][name])
    assert before["param_groups"] == saved["param_groups"]


@behaviour
def a_step_that_is_no_tensor_is_loaded(case: Case) -> None:
    optimizer, params = case.trained()
    saved = copy.deepcopy(optimizer.state_dict())
    for state in saved["state"].values():
        if "step" in state:
            state["step"] = state["step"].item()
    other = case.make(params)
    other.load_state_dict(saved)
    case.steps(other, params, 1, 3)


@behaviour
def an_older_group_is_loaded(case: Case) -> None:
    optimizer, params = case.trained()
    saved = copy.deepcopy(optimizer.state_dict())
    for group in saved["param_groups"]:
        for keyword in ("foreach", "maximize", "capturable", "differentiable", "fused", "state_dtype"):
            group.pop(keyword, None)
    other = case.make(params)
    other.load_state_dict(saved)
    case.steps(other, params, 1, 3)


@behaviour
def copies_and_pickles(case: Case) -> None:
    optimizer, params = case.trained()
    made = [copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))]
    wanted = case.steps(optimizer, params, 2, 3)
    for other in made:
        assert type(other) is case.cls
        exactly(case.steps(other, other.param_groups[0]["params"], 2, 3), wanted)
    repr(optimizer)


@behaviour
def hooks_run_in_order(case: Case) -> None:
    optimizer, params = case.trained()
    seen: list[str] = []
    optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append("before"))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append("after"))
    handle = hooks.register_optimizer_step_post_hook(lambda o, args, kwargs: seen.append("any"))
    case.step(optimizer, params, 3)
    handle.remove()
    case.step(optimizer, params, 4)
    assert seen == ["before", "after", "any", "before", "after"]
    optimizer.register_state_dict_pre_hook(lambda o: seen.append("saving"))
    optimizer.register_state_dict_post_hook(lambda o, state: state | {"mark": 1})
    assert optimizer.state_dict()["mark"] == 1 and seen[-1] == "saving"


@behaviour
def an_optimizer_is_freed_with_its_last_name(case: Case) -> None:
    optimizer, _params = case.trained()
    gone = weakref.ref(optimizer)
    gc.collect()
    gc.disable()
    try:
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


@behaviour
def views_of_one_tensor(case: Case) -> None:
    if case.cls.rule.reasons:
        return
    shape = case.shapes[0]
    whole = torch.ones(2, *shape, dtype=torch.float64)
    params = [whole[0].detach().requires_grad_(), whole[1].detach().requires_grad_()]
    case.steps(case.make(params), params)
    assert not torch.equal(whole[0], torch.ones_like(whole[0]))


@behaviour
def zero_grad_and_defaults(case: Case) -> None:
    optimizer, params = case.trained()
    optimizer.zero_grad(set_to_none=False)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)
    assert set(optimizer.defaults) <= set(optimizer.param_groups[0])


@behaviour
def no_warnings(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer, params = case.trained()
        optimizer.load_state_dict(through_a_file(optimizer.state_dict()))
        case.steps(optimizer, params, 1, 3)


@behaviour
def the_loss_falls(case: Case) -> None:
    torch.manual_seed(0)
    params = case.params()
    optimizer = case.make(params)
    start = values(params)
    for _ in range(40):
        optimizer.zero_grad()
        if case.cls.rule.reasons:
            optimizer.step(lambda: case.loss(params, 0))
        else:
            case.loss(params, 0).backward()
            optimizer.step()
    assert all(torch.isfinite(p).all() for p in params)
    assert float(case.loss(params, 0)) < float(case.loss(start, 0))
