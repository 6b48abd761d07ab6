"""Many random rules in child processes, which may crash, hang and leak; what they found, by kind, the smallest first.

A child takes a range of numbers; rule number k follows from the seed and k alone. It says which number it begins, so a
child that dies is a defect of that number, and another one goes on behind it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.fuzz.runs import Kind

ROOT = Path(__file__).parent.parent.parent
CHUNK = 100  # numbers a child takes
LIMIT = 90  # seconds without a word, then a child is stopped


@dataclass
class Tally:
    """What came of the rules so far; defects by (way, kind): the numbers of their rules and a message."""

    rules: int = 0
    runs: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    defects: dict[tuple[str, str], list[tuple[int, str]]] = field(default_factory=dict)

    def take(self, line: dict[str, Any]) -> None:
        """One line of a child."""
        self.rules += 1
        self.runs += line.get("runs", 0)
        if "refused" in line:
            self.refused[line["refused"]] += 1
        for way, kind, message in line.get("defects", ()):
            self.defects.setdefault((way, kind), []).append((line["number"], message))


def kind_of(number: int) -> Kind:
    """Two optimizers, then a rule over sequences."""
    from bench.fuzz.modules import Modules
    from bench.fuzz.optimizers import Optimizers

    return Modules() if number % 3 == 2 else Optimizers()


def ways_of(number: int, thin: bool) -> tuple[str, ...]:
    """How a rule is run: what is dear less often, and if `thin` much less."""
    if number % 3 == 2:
        ways = ("chunks of 1", "chunks of 3", "chunks of 64", "backward")
        if thin:
            return ways[number % 4 :][:1]
        return (*ways, "explain") if number % 10 == 2 else ways
    if thin:
        dear = ("cpu",) if number % 15 == 0 else ("triton",) if number % 30 == 1 else ()
        return (("torch", "torch, one by one")[number % 2], *dear)
    return ("torch", "torch, one by one", "cpu", *(("triton",) if number % 4 == 0 else ()))


def child(seed: str, first: int, last: int, thin: bool) -> None:
    """Print a line of JSON for each rule of a range."""
    import warnings

    import torch

    from bench.fuzz.runs import Refused, attempt

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for number in range(first, last):
        print(json.dumps({"begun": number}), flush=True)
        rng, kind = Random(f"{seed}/{number}"), kind_of(number)
        line: dict[str, Any] = {"number": number}
        ways = ways_of(number, thin)
        try:
            _, found = attempt(kind, kind.rule(rng), lambda cls, k=kind, r=rng: k.data(r, cls), ways)
            line |= {"runs": len(ways), "defects": [(one.way, one.kind, one.message) for one in found]}
        except Refused as error:
            line["refused"] = str(error).splitlines()[0].split(":")[0]
        print(json.dumps(line), flush=True)


def _environment(cache: str) -> dict[str, str]:
    return os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "DOTOPT_CACHE": cache}


def children(seed: str, first: int, last: int, thin: bool) -> Iterator[dict[str, Any]]:
    """The lines of the rules of a range, whatever becomes of the processes."""
    while first < last:
        with tempfile.TemporaryDirectory(prefix="fuzz-cache-") as cache:
            call = [sys.executable, "-m", "bench.fuzz.campaign", seed, str(first), str(last), str(int(thin))]
            begun, done = first, first
            with subprocess.Popen(
                call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(cache), cwd=ROOT
            ) as process:
                watch = _Watch(process)
                assert process.stdout is not None and process.stderr is not None
                for text in process.stdout:
                    watch.heard()
                    line = json.loads(text) if text.startswith("{") else {}
                    begun = line.get("begun", begun)
                    if "number" in line:
                        done = line["number"] + 1
                        yield line
                error = process.stderr.read()[-500:]
                code = process.wait()
                watch.stop()
        if done < last and code != 0:
            kind = f"the process ends with {code}" if not watch.rang else "it hangs"
            yield {"number": begun, "defects": [("process", kind, error)]}
            done = begun + 1
        first = done


class _Watch:
    """Stops a process that has not been heard of for too long."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        import threading

        self.process, self.rang, self.last, self.over = process, False, time.monotonic(), threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        while not self.over.wait(1):
            if time.monotonic() - self.last > LIMIT:
                self.rang = True
                self.process.kill()
                return

    def heard(self) -> None:
        """It lives."""
        self.last = time.monotonic()

    def stop(self) -> None:
        """It is over."""
        self.over.set()


def run(count: int, seed: str = "0", jobs: int = 1, thin: bool = False, first: int = 0) -> Tally:
    """The tally of `count` rules."""
    tally = Tally()
    ranges = [(start, min(start + CHUNK, first + count)) for start in range(first, first + count, CHUNK)]
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for lines in pool.map(lambda pair: list(children(seed, *pair, thin)), ranges):
            for line in lines:
                tally.take(line)
    return tally


def smallest(seed: str, number: int, signature: Sequence[str], seconds: float = 60) -> str:
    """The smallest rule of this kind of defect, as text, made in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="fuzz-cache-") as cache:
        call = [sys.executable, "-m", "bench.fuzz", "--only", str(number), "--seed", seed, "--signature", *signature]
        try:
            done = subprocess.run(
                [*call, "--seconds", str(seconds)], capture_output=True, text=True, check=False,
                env=_environment(cache), cwd=ROOT, timeout=seconds + LIMIT,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "(shrinking hangs)"
    return done.stdout.strip() or f"(shrinking ends with {done.returncode})"


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1")
