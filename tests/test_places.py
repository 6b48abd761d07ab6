"""Files share nodes and never places: what is said of one file never points into another."""

from pathlib import Path

import pytest

import dotopt
from dotopt.compiler.lower import lower
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import load

ASKED = "rule {name}\nobjective f\nparam x : real[...]\n{between}g = ∇f(x - 0.5*x)\nx' = x - 0.1*g\n"
LOOP = (
    "rule {name}\nobjective f\nparam x : real[...]\n{between}g = ∇f(x)\n"
    "iterate p from g until |p| <= 1 at most 3:\n  p' = p/2\nx' = x - 0.1*p\n"
)


def written(folder: Path, name: str, text: str, lines: int) -> Path:
    path = folder / f"{name.lower()}.opt"
    path.write_text(text.format(name=name, between="hyper η as lr >= 0 = 0.1\n" + "# a comment\n" * lines), "utf-8")
    return path


def line_of(path: Path, start: str) -> int:
    return next(n for n, line in enumerate(path.read_text("utf-8").splitlines(), 1) if line.startswith(start))


def test_reasons_name_a_line_of_their_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "cache"))
    long, short = written(tmp_path, "SA", ASKED, 4), written(tmp_path, "SB", ASKED, 0)
    kept = lower(load(long))  # its nodes live on
    for _ in range(2):  # and what the cache on disk has is right too
        (reason,) = dotopt.load(short).SB.rule.reasons
        assert f"line {line_of(short, 'g =')}:" in reason
    (reason,) = dotopt.load(long).SA.rule.reasons
    assert f"line {line_of(long, 'g =')}:" in reason and kept.places


def test_the_places_of_a_program_are_in_its_file(tmp_path: Path) -> None:
    first, second = (lower(load(written(tmp_path, n, ASKED, k))) for n, k in (("SA", 4), ("SB", 0)))
    for program in (first, second):
        (oracle,) = program.oracles
        assert program.places[oracle].source is program.equations[0].span.source  # type: ignore[union-attr]


def test_errors_point_into_the_file_that_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOTOPT_CACHE", str(tmp_path / "cache"))
    paths = [written(tmp_path, n, LOOP, k) for n, k in (("LA", 4), ("LB", 0))]
    kept = [lower(load(path)) for path in paths]
    for path in paths:
        with pytest.raises(OptError) as error:
            dotopt.load(path)
        (found,) = error.value.diagnostics
        assert found.code == "E601" and found.span is not None
        assert Path(str(found.span.source.path)) == path and found.span.line == line_of(path, "iterate")
    assert len(kept) == 2
