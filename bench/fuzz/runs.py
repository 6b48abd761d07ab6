"""One rule on one backend, beside the judge."""

from __future__ import annotations

import re
import signal
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dotopt
from bench.fuzz.rules import Rule, titled
from dotopt.compiler.text.errors import OptError
from dotopt.runtime.property.compare import difference
from dotopt.runtime.property.example import Example
from dotopt.runtime.property.runs import Machine

# how a rule is run: the backend, and whether one tensor at a time
BACKENDS: dict[str, tuple[str, bool | None]] = {
    "torch": ("torch", None), "torch, one by one": ("torch", False), "cpu": ("cpu", None), "triton": ("triton", None),
}  # fmt: skip
SECONDS = 20  # no rule of this size may take longer


@dataclass(frozen=True)
class Defect:
    """What went wrong on which backend; `signature` is the same for defects of one kind."""

    backend: str
    kind: str
    message: str

    @property
    def signature(self) -> tuple[str, str]:
        """Backend and kind."""
        return self.backend, self.kind


class Refused(Exception):
    """The rule is not legal, or is said not to be compiled yet."""


class Late(Exception):
    """A limit of time has passed."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises `Late` in what takes longer; once more after a while, in case it was caught."""

    def ring(*_: object) -> None:
        raise Late(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def load(rule: Rule, folder: Path | None = None) -> Any:
    """The class of a rule; raises `Refused` for one that is refused with a code."""
    folder = folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    for name, text in (*rule.files, ("a", rule.text)):
        (folder / f"{name}.opt").write_text(text, encoding="utf-8")
    path = folder / "a.opt"
    if rule.around:
        used = sorted({*re.findall(r"\b[A-Z]\w*", rule.around), "A"})
        path = folder / "composed.opt"
        path.write_text(f"rule Composed = {rule.around}\nuse {', '.join(used)}\n", encoding="utf-8")
    try:
        return getattr(dotopt.load(path), titled(path.read_text(encoding="utf-8")))
    except OptError as error:
        raise Refused(str(error)) from None


def outcome(cls: Any, example: Example, backend: str) -> Defect | None:
    """The defect that a run shows, if any."""
    name, foreach = BACKENDS[backend]
    try:
        with within(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            example = replace(example, foreach=foreach)
            found = difference(cls, example, Machine(cls, example, name))
    except Exception as error:
        return crashed(backend, error)
    if found is None:
        return None
    where = f"`{found.name}{list(found.place)}` of tensor {found.tensor} after step {found.step + 1}"
    numbers = f"judge {found.reference!r}, {backend} {found.backend!r}, allowed {found.allowed:.2g}"
    return Defect(backend, "wrong numbers", f"{where}: {numbers}")


def crashed(backend: str, error: BaseException) -> Defect:
    """An exception as a defect, by its type and the innermost function of ours."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/dotopt/" in f.filename]
    inner = f" in {frames[-1].name}" if frames else ""
    if any("evaluate" in frame.filename for frame in frames[-1:]):
        backend = "judge"
    words = re.sub(r"[`'\"][^`'\"]*[`'\"]|\d+", "…", str(error).strip().splitlines()[0] if str(error).strip() else "")
    kind = re.sub(r"\d+", "", f"{type(error).__name__}{inner}: {words[:80]}")
    return Defect(backend, kind, str(error)[-600:])


def attempt(
    rule: Rule, data: Callable[[Any], Example] | Example, backends: Sequence[str]
) -> tuple[Example | None, list[Defect]]:
    """Load a rule, run it on data, and collect what is wrong; raises `Refused`."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            with within(SECONDS):
                cls = load(rule, Path(folder))
        except Refused:
            raise
        except Exception as error:
            return (None if callable(data) else data), [crashed("load", error)]
        try:
            example = data(cls) if callable(data) else data
        except OptError as error:
            raise Refused(str(error)) from None
        except Exception as error:
            return None, [crashed("lower", error)]
        found = (outcome(cls, example, backend) for backend in backends)
        return example, [defect for defect in found if defect is not None]
