"""The pytest plugin, in projects of its own: what it collects, how it fails, and that others do not pay for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MINE = """rule Mine
objective f
param x : real[...]
hyper η as lr > 0 = 0.1
g = ∇f(x)
x' = x - η*g

claim right:
  show  x' - x == -η*g

claim shorter:
  show  ‖x'‖ <= ‖x‖
"""
OPEN = """formula largest(v : real[d], k : int > 0) = v*(rank_of(|v|) <= k)

claim undecided:
  show  ‖largest(v, k) - v‖² <= (1 - k/d)*‖v‖²
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a rule that has a false claim, a formula whose claim is left open, and a Python test."""
    (tmp_path / "mine.opt").write_text(MINE, encoding="utf-8")
    (tmp_path / "largest.opt").write_text(OPEN, encoding="utf-8")
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    return tmp_path


def run(project: Path, *arguments: str, ini: str = "") -> tuple[int, str]:
    """The exit code of pytest in the project, and what it prints."""
    (project / "pytest.ini").write_text(f"[pytest]\n{ini}", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--dotopt-examples", "3", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_nothing_is_collected_that_was_not_asked_for(project: Path) -> None:
    code, out = run(project, "-q")
    assert code == 0 and "1 passed" in out and ".opt" not in out


def test_files_named_on_the_command_line(project: Path) -> None:
    code, out = run(project, "mine.opt", "-k", "shorter or right or (torch and float64)", "-v")
    assert code == 1
    assert "mine.opt::claim right PASSED" in out and "mine.opt::claim shorter FAILED" in out
    assert "mine.opt::torch, float64 PASSED" in out
    assert "claim `shorter` is refuted, by" in out and "‖x - η*∇f(x)‖ <= ‖x‖" in out
    assert "Traceback" not in out and "pytest_plugin.py:" not in out.partition("short test summary")[0]
    assert "from dotopt.runtime.property.claims import Moment, at" in out  # how to reproduce it


def test_the_ini_file_asks_for_all_and_open_claims_do_not_fail(project: Path) -> None:
    code, out = run(project, "-k", "claim and (right or undecided) or test_it", ini="dotopt_collect = true\n")
    assert code == 0 and "2 passed" in out and "1 open" in out
    assert "largest.opt::claim undecided: no procedure decides it" in out


def test_open_claims_fail_if_asked_to(project: Path) -> None:
    code, out = run(project, "largest.opt", "-k", "claim", "--dotopt-strict")
    assert code == 1 and "open: no procedure decides it" in out


def test_a_broken_file_shows_its_diagnostic(project: Path) -> None:
    (project / "bad.opt").write_text("rule Bad\nparam x : real[...]\nx' = y\n")
    code, out = run(project, "bad.opt")
    assert code == 2 and "E201" in out and "Traceback" not in out


def test_it_costs_nothing_where_no_file_is_collected() -> None:
    """Every run of pytest loads the plugin: it brings nothing but itself, as long as there is no file for it."""
    code = (
        "import pytest, sys; before = set(sys.modules); import dotopt.runtime.pytest_plugin;"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('_pytest')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["dotopt", "dotopt.runtime", "dotopt.runtime.pytest_plugin"]
