"""The experiments of examples/ run in a reduced size, and show what their sources say."""

from __future__ import annotations

import math
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "examples"
FAMILIES = (
    "nested", "optimizers", "federated", "tasks", "populations", "solvers", "policies", "dynamics", "theory", "physics",
    "preferences",
)  # fmt: skip
LINE = re.compile(r"^(.*?) +found (\S+) +expected ", re.MULTILINE)

Check = Callable[[list[float]], bool]
EXPECTED: dict[str, Check] = {
    "nested/overwrite_recall": lambda n: n[0] > 1.5 and n[1] < 0.9 and n[2] < n[1] + 0.05,
    "nested/proximal_stability": lambda n: max(n[0], n[2]) < 1e-9 and not min(n[1], n[3]) < 1e11,
    "nested/depth_stability": lambda n: n[0] > 1e6 and n[1] < 1e-2,
    "nested/repetition": lambda n: n[0] > 0.7 and n[1] < 0.1 and n[2] > n[3],
    "nested/induction": lambda n: max(n[0], n[1], n[3]) < 0.2 and min(n[2], n[4], n[5]) > 0.99,
    "nested/hope_characters": lambda n: len(n) == 4 and all(1 < loss < 5.5 for loss in n),
    "nested/any_layer": lambda n: len(n) == 2 and all(1 < loss < 5.5 for loss in n),
    "federated/quadratic": lambda n: 0.2 < n[0] < 0.8 and n[2] < 1e-10 and 0.05 < n[3] < 0.2,
    "solvers/transport": lambda n: n[0] > 300 and n[1] < 1e-11,
}
# the same, where a reduced size takes longer: with the marker `thorough`
LONGER: dict[str, Check] = {
    "populations/rastrigin": lambda n: n[2] >= 0.8 and n[0] < 0.5 and n[4] == 0,
    "tasks/two_curvatures": lambda n: n[0] > 1e-4 and n[3] < 1e-8,
    "optimizers/lion_box": lambda n: max(n[0], n[2]) < 5e-2 and min(n[1], n[3]) > 0.1,
    "optimizers/norm_growth": lambda n: n[2] < 0.8 * n[1] and n[4] < n[3],
    "optimizers/rosenbrock": lambda n: 2000 < n[0] < 2800 and 1900 < n[1] < 2400 and n[2] < n[0] / 2,
    "optimizers/adaptive_memory": lambda n: all(0.7 < ratio < 0.99 for ratio in n),
    "optimizers/one_layer_of_many": lambda n: n[5] < n[4] and n[5] < n[0],
    "federated/compressed": lambda n: n[0] > 0.3 and n[1] < 0.5 and n[2] < 0.5,
    "federated/differences": lambda n: n[0] < 1e-8 and min(n[1:4]) > 1e-3 and n[4] < 1e-6 and n[5] < 0.2,
    "solvers/attack": lambda n: n[0] < n[1] <= n[2] and n[4] <= 0.08 + 1e-6,
    "policies/look_ahead": lambda n: max(n[2], n[3]) < n[1] < n[0],
    "dynamics/averages": lambda n: n[0] > n[1],
    "theory/tangent_kernel": lambda n: 0.3 < n[2] < 0.75,
    "theory/double_descent": lambda n: n[1] > 1.2 and n[2] < 0.1 and n[3] < 1e-9,
    "theory/kinetic_paths": lambda n: n[2] < 0.46 < n[1] < n[0],
    "theory/features": lambda n: n[0] > 0.999 and n[1] >= 2 and abs(n[2] - 1) < 1e-3,
    "theory/mean_square": lambda n: n[0] < 1 < n[1] and n[2] < 1 and n[3] <= 2 and n[4] > 1,
    "theory/drift": lambda n: n[3] < n[2] < n[1] < n[0] and n[4] < 1,
    "theory/harmless_errors": lambda n: n[0] < 0.1 and n[1] < 0.1 and n[2] > 0.5,
    "dynamics/entropy_steps": lambda n: n[0] == 1 and n[1] > 1 and 0.35 < n[2] < 0.6,
    "dynamics/equilibrium": lambda n: n[0] > n[1] > n[2] > n[3] and 3.5 < n[4] < 4.5 and n[5] < 0.5,
    "physics/sampled_dimensions": lambda n: n[4] < n[0] < 1 and n[1] == n[3] == n[5],
    "physics/experts": lambda n: n[3] < n[2] < n[1] < n[0] and n[4] < 1e-4,
    "preferences/bandit": lambda n: abs(n[1] - 13.68) < 0.1 and n[5] < n[4] < n[3],
    "nested/dual_form": lambda n: n[0] < 1e-12 and n[5] < n[3] < n[1],
}


def test_every_experiment_is_here() -> None:
    found = {f"{family}/{path.stem}" for family in FAMILIES for path in (FOLDER / family).glob("*.py")}
    assert found == {*EXPECTED, *LONGER}


@pytest.mark.parametrize("name", [*EXPECTED, *(pytest.param(name, marks=pytest.mark.thorough) for name in LONGER)])
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
    assert (EXPECTED | LONGER)[name](numbers), printed
    assert (tmp_path / f"{Path(name).name}.png").read_bytes().startswith(b"\x89PNG")
