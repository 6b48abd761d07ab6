"""The step under `torch.compile`: the same numbers, and nothing compiled again as t and the learning rate move."""

from __future__ import annotations

import pytest
import torch
import torch._dynamo

from dotopt.stdlib import SGD, Adam, AdamW, Adan, Lion, Muon, NAdam, RMSprop


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


WHOLE = {
    "Lion": (Lion, {}, "aot_eager"),
    "AdamW": (AdamW, {"amsgrad": True, "maximize": True}, "eager"),
    "Adam": (Adam, {"decoupled_weight_decay": True, "weight_decay": 0.1}, "eager"),
    "NAdam": (NAdam, {}, "eager"),
    "RMSprop": (RMSprop, {"momentum": 0.9, "centered": True}, "eager"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_the_whole_step_is_one_graph_where_the_learning_rate_is_a_tensor(case) -> None:
    cls, options, backend = WHOLE[case]

    def trained(compiled):
        generator = torch.Generator().manual_seed(0)
        params = [torch.randn(shape, generator=generator).requires_grad_() for shape in ((4, 5), (7,))]
        optimizer = cls(params, lr=torch.tensor(0.1), **options, backend="torch")
        step = own = optimizer.step
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)
        for number in range(5):
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator)
            if compiled and number == 1:  # states are there
                step = torch.compile(own, backend=backend, fullgraph=True)
            step()
            schedule.step()
        return [p.detach() for p in params], [state["step"] for state in optimizer.state.values()]

    torch.testing.assert_close(trained(True), trained(False), rtol=1e-4, atol=1e-5)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.parametrize("cls", [AdamW, Lion])
def test_the_pure_form_is_one_graph(cls) -> None:
    step = cls.functional(lr=0.1)
    compiled = torch.compile(step.__call__, backend="eager", fullgraph=True)
    one = two = {"a": torch.ones(4, 5), "b": torch.ones(7)}
    first = second = step.init(one)
    for number in range(4):
        grads = {name: torch.full_like(p, number - 1.5) for name, p in one.items()}
        one, first = step(one, grads, first)
        two, second = compiled(two, grads, second)
    torch.testing.assert_close(one, two)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
