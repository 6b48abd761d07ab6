"""Names that belong to Python, to every optimizer or to its state are refused or left free, and steps are right."""

from __future__ import annotations

import pytest
import torch

import dotopt
import dotopt.stdlib
from dotopt.compiler.resolve.python import OPTIMIZER
from dotopt.compiler.text.errors import OptError
from dotopt.runtime.optimizer import signature

HEAD = "rule A\nobjective f\nparam x : real[...]\nhyper η as lr >= 0 = 0.1\n"


def test_the_keywords_of_optimizers_are_those_of_the_runtime() -> None:
    assert {*signature.COMMON, *signature.EXTRA, "backend", "self", "rule"} == OPTIMIZER


@pytest.mark.parametrize("name", ["class", "None", "backend", "foreach", "fused", "params", "rule"])
def test_taken_keywords(name, tmp_path) -> None:
    path = tmp_path / "a.opt"
    path.write_text(HEAD + f"hyper μ as {name} >= 0 = 1\nx' = x - η*μ*∇f(x)\n")
    with pytest.raises(OptError, match=f"E238.*`{name}`"):
        dotopt.load(path)


@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_a_state_called_step_is_not_the_count_of_steps(tmp_path, backend) -> None:
    path = tmp_path / "a.opt"
    path.write_text(HEAD + "state step : real = 0\nstep' = step + 1\nx' = x - η*∇f(x)/step'\n")
    p = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimizer = dotopt.load(path).A([p], backend=backend)
    for _ in range(2):
        p.grad = torch.ones_like(p)
        optimizer.step()
    assert p[0].item() == pytest.approx(0.85)
    other = dotopt.load(path).A([p], backend=backend)
    other.load_state_dict(optimizer.state_dict())
    assert float(other.state[p]["step_"]) == 2


def test_a_transform_is_written_as_a_module(tmp_path) -> None:
    from dotopt.grammar.files import catalogue

    own = tmp_path / "mine.opt"
    own.write_text(catalogue()["lookahead.opt"].read_text().replace("Lookahead", "Mine"))
    for source, name in ((catalogue()["lookahead.opt"], "Lookahead"), (own, "Mine")):
        out = tmp_path / "made.py"
        dotopt.compile(source, out)
        known: dict[str, object] = {}
        exec(out.read_text(), known)
        made = known[name](dotopt.stdlib.SGD)  # type: ignore[operator]
        assert made.__name__ == f"{name}SGD"


def test_a_closure_that_returns_nothing_is_refused_where_the_loss_is_read(tmp_path) -> None:
    path = tmp_path / "a.opt"
    path.write_text(HEAD + "x' = x - η*f(x)*∇f(x)\n")
    p = torch.ones(2, requires_grad=True)
    optimizer = dotopt.load(path).A([p])

    def closure() -> None:
        optimizer.zero_grad()
        p.square().sum().backward()

    with pytest.raises(TypeError, match="A reads the value of the objective: let the closure return the loss"):
        optimizer.step(closure)
    assert torch.equal(p.detach(), torch.ones(2)) and not optimizer.state
