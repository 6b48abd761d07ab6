"""`explain` tells the truth: its facts are compared with the files, with torch, and with each other."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path

import pytest

from dotopt.compiler.text.library import Library
from dotopt.grammar.files import catalogue
from dotopt.runtime.cli import main
from dotopt.runtime.loading.catalogue import entries
from dotopt.runtime.report.explain import Explanation
from dotopt.runtime.report.explain import explain as explain_anew
from dotopt.runtime.report.timeline import listing, timeline


@cache
def explain(path: Path) -> Explanation:
    return explain_anew(path)


def facts(name: str, **options: bool | str) -> Explanation:
    path = Library().find(name)
    assert path is not None
    return explain_anew(path, options) if options else explain(path)


@pytest.mark.parametrize("path", sorted(catalogue().values()), ids=lambda path: path.stem)
def test_every_file_of_the_library(path: Path) -> None:
    found = explain(path)
    entry = next(entry for entry in entries() if entry.path == path)
    assert found.name == entry.name
    assert found.claims == tuple(claim.name for claim in found.file.claims)
    assert listing(found.program) or found.word == "theorem"
    assert all(len(fires) == 7 for _, fires in timeline(found.program, 7))
    if found.word == "rule":
        assert found.decided is not None and found.decided.text in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Lion", "optimizer"),
        ("CautiousLion", "optimizer"),
        ("Lookahead", "transform"),
        ("GatedDelta", "module"),
        ("PCGrad", "aggregator"),
        ("Scaffold", "protocol"),
        ("CBO", "minimize"),
        ("SinkhornNewtonSparse", "solver"),
        ("MomentumDecoding", "host"),
        ("newton_schulz", "formula"),
        ("SGDStability", "theorem"),
    ],
)
def test_the_kind_is_the_one_of_the_manual(name: str, kind: str) -> None:
    assert facts(name).kind == kind


@pytest.mark.parametrize(("name", "entries"), [("SGD", 1), ("Lion", 1), ("Adam", 2), ("Adan", 4), ("Adadelta", 2)])
def test_memory_is_that_of_the_paper(name: str, entries: int) -> None:
    assert facts(name).bytes == 4 * entries


def test_options_change_the_memory() -> None:
    assert facts("Adam", amsgrad=True).bytes == 12
    assert dict(facts("Adam").choices)["amsgrad=True"] == "adds the state s"
    assert {state.key for state in facts("Adam", amsgrad=True).memory} == {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    with pytest.raises(ValueError, match="no option `nesterov`"):
        facts("Adam", nesterov=True)
    with pytest.raises(ValueError, match="must be one of original, match_rms_adamw"):
        facts("Muon", scale="large")


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RAdam", "Adagrad", "RMSprop", "SGD", "Adadelta", "Adamax"])
def test_hyperparameters_have_the_names_and_defaults_of_torch(name: str) -> None:
    import torch

    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    for hyperparameter in facts(name).hyperparameters:
        keyword, _, position = hyperparameter.python.rstrip("]").partition("[")
        if keyword in theirs:
            default = theirs[keyword].default
            value = default[int(position)] if position else default
            default = {"False": 0, "True": 1}.get(hyperparameter.default, hyperparameter.default)
            assert float(default) == float(value), hyperparameter


def test_units_of_adam_and_sgd() -> None:
    """A learning rate of SGD is measured in θ²/f, one of Adam in θ: why the one depends on the scale of the loss."""
    assert next(h.unit for h in facts("SGD").hyperparameters if h.symbol == "η") == "θ²/f"
    units = {h.symbol: h.unit for h in facts("Adam").hyperparameters}
    assert (units["η"], units["ε"], units["λ"], units["β1"]) == ("θ", "f/θ", "f/θ²", "1")
    assert [state.unit for state in facts("Adam").memory] == ["f/θ", "f²/θ²"]
    assert facts("Adam").remarks == ()
    assert any("line" in remark for remark in facts("MARS").remarks)  # max(1, ‖c‖) compares a gradient with a number


def test_what_is_asked_of_the_objective() -> None:
    assert facts("Lion").closure.startswith("step():")
    assert facts("SAM").closure == "step(closure): the closure returns the loss"
    assert "without calling backward" in facts("DAL").closure
    assert [text for text, _, _ in facts("SAM").questions] == ["∇f(θ)", "∇f(y)"]


def test_passes_over_memory() -> None:
    """One pass is the floor for an entrywise rule: 4 floats read, 3 written for Adam."""
    (adam,) = facts("Adam").costs
    assert (adam.passes, adam.launches, adam.read, adam.written) == (1, 1, 16, 12)
    assert adam.floor == (16, 12)
    assert facts("LAMB").costs[0].passes == 2  # its norms must be known before the step
    (sam,) = facts("SAM").costs
    assert (sam.passes, sam.routines) == (3, 1)  # the norm, the point, the step; the closure between the last two


def test_timeline_of_every(tmp_path: Path) -> None:
    path = tmp_path / "slow.opt"
    path.write_text(
        "rule Slow\nobjective f\nparam x : real[...]\nhyper k : int > 0 = 3\n"
        "state s : like x = 0\nstate r : like x = 0\n"
        "g = ∇f(x)\ns' = s + g every k\nr' = s every k from k + 1\nx' = x - s' - r'\n",
        encoding="utf-8",
    )
    fires = dict(timeline(explain(path).program, 10))
    table = {name: [t for t, fired in enumerate(row, 1) if fired] for name, row in fires.items()}
    assert table == {"s": [3, 6, 9], "r": [4, 7, 10], "x": list(range(1, 11))}


def test_signature_is_python() -> None:
    assert facts("Muon").signature == (
        "Muon(params, lr=0.02, momentum=0.95, weight_decay=0, eps=1e-7, ns_steps=5, nesterov=True,"
        ' adjust_lr_fn="original")'
    )
    for entry in entries():
        signature = explain(entry.path).signature
        if entry.word == "rule" and signature.isascii():  # defaults that follow from others stand in symbols
            eval(f"lambda {signature.partition('(')[2][:-1].replace('inf', '0')}: 0")


# ---- derivations and levels ------------------------------------------------------------------------------------------


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_a_derivation_goes_from_the_objective_to_the_published_update(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "EMAMemory")
    parts = (
        "inner objective L(S) = ½*‖S - g‖²", "derived ∇L(m) = m - g", "update m' = m - (1 - β)*(m - g)",
        "published m' = β*m + (1 - β)*g (claim published)",
    )  # fmt: skip
    assert all(part in text for part in parts)


def test_a_derivation_follows_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "DeltaMomentum")
    assert "∇L(m) = (m @ gᵀ + I) @ g" in text and "argmin" not in text
    text = printed(capsys, "DeltaMomentum", "--option", "form=implicit")
    assert "argmin(E) = " in text and "∇L(m)" not in text


def test_what_a_layered_rule_asks_and_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "DeltaGD")
    assert "call dotopt.attach(model, DeltaGD, rest=…)" in text
    assert "input_of(W) what went into the linear layer that owns the parameter" in text
    assert "inner objective E(S) = ½*‖X @ Sᵀ + D‖² + ½/η*‖S - W‖²" in text


LEVELS = {
    "AdamW": [("1", {"m", "v"}), ("1", {"θ"})],
    "SGDMemory": [("1", {"W"})],
    "Lion": [("1", {"m", "x"})],  # neither needs what the other becomes
    "M3": [("1", {"m", "v"}), ("1", {"W"}), ("1/C", {"s"}), ("1/C", {"O"})],
    "DMGD": [("1", {"A", "B"}), ("1", {"W"})],
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_by_frequency(name: str) -> None:
    assert [(str(level.frequency), set(level.names)) for level in facts(name).levels] == LEVELS[name]
