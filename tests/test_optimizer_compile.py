"""The step under `torch.compile`: the same numbers, and nothing compiled again as t and the learning rate move."""

from __future__ import annotations

import pytest
import torch
import torch._dynamo

from dotopt.stdlib import SGD, AdamW, Adan, Lion, Muon, NAdam


@pytest.fixture(autouse=True)
def fresh_dynamo():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield
    torch._dynamo.reset()


def train(cls, options, backend, steps=8):
    """Parameters after some steps with a falling learning rate, and the number of graphs after each step."""
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((4, 5), (7, 6))]
    optimizer = cls(params, **options, backend="torch")
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
    step = optimizer.step if backend is None else torch.compile(optimizer.step, backend=backend)
    graphs = []
    for _ in range(steps):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator)
        step()
        schedule.step()
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert all(optimizer.state[p]["step"] == steps for p in params)
    return [p.detach() for p in params], graphs


CASES = {"Lion": (Lion, {}), "AdamW": (AdamW, {"lr": 0.1}), "NAdam": (NAdam, {"lr": 0.1}), "Muon": (Muon, {})}


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("case", CASES)
def test_one_graph_for_all_steps(case, backend) -> None:
    cls, options = CASES[case]
    compiled, graphs = train(cls, options, backend)
    plain, _ = train(cls, options, None)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    assert graphs[0] >= 1 and len(set(graphs)) == 1, graphs


def test_a_rule_that_branches_on_t_compiles_each_branch_once() -> None:
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    compiled, graphs = train(SGD, options, "eager")
    plain, _ = train(SGD, options, None)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-6)
    assert len(set(graphs[1:])) == 1, graphs


def test_a_rule_that_sums_over_the_model_runs_as_it_is() -> None:
    compiled, _ = train(Adan, {"lr": 0.1, "max_grad_norm": 0.5}, "eager")
    plain, _ = train(Adan, {"lr": 0.1, "max_grad_norm": 0.5}, None)
    torch.testing.assert_close(compiled, plain, rtol=1e-5, atol=1e-6)
