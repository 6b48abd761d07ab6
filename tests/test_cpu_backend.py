"""The C backend: the numbers of the judge for every rule, whatever the dtype, the pieces, the compiler, the threads."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import dotopt.stdlib as stdlib
from dotopt.runtime.backends import cpu, cpu_table

_spec = importlib.util.spec_from_file_location("kernel_cases", Path(__file__).parent / "kernel_cases.py")
assert _spec is not None and _spec.loader is not None
cases = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(cases)

pytestmark = pytest.mark.skipif(not cpu.available(), reason="no C compiler")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_pieces(monkeypatch):
    """Tensors of some dozens of entries are cut up as large ones would be."""
    monkeypatch.setattr(cpu_table, "PIECE", 64)
    monkeypatch.setattr(cpu_table, "WHOLE", 64)


def runs_on_kernels(optimizer):
    return optimizer._last is not None


def agree(name, options, dtype, rtol, atol, **more):
    got, wanted, optimizer = cases.compared(name, options, dtype, "cpu", **more)
    assert runs_on_kernels(optimizer)
    for p, value in zip(got, wanted, strict=True):
        torch.testing.assert_close(p.detach().double(), value.reshape(p.shape), rtol=rtol, atol=atol)


@pytest.mark.parametrize(("name", "options"), cases.OPTIONS, ids=lambda value: str(value))
def test_double_precision_is_the_judge(name, options, small_pieces) -> None:
    agree(name, options, torch.float64, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("name", "options"), cases.OPTIONS[::3], ids=lambda value: str(value))
def test_single_precision(name, options) -> None:
    agree(name, options, torch.float32, rtol=1e-4 if name == "SGDSaI" else 2e-5, atol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(("dtype", "unit"), [(torch.float32, 2**-22), (torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
@pytest.mark.parametrize(("name", "options"), cases.OPTIONS, ids=lambda value: str(value))
def test_every_rule_in_every_dtype(name, options, dtype, unit) -> None:
    loose = 16 if name == "SGDSaI" else 4
    agree(name, options, dtype, rtol=loose * unit * 8, atol=4 * unit, steps=3)


@pytest.mark.parametrize("name", ["AdamW", "Lion", "LAMB", "AdamP", "AuON", "SGD"])
@pytest.mark.parametrize(("dtype", "unit"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11)])
def test_parameters_of_16_bits(name, dtype, unit) -> None:
    """Arithmetic and states are float32; each step rounds the parameter once."""
    agree(name, {}, dtype, rtol=4 * unit, atol=4 * unit, steps=3)


def stepped(name, params, gradients, **options):
    params = [torch.nn.Parameter(p.clone()) for p in params]
    optimizer = getattr(stdlib, name)(params, **cases.keywords(name, options), backend="cpu")
    for _ in range(3):
        for p, gradient in zip(params, gradients, strict=True):
            p.grad = gradient
        optimizer.step()
    return [p.detach() for p in params]


def tensors(*shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(shape, generator=generator) for shape in shapes] for _ in range(2)]


@pytest.mark.parametrize("name", ["Adan", "LAMB", "AdamP", "Prodigy"])
def test_the_result_does_not_depend_on_the_number_of_threads(name, small_pieces) -> None:
    params, gradients = tensors((300, 7), (1000, 3), (5, 5))
    alone = stepped(name, params, gradients)
    torch.set_num_threads(3)
    for got, wanted in zip(stepped(name, params, gradients), alone, strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("name", ["AdamW", "ADOPT", "Rprop", "AuON"])
def test_gcc_and_clang_give_the_same_bits(name, monkeypatch, tmp_path) -> None:
    """Elementwise rules: all operations are rounded as IEEE says, in the order that is written."""
    if not (shutil.which("gcc") and shutil.which("clang")):
        pytest.skip("needs both compilers")
    params, gradients = tensors((300, 7), (13,) if name != "AuON" else (2, 2))
    results = []
    monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path))
    for compiler in ("gcc", "clang"):
        monkeypatch.setenv("CC", compiler)
        _forget()
        results.append(stepped(name, params, gradients))
    _forget()
    for got, wanted in zip(*results, strict=True):
        if name == "AuON":  # its sums are made in the lanes that the compiler chooses
            torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-7)
        else:
            assert torch.equal(got, wanted)


def _forget():
    from dotopt.runtime.backends import choice as backends

    backends._kernels.clear()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["AdamW", "Lion", "ADOPT", "Adam", "Rprop", "Adamax"])
def test_what_is_not_finite_stays_where_it_is(name, value) -> None:
    """As in the judge, entry by entry: nothing else is touched by it."""

    def spoil(gradients):
        gradients[0][7, 1] = value

    with np.errstate(invalid="ignore"):
        got, wanted, _ = cases.compared(name, {}, torch.float32, "cpu", steps=3, shapes=((40, 3),), spoil=spoil)
    torch.testing.assert_close(got[0].detach().double(), wanted[0], equal_nan=True, rtol=1e-5, atol=1e-6)


def test_gradients_may_come_and_go_and_groups_differ() -> None:
    """Clocks are kept per tensor; the long way and the replayed step give the same numbers."""
    params, gradients = tensors((4, 3), (5,), (6,), (2, 2))
    results = []
    for backend in ("cpu", "torch"):
        own = [torch.nn.Parameter(p.clone()) for p in params]
        groups = [{"params": own[:2]}, {"params": own[2:], "lr": 0.5, "betas": (0.5, 0.6)}]
        optimizer = stdlib.AdamW(groups, lr=0.1, weight_decay=0.2, backend=backend)
        for step in range(8):
            for k, p in enumerate(own):
                p.grad = None if (step, k) in ((2, 0), (3, 3), (4, 3)) else gradients[k] * (step + 1)
            if step == 5:
                optimizer.param_groups[0]["lr"] = 0.01
            if step == 6:
                optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(3))]})
            optimizer.step()
        results.append([p.detach() for p in own] + [optimizer.state[p]["step"] for p in own])
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted)


def test_a_loaded_state_is_used_at_once() -> None:
    params, gradients = tensors((4, 3))
    p = torch.nn.Parameter(params[0].clone())
    optimizer = stdlib.Lion([p], lr=0.1, backend="cpu")
    saved = []
    for step in range(6):
        if step == 3:
            saved = [
                p.detach().clone(),
                {**optimizer.state_dict(), "state": {0: {k: v.clone() for k, v in optimizer.state[p].items()}}},
            ]
        p.grad = gradients[0] * (-1) ** (step // 2)
        optimizer.step()
    finished = p.detach().clone()
    with torch.no_grad():
        p.copy_(saved[0])
    optimizer.load_state_dict(saved[1])
    for step in range(3, 6):
        p.grad = gradients[0] * (-1) ** (step // 2)
        optimizer.step()
    assert torch.equal(p.detach(), finished)


def test_maximize_climbs() -> None:
    params, gradients = tensors((4, 3))
    p, q = (torch.nn.Parameter(params[0].clone()) for _ in range(2))
    up, down = stdlib.AdamW([p], lr=0.1, maximize=True, backend="cpu"), stdlib.AdamW([q], lr=0.1, backend="cpu")
    p.grad, q.grad = gradients[0], -gradients[0]
    up.step(), down.step()
    assert torch.equal(p, q)


def test_views_that_are_not_aligned() -> None:
    storage = torch.randn(100)
    before = storage.clone()
    p = torch.nn.Parameter(storage[1:98])
    q = torch.nn.Parameter(storage[1:98].clone())
    for one, backend in ((p, "cpu"), (q, "torch")):
        optimizer = stdlib.AdamW([one], lr=0.1, backend=backend)
        one.grad = torch.arange(97.0)
        optimizer.step()
    torch.testing.assert_close(p, q)
    assert torch.equal(storage[:1], before[:1]) and torch.equal(storage[98:], before[98:])


def test_groups_of_several_shapes_are_replayed() -> None:
    """A rule that reads shapes has a bucket for each; those of one group are stepped as one, in every step."""
    params, gradients = tensors((4, 3), (5, 2), (6,), (3, 3), (4, 3))
    results = []
    for backend in ("cpu", "torch"):
        own = [torch.nn.Parameter(p.clone()) for p in params]
        groups = [{"params": own[:3]}, {"params": own[3:], "lr": 0.03}]
        optimizer = stdlib.SGDSaI(groups, lr=0.1, weight_decay=0.2, backend=backend)
        for _ in range(4):
            for p, gradient in zip(own, gradients, strict=True):
                p.grad = gradient
            optimizer.step()
        results.append([p.detach() for p in own])
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)
