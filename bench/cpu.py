"""Measures the C backend and writes bench/results/cpu.md and cpu.svg; `--smoke` only shows that everything runs.

    python bench/cpu.py [--smoke] [--rules AdamW,Lion] [--threads 1,2] [--rounds 7]

Each rule is measured in a process of its own, all contestants in that process turn by turn (see dotopt.runtime.bench).
With one thread the clock is the processor's, which repeats on a busy machine; for two the machine must be quiet. Muon
is measured with two threads only, since torch's own takes more than a minute a step. Less than all is only printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

ELEMENTWISE = ("AdamW", "SGD", "Lion", "Adan", "AdaBelief", "ADOPT", "NAdam", "RAdam", "AdamW 8-bit")
REDUCING = ("AdamP", "LAMB", "SGDSaI", "AuON", "AMAdamW")
MODELS = ("AdamW", "Lion")  # on the shapes of models, and on very many small tensors
MATRICES = ("Muon",)
MAIN = ("one", "400")

COLOURS = {
    "dotopt": "#d62728",
    "torch fused": "#1f77b4",
    "torch foreach": "#6baed6",
    "torch for loop": "#9ecae1",
    "pytorch_optimizer": "#2ca02c",
    "optimi": "#9467bd",
    "heavyball": "#8c564b",
    "torch": "#1f77b4",
}


def child(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=True
    )
    return done.stdout.strip().splitlines()[-1]


def works(rule: str, threads: int) -> tuple[str, ...]:
    """The workloads that a rule is measured on."""
    if rule in MATRICES:
        return ("gpt2 block",) if threads > 1 else ()
    return (*MAIN, *(("resnet50", "gpt2", "10000") if rule in MODELS else ()))


def measured(rule: str, plan: Sequence[tuple[str, int, int]]) -> list[dict[str, object]]:
    """The rows of one rule for some (workload, threads, rounds), measured by a fresh process."""
    code = (
        "import json, dataclasses; from dotopt.runtime.bench import measure; "
        f"rows = [row for work, threads, rounds in {plan!r} for row in measure({rule!r}, work, threads, rounds)]; "
        "print(json.dumps([dataclasses.asdict(row) for row in rows]))"
    )
    rows: list[dict[str, object]] = json.loads(child(code))
    return rows


def start(rule: str) -> dict[str, float]:
    """Seconds: the first step with an empty cache and with a full one, after the import; and the compiler alone."""
    code = (
        "import time, torch; import dotopt.stdlib; from dotopt.runtime.backends import cpu; "
        "from dotopt.runtime.optimizer import replay; cpu.available(); "
        f"cls = dotopt.stdlib.{rule}; p = torch.nn.Parameter(torch.ones(1000)); p.grad = torch.ones(1000); "
        "o = cls([p], lr=1e-3, backend='cpu'); t = time.perf_counter(); o.step(); print(time.perf_counter() - t)"
    )
    with tempfile.TemporaryDirectory() as folder:
        return {
            "cold": float(child(code, DOTOPT_CACHE=folder)),
            "cached": statistics.median(float(child(code, DOTOPT_CACHE=folder)) for _ in range(5)),
        }


def overhead(rule: str) -> dict[str, float]:
    """Microseconds of a step of 400 tensors of one entry."""
    found: dict[str, float] = json.loads(
        child(f"import json; from dotopt.runtime.bench import overhead; print(json.dumps(overhead({rule!r})))")
    )
    return found


def machine() -> str:
    """The processor and the compiler."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    family = next((line.split(": ")[1] for line in lines if line.startswith("cpu family")), "?")
    compiler = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=False).stdout.splitlines()[:1]
    import torch

    processor = f"{model} (family {family}), {os.cpu_count()} cores, {platform.system()}"
    return f"{processor}; {' '.join(compiler)}; torch {torch.__version__}"


def report(
    rows: list[dict[str, object]], starts: dict[str, dict[str, float]], overheads: dict[str, dict[str, float]]
) -> str:
    """The Markdown of the results."""
    parts = [
        "# Steps on the CPU",
        "",
        f"Written by `make bench` on {machine()}.",
        "",
        "Median milliseconds of a step, in brackets the ratio to the floor: the bytes of a step, each input read "
        "once and each output written once, at the in-place bandwidth measured between the steps of the same run. "
        "For rules with sums the second ratio is to the bytes of the passes that the schedule found necessary.",
        "",
    ]
    for threads, clock in ((2, "two threads, wall clock"), (1, "one thread, processor clock")):
        for work in dict.fromkeys(str(row["work"]) for row in rows if row["threads"] == threads):
            some = [row for row in rows if row["work"] == work and row["threads"] == threads]
            people = list(dict.fromkeys(str(row["who"]) for row in some))
            bandwidth = statistics.median(float(row["bandwidth"]) for row in some)
            parts += [
                f"## {work}: {clock}; {bandwidth:.1f} GB/s in place",
                "",
                "| rule | " + " | ".join(people) + " |",
                "|---" * (len(people) + 1) + "|",
            ]
            for rule in dict.fromkeys(str(row["rule"]) for row in some):
                by = {str(row["who"]): row for row in some if row["rule"] == rule}
                parts.append(f"| {rule} | " + " | ".join(cell(by.get(who)) for who in people) + " |")
            parts.append("")
    parts += ["## A step of 400 tensors of one entry, microseconds", "", "| rule | ", ""]
    parts.pop()
    people = list(dict.fromkeys(who for one in overheads.values() for who in one))
    parts[-1] = "| rule | " + " | ".join(people) + " |"
    parts.append("|---" * (len(people) + 1) + "|")
    parts += [
        f"| {rule} | " + " | ".join(f"{one[who]:.0f}" if who in one else "" for who in people) + " |"
        for rule, one in overheads.items()
    ]
    parts += [
        "",
        "## The first step, milliseconds",
        "",
        "| rule | compiled by `cc` | from the cache |",
        "|---|---|---|",
    ]
    parts += [f"| {rule} | {1e3 * one['cold']:.0f} | {1e3 * one['cached']:.1f} |" for rule, one in starts.items()]
    return "\n".join(parts) + "\n"


def cell(row: dict[str, object] | None) -> str:
    """`12.3 (1.02)`, and the ratio to the passes where it differs."""
    if row is None:
        return ""
    text = f"{float(row['milliseconds']):.2f} ({float(row['floor']):.2f}"
    passes = row["passes"]
    if passes is not None and abs(float(passes) - float(row["floor"])) > 1e-9:
        text += f"; {float(passes):.2f} of its passes"
    return text + ")"


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Ratios to the floor, one thread, on the two main workloads."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    works = [work for work in MAIN if any(row["work"] == work for row in rows)]
    figure, axes = plt.subplots(1, len(works), figsize=(6 * len(works), 4.5), sharey=True, squeeze=False)
    for axis, work in zip(axes[0], works, strict=True):
        some = [row for row in rows if row["work"] == work and row["threads"] == 1]
        rules = list(dict.fromkeys(str(row["rule"]) for row in some))[::-1]
        for who, colour in COLOURS.items():
            points = [(float(row["floor"]), rules.index(str(row["rule"]))) for row in some if row["who"] == who]
            if points:
                axis.scatter(*zip(*points, strict=True), color=colour, label=who, zorder=3 if who == "dotopt" else 2)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set(
            xscale="log",
            xlabel="time of a step / floor",
            title={"one": "one tensor of 20M", "400": "400 tensors of 10k to 50k"}[work],
        )
        axis.set_yticks(range(len(rules)), rules)
        axis.grid(axis="x", which="both", alpha=0.3)
    axes[0][-1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    everything = ",".join((*ELEMENTWISE, *REDUCING, *MATRICES)), "1,2"
    parser.add_argument("--rules", default=everything[0])
    parser.add_argument("--threads", default=everything[1])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    if args.smoke:
        print(json.dumps(measured("AdamW", [("400", 2, 2)]) + measured("AdamP", [("400", 1, 2)]), indent=1))
        return
    rows: list[dict[str, object]] = []
    threads = list(map(int, args.threads.split(",")))
    for rule in args.rules.split(","):
        plan = [(work, n) for n in threads for work in works(rule, n)]
        found = measured(rule, [(work, n, args.rounds if work in MAIN else args.rounds // 2) for work, n in plan])
        for row in found:
            print(row["rule"], row["work"], row["threads"], f"{row['who']}: {cell(row)}", flush=True)
        rows += found
    if (args.rules, args.threads) != everything:
        return
    starts = {rule: start(rule) for rule in ("AdamW", "Lion", "AdamP")}
    overheads = {rule: overhead(rule) for rule in ("AdamW", "Lion")}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cpu.json").write_text(
        json.dumps({"machine": machine(), "rows": rows, "starts": starts, "overheads": overheads}, indent=1) + "\n"
    )
    (RESULTS / "cpu.md").write_text(report(rows, starts, overheads))
    plot(rows, RESULTS / "cpu.svg")


if __name__ == "__main__":
    main()
