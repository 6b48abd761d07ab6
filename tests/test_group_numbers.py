"""What is one for several tensors: numbers of a group, and sums over the model, whoever takes part in a step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dotopt
import dotopt.stdlib as stdlib
from dotopt.compiler.evaluate import Simulation
from dotopt.runtime.backends import cpu
from dotopt.runtime.loading.load import program

HEAD = "rule A\nobjective f\nparam x : real[...]\nhyper η as lr >= 0 = 0.1\n"
RULES = {
    "of the model": "state s : real = 0\ng = ∇f(x)\ns' = 0.9*s + sum(g, over=model)\nx' = x - η*g*s'\n",
    "and of time": "state s : real = 0.5\ng = ∇f(x)\ns' = 0.9*s + sum(g, over=model)/t\nx' = x - η*g*s\n",
    "of time alone": "state s : real = 1\ng = ∇f(x)\ns' = 0.9*s + t\nx' = x - η*g*s\n",
}
BACKENDS = ("torch", "cpu") if cpu.available() else ("torch",)


@pytest.mark.parametrize("left_out", [{(0, 1)}, {(2, 0)}, {(0, 1), (1, 1), (3, 0)}], ids=str)
@pytest.mark.parametrize("rule", RULES)
def test_tensors_that_sit_out_a_step(rule, left_out, tmp_path) -> None:
    """A number of the group goes on without them; what follows from t alone waits, as their t does."""
    (tmp_path / "a.opt").write_text(HEAD + RULES[rule])
    cls = dotopt.load(tmp_path / "a.opt").A
    rng = np.random.default_rng(0)
    gradients = [[rng.normal(size=shape) for shape in ((3,), (2, 2))] for _ in range(5)]
    starts = dict(enumerate([np.ones(3), np.ones((2, 2))]))
    judge = Simulation(program(cls.origin, (), None), starts, {"lr": 0.1})
    for k, row in enumerate(gradients):
        judge.step({i: None if (k, i) in left_out else g for i, g in enumerate(row)})
    for backend in BACKENDS:
        params = [torch.nn.Parameter(torch.tensor(start)) for start in starts.values()]
        optimizer = cls(params, lr=0.1, backend=backend)
        for k, row in enumerate(gradients):
            for i, p in enumerate(params):
                p.grad = None if (k, i) in left_out else torch.tensor(row[i])
            optimizer.step()
        for i, p in enumerate(params):
            np.testing.assert_allclose(p.detach().numpy(), judge.params[i], rtol=1e-10)


@pytest.mark.skipif(not cpu.available(), reason="no C compiler")
def test_a_sum_over_the_model_is_over_all_of_it_whatever_takes_the_step() -> None:
    """One tensor is no work for kernels (its entries lie apart): then torch's code takes the step of both."""
    results = []
    for backend in ("auto", "torch"):
        generator = torch.Generator().manual_seed(0)
        apart = torch.randn(6, 4, generator=generator).t()
        params = [torch.nn.Parameter(torch.randn(3, 5, generator=generator)), torch.nn.Parameter(apart)]
        assert not params[1].is_contiguous()
        optimizer = stdlib.Adan(params, lr=0.1, max_grad_norm=0.5, backend=backend)
        for _ in range(3):
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator)
            optimizer.step()
        results.append([p.detach() for p in params])
    torch.testing.assert_close(*results)
