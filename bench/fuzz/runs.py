"""One rule, loaded and run in several ways beside the judge."""

from __future__ import annotations

import re
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

import dotopt
from bench.fuzz.rules import Rule, titled
from dotopt.compiler.text.errors import OptError
from dotopt.runtime.backends.choice import Unable

SECONDS = 20  # no rule of this size may take longer


@dataclass(frozen=True)
class Defect:
    """What went wrong in which way of running; `signature` is the same for defects of one kind."""

    way: str
    kind: str
    message: str

    @property
    def signature(self) -> tuple[str, str]:
        """Way and kind."""
        return self.way, self.kind


class Kind(Protocol):
    """What differs between kinds of rules: `bench.fuzz.optimizers`, `bench.fuzz.modules`."""

    ways: tuple[str, ...]

    def rule(self, rng: Random) -> Rule:
        """A random rule."""

    def data(self, rng: Random, cls: Any) -> Any:
        """Random data for it."""

    def run(self, cls: Any, given: Any, way: str) -> str | None:
        """What is wrong with the numbers of a run, if anything."""

    def smaller(self, given: Any) -> Iterator[Any]:
        """Less data."""

    def fitting(self, cls: Any, given: Any) -> Any:
        """The same data for a smaller rule; raises `Refused` if they do not fit."""

    def described(self, given: Any) -> list[str]:
        """The data in lines."""


class Refused(Exception):
    """The rule is not legal, or is said not to be compiled yet."""


class Late(Exception):
    """A limit of time has passed."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises `Late` in what takes longer, of the processor; once more after a while, in case it was caught."""

    def ring(*_: object) -> None:
        raise Late(f"more than {seconds} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds, 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def load(rule: Rule, folder: Path | None = None) -> Any:
    """The class of a rule; raises `Refused` for one that is refused with a code."""
    folder = folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    for name, text in (*rule.files, ("drawn", rule.text)):
        (folder / f"{name}.opt").write_text(text, encoding="utf-8")
    path = folder / "drawn.opt"
    if rule.around:
        used = sorted({*re.findall(r"\b[A-Z]\w*", rule.around)})
        path = folder / "composed.opt"
        path.write_text(f"rule Composed = {rule.around}\nuse {', '.join(used)}\n", encoding="utf-8")
    try:
        return getattr(dotopt.load(path), titled(path.read_text(encoding="utf-8")))
    except OptError as error:
        raise Refused(str(error)) from None


def crashed(way: str, error: BaseException) -> Defect:
    """An exception as a defect, by its type and the innermost function of ours."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/dotopt/" in f.filename]
    inner = f" in {frames[-1].name}" if frames else ""
    if any("evaluate" in frame.filename for frame in frames[-1:]):
        way = "judge"
    words = re.sub(r"[`'\"][^`'\"]*[`'\"]|\d+", "…", str(error).strip().splitlines()[0] if str(error).strip() else "")
    kind = re.sub(r"\d+", "", f"{type(error).__name__}{inner}: {words[:80]}")
    return Defect(way, kind, str(error)[-600:])


def attempt(
    kind: Kind, rule: Rule, data: Callable[[Any], Any], ways: Sequence[str]
) -> tuple[Any, list[Defect]]:
    """Load a rule, make data for it, run it in these ways, and collect what is wrong; raises `Refused`."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        given: Any = None
        try:
            with within(SECONDS):
                cls = load(rule, Path(folder))
            given = data(cls)
        except OptError as error:
            raise Refused(str(error)) from None
        except Refused:
            raise
        except Exception as error:
            return given, [crashed("load", error)]
        return given, [defect for way in ways if (defect := _run(kind, cls, given, way)) is not None]


def _run(kind: Kind, cls: Any, given: Any, way: str) -> Defect | None:
    try:
        with within(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = kind.run(cls, given, way)
    except Unable:
        return None  # said in words, and `auto` takes torch's code
    except Exception as error:
        return crashed(way, error)
    return None if found is None else Defect(way, "wrong numbers", found)
