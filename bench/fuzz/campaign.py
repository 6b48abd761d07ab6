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
from typing import Any

ROOT = Path(__file__).parent.parent.parent
CHUNK = 100  # numbers a child takes
LIMIT = 90  # seconds without a word, then a child is stopped


@dataclass
class Tally:
    """What came of the rules so far; defects by (backend, kind): the numbers of their rules and a message."""

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
        for backend, kind, message in line.get("defects", ()):
            self.defects.setdefault((backend, kind), []).append((line["number"], message))


def backends_of(number: int, thin: bool) -> tuple[str, ...]:
    """Where a rule is run: torch always; what is dear less often, and if `thin` much less."""
    names = ["torch, one by one"] if number % 2 and thin else ["torch"] if thin else ["torch", "torch, one by one"]
    names += ["cpu"] if not thin or number % 10 == 0 else []
    names += ["triton"] if number % (30 if thin else 3) == 0 else []
    return tuple(names)


def child(seed: str, first: int, last: int, thin: bool) -> None:
    """Print a line of JSON for each rule of a range."""
    import warnings

    import torch

    from bench.fuzz.data import random_example
    from bench.fuzz.runs import Refused, attempt
    from bench.fuzz.statements import random_rule

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for number in range(first, last):
        print(json.dumps({"begun": number}), flush=True)
        rng = Random(f"{seed}/{number}")
        line: dict[str, Any] = {"number": number}
        backends = backends_of(number, thin)
        try:
            _, found = attempt(random_rule(rng), lambda cls, rng=rng: random_example(rng, cls), backends)
            line |= {"runs": len(backends), "defects": [(one.backend, one.kind, one.message) for one in found]}
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
