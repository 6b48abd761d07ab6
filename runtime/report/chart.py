"""Charts as inline SVG: curves, and paths over the contours of a function. Colours are CSS variables of the page.

Series `k` has the class `s{k}`; the page gives it a colour for light and one for dark.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

LABEL_GAP = 17  # between two labels at the right end, in pixels


@dataclass(frozen=True, slots=True)
class Series:
    """One curve, and the band that its repetitions fill, if there are some."""

    name: str
    points: Sequence[Point]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """The plotting area, and the map from values to pixels."""

    x: Point
    y: Point
    log: bool = False
    width: int = 640
    height: int = 380
    left: int = 62
    right: int = 104
    top: int = 16
    bottom: int = 46

    def across(self, x: float) -> float:
        """The pixel column of `x`."""
        share = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        return self.left + share * (self.width - self.left - self.right)

    def down(self, y: float) -> float:
        """The pixel row of `y`."""
        low, high = (math.log10(end) for end in self.y) if self.log else self.y
        value = math.log10(max(y, self.y[0] / 10)) if self.log else y
        return self.height - self.bottom - (value - low) / ((high - low) or 1) * (self.height - self.top - self.bottom)


def curves(
    series: Sequence[Series], x: str, y: str, log: bool = False, bounds: Point | None = None, percent: bool = False
) -> str:
    """An SVG of all series with axes and a label at the end of each; `bounds` cut the vertical axis."""
    xs = [point[0] for one in series for point in one.points]
    ys = [
        value for one in series for value in (*(p[1] for p in one.points), *one.low, *one.high) if math.isfinite(value)
    ]
    low, high = bounds or (min(ys), max(ys))
    frame = Frame((min(xs), max(xs)), (max(low, 1e-12), high) if log else (low, high), log)
    across = ticks(*frame.x)
    down = decades(*frame.y) if log else ticks(*frame.y)
    clip, area = _area(frame, "curves", x, y)
    parts = [clip, _axes(frame, x, y, across, down, percent), area]
    parts += [_band(frame, k, one) for k, one in enumerate(series) if one.low]
    parts += [_curve(frame, k, one.points) for k, one in enumerate(series)]
    parts += ["</g>"]
    parts += _labels(frame, [(k, one.name, one.points[-1]) for k, one in enumerate(series)])
    return _svg(frame, parts, f"{y} against {x}")


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between `low` and `high`.

    >>> ticks(0, 30), ticks(0.9, 1.0)
    ([0.0, 10.0, 20.0, 30.0], [0.9, 0.92, 0.94, 0.96, 0.98, 1.0])
    """
    rough = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten between `low` and `high`, with 2 and 5 between them if there are few."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [10.0**k for k in exponents if low <= 10.0**k <= high]
    if len(found) > 2:
        return found
    return [f * 10.0**k for k in exponents for f in (1, 2, 5) if low <= f * 10.0**k <= high]


def _number(value: float, percent: bool = False) -> str:
    if percent:
        return f"{value:.0%}"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        mantissa, exponent = f"{value:.0e}".split("e")
        raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"10{raised}" if mantissa == "1" else f"{mantissa}·10{raised}"
    return f"{value:g}"


def _axes(frame: Frame, x: str, y: str, across: list[float], down: list[float], percent: bool) -> str:
    floor, right = frame.height - frame.bottom, frame.width - frame.right
    parts = []
    for value in down:
        row = frame.down(value)
        parts.append(f'<line class="grid" x1="{frame.left}" x2="{right}" y1="{row:.1f}" y2="{row:.1f}"/>')
        text = _number(value, percent)
        parts.append(f'<text class="tick" x="{frame.left - 8}" y="{row + 4:.1f}" text-anchor="end">{text}</text>')
    for value in across:
        column = frame.across(value)
        text = f'<text class="tick" x="{column:.1f}" y="{floor + 18}" text-anchor="middle">{_number(value)}</text>'
        parts.append(text)
    parts.append(f'<line class="axis" x1="{frame.left}" x2="{right}" y1="{floor}" y2="{floor}"/>')
    middle = (frame.left + right) / 2
    parts.append(f'<text class="name" x="{middle}" y="{frame.height - 8}" text-anchor="middle">{escape(x)}</text>')
    height = (frame.top + floor) / 2
    parts.append(
        f'<text class="name" transform="translate(14 {height}) rotate(-90)" text-anchor="middle">{escape(y)}</text>'
    )
    return "".join(parts)


def _path(frame: Frame, points: Sequence[Point]) -> str:
    inside = [(frame.across(x), frame.down(y)) for x, y in points if math.isfinite(y)]
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in inside)


def _curve(frame: Frame, k: int, points: Sequence[Point]) -> str:
    return f'<path class="line s{k}" data-series="{k}" d="{_path(frame, points)}"/>'


def _band(frame: Frame, k: int, one: Series) -> str:
    columns = [x for x, _ in one.points]
    outline = [*zip(columns, one.high, strict=True), *reversed(list(zip(columns, one.low, strict=True)))]
    return f'<path class="band s{k}" data-series="{k}" d="{_path(frame, outline)}Z"/>'


def _labels(frame: Frame, ends: Sequence[tuple[int, str, Point]]) -> list[str]:
    """Names at the right, moved apart where they would touch; a thin line leads to a label that was moved."""
    placed: list[tuple[float, int, str, float]] = []
    for k, name, (_, y) in sorted(ends, key=lambda end: frame.down(end[2][1])):
        row = frame.down(y)
        lowest = placed[-1][0] + LABEL_GAP if placed else frame.top + 4
        placed.append((max(row, lowest), k, name, row))
    over = placed[-1][0] - (frame.height - frame.bottom - 2) if placed else 0.0
    if over > 0:  # push the stack up from below
        limit = frame.height - frame.bottom - 2.0
        for position in range(len(placed) - 1, -1, -1):
            row, k, name, wanted = placed[position]
            row = min(row, limit)
            placed[position] = (row, k, name, wanted)
            limit = row - LABEL_GAP
    edge = frame.width - frame.right
    return [
        f'<path class="lead s{k}" d="M{edge} {wanted:.1f}L{edge + 10} {row:.1f}"/>'
        f'<text class="label s{k}" data-series="{k}" x="{edge + 14}" y="{row + 4:.1f}">{escape(name)}</text>'
        for row, k, name, wanted in placed
    ]


def _area(frame: Frame, *key: object) -> tuple[str, str]:
    """A clip path of the plotting area, and the start of the group that it cuts; `key` makes its name."""
    name = f"clip{zlib.crc32(repr(key).encode()):x}"
    width, height = frame.width - frame.left - frame.right, frame.height - frame.top - frame.bottom
    area = f'x="{frame.left}" y="{frame.top - 2}" width="{width + 2}" height="{height + 3}"'
    return f'<clipPath id="{name}"><rect {area}/></clipPath>', f'<g clip-path="url(#{name})">'


def _svg(frame: Frame, parts: Sequence[str], title: str) -> str:
    box = f"0 0 {frame.width} {frame.height}"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'


# ---- paths over contours --------------------------------------------------------------------------------------------


def contours(
    function: Callable[[float, float], float],
    levels: Sequence[float],
    box: tuple[Point, Point],
    paths: Sequence[Series],
    minimum: Point,
    resolution: int = 160,
) -> str:
    """An SVG of the level lines of `function` on `box`, with a path for each series and a star at the minimum."""
    import contourpy
    import numpy as np

    frame = Frame(*box, width=560, height=460, left=40, right=14, top=12, bottom=34)
    xs, ys = np.linspace(*box[0], resolution), np.linspace(*box[1], resolution)
    values = np.array([[function(float(x), float(y)) for x in xs] for y in ys])
    generator = contourpy.contour_generator(xs, ys, values, line_type=contourpy.LineType.Separate)
    clip, area = _area(frame, "contours", *levels)
    parts = [clip, area, f'<rect class="plate" width="{frame.width}" height="{frame.height}"/>']
    for rank, level in enumerate(levels):
        lines = [np.asarray(line).tolist() for line in generator.lines(level)]
        d = "".join(_path(frame, [(x, y) for x, y in line]) for line in lines)
        parts.append(f'<path class="level" style="--depth:{rank / len(levels):.2f}" d="{d}"/>')
    for k, one in enumerate(paths):
        parts.append(_curve(frame, k, one.points))
    parts.append("</g>")
    for value in ticks(*box[0]):
        at = f'x="{frame.across(value):.1f}" y="{frame.height - 14}"'
        parts.append(f'<text class="tick" {at} text-anchor="middle">{_number(value)}</text>')
    for value in ticks(*box[1]):
        at = f'x="{frame.left - 6}" y="{frame.down(value) + 4:.1f}"'
        parts.append(f'<text class="tick" {at} text-anchor="end">{_number(value)}</text>')
    for k, one in enumerate(paths):
        (x, y) = one.points[-1]
        if box[0][0] <= x <= box[0][1] and box[1][0] <= y <= box[1][1]:
            parts.append(_dot(frame, (x, y), f"end s{k}", 5.5, k))
    parts.append(_dot(frame, paths[0].points[0], "start", 4, -1))
    x, y = frame.across(minimum[0]), frame.down(minimum[1])
    parts.append(f'<path class="star" d="M{x - 7:.1f} {y:.1f}h14M{x:.1f} {y - 7:.1f}v14"/>')
    return _svg(frame, parts, "paths of the optimizers")


def _dot(frame: Frame, point: Point, name: str, radius: float, k: int) -> str:
    at = f'cx="{frame.across(point[0]):.1f}" cy="{frame.down(point[1]):.1f}" r="{radius}"'
    return f'<circle class="{name}" data-series="{k}" {at}/>'
