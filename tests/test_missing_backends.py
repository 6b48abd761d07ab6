"""What each backend makes of a rule is said: by `explain`, and by `check`."""

from __future__ import annotations

import json

import pytest

from dotopt.compiler.text.library import Library
from dotopt.runtime import cli
from dotopt.runtime.loading.catalogue import BACKENDS, entries
from dotopt.runtime.report.backends import Standing
from dotopt.runtime.report.checking import check
from dotopt.runtime.report.explain import explain

UNCOMPILED = """rule A
objective f
param x : real[...]
hyper a as betas[1] = 0.1
x' = x - a*∇f(x)

claim c:
  show x - x == 0
"""


def _standing(name: str) -> Standing:
    return explain(Library().find(name)).backends


@pytest.mark.parametrize("name", ["AdamW", "Muon", "AdamP"])  # the last asks for the rank of the parameter
def test_rules_that_every_backend_steps(name) -> None:
    assert _standing(name).runs == ("torch", "cpu", "triton")


def test_a_rule_that_draws_has_no_kernels() -> None:
    assert _standing("DMGD").missing == dict.fromkeys(("cpu", "triton"), "it draws random numbers")


@pytest.mark.parametrize("name", ["EMA", "softmax"])
def test_what_is_no_rule_runs_elsewhere(name) -> None:
    report = check(Library().find(name))
    assert report.backends.elsewhere and report.code == 0


def test_check_fails_for_a_rule_that_no_backend_compiles(tmp_path, capsys) -> None:
    (tmp_path / "a.opt").write_text(UNCOMPILED)
    report = check(tmp_path / "a.opt")
    assert [claim.status for claim in report.claims] == ["proved"] and not report.errors
    assert [found.code for found in report.uncompiled] == ["E601"] and report.code == 1
    assert cli.main(["check", str(tmp_path / "a.opt")]) == 1
    said = capsys.readouterr()
    assert "error[E601]" in said.err and "proved" in said.out and "no backend compiles it" in said.out
    cli.main(["check", "--format", "json", str(tmp_path / "a.opt")])
    found = json.loads(capsys.readouterr().out)
    assert [error["code"] for error in found["errors"]] == ["E601"] and all(found["backends"].values())


def test_explain_shows_no_class_where_there_is_none(tmp_path, capsys) -> None:
    (tmp_path / "a.opt").write_text(UNCOMPILED)
    assert cli.main(["explain", str(tmp_path / "a.opt")]) == 0
    said = capsys.readouterr().out
    assert "none: `betas[1]` without `betas[0]` is not compiled yet" in said and "torch.optim" not in said


def test_list_shows_the_backends_of_the_library(capsys) -> None:
    """The table is a file, so that `list` is quick; `python docs/generate.py` writes it."""
    rules = [entry for entry in entries() if entry.word == "rule"]
    assert {entry.name for entry in rules} == set(json.loads(BACKENDS.read_text(encoding="utf-8")))
    some = [entry for entry in rules if entry.name in ("Lion", "DMGD", "DAL", "GatedDelta", "SGDP", "FedAvg", "CBO")]
    assert {entry.name: entry.backends for entry in some} == {e.name: _standing(e.name).runs for e in some}
    assert cli.main(["list", "--family", "dynamics"]) == 0
    assert "runs on" in capsys.readouterr().out
