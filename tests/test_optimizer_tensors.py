"""Tensors of every kind: dtypes, shapes, strides, devices, and gradients that are missing or unfit."""

from __future__ import annotations

import pytest
import torch

import dotopt
import dotopt.stdlib as stdlib
from dotopt.stdlib import SGD, Adafactor, AdamP, AdamW, Lion, Muon, NAdam, Shampoo

RULES = ("SGD", "AdamW", "Lion", "Adan", "AdaBelief", "RMSprop", "NAdam", "RAdam", "LAMB", "Adagrad", "ADOPT")


def make(shape, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=dtype, generator=generator).requires_grad_()


def steps(optimizer, params, count=4, scale=1.0):
    for step in range(count):
        for i, p in enumerate(params):
            generator = torch.Generator().manual_seed(100 * step + i)
            p.grad = (scale * torch.randn(p.shape, dtype=torch.float64, generator=generator)).to(p.dtype)
        optimizer.step()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_maximize_is_descent_on_the_negative(rule, backend) -> None:
    up, down = [make((3, 4)), make((5,))], [make((3, 4)), make((5,))]
    cls = getattr(stdlib, rule)
    steps(cls(up, lr=0.01, maximize=True, backend=backend), up)
    steps(cls(down, lr=0.01, backend=backend), down, scale=-1.0)
    torch.testing.assert_close(up, down, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rule", ["AdamW", "Lion", "Muon", "Adafactor"])
def test_sixteen_bits_are_computed_in_float32_with_float32_states(rule, dtype) -> None:
    cls = getattr(stdlib, rule)
    small = make((4, 6), torch.float32).detach().to(dtype).requires_grad_()
    large = small.detach().float().requires_grad_()
    low, high = cls([small], lr=0.01, backend="torch"), cls([large], lr=0.01, backend="torch")
    for step in range(3):
        gradient = torch.randn((4, 6), generator=torch.Generator().manual_seed(step)).to(dtype)
        small.grad, large.grad = gradient, gradient.float()
        low.step()
        high.step()
        torch.testing.assert_close(small, large.to(dtype), rtol=0, atol=0)
        with torch.no_grad():
            large.copy_(small)
    for key, value in low.state[small].items():
        assert value.dtype is torch.float32, key


@pytest.mark.parametrize("rule", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam"])
def test_complex_parameters_are_seen_as_pairs_of_reals_as_in_torch(rule) -> None:
    ours, theirs = [make((3, 2), torch.complex128)], [make((3, 2), torch.complex128)]
    torch.set_default_dtype(torch.float64)
    try:
        first = getattr(stdlib, rule)(ours, lr=0.01, weight_decay=0.02)
        second = getattr(torch.optim, rule)(theirs, lr=0.01, weight_decay=0.02)
        for step in range(5):
            gradient = make((3, 2), torch.complex128, step).detach()
            ours[0].grad, theirs[0].grad = gradient.clone(), gradient.clone()
            first.step()
            second.step()
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_a_matrix_rule_refuses_complex_parameters() -> None:
    with pytest.raises(ValueError, match="complex tensor such as `parameter 0`"):
        Muon([make((3, 3), torch.complex64)])


@pytest.mark.parametrize("shape", [(), (3,), (4, 2, 3), (0, 3, 2)])
def test_muon_takes_matrices_and_filters_only(shape) -> None:
    with pytest.raises(ValueError, match="Muon needs 2 or 4 or 5 axes .*`parameter 1` has shape .*`dotopt.route`"):
        Muon([make((4, 3)), make(shape)])
    Muon([make((4, 3)), make((4, 3, 2, 2))])
    conv, linear = torch.nn.Conv1d(2, 4, 3), torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(conv, torch.nn.Flatten(), linear, torch.nn.Linear(4, 1))
    routed = dotopt.route(model, {Muon: "matrices", AdamW: "rest"})
    names = {group["rule"]: group["param_names"] for group in routed.param_groups}
    assert names["Muon"] == ["2.weight"] and "0.weight" in names["AdamW"]


@pytest.mark.parametrize("rule", [*RULES, "AdamP", "Adafactor", "Muon", "Shampoo"])
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_strides_do_not_matter(rule, backend) -> None:
    plain = make((4, 3, 2, 5))
    views = {
        "channels last": plain.detach().clone().to(memory_format=torch.channels_last).requires_grad_(),
        "transposed": plain.detach().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0).requires_grad_(),
        "every second": torch.zeros(4, 3, 2, 10, dtype=torch.float64)[..., ::2].copy_(plain.detach()).requires_grad_(),
    }
    cls = getattr(stdlib, rule)
    steps(cls([plain], lr=0.01, backend=backend), [plain])
    for name, tensor in views.items():
        steps(cls([tensor], lr=0.01, backend=backend), [tensor])
        torch.testing.assert_close(tensor, plain, rtol=1e-10, atol=1e-12, msg=name, check_stride=False)


@pytest.mark.parametrize("rule", [*RULES, "AdamP", "AuON"])
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_number_is_a_vector_of_one_entry_and_an_empty_tensor_stays_empty(rule, backend) -> None:
    number, vector, empty = make(()), make(()).detach().reshape(1).requires_grad_(), make((0, 3))
    cls = getattr(stdlib, rule)
    steps(cls([number, empty], lr=0.01, backend=backend), [number, empty])
    steps(cls([vector], lr=0.01, backend=backend), [vector])
    torch.testing.assert_close(number.reshape(1), vector, rtol=1e-12, atol=0)
    assert empty.shape == (0, 3)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_tensor_without_gradient_waits_and_its_clock_stands_still(backend) -> None:
    a, b, c = make((3,)), make((3,)), make((3,))
    with torch.no_grad():
        b.copy_(a)
        c.copy_(a)
    optimizer = NAdam([a, b], lr=0.1, backend=backend)
    other = NAdam([c], lr=0.1, backend=backend)
    for step in range(6):
        gradient = torch.full((3,), step - 2.0, dtype=torch.float64)
        a.grad = gradient.clone()
        b.grad = gradient.clone() if step % 2 else None
        c.grad = gradient.clone() if step % 2 else None
        optimizer.step()
        other.step()
    assert (optimizer.state[a]["step"], optimizer.state[b]["step"]) == (6, 3)
    torch.testing.assert_close(b, c, rtol=1e-12, atol=0)


def test_a_step_without_any_gradient_does_nothing() -> None:
    p = make((3,))
    optimizer = AdamW([p])
    optimizer.step()
    assert not optimizer.state


def test_sparse_gradients_are_refused_by_name_before_anything_moves() -> None:
    table, other = torch.nn.Embedding(5, 2, sparse=True), torch.nn.Parameter(torch.ones(2))
    optimizer = Lion([("other", other), ("table", table.weight)])
    (table(torch.tensor([1])).sum() + other.sum()).backward()
    with pytest.raises(RuntimeError, match="Lion does not take sparse gradients; `table` has one"):
        optimizer.step()
    assert torch.equal(other, torch.ones(2)) and not optimizer.state


def test_the_gradient_is_left_as_it_was() -> None:
    for cls in (SGD, AdamW, Lion, AdamP, Adafactor, Shampoo):
        for maximize in (False, True):
            p = make((3, 4))
            optimizer = cls([p], maximize=maximize, backend="torch")
            for seed in range(3):
                p.grad = make((3, 4), seed=seed).detach()
                before = p.grad.clone()
                optimizer.step()
                assert torch.equal(p.grad, before), cls.__name__


def test_several_dtypes_and_devices_in_one_optimizer() -> None:
    params = [make((3, 2), torch.float32), make((3, 2)), torch.nn.Parameter(torch.empty(3, 2, device="meta"))]
    alone = [make((3, 2), torch.float32), make((3, 2))]
    for p in params:
        p.grad = torch.ones_like(p)
    for p in alone:
        p.grad = torch.ones_like(p)
    for cls in (AdamW, Muon):
        mixed = cls(params, lr=0.1, backend="torch")
        mixed.step()
        for p in alone:
            cls([p], lr=0.1, backend="torch").step()
        torch.testing.assert_close(params[:2], alone, rtol=0, atol=0)
        state = mixed.state[params[2]]
        assert all(value.device.type == "meta" for key, value in state.items() if key != "step")
        assert state["step"] == 1 and state["step"].device.type == "cpu"
