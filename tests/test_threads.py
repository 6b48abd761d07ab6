"""Any number of threads may read, compile and load rules at once: the answers are those of one thread."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest

from dotopt.compiler.ir import leaf, node, number
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.parse import parse
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source
from dotopt.runtime.loading.load import load

ROOT = Path(__file__).resolve().parents[1]
CORPUS = sorted(ROOT.joinpath("tests/worked").glob("*.opt"))[::4]
THREADS = 6
T = TypeVar("T")


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Threads take turns a hundred times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(usual)


def at_once(work: Callable[[int], T], threads: int = THREADS) -> list[T]:
    """What `work` gives in each of several threads that start together."""
    start = Barrier(threads)

    def run(number: int) -> T:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def test_files_are_parsed_in_threads() -> None:
    sources = [Source(path.name, path.read_text(encoding="utf-8")) for path in CORPUS]
    alone = [parse(source) for source in sources]

    def everything(number: int) -> bool:
        order = sources[number * 7 % len(sources) :] + sources[: number * 7 % len(sources)]
        return {source.path: parse(source) for source in order} == {
            source.path: file for source, file in zip(sources, alone, strict=True)
        }

    assert all(at_once(everything))


def test_broken_texts_are_explained_in_threads() -> None:
    texts = [f"rule A\nobjective f\nparam x : real[...]\n{line}\n" for line in ("x' = (x", "x := 1", "  y", "x' = x)")]

    def answer(text: str) -> tuple[str, ...]:
        with pytest.raises(OptError) as caught:
            parse(Source("a.opt", text))
        return tuple(found.message for found in caught.value.diagnostics)

    alone = [answer(text) for text in texts]
    assert all(found == alone * 5 for found in at_once(lambda _: [answer(text) for text in texts * 5]))


def test_equal_expressions_are_one_node_in_threads() -> None:
    def built(_: int) -> list[object]:
        x = leaf("param", "threads")
        return [node("add", node("mul", x, number(i)), x) for i in range(1000)]

    first, *others = at_once(built)
    assert all(a is b for other in others for a, b in zip(first, other, strict=True))


def test_rules_are_lowered_in_threads() -> None:
    file = Library().file("Adan")
    assert file is not None
    programs = at_once(lambda _: [lower(file, Static({}, None), Library()) for _ in range(3)])
    states = [{state.name: state.next for state in program.states} for several in programs for program in several]
    assert all(found == states[0] for found in states)


def test_a_file_loaded_in_threads_is_one_class(tmp_path: Path) -> None:
    path = tmp_path / "mine.opt"
    path.write_text("rule Mine\nobjective f\nparam x : real[...]\nhyper η as lr = 0.1\n\nx' = x - η*∇f(x)\n")
    assert len(set(at_once(lambda _: load(path).Mine))) == 1
