"""Kernels write to addresses: whatever a user does to tensors between two steps, nothing is written beyond them."""

from __future__ import annotations

import copy
import gc
import os
import subprocess
import sys
import textwrap
import weakref

import pytest
import torch

import dotopt.stdlib as stdlib
from dotopt.runtime.backends import cpu, memory

pytestmark = pytest.mark.skipif(not cpu.available(), reason="no C compiler")

N = 2000


@pytest.fixture(params=["asked in C", "asked in Python"], autouse=True)
def asking(request, monkeypatch):
    """Both ways of looking at tensors."""
    if request.param == "asked in Python":
        monkeypatch.setattr(memory, "interface", lambda: None)
    elif memory.interface() is None:
        pytest.skip("this torch exports no functions to ask with")


def started(rule="AdamW", size=N, **more):
    """An optimizer that has taken three steps, its parameter as a view of a larger storage, and what lies behind it."""
    storage = torch.zeros(2 * size)
    p = torch.nn.Parameter(storage[:size])
    p.data = storage[:size]
    optimizer = getattr(stdlib, rule)([p], lr=0.1, backend="cpu", **more)
    buffer = torch.ones(size)
    for _ in range(3):
        p.grad = buffer
        optimizer.step()
    assert optimizer._last is not None
    return optimizer, p, storage


def outcome(optimizer):
    """The message of a step that is refused; None if it was taken."""
    try:
        optimizer.step()
    except (RuntimeError, ValueError, TypeError) as error:
        return str(error)
    return None


class TestParameters:
    def test_shrunk_at_the_same_address(self) -> None:
        optimizer, p, storage = started("Lion")
        p.data = storage[:100]
        before = storage.clone()
        assert "resized" in (outcome(optimizer) or "")
        assert torch.equal(storage, before)

    def test_grown_at_the_same_address(self) -> None:
        optimizer, p, storage = started()
        p.data = storage[: N + 500]
        p.grad = None
        p.grad = torch.ones(N + 500)
        before = storage.clone()
        assert "entries" in (outcome(optimizer) or "")
        assert torch.equal(storage, before)

    def test_resized_with_its_gradient_and_back(self) -> None:
        optimizer, p, _ = started()
        p.data.resize_(100), p.grad.resize_(100)
        assert outcome(optimizer) is not None

    def test_another_shape_of_the_same_size(self) -> None:
        """A matrix has other statistics than a vector."""
        optimizer, p, _ = started("Adafactor", size=12)
        p.data, p.grad = p.data.view(3, 4), None
        p.grad = torch.ones(3, 4)
        assert "finds no `row_var`" in (outcome(optimizer) or "")

    def test_strides(self) -> None:
        optimizer, p, storage = started()
        p.data = storage[: 2 * N : 2]
        before = storage.clone()
        assert "not dense" in (outcome(optimizer) or "")
        assert torch.equal(storage, before)

    def test_a_storage_that_was_freed(self) -> None:
        optimizer, p, _ = started()
        p.data = torch.zeros(N)
        assert outcome(optimizer) is None
        p.data.untyped_storage().resize_(0)
        assert "no memory" in (outcome(optimizer) or "")

    def test_another_dtype(self) -> None:
        optimizer, p, _ = started()
        p.data = p.data.double()
        p.grad = torch.ones(N, dtype=torch.float64)
        moments = [optimizer.state[p][key].double() for key in ("exp_avg", "exp_avg_sq")]
        q = torch.nn.Parameter(p.detach().clone())
        other = stdlib.AdamW([q], lr=0.1, backend="torch")
        other.state[q] = {"step": torch.tensor(3.0), "exp_avg": moments[0], "exp_avg_sq": moments[1]}
        q.grad = p.grad.clone()
        assert outcome(optimizer) is None and outcome(other) is None
        torch.testing.assert_close(p, q)

    def test_another_object_in_the_group(self) -> None:
        optimizer, p, storage = started()
        q = torch.nn.Parameter(torch.zeros(N))
        optimizer.param_groups[0]["params"][0] = q
        p.grad, q.grad = None, torch.ones(N)
        before = storage.clone()
        optimizer.step()
        assert torch.equal(storage, before) and bool((q < 0).all())

    def test_swapped_tensors(self) -> None:
        """`module.to` may put another C++ tensor into the same Python object."""
        optimizer, p, storage = started()
        before = storage.clone()
        optimizer.state[p], p.grad = {**optimizer.state[p]}, None
        fresh = torch.nn.Parameter(torch.zeros(N))
        if memory.interface() is not None:
            optimizer._last = None  # weak references of tables stand in the way of a swap
            optimizer._buckets.clear()
        torch.utils.swap_tensors(p, fresh)
        p.grad = torch.ones(N)
        optimizer.step()
        assert torch.equal(storage, before) and bool((p != 0).all())


class TestGradients:
    def test_another_dtype_at_the_same_address(self) -> None:
        optimizer, p, _ = started()
        if not hasattr(p, "grad_dtype"):
            pytest.skip("this torch has no gradients of another dtype")
        buffer, before = p.grad, p.detach().clone()
        p.grad_dtype = None
        p.grad = buffer.view(torch.bfloat16)[:N]
        assert "convert it" in (outcome(optimizer) or "")
        assert torch.equal(p, before)

    def test_shrunk_at_the_same_address(self) -> None:
        optimizer, p, _ = started()
        p.grad.resize_(100)
        before = p.detach().clone()
        assert "resized" in (outcome(optimizer) or "")
        assert torch.equal(p, before)

    def test_a_storage_that_was_freed(self) -> None:
        optimizer, p, _ = started()
        p.grad.untyped_storage().resize_(0)
        before = p.detach().clone()
        assert "memory" in (outcome(optimizer) or "")
        assert torch.equal(p, before)

    def test_that_are_not_dense(self) -> None:
        results = []
        for backend in ("cpu", "torch"):
            p = torch.nn.Parameter(torch.ones(3, 4))
            optimizer = stdlib.SGD([p], lr=0.1, momentum=0.5, backend=backend)
            for step in range(4):
                gradient = torch.arange(12.0).view(4, 3).T if step % 2 else torch.arange(12.0).view(3, 4)
                p.grad = gradient if step < 3 else torch._neg_view(gradient)
                optimizer.step()
            results.append(p.detach())
        torch.testing.assert_close(*results)

    def test_that_are_the_parameter_itself(self) -> None:
        """Or a view of it: what a step reads is what was there before it."""
        results = []
        for same in (True, False):
            storage = torch.arange(1.0, 9.0)
            p = torch.nn.Parameter(storage[:6])
            optimizer = stdlib.AdamW([p], lr=0.1, backend="cpu")
            for _ in range(3):
                p.grad = p.data if same else p.data.clone()
                optimizer.step()
            results.append(p.detach())
        assert torch.equal(*results)

    def test_sparse(self) -> None:
        optimizer, p, _ = started()
        before = p.detach().clone()
        p.grad = torch.ones(N).to_sparse()
        assert "sparse" in (outcome(optimizer) or "")
        assert torch.equal(p, before)


class TestStates:
    def test_set_to_another_tensor(self) -> None:
        optimizer, p, _ = started()
        optimizer.state[p]["exp_avg"].set_(torch.zeros(3))
        before = p.detach().clone()
        assert "exp_avg" in (outcome(optimizer) or "")
        assert torch.equal(p, before)

    def test_resized_in_place(self) -> None:
        optimizer, p, _ = started()
        optimizer.state[p]["exp_avg"].resize_(10)
        before = p.detach().clone()
        assert "exp_avg" in (outcome(optimizer) or "")
        assert torch.equal(p, before)

    def test_replaced_by_a_shorter_one(self) -> None:
        optimizer, p, _ = started()
        optimizer.state[p]["exp_avg_sq"] = torch.zeros(10)
        before = p.detach().clone()
        assert "exp_avg_sq" in (outcome(optimizer) or "")
        assert torch.equal(p, before)

    def test_numbers_and_rows_too(self) -> None:
        q = torch.nn.Parameter(torch.zeros(4, 5))
        optimizer = stdlib.Adafactor([q], lr=0.1, backend="cpu")
        for _ in range(2):
            q.grad = torch.ones(4, 5)
            optimizer.step()
        for key, value in list(optimizer.state[q].items()):
            if key != "step":
                optimizer.state[q][key] = torch.zeros(1)
                before = q.detach().clone()
                assert key in (outcome(optimizer) or "")
                assert torch.equal(q, before)
                optimizer.state[q][key] = value

    def test_scales_of_blocks(self) -> None:
        p = torch.nn.Parameter(torch.zeros(5000))
        optimizer = stdlib.AdamW([p], lr=0.1, backend="cpu", state_dtype="int8")
        for _ in range(2):
            p.grad = torch.ones(5000)
            optimizer.step()
        optimizer.state[p]["exp_avg_scale"].resize_(3)
        assert "scale" in (outcome(optimizer) or "")

    def test_shared_by_two_parameters(self) -> None:
        params = [torch.nn.Parameter(torch.ones(4)) for _ in range(2)]
        optimizer = stdlib.AdamW(params, lr=0.1, backend="cpu")
        for _ in range(2):
            for p in params:
                p.grad = torch.ones(4)
            optimizer.step()
        optimizer.state[params[0]]["exp_avg"] = optimizer.state[params[1]]["exp_avg"]
        assert "share memory" in (outcome(optimizer) or "")

    @pytest.mark.parametrize("way", ["replaced", "in place", "dictionary", "of another dtype", "step a number"])
    def test_what_the_user_puts_there_is_used(self, way) -> None:
        """As on the torch backend: a momentum that is reset, AdamW restarted by hand."""
        results = []
        for backend in ("cpu", "torch"):
            p = torch.nn.Parameter(torch.zeros(4))
            optimizer = stdlib.AdamW([p], lr=0.1, backend=backend)
            for step in range(6):
                if step == 3:
                    kept = optimizer.state[p]
                    if way == "in place":
                        [value.zero_() for value in kept.values()]
                    elif way == "dictionary":
                        optimizer.state[p] = {key: torch.zeros_like(value) for key, value in kept.items()}
                    else:
                        for key, value in kept.items():
                            if key != "step" or way == "replaced":
                                kept[key] = torch.zeros_like(value)
                    if way == "of another dtype":
                        kept["step"] = torch.zeros((), dtype=torch.float64)
                    if way == "step a number":
                        kept["step"] = 0
                p.grad = torch.full((4,), float(step + 1))
                optimizer.step()
            results.append((p.detach(), float(optimizer.state[p]["step"]), optimizer.state[p]["exp_avg"]))
        torch.testing.assert_close(*results)

    def test_momentum_that_is_reset(self) -> None:
        moved = []
        for backend in ("cpu", "torch"):
            p = torch.nn.Parameter(torch.zeros(4))
            optimizer = stdlib.SGD([p], lr=1.0, momentum=0.9, backend=backend)
            for step in range(4):
                if step == 3:
                    optimizer.state[p]["momentum_buffer"] = torch.zeros(4)
                    before = p.detach().clone()
                p.grad = torch.ones(4)
                optimizer.step()
            moved.append(before - p.detach())
        torch.testing.assert_close(*moved)
        torch.testing.assert_close(moved[0], torch.ones(4))


class TestAfterwards:
    def test_autograd_notices_the_step(self) -> None:
        p = torch.nn.Parameter(torch.ones(4))
        optimizer = stdlib.AdamW([p], lr=0.1, backend="cpu")
        for _ in range(3):
            p.grad = torch.ones(4)
            y, version = (p * p).sum(), p._version
            optimizer.step()
            assert p._version > version
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                y.backward()

    @pytest.mark.parametrize("shapes", [((4,),), ((4, 5), (6, 7))])
    @pytest.mark.parametrize("rule", ["AdamW", "Muon", "LAMB"])
    def test_an_optimizer_is_freed_at_once(self, rule, shapes) -> None:
        """No garbage collection is needed, so the memory of the parameters is free when the last name is gone."""
        if rule == "Muon" and len(shapes) == 1:
            return
        params = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
        optimizer = getattr(stdlib, rule)(params, lr=0.1, backend="cpu")
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                for p in params:
                    p.grad = torch.ones_like(p)
                optimizer.step()
            seen = [weakref.ref(optimizer), *map(weakref.ref, params)]
            del optimizer, params, p
            assert [one() for one in seen] == [None] * len(seen)
        finally:
            gc.enable()

    def test_gradients_are_not_kept(self) -> None:
        optimizer, p, _ = started()
        p.grad = torch.ones(N)
        optimizer.step()
        seen = weakref.ref(p.grad)
        p.grad = None
        assert seen() is None

    def test_a_copy_steps_on_its_own(self) -> None:
        optimizer, p, _ = started()
        other = copy.deepcopy(optimizer)
        (q,) = other.param_groups[0]["params"]
        q.grad = torch.ones(N)
        before = p.detach().clone()
        other.step()
        assert torch.equal(p, before) and bool((q != before).all())


SANITIZED = """
    import torch, dotopt.stdlib as stdlib
    from dotopt.runtime.backends import build
    build.FLAGS = (*build.FLAGS, "-O1", "-fsanitize=address")
    for rule, shapes in (("AdamW", ((1700, 3), (5,), (1,))), ("AdamP", ((7, 1), (5, 9), (33,))), ("Muon", ((9, 4),))):
        for low in ({}, {"state_dtype": "int8"}) if rule == "AdamW" else ({},):
            params = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
            optimizer = getattr(stdlib, rule)(params, lr=0.1, backend="cpu", **low)
            for step in range(4):
                for p in params:
                    p.grad = torch.randn(p.shape)
                optimizer.step()
            assert optimizer._last is not None
            storage = torch.randn(params[0].numel())
            params[0].data = storage[:1]
            try:
                optimizer.step()
                raise SystemExit("stepped")
            except RuntimeError:
                pass
    print("clean")
"""


def test_under_the_address_sanitizer(asking, tmp_path) -> None:
    """Every load and store of the kernels stays inside its array; a step that would leave one is refused."""
    if memory.interface() is None:
        pytest.skip("once is enough")
    compiler = os.environ.get("CC", "cc")
    runtime = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=False)
    place = runtime.stdout.strip()
    if not os.path.isabs(place):
        pytest.skip("the compiler has no address sanitizer")
    environment = {"LD_PRELOAD": place, "ASAN_OPTIONS": "detect_leaks=0", "DOTOPT_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SANITIZED)], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip() == "clean", done.stderr[-3000:]
