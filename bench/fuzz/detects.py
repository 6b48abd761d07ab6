"""Repairs taken out one by one: whether random rules find the defect again.

    python -m bench.fuzz.detects [WORD …]

Each row changes one place of a copy of the package back to what it was. Prints the number of the rule that finds it;
ends with 1 if one is not found among the first `LIMIT`, or if that rule shows a defect of the package as it is.

Out of reach of rules that are generated: claims and certificates (`bench.fuzz.sentences`), texts that are no rules
(`bench.texts`), what a user does between steps (tests/test_kernel_faults.py), checkpoints, threads, and many machines.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PARTS = ("bench", "compiler", "dotopt", "grammar", "runtime", "stdlib")
LIMIT = 600  # rules


@dataclass(frozen=True)
class Row:
    """A repair: where it stands, and what stood there before; `ways` of running show its absence."""

    title: str
    file: str
    repaired: str
    before: str
    ways: tuple[str, ...]


KERNELS = "compiler/emit/kernels/"
ROWS = (
    Row("sums over rows of tall matrices", "runtime/routines.py",
        "if sum(axis in sides for axis in here.type.axes) == 1:", "if False:", ("cpu",)),
    Row("deviations from the mean", "compiler/schedule/reductions.py",
        'off = node("sub", operand, node("div", _sum(operand, attrs), size))', "off = operand", ("cpu",)),
    Row("what loops read from outside", "compiler/schedule/routines.py", 'if here.op == "loop":', "if False:",
        ("cpu",)),
    Row("whole powers on Triton", KERNELS + "triton/powers.py",
        "if y is not None and y.denominator == 1 and abs(y) <= LARGEST:",
        'return f"tl.exp2({exponent} * tl.log2({base}))", ATOM\n    if y is not None:', ("triton",)),
    Row("numbers of fp64 that are written out, on Triton", KERNELS + "triton/expression.py",
        'return f"tl.full([], {text}, tl.float64)"', "return text", ("triton",)),
    Row("and, or of entries and numbers on Triton", KERNELS + "triton/expression.py",
        'return f"tl.where({texts[0]}, True, {texts[1]})", ATOM', 'return f"(({texts[0]}) | ({texts[1]}))", ATOM',
        ("triton",)),
    Row("gelu of a sum on Triton", "compiler/ops/functions.py", "0.5 * {a} * (1.0 + tl.erf({a} *",
        "0.5 * {0} * (1.0 + tl.erf({0} *", ("triton",)),
    Row("names of Python and Triton", KERNELS + "triton/expression.py",
        "keywords = frozenset((*keyword.kwlist, *dir(builtins),", "keywords = frozenset((*keyword.kwlist,",
        ("triton",)),
    Row("names of C", KERNELS + "c/expression.py",
        'return f"value_{wanted}" if MEANT.fullmatch(wanted) or wanted in CALLED else wanted', "return wanted",
        ("cpu",)),
    Row("size of a number", "compiler/emit/torch/scalars.py", "scalars.absolute({self.text(a)})",
        "torch._foreach_abs({self.text(a)})", ("torch",)),
    Row("memories that start from an input", "compiler/emit/sequence/stretch.py",
        "        code[state.name] = one.names[own_leaf(state)] = name\n", "", ("chunks of 3",)),
    Row("programs of tensors of other ranks", "compiler/evaluate/setting.py",
        "if here in theirs and len(theirs) == len(mine):", "if here in theirs:", ("torch",)),
)  # fmt: skip


def without(row: Row, folder: Path) -> None:
    """A copy of the package without a repair; raises ValueError if that stands elsewhere by now."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    place = folder / row.file
    text = place.read_text(encoding="utf-8")
    if text.count(row.repaired) != 1:
        raise ValueError(f"{row.title}: the repair is not found in {row.file}")
    place.write_text(text.replace(row.repaired, row.before), encoding="utf-8")


def found(folder: Path, ways: tuple[str, ...], first: int, last: int) -> int | None:
    """The first rule of a range that shows a defect in one of the ways, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="fuzz-cache-") as cache:
        environment = os.environ | {
            "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "DOTOPT_CACHE": cache, "PYTHONPATH": str(folder),
        }  # fmt: skip
        call = [sys.executable, "-m", "bench.fuzz.detects", "--look", str(first), str(last), *ways]
        done = subprocess.run(call, capture_output=True, text=True, check=False, env=environment, cwd=folder)
    word = done.stdout.split()[-1:] or [str(first) if done.returncode else "none"]
    return None if word[0] == "none" else int(word[0])


def look(first: int, last: int, ways: tuple[str, ...]) -> None:
    """Print the number of the first rule that shows a defect, or none."""
    import warnings
    from random import Random

    from bench.fuzz.campaign import kind_of
    from bench.fuzz.runs import Refused, attempt

    warnings.simplefilter("ignore")
    for number in range(first, last):
        rng, kind = Random(f"0/{number}"), kind_of(number)
        if not set(ways) <= set(kind.ways):
            continue
        try:
            _, defects = attempt(kind, kind.rule(rng), lambda cls, k=kind, r=rng: k.data(r, cls), ways)
        except Refused:
            continue
        if defects:
            print(number)
            return
    print("none")


def main(words: list[str]) -> int:
    """See the head of the file."""
    missed = 0
    for row in ROWS:
        if words and not any(word in row.title for word in words):
            continue
        with tempfile.TemporaryDirectory(prefix="fuzz-without-") as name:
            without(row, Path(name))
            number = found(Path(name), row.ways, 0, LIMIT)
        good = number is not None and found(ROOT, row.ways, number, number + 1) is None
        print(f"{row.title}: {'not found' if number is None else f'rule {number}'}{'' if good else '  !'}", flush=True)
        missed += not good
    return int(missed > 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--look"]:
        look(int(sys.argv[2]), int(sys.argv[3]), tuple(sys.argv[4:]))
    else:
        sys.exit(main(sys.argv[1:]))
