"""A rule written in a test, run by torch's words and by the judge on the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dotopt
from dotopt.compiler.evaluate import Simulation
from dotopt.runtime.loading import load

HEAD = "rule A\nobjective f\nparam x : real[...]\nhyper η as lr >= 0 = 0.1\n"


def compiled(text: str, folder: Path) -> Any:
    """The class of the rule `A` whose text this is, head and all."""
    path = folder / "a.opt"
    path.write_text(text)
    return dotopt.load(path).A


def emitted(text: str, folder: Path) -> str:
    """The text of its module."""
    path = folder / "a.opt"
    path.write_text(text)
    dotopt.compile(path, folder / "a.py")
    return (folder / "a.py").read_text()


def agree(
    text: str,
    folder: Path,
    shapes: Sequence[tuple[int, ...]] = ((4, 3), (3, 5), (6,)),
    steps: int = 3,
    options: Mapping[str, Any] | None = None,
    tolerance: float = 1e-9,
    **hypers: float,
) -> None:
    """Every step of torch's lists, and of one tensor at a time, is the judge's; f is a polynomial of every entry."""
    cls = compiled(text, folder)
    chosen = tuple((options or {}).get(option.keyword, option.default) for option in cls.rule.options)
    random = np.random.default_rng(0)
    start = {f"p{k}": random.normal(size=shape) for k, shape in enumerate(shapes)}
    judge = Simulation(lambda rank: load.program(cls.origin, chosen, rank), start, dict(hypers))
    runs = []
    for foreach in (True, False):
        params = {name: torch.from_numpy(value.copy()).requires_grad_() for name, value in start.items()}
        given = {**hypers, **(options or {})}
        runs.append((params, cls(params.items(), backend="torch", foreach=foreach, **given)))
    for k in range(steps):
        rows = {name: random.normal(size=value.shape) for name, value in start.items()}
        judge.step({name: _gradient(judge.params[name], rows[name]) for name in start}, oracles=_oracles(rows))
        for params, optimizer in runs:
            weights = {name: torch.from_numpy(row) for name, row in rows.items()}

            def closure(params: Any = params, optimizer: Any = optimizer, weights: Any = weights) -> torch.Tensor:
                optimizer.zero_grad()
                loss = sum((p**3 / 3 + p * weights[name]).sum() for name, p in params.items())
                loss.backward(create_graph=cls.rule.reasons != ())
                return loss

            if cls.rule.reasons:
                optimizer.step(closure)
            else:
                closure()
                optimizer.step()
            for name, p in params.items():
                np.testing.assert_allclose(
                    p.detach().numpy(), judge.params[name], rtol=tolerance, atol=tolerance, err_msg=f"{name}, step {k}"
                )


def _gradient(point: Any, row: Any) -> Any:
    return np.asarray(point) ** 2 + row


def _oracles(rows: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "f": lambda x: sum((x[name] ** 3 / 3 + x[name] * row).sum() for name, row in rows.items()),
        "∇f": lambda x: {name: _gradient(x[name], row) for name, row in rows.items()},
        "∇²f": lambda x, v: {name: 2 * x[name] * v[name] for name in rows},
    }
