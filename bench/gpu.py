"""Measures the Triton backend on the card at hand and writes results/gpu-NAME.md; `make bench-gpu`.

    python -m bench.gpu [--rules AdamW,Lion] [--works 1B,400] [--rounds 20]

Contestants are stepped one after the other, each alone in memory, with its time from CUDA events: the median over the
rounds. The bandwidth of copying a large array is measured before and after; achieved bandwidth is the bytes of the
floor (each input read once, each output written once) over the time. Launches are the kernels of one step, as the
profiler of torch counts them.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import math
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dotopt.runtime.bench import FUSED, PEERS, Shapes, words, workloads

RESULTS = Path(__file__).parent / "results"
RULES = ("AdamW", "SGD", "Lion", "Adan", "AdaBelief", "ADOPT", "NAdam", "RAdam", "AdamP", "LAMB", "SGDSaI", "AMAdamW")
MATRIX_RULES = ("Muon",)
COMPILED = ("AdamW", "SGD")  # compiling takes torch so long that few are asked
COMPILED_STEP = "torch compiled"
ENTRIES = 2**30  # of the large tensor, where it fits


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


def contestants(rule: str, work: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Who can step, the class and its arguments: ours first."""
    torch_name, po_name, optimi_name, options = PEERS.get(rule, (None, None, None, {}))
    options = options | {"lr": 1e-3}
    yield "dotopt", getattr(importlib.import_module("dotopt.stdlib"), rule), options | {"backend": "triton"}
    if torch_name:
        cls = getattr(torch.optim, torch_name)
        if rule in FUSED:
            yield "torch fused", cls, options | {"fused": True}
        if rule in MATRIX_RULES:
            yield "torch", cls, options
        else:
            yield "torch foreach", cls, options | {"foreach": True}
        if rule in COMPILED and work == "400":
            yield COMPILED_STEP, cls, options | {"foreach": True, "lr": torch.tensor(1e-3)}
    for package, name in (("pytorch_optimizer", po_name), ("optimi", optimi_name)):
        try:
            peer = getattr(importlib.import_module(package), name) if name else None
        except ImportError:
            continue
        if peer is not None:
            yield package, peer, options


def measured(rule: str, work: str, rounds: int) -> Iterator[Row]:
    """The rows of one rule on one workload."""
    shapes = shapes_of(work, rule)
    entries = sum(map(math.prod, shapes))
    for who, cls, options in contestants(rule, work):
        gc.collect()
        torch.cuda.empty_cache()
        try:
            times, count = alone(cls, options, shapes, rounds, compiled=who == COMPILED_STEP)
        except torch.OutOfMemoryError:
            continue
        milliseconds = statistics.median(times)
        yield Row(rule, work, who, milliseconds, words(rule)[0] * entries / milliseconds / 1e6, count)


def alone(cls: Any, options: dict[str, Any], shapes: Shapes, rounds: int, compiled: bool) -> tuple[list[float], int]:
    """Milliseconds of each round, and how many kernels a step launches."""
    params = [torch.nn.Parameter(torch.randn(shape, device="cuda")) for shape in shapes]
    for p in params:
        p.grad = torch.randn_like(p)
    step = cls(params, **options).step
    step = torch.compile(step) if compiled else step
    return timed(step, rounds), launches(step)


def timed(step: Callable[[], Any], rounds: int, warm: int = 5) -> list[float]:
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
    found = [event.name for event in profile.events() if event.device_type == torch.profiler.DeviceType.CUDA]
    return sum(not name.lower().startswith(("memcpy", "memset")) for name in found)


def copying(rounds: int = 20) -> float:
    """GB/s of copying a gigabyte, read and written."""
    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2 * 4 * 2**28 / statistics.median(timed(lambda: target.copy_(source), rounds)) / 1e6


def report(rows: list[Row], copy: float) -> str:
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
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", default=",".join((*RULES, *MATRIX_RULES)))
    parser.add_argument("--works", default="1B,400,resnet50,gpt2")
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("bench.gpu needs a CUDA or ROCm device, and there is none here; nothing was written")
    before = copying()
    rows: list[Row] = []
    for work in args.works.split(","):
        for rule in args.rules.split(","):
            if work == "1B" and rule in MATRIX_RULES:
                continue
            for row in measured(rule, work, args.rounds):
                rows.append(row)
                print(row, flush=True)
    name = re.sub(r"[^a-z0-9]+", "-", torch.cuda.get_device_name().lower()).strip("-")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"gpu-{name}.md").write_text(report(rows, (before + copying()) / 2))


if __name__ == "__main__":
    main()
