"""The page that the demonstration writes: one HTML file that needs nothing else, light or dark as the reader likes."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from dotopt.runtime.loading.catalogue import Entry, entries
from dotopt.runtime.report.chart import Series, contours, curves
from dotopt.runtime.report.explain import Explanation, explain
from dotopt.runtime.report.mathematics import Typesetter

if TYPE_CHECKING:
    from dotopt.runtime.report.demo import Run


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the page shows; `compiled` holds code and milliseconds of compiling by name."""

    runs: Sequence[Run]
    compiled: dict[str, tuple[str, float]]
    seeds: int
    epochs: int
    seconds: float


def write(path: Path, facts: Facts) -> None:
    """Write the page."""
    template = Template(files("dotopt.runtime.report").joinpath("templates/report.html").read_text(encoding="utf-8"))
    path.write_text(template.substitute(_parts(facts)), encoding="utf-8")


def _parts(facts: Facts) -> dict[str, str]:
    setter = Typesetter()
    rules = {run.name: explain(_entry(run.name).path) for run in facts.runs}
    return {
        "numbers": _numbers(facts),
        "training": _training(facts),
        "results": _results(facts, rules),
        "losses": curves([_series(run.name, run.losses) for run in facts.runs], "epoch", "mean loss", log=True),
        "accuracies": _accuracies(facts),
        "legend": "".join(_legend(k, run.name) for k, run in enumerate(facts.runs)),
        "surfaces": "".join(_surfaces(facts, setter)),
        "rules": "".join(_rule(k, run.name, rules[run.name], facts, setter) for k, run in enumerate(facts.runs)),
        "footer": _footer(facts),
        "letters": setter.letters,
    }


def _entry(name: str) -> Entry:
    return next(entry for entry in entries() if entry.name == name)


def _source(name: str) -> str:
    return _entry(name).path.read_text(encoding="utf-8")


def _numbers(facts: Facts) -> str:
    written = sum(len(_source(run.name).splitlines()) for run in facts.runs)
    made = sum(len(code.splitlines()) for code, _ in facts.compiled.values())
    milliseconds = sum(ms for _, ms in facts.compiled.values())
    best = max(facts.runs, key=lambda run: run.accuracy)
    rows = (
        (f"{written}", "lines of .opt in all, claims included"),
        (f"{made:,}", "lines of torch code made of them"),
        (f"{milliseconds / 1000:.1f} s", "to compile all six"),
        (f"{best.accuracy:.1%}", f"best test accuracy ({best.name})"),
    )
    return "".join(f"<li><b>{number}</b><span>{escape(words)}</span></li>" for number, words in rows)


def _training(facts: Facts) -> str:
    seeds = "one seed" if facts.seeds == 1 else f"{facts.seeds} seeds"
    return (
        "The digits that come with scikit-learn: 1,437 images to train on, 360 to test. A network with two hidden"
        f" layers, 17,226 parameters; batches of 64, {facts.epochs} epochs, {seeds}. Lines are means, bands reach from"
        " the smallest to the largest seed. Muon moves the hidden matrices, AdamW the rest: <code>dotopt.route</code>."
    )


def _results(facts: Facts, rules: dict[str, Explanation]) -> str:
    from dotopt.runtime.report.demo import SETTINGS

    heads = (
        "rule",
        "test accuracy",
        "training loss",
        "learning rate",
        "state",
        "passes",
        "time of a step",
        "lines of .opt",
    )
    best = max(run.accuracy for run in facts.runs), min(run.loss for run in facts.runs)
    rows = []
    for k, run in enumerate(facts.runs):
        cost = rules[run.name].costs[0]
        cells = (
            f'<span class="swatch s{k}"></span>{_linked(run.name)}',
            _marked(f"{run.accuracy:.1%}", run.accuracy == best[0]),
            _marked(f"{run.loss:.4f}", run.loss == best[1]),
            f"{SETTINGS[run.name].digits['lr']:g}",
            f"{rules[run.name].bytes:g} bytes/entry",
            str(cost.passes) if not cost.reason else "–",
            f"{run.milliseconds:.2f} ms",
            str(len(_source(run.name).splitlines())),
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f'<table class="results"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _marked(text: str, best: bool) -> str:
    return f'<span class="best">{text}</span>' if best else text


def _linked(name: str) -> str:
    link = _entry(name).link
    return f'<a href="{escape(link)}">{name}</a>' if link else name


def _series(name: str, seeds: Sequence[Sequence[float]]) -> Series:
    """Mean, lowest and highest over the seeds, at each epoch."""
    columns = list(zip(*seeds, strict=True))
    means = [(epoch, sum(values) / len(values)) for epoch, values in enumerate(columns, 1)]
    if len(seeds) == 1:
        return Series(name, means)
    return Series(name, means, [min(values) for values in columns], [max(values) for values in columns])


def _accuracies(facts: Facts) -> str:
    series = [_series(run.name, run.accuracies) for run in facts.runs]
    ends = [point[1] for one in series for point in one.points[len(one.points) // 3 :]]
    low = max(min(ends) - 0.02, 0.0)
    return curves(series, "epoch", "accuracy", bounds=(low, 1.0), percent=True)


def _legend(k: int, name: str) -> str:
    return f'<li><button data-pick="{k}"><span class="swatch s{k}"></span>{name}</button></li>'


def _surfaces(facts: Facts, setter: Typesetter) -> Iterator[str]:
    from dotopt.runtime.report.demo import SURFACES

    for surface in SURFACES:
        paths = [Series(run.name, run.paths[surface.name]) for run in facts.runs]
        drawn = contours(surface.value, surface.levels, surface.box, paths, surface.minimum)
        ends = "".join(
            f'<li><span class="swatch s{k}"></span>{run.name}<b>{run.reached[surface.name]:.2g}</b></li>'
            for k, run in enumerate(facts.runs)
        )
        yield (
            f'<div class="card"><h3>{surface.name}</h3><p class="note">{setter.svg(surface.formula)}</p>{drawn}'
            f'<ul class="ends" aria-label="Value reached after {surface.steps} steps">{ends}</ul></div>'
        )


def _rule(k: int, name: str, rule: Explanation, facts: Facts, setter: Typesetter) -> str:
    code, milliseconds = facts.compiled[name]
    written = _source(name)
    said = (
        f"{rule.bytes:g} bytes of state per entry · {len(written.splitlines())} lines · "
        f"compiled in {milliseconds:.0f} ms"
    )
    sides = (
        f"<figure><figcaption>{_entry(name).path.name}</figcaption>{_highlighted(written, opt=True)}</figure>"
        f"<figure><figcaption>what dotopt compile makes of it</figcaption>{_highlighted(code, opt=False)}</figure>"
    )
    sentence = escape(rule.sentence.removeprefix(f"{name}: "))
    return (
        f'<section class="card rule" id="{name}"><header><h3><span class="swatch s{k}"></span>{_linked(name)}</h3>'
        f'<span>{sentence}</span><span class="facts">{said}</span></header>'
        f'<div class="scroll">{setter.equations(rule.file)}</div>'
        f"<details{' open' if k == 0 else ''}><summary>the file, and the code it becomes</summary>"
        f'<div class="pair">{sides}</div></details></section>'
    )


def _highlighted(text: str, opt: bool) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    from dotopt.grammar.highlight import OptLexer

    made: str = highlight(text, OptLexer() if opt else PythonLexer(), HtmlFormatter(nowrap=True))
    return f"<pre>{made}</pre>"


def _footer(facts: Facts) -> str:
    import torch

    from dotopt import __version__

    return (
        f"Made by <code>dotopt demo</code> {__version__} in {facts.seconds:.0f} s on {platform.machine()},"
        f" {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}."
    )
