"""Every rule against trajectories recorded from other people's implementations, through the emitted torch code."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dotopt.stdlib as stdlib
from tests.test_golden_reference import CASES, RULES, arrays, compare, settings, split, tolerance


def optimizer_class(rule: str) -> Any:
    """`Lookahead(SGD)` by Python's own parentheses."""
    outer, _, inner = rule.rstrip(")").partition("(")
    found = getattr(stdlib, outer)
    return found(optimizer_class(inner)) if inner else found


def keywords(cls: Any, options: dict[str, Any], hypers: dict[str, Any]) -> dict[str, Any]:
    """Python keywords from the names of the file."""
    names = {option.name: option.keyword for option in cls.rule.options}
    return {names[name]: value for name, value in options.items()} | hypers


@pytest.mark.parametrize("foreach", [None, False])
@pytest.mark.parametrize(("name", "chosen", "problem"), CASES)
def test_replays_the_golden_trajectory(name: str, chosen: str, problem: str, foreach: bool | None) -> None:
    rule, common = RULES[name]
    (setting,) = (entry for entry in settings(name) if entry["setting"] == chosen)
    hypers, options = split(rule, {**setting["hyperparameters"], **common})
    cls = optimizer_class(rule)
    for run in (run for run in setting["runs"] if run["problem"] == problem):
        shapes = run["shapes"]
        params = {k: torch.from_numpy(v).clone().requires_grad_() for k, v in arrays(run["x0"], shapes).items()}
        optimizer = cls(params.items(), **keywords(cls, dict(options), hypers), foreach=foreach, backend="torch")
        for t, (gradients, expected) in enumerate(zip(run["grads"], run["params"], strict=True), start=1):
            for k, gradient in arrays(gradients, shapes).items():
                params[k].grad = torch.from_numpy(gradient)
            optimizer.step()
            here = f"{name} {chosen} {problem} {run['variant']} step {t}"
            compare({k: p.detach().numpy() for k, p in params.items()}, arrays(expected, shapes), tolerance(name), here)
            if "params_eval" in run:
                optimizer.eval()
                shown = {k: p.detach().numpy() for k, p in params.items()}
                compare(shown, arrays(run["params_eval"][t - 1], shapes), tolerance(name), here)
                optimizer.train()
