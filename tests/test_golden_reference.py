"""Every rule against trajectories recorded from other people's implementations (tests/golden), through the judge."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.ir import Program
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source

GOLDEN = Path(__file__).parent / "golden"
Options = tuple[tuple[str, Any], ...]
Tensors = dict[str, np.ndarray[Any, Any]]

# golden file: rule, hyperparameters and options that all its settings have in common
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "adabelief": ("AdaBelief", {}),
    "adabelief_amsgrad": ("AdaBelief", {}),
    "adafactor": ("Adafactor", {}),
    "adagrad": ("Adagrad", {}),
    "adam": ("Adam", {}),
    "adamp": ("AdamP", {}),
    "adamw": ("AdamW", {}),
    "adan": ("Adan", {}),
    "adan_noprox": ("Adan", {}),
    "adopt": ("ADOPT", {}),
    "am_adamw": ("AMAdamW", {}),
    "am_sgd": ("AMSGD", {}),
    "auon": ("AuON", {"normalize": False, "shape_scale": False}),
    "auon_paper": ("AuON", {}),
    "cautious_adamw": ("CautiousAdamW", {}),
    "hybrid_auon": ("HybridAuON", {}),
    "lamb": ("LAMB", {"variant": "po"}),
    "lion": ("Lion", {}),
    "lookahead_sgd": ("Lookahead(SGD)", {}),
    "mars_adamw": ("MARS", {}),
    "muon": ("Muon", {}),
    "muon_bf16": ("Muon", {}),
    "nadam": ("NAdam", {}),
    "nesterov": ("SGD", {}),
    "prodigy": ("Prodigy", {}),
    "radam": ("RAdam", {}),
    "rmsprop": ("RMSprop", {}),
    "schedulefree_adamw": ("ScheduleFreeAdamW", {}),
    "sgd": ("SGD", {}),
    "sgd_sai": ("SGDSaI", {}),
    "sgdp": ("SGDP", {}),
    "shampoo": ("Shampoo", {}),
    "soap": ("SOAP", {}),
}

RENAMED = {"lam": "model_lambda"}
# how the reference computes, not what: no such hyperparameter here
# (a golden run with another value of these would not replay)
WITHOUT_MEANING = {"foreach": False, "print_change_log": False, "pre_norm": False}


@functools.cache
def library() -> Library:
    return Library()


@functools.cache
def program(rule: str, options: Options, rank: int | None) -> Program:
    """The program of a rule of the library, or of a composition."""
    static = Static(dict(options), rank)
    if "(" in rule:
        return lower(parse(Source("composed.opt", f"rule Composed = {rule}\n")), static, library())
    file = library().file(rule)
    assert file is not None
    return lower(file, static, library())


@functools.cache
def data(name: str) -> dict[str, Any]:
    with gzip.open(GOLDEN / f"{name}.json.gz", "rt") as file:
        found: dict[str, Any] = json.load(file)
    return found


def settings(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = data(name)["settings"]
    return found


def tolerance(name: str) -> float:
    return float(data(name)["suggested_rtol"])


def split(rule: str, given: dict[str, Any]) -> tuple[dict[str, Any], Options]:
    """Hyperparameters and options (by their own names), from what a reference calls them all."""
    plain = program(rule, (), None)
    options = {option.keyword: option for option in plain.options}
    keywords = {hyper.keyword for hyper in plain.hypers}
    hypers: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    for name, value in given.items():
        name = RENAMED.get(name, name)
        if name in WITHOUT_MEANING and value == WITHOUT_MEANING[name]:
            continue
        if name in options:
            chosen[options[name].name] = value
        elif name == "lr_1d":  # in units of lr
            hypers["lr_1d_factor"] = value / given["lr"]
        elif name in keywords:
            if value is not None:
                hypers[name] = value
        elif value not in (0, None):
            raise AssertionError(f"{rule} has no {name}")
    for option in plain.options:
        chosen.setdefault(option.name, option.default)
    if hypers.get("eps") and isinstance(hypers["eps"], list) and hypers["eps"][0] is None:
        hypers["eps"] = [np.finfo(np.float64).eps, hypers["eps"][1]]
    return hypers, tuple(sorted(chosen.items()))


def arrays(flat: dict[str, list[float]], shapes: dict[str, list[int]]) -> Tensors:
    return {name: np.array(flat[name], dtype=float).reshape(shapes[name]) for name in shapes}


# the reference preconditions each of the four axes of a filter; the rule of the library sees filters as matrices
OTHER_METHOD = {("shampoo", "conv3x2x3x3")}

CASES = [
    pytest.param(
        name,
        setting["setting"],
        problem,
        id=f"{name}-{setting['setting']}-{problem}",
        marks=[pytest.mark.xfail(reason="a matrix method there, a tensor method here")]
        * ((name, problem) in OTHER_METHOD),
    )
    for name in RULES
    for setting in settings(name)
    for problem in dict.fromkeys(run["problem"] for run in setting["runs"])
]


def test_every_golden_file_of_an_optimizer_is_replayed() -> None:
    files = {path.name.removesuffix(".json.gz") for path in GOLDEN.glob("*.json.gz")}
    assert {name for name in files if not name.startswith(("B-", "C-", "D-", "layers", "flower"))} == set(RULES)


@pytest.mark.parametrize(("name", "chosen", "problem"), CASES)
def test_replays_the_golden_trajectory(name: str, chosen: str, problem: str) -> None:
    rule, common = RULES[name]
    (setting,) = (entry for entry in settings(name) if entry["setting"] == chosen)
    hypers, options = split(rule, {**setting["hyperparameters"], **common})
    for run in setting["runs"]:
        if run["problem"] == problem:
            replay(rule, options, hypers, run, tolerance(name), f"{name} {chosen} {problem} {run['variant']}")


def replay(rule: str, options: Options, hypers: dict[str, Any], run: dict[str, Any], rtol: float, name: str) -> None:
    simulation = Simulation(lambda rank: program(rule, options, rank), arrays(run["x0"], run["shapes"]), hypers)
    for t, (gradients, expected) in enumerate(zip(run["grads"], run["params"], strict=True), start=1):
        simulation.step(arrays(gradients, run["shapes"]))
        compare(simulation.params, arrays(expected, run["shapes"]), rtol, f"{name} step {t}")
        if "params_eval" in run:
            compare(simulation.evaluation(), arrays(run["params_eval"][t - 1], run["shapes"]), rtol, f"{name} eval {t}")


def compare(found: Tensors, wanted: Tensors, rtol: float, where: str) -> None:
    for tensor, value in wanted.items():
        np.testing.assert_allclose(found[tensor], value, rtol=rtol, atol=rtol, err_msg=f"{where} {tensor}")
