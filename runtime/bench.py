"""Times a step: ours, torch's own, other libraries', all in one process, turn by turn.

    measure("AdamW", "400", threads=2)    rows of one rule on one workload
    run(["AdamW", "Lion"])                the same printed, a workload after the other

Everybody's tensors have the same shapes and gradients. In each round the in-place bandwidth of memory is measured, then
one step of each contestant, so that whatever else the machine does hits all alike; medians are reported. The floor is
the time that the bytes of a step take at that bandwidth, each input read once and each output written once. With two
threads the clock is the wall's; with one it is the processor's own, which other programs do not disturb.
"""

from __future__ import annotations

import importlib
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dotopt.runtime.contestants import Step, contestants, stepping

Shapes = list[tuple[int, ...]]

ENTRIES = 20_000_000  # of the array whose scaling measures the bandwidth

SLOW = 5.0  # seconds: who takes longer steps once


@dataclass(frozen=True)
class Row:
    """One contestant on one workload: the median of a step in ms, and how often the floor fits into it.

    `passes` is the ratio to the bytes of the passes that the schedule found necessary, for our own rules.
    """

    rule: str
    work: str
    threads: int
    who: str
    milliseconds: float
    floor: float
    passes: float | None
    bandwidth: float


def workloads() -> dict[str, Shapes]:
    """The shapes to step, by name: one large tensor, 400 of 10k to 50k, models, ten thousand of 100, 400 of one entry.

    "gpt2 block" are the four matrices of a block of GPT-2 small, of which it has twelve.
    """
    generator = torch.Generator().manual_seed(1)
    some: Shapes = []
    one: Shapes = [(4096, 4883)]
    small: Shapes = [(100,)] * 10_000
    for _ in range(400):
        size, rows = (
            int(torch.randint(low, high, (), generator=generator)) for low, high in ((10_000, 50_000), (50, 200))
        )
        some.append((rows, size // rows))
    return {
        "one": one,
        "400": some,
        "resnet50": resnet50(),
        "gpt2": gpt2(),
        "gpt2 block": [shape for shape in gpt2()[2:14] if len(shape) == 2],
        "10000": small,
        "ones": [(1,)] * 400,
    }


def resnet50() -> Shapes:
    """The 161 parameters of ResNet-50 (He et al. 2015), 25.6 million entries."""
    shapes: Shapes = [(64, 3, 7, 7), (64,), (64,)]
    width = 64
    for planes, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            for shape in ((planes, width, 1, 1), (planes, planes, 3, 3), (4 * planes, planes, 1, 1)):
                shapes += [shape, (shape[0],), (shape[0],)]
            if block == 0:
                shapes += [(4 * planes, width, 1, 1), (4 * planes,), (4 * planes,)]
            width = 4 * planes
    return [*shapes, (1000, 2048), (1000,)]


def gpt2() -> Shapes:
    """The 148 parameters of GPT-2 small (Radford et al. 2019), 124.4 million entries."""
    width = 768
    layer: Shapes = [
        (width,),
        (width,),
        (width, 3 * width),
        (3 * width,),
        (width, width),
        (width,),
        (width,),
        (width,),
        (width, 4 * width),
        (4 * width,),
        (4 * width, width),
        (width,),
    ]
    return [(50257, width), (1024, width), *layer * 12, (width,), (width,)]


def steps(rule: str, shapes: Shapes, others: bool = True) -> dict[str, Step]:
    """What takes a step of tensors of these shapes under `rule`, by who does it: ours first."""
    gradients = [torch.randn(shape) for shape in shapes]
    made = {}
    for who, cls, options in contestants(rule, len(shapes), "cpu", others):
        params = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
        made[who] = stepping(who, cls, options, params, gradients)
    return made


def words(rule: str) -> tuple[float, float]:
    """Bytes per entry of a usual step: the floor, and the passes of the schedule (matrix products not counted).

    Parameters and states are fp32, but for rules such as `AdamW 8-bit`.
    """
    from dotopt.compiler.schedule.passes import schedule
    from dotopt.compiler.schedule.state_dtype import formats
    from dotopt.compiler.schedule.storage import FORMATS, narrow
    from dotopt.compiler.schedule.variants import conditions, specialise
    from dotopt.runtime.loading.load import program

    rule, _, bits = rule.partition(" ")
    cls = getattr(importlib.import_module("dotopt.stdlib"), rule)
    values = tuple(option.default for option in cls.rule.options)
    lowered = program(cls.origin, values, 2 if cls.rule.ranked else None)
    kept = formats(lowered, "int8" if bits else None)
    sizes = {name: FORMATS[format].cost for name, format in kept.items()}
    plan = schedule(specialise(lowered, dict.fromkeys(conditions(lowered), False)), narrow(lowered, kept))
    return sum(plan.floor(sizes)), sum(plan.bytes(sizes))


def measure(rule: str, work: str, threads: int = 2, rounds: int = 15, others: bool = True, warm: int = 3) -> list[Row]:
    """The rows of one rule on one workload, ours first."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        shapes = workloads()[work]
        if rule == "Muon":
            shapes = [shape for shape in shapes if len(shape) == 2]
        entries = sum(map(math.prod, shapes))
        times, bandwidth = _interleaved(steps(rule, shapes, others), threads, rounds, warm)
        floor, passes = (count * entries / bandwidth for count in words(rule))
        return [
            Row(
                rule,
                work,
                threads,
                who,
                1e3 * (seconds := statistics.median(some)),
                seconds / floor,
                seconds / passes if who == "dotopt" else None,
                bandwidth / 1e9,
            )
            for who, some in times.items()
        ]
    finally:
        torch.set_num_threads(before)


def _interleaved(
    everybody: dict[str, Step], threads: int, rounds: int, warm: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds of each step of everybody, and the bandwidth in place between them, in bytes a second."""
    clock = time.process_time if threads == 1 else time.perf_counter
    times: dict[str, list[float]] = {}
    for who, step in everybody.items():
        times[who] = []
        for _ in range(warm):
            start = clock()
            step()
            taken = clock() - start
            if taken > SLOW and who != "heavyball":  # whose first step compiles
                times[who] = [taken]
                break
    probe = torch.randn(ENTRIES)
    probe.mul_(1.0)
    quick = {who: step for who, step in everybody.items() if not times[who]}
    bandwidths = []
    for _ in range(rounds):
        start = clock()
        probe.mul_(1.0000001)
        bandwidths.append(8 * ENTRIES / (clock() - start))
        for who, step in quick.items():
            start = clock()
            step()
            times[who].append(clock() - start)
    return times, statistics.median(bandwidths)


def overhead(rule: str, tensors: int = 400, rounds: int = 300) -> dict[str, float]:
    """Microseconds that a step of tensors of one entry takes: what is left when there is nothing to compute."""
    taken = {}
    for who, step in steps(rule, [(1,)] * tensors).items():
        for _ in range(5):
            step()
        times = []
        for _ in range(rounds if who == "dotopt" else rounds // 10):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        taken[who] = 1e6 * statistics.median(times)
    return taken


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = ["| rule | work | threads | who | ms a step | x floor | x its passes |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        passes = "" if row.passes is None else f"{row.passes:.2f}"
        lines.append(
            f"| {row.rule} | {row.work} | {row.threads} | {row.who} | {row.milliseconds:.2f} | {row.floor:.2f} "
            f"| {passes} |"
        )
    return "\n".join(lines)


def run(
    names: Sequence[str] = ("AdamW",), works: Sequence[str] = ("one", "400"), threads: int | None = None
) -> list[Row]:
    """Measure rules of the library on workloads, print the table, and return its rows."""
    rows: list[Row] = []
    for name in names:
        for work in works:
            rows += measure(name, work, threads or torch.get_num_threads())
    print(table(rows))
    return rows
