"""What a rule reads of linear layers has types: rows of samples, in batches of any shape, with their transposes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import dotopt
from dotopt.compiler.text.errors import OptError
from dotopt.runtime.property.agreement import agreement
from dotopt.runtime.property.outcome import Passed
from dotopt.runtime.property.search import Budget
from tests.emitted import compiled, emitted

SECOND_MOMENTS = (
    "rule A\nobjective f\nparam W : real[n, p]\nhyper η as lr >= 0 = 0.1\nstate C : real[p, p] = 0\n"
    "a = input_of(W)\nd = ∇f(output_of(W))\nC' = 0.9*C + aᵀ @ a\nW' = W - η*(dᵀ @ a) @ C'\n"
)


def test_transposes_of_what_layers_see_are_written(tmp_path: Path) -> None:
    text = emitted(SECOND_MOMENTS, tmp_path)
    assert "matmul(transpose(a), a)" in text and "matmul(transpose(d), a)" in text


@pytest.mark.parametrize("lead", [(4,), (4, 2), (2, 3, 2)])
def test_rows_of_batches_and_sequences(lead: tuple[int, ...], tmp_path: Path) -> None:
    """As many samples as features, and others: the numbers by hand."""
    cls = compiled(SECOND_MOMENTS, tmp_path)
    torch.manual_seed(0)
    model = nn.Linear(4, 3, bias=False).double()
    x, w = torch.randn(*lead, 4, dtype=torch.float64), torch.randn(*lead, 3, dtype=torch.float64)
    optimizer = dotopt.attach(model, cls, lr=0.01, release=False)
    start, moments = model.weight.detach().clone(), torch.zeros(4, 4, dtype=torch.float64)
    for _ in range(2):
        (model(x) * w).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        rows, back = x.reshape(-1, 4), w.reshape(-1, 3)
        moments = 0.9 * moments + rows.mT @ rows
        start = start - 0.01 * (back.mT @ rows) @ moments
        torch.testing.assert_close(model.weight.detach(), start)


def test_the_file_may_name_the_axis_of_the_rows(tmp_path: Path) -> None:
    text = (
        "rule A\nobjective f\nparam W : real[n, p]\nhyper η as lr >= 0 = 0.1\nstate v : real[p] = 0\n"
        "a : real[batch, p] = input_of(W)\nd = ∇f(output_of(W))\nv' = 0.9*v + mean(a², over=batch)\n"
        "W' = W - η*(dᵀ @ a)/(1 + v')\n"
    )
    assert "means(square(a), (-2,))" in emitted(text, tmp_path)


@pytest.mark.parametrize("text", [SECOND_MOMENTS, SECOND_MOMENTS.replace("W' = W", "g = ∇f(W)\nW' = W - η*g")])
def test_properties_of_rules_that_read_layers(text: str, tmp_path: Path) -> None:
    outcome = agreement(compiled(text, tmp_path), "torch", "float64", Budget(examples=6))
    assert isinstance(outcome, Passed), outcome


def test_only_weights_of_linear_layers_have_inputs(tmp_path: Path) -> None:
    with pytest.raises(OptError, match="the weight of a linear layer, a parameter `real.n, p.`"):
        compiled("rule A\nobjective f\nparam x : real[...]\na = input_of(x)\nx' = x - 0.1*mean(a)*x\n", tmp_path)
