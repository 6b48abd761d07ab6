"""Whether a machine's load, its number of jobs or the seed of its hashes change what is said of claims: they must not.

    python -m bench.verdicts [FILE …]         the whole library without files; some minutes

Every file is checked with an empty cache, four times: alone, beside busy loops, with another PYTHONHASHSEED and two
jobs, and with the claims that were decided before still in the cache. The reports must be the same, byte for byte, but
for the seconds that they took. Exit code 1 if they are not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUSY = 2  # loops that keep the machine busy
LOOP = "while True: sum(range(10_000))"


def report(files: Sequence[str | Path], cache: str, seed: int, jobs: int = 1) -> list[bytes]:
    """The reports on files, one line of JSON each, without seconds."""
    command = [sys.executable, "-m", "dotopt", "check", *map(str, files), "--format", "json", "--jobs", str(jobs)]
    settings = {**os.environ, "DOTOPT_CACHE": cache, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, capture_output=True, env=settings, check=False, cwd=ROOT)
    if found.returncode not in (0, 1, 3):
        raise RuntimeError(found.stderr.decode())
    return [json.dumps(_timeless(json.loads(line)), ensure_ascii=False).encode() for line in found.stdout.splitlines()]


def _timeless(value: Any) -> Any:
    match value:
        case dict():
            return {key: _timeless(inside) for key, inside in value.items() if key != "seconds"}
        case list():
            return [_timeless(inside) for inside in value]
    return value


@contextmanager
def busy(loops: int = BUSY) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    running = [subprocess.Popen([sys.executable, "-c", LOOP]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def differences(files: Sequence[str | Path]) -> Iterator[str]:
    """What differs from the report of a quiet machine, as text; nothing if all is well."""
    with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as other:
        quiet = report(files, kept, seed=0)
        with busy():
            loaded = report(files, tempfile.mkdtemp(dir=other), seed=0)
        reseeded = report(list(reversed(files)), tempfile.mkdtemp(dir=other), seed=4711, jobs=2)[::-1]
        warm = report(files, kept, seed=0)
    runs = {"beside busy loops": loaded, "another hash seed, order and jobs": reseeded, "from the cache": warm}
    for name, lines in runs.items():
        for one, two in zip(quiet, lines, strict=True):
            if one != two:
                yield f"{name}: {json.loads(one)['file']}: {_first(json.loads(one), json.loads(two))}"


def _first(one: Any, two: Any, place: str = "") -> str:
    """The first place where two reports differ."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        return next(_first(one[k], two[k], f"{place}.{k}") for k in one if one[k] != two[k])
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return next(_first(a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(one, two, strict=True)) if a != b)
    return f"{place}: {str(one)[:200]} / {str(two)[:200]}"


def main() -> None:
    """Checks the files that are named, else the library."""
    files = sys.argv[1:] or sorted(map(str, (ROOT / "stdlib").rglob("*.opt")))
    found = list(differences(files))
    print("\n".join(found) or f"{len(files)} files: the reports are the same, byte for byte")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
