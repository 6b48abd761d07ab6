"""What each backend makes of a rule is said: by `explain`, by `check`, and by an error for tensors that are spread."""

from __future__ import annotations

import pytest
import torch

import dotopt.stdlib as stdlib
from dotopt.compiler.text.library import Library
from dotopt.runtime.optimizer import sharded
from dotopt.runtime.report.backends import missing
from dotopt.runtime.report.checking import check
from dotopt.runtime.report.explain import explain


@pytest.mark.parametrize("name", ["AdamW", "Muon"])
def test_rules_that_every_backend_steps(name) -> None:
    assert missing(explain(Library().find(name)).program) == {}


def test_a_rule_that_draws_has_no_kernels() -> None:
    assert missing(explain(Library().find("DMGD")).program) == dict.fromkeys(
        ("cpu", "triton"), "it draws random numbers"
    )


def test_check_says_what_is_not_compiled(tmp_path) -> None:
    (tmp_path / "a.opt").write_text(
        "rule A\nobjective f\nparam x : real[...]\nhyper a as betas[1] = 0.1\nx' = x - a*∇f(x)\n"
    )
    report = check(tmp_path / "a.opt")
    assert "E601" in {found.code for found in (*report.errors, *report.warnings)}


def test_tensors_that_are_spread_are_refused_where_states_have_other_shapes(monkeypatch) -> None:
    class Spread(torch.nn.Parameter):
        """As torch's DTensor, of which there is none without a process group."""

    monkeypatch.setattr(sharded, "_is_dtensor", lambda p: isinstance(p, Spread))
    p = Spread(torch.ones(3, 4))
    with pytest.raises(ValueError, match="keeps `row_var`.*is a DTensor"):
        stdlib.Adafactor([p], lr=0.1)
    assert stdlib.AdamW([p], lr=0.1).param_groups[0]["params"][0] is p
