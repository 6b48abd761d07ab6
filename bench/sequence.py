"""Measures rules over sequences and writes bench/results/sequence.md and sequence.svg.

    python -m bench.sequence [--smoke] [--rounds 7] [--lengths 512,2048,8192]

One thread, processor clock, contestants turn by turn in one process; the best of the rounds. `fla` is the torch code
that flash-linear-attention publishes (its recurrent and its chunked form); it is measured if the package is there:
`pip install --no-deps fla-core einops`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

import dotopt.stdlib
from bench.cpu import machine

RESULTS = Path(__file__).parent / "results"
HEADS, SIZE = 4, 64
RULES = ("LinearAttention", "DeltaMemory", "GatedDelta")
OURS, RECURRENCE, NAIVE = "dotopt", "dotopt token by token", "naive torch"
FLA, FLA_RECURRENCE = "fla chunk", "fla recurrence"
COLOURS = {OURS: "#d62728", RECURRENCE: "#ff9896", NAIVE: "#7f7f7f", FLA: "#1f77b4", FLA_RECURRENCE: "#9ecae1"}

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Row:
    """Seconds of one reading of T tokens; `training`: with the backward pass."""

    rule: str
    who: str
    length: int
    training: bool
    seconds: float


def inputs(rule: str, length: int) -> dict[str, Tensor]:
    """Random tokens `[1, heads, T, d]` with unit keys, and gates."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, HEADS, length, SIZE, generator=generator) for _ in range(3))
    found = {"q": q, "k": normalize(k, dim=-1), "v": v}
    gates = {"LinearAttention": (), "DeltaMemory": ("beta",), "GatedDelta": ("alpha", "beta")}[rule]
    for gate in gates:
        low = 0.9 if gate == "alpha" else 0.0
        found[gate] = low + (1 - low) * torch.rand(1, HEADS, length, generator=generator)
    return found


def naive(rule: str, given: Inputs) -> Tensor:
    """The equations of the papers as a loop over tokens."""
    q, k, v = given["q"], given["k"], given["v"]
    memory, outputs = torch.zeros(1, HEADS, SIZE, SIZE), []
    for t in range(q.shape[2]):
        key = k[:, :, t]
        if rule == "LinearAttention":
            written = v[:, :, t]
        else:
            if rule == "GatedDelta":
                memory = given["alpha"][:, :, t, None, None] * memory
            written = given["beta"][:, :, t, None] * (v[:, :, t] - (memory @ key[..., None])[..., 0])
        memory = memory + written[..., :, None] * key[..., None, :]
        outputs.append((memory @ q[:, :, t, :, None])[..., 0])
    return torch.stack(outputs, 2)


def token_by_token(module: Any, given: Inputs) -> Tensor:
    """Our own recurrence: `step` for every token."""
    state, outputs = None, []
    for t in range(given["q"].shape[2]):
        output, state = module.step(**{name: value[:, :, t] for name, value in given.items()}, state=state)
        outputs.append(output)
    return torch.stack(outputs, 2)


def published(folder: str) -> Any:
    """The torch code of flash-linear-attention for one rule, without its kernels; None if it is not installed."""
    spec = importlib.util.find_spec("fla")
    if spec is None or importlib.util.find_spec("einops") is None:
        return None
    (root,) = spec.submodule_search_locations or ("",)
    path = Path(root) / "ops" / folder / "naive.py"
    made = importlib.util.spec_from_file_location(f"fla_{folder}_naive", path)
    assert made is not None and made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module


def theirs(rule: str) -> dict[str, Callable[[Inputs], Tensor]]:
    """The published functions, called as they want it; they multiply q by 1/√d, which is undone before."""
    folder = {"LinearAttention": "linear_attn", "DeltaMemory": "delta_rule", "GatedDelta": "gated_delta_rule"}[rule]
    module = published(folder)
    if module is None:
        return {}
    root = SIZE**0.5

    def turned(given: Inputs, *names: str) -> list[Tensor]:
        """Tokens before heads."""
        return [given[name].transpose(1, 2) for name in names]

    if rule == "DeltaMemory":

        def chunk(given: Inputs) -> Tensor:
            found: Tensor = module.delta_rule_chunkwise(given["q"] * root, given["k"], given["v"], given["beta"])[0]
            return found

        def recurrence(given: Inputs) -> Tensor:
            found: Tensor = module.delta_rule_recurrence(given["q"] * root, given["k"], given["v"], given["beta"])[0]
            return found
    elif rule == "GatedDelta":

        def chunk(given: Inputs) -> Tensor:
            q, k, v, beta = turned(given, "q", "k", "v", "beta")
            (g,) = turned({"g": given["alpha"].log()}, "g")
            found: Tensor = module.naive_chunk_gated_delta_rule(q, k, v, g, beta, scale=1.0)[0]
            return found.transpose(1, 2)

        def recurrence(given: Inputs) -> Tensor:
            q, k, v, beta = turned(given, "q", "k", "v", "beta")
            (g,) = turned({"g": given["alpha"].log()}, "g")
            found: Tensor = module.naive_recurrent_gated_delta_rule(q, k, v, beta, g, scale=1.0)[0]
            return found.transpose(1, 2)
    else:

        def chunk(given: Inputs) -> Tensor:
            found: Tensor = module.naive_chunk_linear_attn(*turned(given, "q", "k", "v"), scale=1.0)
            return found.transpose(1, 2)

        def recurrence(given: Inputs) -> Tensor:
            found: Tensor = module.naive_recurrent_linear_attn(*turned(given, "q", "k", "v"), scale=1.0)[0]
            return found.transpose(1, 2)

    return {FLA: chunk, FLA_RECURRENCE: recurrence}


def contestants(rule: str) -> dict[str, Callable[[Inputs], Tensor]]:
    """Everything that computes the rule."""
    module = getattr(dotopt.stdlib, rule)()
    ours = {
        OURS: lambda given: module(**given),
        RECURRENCE: lambda given: token_by_token(module, given),
        NAIVE: lambda given: naive(rule, given),
    }
    return ours | theirs(rule)


def timed(call: Callable[[Inputs], Tensor], given: Inputs, training: bool) -> float:
    """Processor seconds of one reading."""
    if not training:
        with torch.no_grad():
            start = time.process_time()
            call(given)
            return time.process_time() - start
    leaves = {name: value.clone().requires_grad_() for name, value in given.items()}
    start = time.process_time()
    call(leaves).sum().backward()
    return time.process_time() - start


def measure(rule: str, lengths: list[int], rounds: int) -> list[Row]:
    """All contestants on all lengths; they must agree to 1e-3 of the largest value."""
    rows = []
    calls = contestants(rule)
    for length in lengths:
        given = inputs(rule, length)
        with torch.no_grad():
            wanted = calls[OURS](given)
            for who, call in calls.items():
                error = float((call(given) - wanted).abs().max() / wanted.abs().max())
                if not error < 1e-3:
                    raise AssertionError(f"{who} differs from ours by {error:.1e} on {rule}, T = {length}")
        for training in (False, True):
            best: dict[str, float] = {}
            for turn in range(rounds * max(1, 4096 // length)):
                for who, call in calls.items():
                    slow = who not in (OURS, FLA)
                    if slow and (turn >= max(1, 2048 // length) or (training and length > 2048)):
                        continue
                    seconds = timed(call, given, training)
                    best[who] = min(best.get(who, seconds), seconds)
            rows += [Row(rule, who, length, training, seconds) for who, seconds in best.items()]
    return rows


def kept(rule: str, length: int, call: Callable[[Inputs], Tensor]) -> int:
    """Bytes that the forward pass keeps for the backward pass, without the inputs."""
    given = {name: value.requires_grad_() for name, value in inputs(rule, length).items()}
    own = {value.untyped_storage().data_ptr() for value in given.values()}
    found: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        output = call(given)
    del output
    return sum(found.values())


def report(rows: list[Row], memory: Mapping[str, Mapping[str, Mapping[int, int]]]) -> str:
    """The Markdown of the results."""
    parts = [
        "# Rules over sequences on the CPU",
        "",
        f"Written by `make bench` (alone: `python -m bench.sequence`) on {machine()}.",
        "",
        f"Thousands of tokens a second of `forward`, {HEADS} heads of size {SIZE}, one thread, processor clock, the "
        "best of the rounds; in brackets how many times faster ours is.",
        "",
    ]
    people = [who for who in COLOURS if any(row.who == who for row in rows)]
    for training in (False, True):
        parts += [f"## {'Forward and backward' if training else 'Forward'}", ""]
        parts += ["| rule | T | " + " | ".join(people) + " |", "|---" * (len(people) + 2) + "|"]
        for rule in dict.fromkeys(row.rule for row in rows):
            for length in sorted({row.length for row in rows}):
                by = {row.who: row for row in rows if (row.rule, row.length, row.training) == (rule, length, training)}
                parts.append(f"| {rule} | {length} | " + " | ".join(cell(by, who) for who in people) + " |")
        parts.append("")
    if FLA not in people:
        parts += ["flash-linear-attention was not installed, so its torch code is not in the tables.", ""]
    parts += ["## Kept for the backward pass", "", "Bytes a token, without the inputs.", ""]
    lengths = sorted({row.length for row in rows})
    parts += ["| rule | who | " + " | ".join(f"T = {length}" for length in lengths) + " |"]
    parts += ["|---" * (len(lengths) + 2) + "|"]
    for rule, whose in memory.items():
        for who, at in whose.items():
            parts.append(f"| {rule} | {who} | " + " | ".join(f"{at[length] / length:.0f}" for length in lengths) + " |")
    parts += ["", "![Time of a reading against its length](sequence.svg)", ""]
    return "\n".join(parts)


def cell(by: Mapping[str, Row], who: str) -> str:
    """`81.2 (20x)`."""
    if who not in by:
        return ""
    row = by[who]
    text = f"{row.length / row.seconds / 1e3:.1f}"
    return text if who == OURS else f"{text} ({row.seconds / by[OURS].seconds:.2f}x)"


def plot(rows: list[Row], path: Path) -> None:
    """Milliseconds against T, forward above, forward and backward below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rules = list(dict.fromkeys(row.rule for row in rows))
    figure, axes = plt.subplots(2, len(rules), figsize=(4.2 * len(rules), 7), sharex=True, sharey="row", squeeze=False)
    for line, training in zip(axes, (False, True), strict=True):
        for axis, rule in zip(line, rules, strict=True):
            for who, colour in COLOURS.items():
                points = sorted(
                    (row.length, 1e3 * row.seconds)
                    for row in rows
                    if (row.rule, row.who, row.training) == (rule, who, training)
                )
                if points:
                    axis.plot(*zip(*points, strict=True), marker="o", color=colour, label=who)
            axis.set(xscale="log", yscale="log", title=f"{rule}, {'with backward' if training else 'forward'}")
            axis.set_xticks(sorted({row.length for row in rows}), sorted({row.length for row in rows}))
            axis.minorticks_off()
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("tokens")
    for line in axes:
        line[0].set_ylabel("milliseconds")
    axes[0][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="only show that everything runs")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--lengths", default="512,2048,8192")
    args = parser.parse_args()
    torch.set_num_threads(1)
    lengths = [64] if args.smoke else [int(length) for length in args.lengths.split(",")]
    rows: list[Row] = []
    memory: dict[str, dict[str, dict[int, int]]] = {}
    for rule in RULES:
        found = measure(rule, lengths, 1 if args.smoke else args.rounds)
        rows += found
        calls = {who: call for who, call in contestants(rule).items() if who in (OURS, FLA)}
        memory[rule] = {who: {n: kept(rule, n, call) for n in lengths} for who, call in calls.items()}
        for row in found:
            what = "forward and backward" if row.training else "forward"
            print(f"{rule} T={row.length} {what}, {row.who}: {1e3 * row.seconds:.2f} ms", flush=True)
        for who, at in memory[rule].items():
            print(f"{rule} {who} keeps", *(f"{at[n] / n:.0f} bytes a token at T={n}" for n in lengths), flush=True)
    if not args.smoke:
        RESULTS.mkdir(exist_ok=True)
        as_json = [vars(row) for row in rows]
        (RESULTS / "sequence.json").write_text(json.dumps({"machine": machine(), "rows": as_json}, indent=1) + "\n")
        (RESULTS / "sequence.md").write_text(report(rows, memory))
        plot(rows, RESULTS / "sequence.svg")


if __name__ == "__main__":
    main()
