"""The experiments of examples/nested run in a reduced size, and show what their sources say."""

from __future__ import annotations

import math
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "nested"
LINE = re.compile(r"^(.*?) +found (\S+) +expected ", re.MULTILINE)

Check = Callable[[list[float]], bool]
EXPECTED: dict[str, Check] = {
    "overwrite_recall": lambda n: n[0] > 1.5 and n[1] < 0.9 and n[2] < n[1] + 0.05,
    "proximal_stability": lambda n: max(n[0], n[2]) < 1e-9 and not min(n[1], n[3]) < 1e11,
    "depth_stability": lambda n: n[0] > 1e6 and n[1] < 1e-2,
    "repetition": lambda n: n[0] > 0.7 and n[1] < 0.1 and n[2] > n[3],
    "induction": lambda n: max(n[0], n[1], n[3]) < 0.2 and min(n[2], n[4], n[5]) > 0.99,
    "hope_characters": lambda n: len(n) == 4 and all(1 < loss < 5.5 for loss in n),
}


def test_every_experiment_is_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {*EXPECTED, "figure"}


@pytest.mark.parametrize("name", EXPECTED)
def test_experiment(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--out", str(tmp_path)])
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    numbers = [float(found) for _, found in LINE.findall(printed)]
    assert numbers and not any(math.isnan(number) for number in numbers)
    assert EXPECTED[name](numbers), printed
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
