"""Measures the Triton backend on the card at hand and writes results/gpu-NAME.md; `make bench-gpu`.

    python -m bench.gpu [--rules AdamW,Lion] [--works 1B,400] [--rounds 12] [--minutes 7]

Contestants are stepped one after the other, each alone in memory, with its time from CUDA events: the median over the
rounds. The bandwidth of copying a large array is measured before and after; achieved bandwidth is the bytes of the
floor (each input read once, each output written once) over the time. Launches are the kernels of one step, as the
profiler of torch counts them. After so many minutes no further contestant begins, and the report says who is missing.
"""

from __future__ import annotations

import argparse
import gc
import math
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dotopt.runtime.bench import Shapes, words, workloads
from dotopt.runtime.contestants import Contestant, contestants, stepping

RESULTS = Path(__file__).parent / "results"
RULES = ("AdamW", "SGD", "Lion", "Adan", "AdaBelief", "ADOPT", "NAdam", "RAdam", "AdamP", "LAMB", "SGDSaI", "AMAdamW")
MATRIX_RULES = ("Muon",)
COMPILED = ("AdamW",)  # compiling takes torch so long that one is asked
COMPILED_STEP = "torch compiled"
ENTRIES = 2**30  # of the large tensor, where it fits
COPIED = 2**28  # entries whose copying measures the bandwidth
PRODUCTS = ((12, 768, 768), (12, 768, 3072), (4, 2048, 8192))  # stacks whose X Xᵀ is measured
DEVICE = "cuda"


@dataclass(frozen=True)
class Row:
    """One contestant on one workload: milliseconds of a step, the bytes of its floor over that time, launches."""

    rule: str
    work: str
    who: str
    milliseconds: float
    gigabytes_a_second: float
    launches: int


def shapes_of(work: str, rule: str) -> Shapes:
    """The shapes of a workload; the large one is halved until states and gradients of everybody fit the card."""
    if work != "1B":
        shapes = workloads()[work]
        return [shape for shape in shapes if len(shape) == 2] if rule in MATRIX_RULES else shapes
    entries, free = ENTRIES, torch.cuda.mem_get_info()[0]
    while 4 * entries * 8 > free:
        entries //= 2
    return [(entries // 1024, 1024)]


def everybody(rule: str, work: str, tensors: int) -> Iterator[Contestant]:
    """Who can step, the class and its options: ours first; torch's loop over tensors is left out."""
    for who, cls, options in contestants(rule, tensors, "triton"):
        if who != "torch for loop":
            yield who, cls, options
        if who == "torch foreach" and rule in COMPILED and work == "400":
            yield COMPILED_STEP, cls, options | {"lr": torch.tensor(options["lr"]), "capturable": True}


def measured(rule: str, work: str, rounds: int, until: float, missing: list[str]) -> Iterator[Row]:
    """The rows of one rule on one workload; who would begin after `until`, or does not fit the card, is `missing`."""
    shapes = shapes_of(work, rule)
    entries = sum(map(math.prod, shapes))
    for who, cls, options in everybody(rule, work, len(shapes)):
        gc.collect()
        torch.cuda.empty_cache()
        if time.monotonic() > until:
            missing.append(f"{rule} on {work}, {who}: no time")
            continue
        try:
            times, count = alone(who, cls, options, shapes, rounds)
        except torch.OutOfMemoryError:
            missing.append(f"{rule} on {work}, {who}: no memory")
            continue
        except Exception as error:  # whatever one of them raises, the others are measured
            missing.append(f"{rule} on {work}, {who}: {type(error).__name__}: {str(error).splitlines()[:1]}")
            continue
        milliseconds = statistics.median(times)
        yield Row(rule, work, who, milliseconds, words(rule)[0] * entries / milliseconds / 1e6, count)


def alone(who: str, cls: Any, options: dict[str, Any], shapes: Shapes, rounds: int) -> tuple[list[float], int]:
    """Milliseconds of each round, and how many kernels a step launches."""
    params = [torch.nn.Parameter(torch.randn(shape, device=DEVICE)) for shape in shapes]
    step = stepping(who, cls, options, params, [torch.randn_like(p) for p in params])
    step = torch.compile(step) if who == COMPILED_STEP else step
    return timed(step, rounds), launches(step)


def timed(step: Callable[[], Any], rounds: int, warm: int = 3) -> list[float]:
    """Milliseconds of each round."""
    for _ in range(warm):
        step()
    marks = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(rounds)]
    torch.cuda.synchronize()
    for begin, end in marks:
        begin.record()
        step()
        end.record()
        torch.cuda.synchronize()  # so that what the host needs for a step counts too
    return [begin.elapsed_time(end) for begin, end in marks]


def launches(step: Callable[[], Any]) -> int:
    """How many kernels one step runs, copies not counted."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        torch.cuda.synchronize()
    found = [event for event in profile.events() if event.device_type == torch.profiler.DeviceType.CUDA]
    names = [event.name.lower() for event in found if not getattr(event, "is_user_annotation", False)]
    return sum(not name.startswith(("memcpy", "memset", "optimizer.")) for name in names)


def copying(rounds: int = 20) -> float:
    """GB/s of copying a large array, read and written."""
    source = torch.randn(COPIED, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * 4 * COPIED / statistics.median(timed(lambda: target.copy_(source), rounds)) / 1e6


def products(rounds: int) -> list[str]:
    """Lines of a table: X Xᵀ in bfloat16, by the kernel that computes half and by the library."""
    from dotopt.runtime.backends.triton_symmetric import symmetric_product

    lines = []
    for shape in PRODUCTS:
        x = torch.randn(shape, device=DEVICE).bfloat16()
        half = statistics.median(timed(lambda x=x: symmetric_product(x), rounds))  # type: ignore[misc]
        whole = statistics.median(timed(lambda x=x: x @ x.mT, rounds))  # type: ignore[misc]
        lines.append(f"| {' x '.join(map(str, shape))} | {half:.3f} | {whole:.3f} | {whole / half:.2f} |")
    return lines


def report(rows: list[Row], copy: float, halves: list[str], missing: list[str]) -> str:
    """The Markdown of the results."""
    import triton

    lines = [
        f"# Steps on {torch.cuda.get_device_name()}",
        "",
        f"Written by `make bench-gpu` with torch {torch.__version__}, triton {triton.__version__}. Copying moves "
        f"{copy:.0f} GB/s. Median milliseconds of a step, the bytes of its floor over that time as a share of the copy "
        "bandwidth, launches, and how much longer the others take than ours.",
    ]
    for work in dict.fromkeys(row.work for row in rows):
        lines += [
            "",
            f"## {work}",
            "",
            "| rule | who | ms | of copy | launches | x ours |",
            "|---|---|---|---|---|---|",
        ]
        for rule in dict.fromkeys(row.rule for row in rows if row.work == work):
            some = [row for row in rows if (row.work, row.rule) == (work, rule)]
            for row in some:
                ratio = row.milliseconds / some[0].milliseconds if some[0].who == "dotopt" else math.nan
                share = row.gigabytes_a_second / copy
                lines.append(
                    f"| {rule} | {row.who} | {row.milliseconds:.3f} | {share:.1%} | {row.launches} | {ratio:.2f} |"
                )
    lines += ["", "## X Xᵀ of stacks in bfloat16", "", "| shape | half, ms | library, ms | times faster |"]
    lines += ["|---|---|---|---|", *halves]
    if missing:
        lines += ["", "Not measured:", "", *(f"- {one}" for one in missing)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", default=",".join((*RULES, *MATRIX_RULES)))
    parser.add_argument("--works", default="1B,400,resnet50,gpt2")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=7.0)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("bench.gpu needs a CUDA or ROCm device, and there is none here; nothing was written")
    until = time.monotonic() + 60 * args.minutes
    before, halves = copying(), products(args.rounds)
    rows: list[Row] = []
    missing: list[str] = []
    for work in args.works.split(","):
        for rule in args.rules.split(","):
            if work == "1B" and rule in MATRIX_RULES:
                continue
            for row in measured(rule, work, args.rounds, until, missing):
                rows.append(row)
                print(row, flush=True)
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"gpu-{name}.md").write_text(report(rows, (before + copying()) / 2, halves, missing))


if __name__ == "__main__":
    main()
