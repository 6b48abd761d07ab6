"""The demonstration in its short form: it trains, and the page it writes is whole and needs nothing else."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from dotopt.runtime.report.chart import Series, contours, curves, decades, ticks
from dotopt.runtime.report.demo import NAMES, SURFACES, demo
from dotopt.runtime.report.page import _series


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("demo") / "inner" / "report.html"
    demo(out, quick=True)
    return out.read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Tags that are open, and every address that the page loads or links."""

    VOID = frozenset(("meta", "br", "hr", "img", "link", "input"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.used: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "src" or (name == "href" and tag not in ("a", "use")):
                self.loaded.append(value or "")
            if name == "id":
                self.ids.append(value or "")
            if name == "href" and tag == "use":
                self.used.add((value or "").removeprefix("#"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_well_formed_and_self_contained(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    assert not reader.wrong and not reader.open
    assert not reader.loaded
    assert "url(http" not in page and "@import" not in page
    assert len(reader.ids) == len(set(reader.ids))
    assert reader.used and reader.used <= set(reader.ids), "every letter of an equation is drawn"
    assert "$" not in re.sub(r"<pre>.*?</pre>|<script>.*?</script>", "", page, flags=re.DOTALL), (
        "no blank left unfilled"
    )
    assert "prefers-color-scheme: dark" in page
    assert len(page) < 2_000_000


def test_every_rule_is_there_with_its_file_code_and_numbers(page: str) -> None:
    for name in NAMES:
        assert f'id="{name}"' in page
        assert re.search(rf"<td[^>]*>.*{name}.*</td>", page)
    assert page.count("what dotopt compile makes of it") == len(NAMES)
    assert page.count('class="equations"') == len(NAMES)
    for surface in SURFACES:
        assert f"<h3>{surface.name}</h3>" in page
    assert "nan" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)


def test_charts_are_xml_and_inside_their_frame() -> None:
    series = [Series("a", [(1, 0.5), (2, 1e-3)]), Series("b", [(1, 1.0), (2, 1e-9)], [0.9, 1e-10], [1.1, 1e-8])]
    drawn = curves(series, "epoch", "loss", log=True)
    root = ET.fromstring(drawn)
    assert root.get("viewBox") == "0 0 640 380"
    labels = [float(part.get("y", "0")) for part in root.iter("text") if "label" in part.get("class", "")]
    assert sorted(labels) == labels and labels[1] - labels[0] >= 16
    for path in root.iter("path"):
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d", path.get("d", ""))]
        assert all(-1 <= n <= 641 for n in numbers)


def test_labels_do_not_touch_even_when_curves_end_together() -> None:
    drawn = curves([Series(f"rule {k}", [(0, 1.0), (1, 0.1)]) for k in range(6)], "x", "y")
    rows = sorted(float(y) for y in re.findall(r'class="label s\d" data-series="\d" x="[\d.]+" y="([\d.]+)"', drawn))
    assert len(rows) == 6
    assert all(b - a >= 16.9 for a, b in pairwise(rows))
    assert rows[-1] <= 380 - 40


def test_contours_go_through_points_of_their_level() -> None:
    surface = SURFACES[0]
    drawn = contours(
        surface.value, [10.0], surface.box, [Series("a", [surface.start, surface.minimum])], surface.minimum
    )
    (level,) = [path for path in ET.fromstring(drawn).iter("path") if path.get("class") == "level"]
    (x0, x1), (y0, y1) = surface.box
    points = re.findall(r"[ML](\d+\.\d) (\d+\.\d)", level.get("d", ""))
    assert len(points) > 20
    for across, down in points[::5]:
        x = x0 + (float(across) - 40) / (560 - 54) * (x1 - x0)
        y = y1 - (float(down) - 12) / (460 - 46) * (y1 - y0)
        assert surface.value(x, y) == pytest.approx(10.0, rel=0.15)


@pytest.mark.parametrize(("low", "high"), [(0, 30), (0.913, 1.0), (-2.1, 2.1), (1, 2)])
def test_ticks_are_round_inside_and_evenly_spaced(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    gaps = {round(b - a, 9) for a, b in pairwise(found)}
    assert len(gaps) == 1


def test_decades() -> None:
    assert decades(1e-4, 2) == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]
    assert decades(0.3, 3) == [0.5, 1.0, 2.0]


def test_a_band_reaches_from_the_lowest_to_the_highest_seed() -> None:
    one = _series("a", [[1.0, 2.0], [3.0, 6.0]])
    assert one.points == [(1, 2.0), (2, 4.0)]
    assert (one.low, one.high) == ([1.0, 2.0], [3.0, 6.0])


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs sklearn and matplotlib: pip install 'dotopt\[plots\]'"):
        demo(tmp_path / "report.html", quick=True)
