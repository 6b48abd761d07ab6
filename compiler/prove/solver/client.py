"""Asks z3 in its own process, which is kept between questions and begun again when it has died."""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from dotopt.compiler.prove.fuel import StoppedByClock, leave_unanswered, remaining, seconds_left, spend, waiting
from dotopt.compiler.prove.solver import logic
from dotopt.compiler.prove.solver.logic import Term

RATE = 2  # of what z3 counts (its `rlimit`), to a unit of work
BASE = 1_000  # work of a question besides that of z3: its text is written and read
LEAST = 10_000  # work of a question that is asked although no fuel is left, as the last one
PATIENCE = 60.0  # seconds for one question: many times what its work takes on a slow and busy machine


@dataclass(frozen=True, slots=True)
class Value:
    """A number of a model; an algebraic one is rounded to 20 digits."""

    number: Fraction
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """`sat` with the values of the names that matter, `unsat` with the assumptions that it needs, or `unknown`."""

    result: str
    values: dict[str, Value] = field(default_factory=dict)
    bits: dict[str, str] = field(default_factory=dict)  # of IEEE numbers; `nan`
    core: tuple[str, ...] = ()

    def value(self, name: Term) -> Fraction:
        """The number of a name, 0 where the model leaves it open."""
        found = self.values.get(name.args[0])
        return found.number if found is not None else Fraction(0)


def ask(
    assertions: Iterable[Term], work: float, marks: Sequence[str] = (), minimise: Term | None = None
) -> Answer:
    """The answer of z3 for so much work, of which no more is done than the share has left.

    >>> x = logic.Real("x")
    >>> ask([x * x < 0], 100_000).result
    'unsat'
    >>> ask([2 * x == 1], 100_000).values["x"].number
    Fraction(1, 2)
    """
    body = list(assertions) if minimise is None else [*assertions, minimise == minimise]
    question: dict[str, Any] = {"text": logic.text(body)}
    question["work"] = _counted(work)
    if marks:
        question["marks"] = list(marks)
    if minimise is not None:
        question["minimise"] = repr(minimise)
    return _read(question)


def ask_text(text: str, work: float) -> Answer:
    """The answer to a question in SMT-LIB 2."""
    return _read({"text": text, "work": _counted(work)})


def _counted(work: float) -> int:
    """What z3 may count for so much work, of which the share has some left."""
    return RATE * max(LEAST, int(min(work, remaining(), 1 << 30)))


def _read(question: dict[str, Any]) -> Answer:
    spend(BASE + len(question["text"]) // 50)
    found = _process().answer(question)
    spend(min(int(found["work"]), question["work"]) // RATE)
    numbers = {k: Value(Fraction(int(v[0]), int(v[1])), v[2]) for k, v in found["values"].items() if type(v) is list}
    bits = {k: v for k, v in found["values"].items() if type(v) is str}
    return Answer(found["result"], numbers, bits, tuple(found.get("core", ())))


class _Process:
    """The child; answers are read by a thread, so that waiting for them has an end on every system."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.child = subprocess.Popen(
            [sys.executable, "-I", str(Path(__file__).with_name("server.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._reads, daemon=True).start()

    def _reads(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            self.answers.put(line)
        self.answers.put(b"")

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer; `unknown` where z3 dies of the question, which the next process is not asked."""
        try:
            assert self.child.stdin is not None
            self.child.stdin.write(json.dumps(question).encode() + b"\n")
            self.child.stdin.flush()
            with waiting():
                line = self.answers.get(timeout=max(min(seconds_left(), PATIENCE), 0.1))
        except OSError:
            line = b""
        except queue.Empty:
            self.end()
            if seconds_left() <= 0.1:
                raise StoppedByClock from None
            leave_unanswered()  # z3 works on without counting it: other procedures may still decide the claim
            return {"result": "unknown", "values": {}, "work": question["work"]}
        if not line:
            self.end()
            return {"result": "unknown", "values": {}, "work": question["work"]}
        found: dict[str, Any] = json.loads(line)
        return found

    @property
    def alive(self) -> bool:
        """Whether it can be asked, by this process."""
        return self.owner == os.getpid() and self.child.poll() is None

    def end(self) -> None:
        """Ends the child, if it is ours."""
        if self.owner == os.getpid():
            self.child.kill()
            self.child.wait()


_RUNNING: list[_Process] = []


def _process() -> _Process:
    if not _RUNNING or not _RUNNING[0].alive:
        _RUNNING[:] = [_Process()]
    return _RUNNING[0]


@atexit.register
def _end() -> None:
    for process in _RUNNING:
        process.end()


__all__ = ["Answer", "Value", "ask", "ask_text"]
