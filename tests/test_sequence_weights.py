"""Inputs with a start are weights of the module: held, learned, drawn once, one for each head; `as` names inputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import dotopt.stdlib
from dotopt.compiler.text.errors import OptError
from tests.sequence_rules import agree, loaded

RULE = '''"""A gated sum whose gate, gain and offset are learned; their names clash with those of the code."""
rule Learned
input x as values : real[d]
input state : real[d] ~ uniform(0.2, 0.8)
input step as t : real[d] = 1
input later as forward : real[d, d] = I
input keep = 0.5
state h : real[d] = first step
output o : real[d]
h' = state*h + keep*x
o  = later @ h' + step
'''


def test_every_form_agrees_also_where_weights_are_passed(tmp_path: Path) -> None:
    agree(tmp_path, RULE)


def test_weights_are_parameters(tmp_path: Path) -> None:
    cls = loaded(tmp_path, RULE)
    module = cls(heads=2, sizes={"d": 3}, seed=1)
    shapes = {tuple(p.shape) for p in module.parameters()}
    assert len(list(module.parameters())) == 4 and shapes == {(2, 3), (2, 3, 3), (2,)}
    assert module.state_ is not module.t and torch.equal(module.t, torch.ones(2, 3))
    assert torch.equal(cls(heads=2, sizes={"d": 3}, seed=1).state_, module.state_)
    x = torch.randn(5, 2, 7, 3)
    whole = module(x)
    whole.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())
    state, tokens = None, []
    for t in range(7):
        o, state = module.step(x[:, :, t], state=state)
        tokens.append(o)
    torch.testing.assert_close(torch.stack(tokens, 2), whole)
    passed = module(x, state_=module.state_.detach()[:, None], t=1.0 + torch.zeros(2, 1, 3))
    torch.testing.assert_close(passed, whole)
    again = cls(heads=2, sizes={"d": 3})
    again.load_state_dict(module.state_dict())
    torch.testing.assert_close(again(x), whole)


def test_sizes_are_found_with_the_first_inputs(tmp_path: Path) -> None:
    module = loaded(tmp_path, RULE)()
    module(torch.randn(2, 5, 3, dtype=torch.float64))
    assert module.t.shape == (3,) and module.t.dtype == torch.float64
    assert loaded(tmp_path, RULE)()(torch.randn(2, 0, 3)).shape == (2, 0, 3)
    given = nn.Parameter(torch.full((3,), 2.0))
    assert loaded(tmp_path, RULE)(t=given).t is given
    with pytest.raises(ValueError, match="no input tells the size of the axis `n`"):
        dotopt.stdlib.LRU()(torch.randn(5, 3))


def test_a_start_belongs_to_rules_over_sequences(tmp_path: Path) -> None:
    text = RULE.replace("state h : real[d] = first step\n", "").replace("h' = state*h + keep*x\n", "h = state*x*keep\n")
    with pytest.raises(OptError, match="E601"):
        loaded(tmp_path, text.replace("h'", "h"))
