"""What the experiments here have in common: the command line, one figure, and a line for each number.

    python examples/FAMILY/NAME.py [--quick] [--out FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path


def arguments(description: str) -> argparse.Namespace:
    """`quick` (a smaller size) and `out` (where the plot goes)."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smaller size, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("build/experiments"), help="folder of the plot")
    parsed = parser.parse_args()
    parsed.out.mkdir(parents=True, exist_ok=True)
    return parsed


def said(name: str, found: float, expected: str) -> None:
    """Print one number beside the one to expect."""
    print(f"{name:<48} found {found:<12.4g} expected {expected}")


def curves(
    path: Path, series: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, x: str, y: str, *,
    log: bool = False, points: bool = False,
) -> None:
    """One figure with a line for each of `series` (label -> x values, y values), written to `path`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4), layout="constrained")
    for number, (label, (xs, ys)) in enumerate(series.items()):
        style = ("-", "--", "-", "--")[number % 4]  # equal curves stay visible
        axes.plot(xs, ys, style, marker="o" if points else None, linewidth=1.8, markersize=5, label=label)
    axes.set(title=title, xlabel=x, ylabel=y)
    if log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    print(f"wrote {path}")
