"""The demonstration: six rules compiled from their `.opt` files, explained, and trained on handwritten digits.

    demo(path)     compile, explain two, train with each, follow them over two surfaces, write the report to `path`

Settings were chosen by hand from a few learning rates each; they are printed in the report.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotopt.compiler.text.library import Library

NAMES = ("AdamW", "Lion", "Adan", "AdamP", "AdaBelief", "Muon")
EXPLAINED = ("Lion", "AdamP")
BATCH = 64


@dataclass(frozen=True, slots=True)
class Setting:
    """The hyperparameters of one rule for the digits, and its learning rates on the two surfaces."""

    digits: Mapping[str, Any]
    rosenbrock: float
    rastrigin: float


SETTINGS = {
    "AdamW": Setting({"lr": 3e-3, "weight_decay": 1e-2}, 1.0, 1.5),
    "Lion": Setting({"lr": 5e-4, "weight_decay": 1e-1}, 0.05, 0.5),
    "Adan": Setting({"lr": 5e-3, "weight_decay": 1e-2}, 0.8, 0.8),
    "AdamP": Setting({"lr": 3e-3, "weight_decay": 1e-2}, 1.5, 1.5),
    "AdaBelief": Setting({"lr": 3e-3, "weight_decay": 1e-2, "rectify": False}, 1.5, 0.8),
    "Muon": Setting({"lr": 2e-2}, 0.05, 1.0),
}


@dataclass(frozen=True, slots=True)
class Surface:
    """A function of two variables with its minimum, and where the rules start."""

    name: str
    formula: str  # LaTeX
    value: Callable[[Any, Any], Any]  # of numbers or tensors; `cos` comes from the argument
    box: tuple[tuple[float, float], tuple[float, float]]
    levels: tuple[float, ...]
    start: tuple[float, float]
    minimum: tuple[float, float]
    steps: int


def _rosenbrock(x: Any, y: Any) -> Any:
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _rastrigin(x: Any, y: Any) -> Any:
    cos = math.cos if isinstance(x, float) else type(x).cos
    return 20 + x**2 - 10 * cos(2 * math.pi * x) + y**2 - 10 * cos(2 * math.pi * y)


SURFACES = (
    Surface(
        "Rosenbrock", r"f(x, y) = (1 - x)^{2} + 100(y - x^{2})^{2}", _rosenbrock,
        ((-2.1, 2.1), (-0.7, 3.4)), tuple(10 ** (k / 3) for k in range(-3, 11)), (-1.6, 2.4), (1.0, 1.0), 500,
    ),
    Surface(
        "Rastrigin", r"f(x, y) = 20 + x^{2} - 10\cos(2\pi x) + y^{2} - 10\cos(2\pi y)", _rastrigin,
        ((-4.4, 2.2), (-2.4, 4.2)), (3, 7, 12, 18, 25, 33, 42, 52), (-3.4, 3.3), (0.0, 0.0), 300,
    ),
)  # fmt: skip


@dataclass
class Run:
    """What one rule did: mean training loss and test accuracy after each epoch, for each seed."""

    name: str
    losses: list[list[float]] = field(default_factory=list)
    accuracies: list[list[float]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    paths: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    reached: dict[str, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """The mean over seeds at the end."""
        return statistics.fmean(one[-1] for one in self.accuracies)

    @property
    def loss(self) -> float:
        """The mean over seeds at the end."""
        return statistics.fmean(one[-1] for one in self.losses)

    @property
    def milliseconds(self) -> float:
        """The median time of `step()`."""
        return 1e3 * statistics.median(self.step_seconds)


def demo(out: Path, quick: bool = False) -> None:
    """Run everything and write the report to `out`; `quick` takes a few seconds and is for tests.

    Raises ImportError, with what to install, where scikit-learn or matplotlib are missing.
    """
    from dotopt.runtime.commands.explain import show
    from dotopt.runtime.report.console import heading
    from dotopt.runtime.report.console import out as console
    from dotopt.runtime.report.explain import explain
    from dotopt.runtime.report.page import Facts, write

    start = time.perf_counter()
    _require("sklearn", "matplotlib")
    classes, compiled = _compile()
    for name in EXPLAINED:
        heading(f"dotopt explain {name}")
        show(explain(_path(name)))
    heading("training on handwritten digits")
    seeds, epochs = (1, 2) if quick else (3, 30)
    runs = _train(classes, seeds, epochs)
    for surface in SURFACES:
        for run in runs:
            _follow(surface, classes[run.name], run, steps=20 if quick else surface.steps)
    _summary(runs)
    facts = Facts(runs, compiled, seeds, epochs, time.perf_counter() - start)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, facts)
    seconds = time.perf_counter() - start
    console().print(f"\n[bold]{out}[/bold] written; {seconds:.0f} s in all. Open it in a browser.")


def _require(*modules: str) -> None:
    from importlib.util import find_spec

    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise ImportError(f"the demo needs {' and '.join(missing)}: pip install 'dotopt[plots]'")


def _path(name: str) -> Path:
    path = Library().find(name)
    assert path is not None, name
    return path


def _compile() -> tuple[dict[str, Any], dict[str, tuple[str, float]]]:
    """The classes, and for each rule its generated code and the milliseconds that compiling took."""
    from tempfile import TemporaryDirectory

    import dotopt
    from dotopt.runtime.report.console import out, table

    classes, compiled = {}, {}
    rows = table("file", "lines", "becomes", "lines", "in", title="compiling")
    with TemporaryDirectory() as folder:
        for name in NAMES:
            path, made = _path(name), Path(folder) / f"{name}.py"
            begin = time.perf_counter()
            dotopt.compile(path, made)
            milliseconds = 1e3 * (time.perf_counter() - begin)
            classes[name] = getattr(dotopt.load(path), name)
            text = made.read_text(encoding="utf-8")
            compiled[name] = (text, milliseconds)
            lines = str(len(path.read_text(encoding="utf-8").splitlines()))
            rows.add_row(path.name, lines, f"class {name}", str(len(text.splitlines())), f"{milliseconds:.0f} ms")
    out().print(rows)
    return classes, compiled


# ---- training -------------------------------------------------------------------------------------------------------


def optimizer(classes: Mapping[str, Any], name: str, model: Any) -> Any:
    """The optimizer of a rule for a model; Muon moves the matrices, AdamW the rest."""
    import dotopt

    setting = SETTINGS[name].digits
    if name != "Muon":
        return classes[name](model.parameters(), **setting)
    rules = {classes["Muon"]: "matrices", classes["AdamW"]: "rest"}
    return dotopt.route(model, rules, Muon=setting, AdamW=SETTINGS["AdamW"].digits)


def _train(classes: Mapping[str, Any], seeds: int, epochs: int) -> list[Run]:
    import torch

    data = _digits()
    runs = []
    with _progress() as progress:
        for name in NAMES:
            run = Run(name)
            bar = progress.add_task(f"{name:<10}", total=seeds * epochs, loss="", accuracy="")
            for seed in range(seeds):
                torch.manual_seed(seed)
                model = _network()
                stepper = optimizer(classes, name, model)
                run.losses.append([])
                run.accuracies.append([])
                for _ in range(epochs):
                    loss = _epoch(model, stepper, data, run.step_seconds)
                    accuracy = _accuracy(model, data)
                    run.losses[-1].append(loss)
                    run.accuracies[-1].append(accuracy)
                    progress.update(bar, advance=1, loss=f"loss {loss:.4f}", accuracy=f"accuracy {accuracy:.1%}")
            runs.append(run)
    return runs


def _digits() -> tuple[Any, Any, Any, Any]:
    """Images and labels: 1,437 to train on, 360 to test, 8 by 8 pixels between 0 and 1."""
    import torch
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(images / 16, dtype=torch.float32)[order], torch.tensor(labels)[order]
    return x[:1437], y[:1437], x[1437:], y[1437:]


def _network() -> Any:
    """Two hidden layers, 17,226 parameters."""
    from torch import nn

    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))


def _epoch(model: Any, stepper: Any, data: tuple[Any, Any, Any, Any], seconds: list[float]) -> float:
    """The mean loss of one pass over the training set."""
    import torch

    x, y = data[:2]
    total = 0.0
    order = torch.randperm(len(y))
    for start in range(0, len(y), BATCH):
        batch = order[start : start + BATCH]
        stepper.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
        loss.backward()
        begin = time.perf_counter()
        stepper.step()
        seconds.append(time.perf_counter() - begin)
        total += float(loss.detach()) * len(batch)
    return total / len(y)


def _accuracy(model: Any, data: tuple[Any, Any, Any, Any]) -> float:
    import torch

    with torch.no_grad():
        return float((model(data[2]).argmax(1) == data[3]).float().mean())


def _follow(surface: Surface, cls: Any, run: Run, steps: int) -> None:
    """Follow one rule over a surface, from the common start, the learning rate falling to 0 as a cosine."""
    import torch

    point = torch.nn.Parameter(torch.tensor([surface.start]))  # a matrix of one row, since Muon asks for one
    setting = {**SETTINGS[run.name].digits, "weight_decay": 0, "lr": getattr(SETTINGS[run.name], surface.name.lower())}
    stepper = cls([point], **setting)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(stepper, steps)
    path = [surface.start]
    for _ in range(steps):
        stepper.zero_grad()
        torch.autograd.backward(surface.value(point[0, 0], point[0, 1]))
        stepper.step()
        schedule.step()
        x, y = point.detach()[0].tolist()
        path.append((x, y))
    run.paths[surface.name] = path
    run.reached[surface.name] = float(surface.value(*path[-1]))


@contextmanager
def _progress() -> Iterator[Any]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from dotopt.runtime.report.console import out

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[loss]:<14}"),
        TextColumn("{task.fields[accuracy]}"),
    )
    with Progress(*columns, console=out()) as progress:
        yield progress


def _summary(runs: Sequence[Run]) -> None:
    from dotopt.runtime.report.console import out, table

    rows = table(
        "rule", "training loss", "test accuracy", "step", *(f"f on {s.name}" for s in SURFACES), title="results"
    )
    for run in runs:
        reached = (f"{run.reached[surface.name]:.2g}" for surface in SURFACES)
        rows.add_row(run.name, f"{run.loss:.5f}", f"{run.accuracy:.1%}", f"{run.milliseconds:.2f} ms", *reached)
    out().print(rows)
