"""What each backend makes of a rule is said: by `explain`, and by `check`."""

from __future__ import annotations

import pytest

from dotopt.compiler.text.library import Library
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
