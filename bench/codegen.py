"""Compiles every rule's Triton kernels for cards that need not be here, and reads the machine code.

    python bench/codegen.py [RULE …]

Written to results/codegen.md: what is read from the PTX (and the AMD assembly) of the first branch of a pass, which
all full pieces take: that every load and store of an array is 128 bits wide, that there are as many as the schedule
says, and that nothing goes to local memory.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TARGETS = ("cuda:90", "cuda:80", "hip:gfx942")

SIGNATURE = {
    "data": "*i64", "shape": "*i64", "piece_tensor": "*i32", "piece_start": "*i64", "piece_full": "*i32",
    "first": "*i64", "given": "*fp64", "host": "*fp64", "sums": "*fp64", "totals": "*fp64", "tensors": "i32",
}  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """One kernel on one target. `loads` and `stores` count 128-bit accesses in one turn of the loop, `wanted` what the
    schedule says; `narrow` counts narrower ones without a mask that are no look-ups in tables; `local` is spills.
    """

    rule: str
    kernel: str
    target: str
    loads: int
    stores: int
    wanted: tuple[int, int]
    narrow: int
    local: int
    registers: int
    seconds: float


def program_of(rule: str) -> Any:
    """The program of a rule with its default options, for a matrix."""
    from dotopt import stdlib
    from dotopt.runtime.load import program

    cls = getattr(stdlib, rule)
    return program(cls.origin, tuple(option.default for option in cls.rule.options), 2 if cls.rule.ranked else None)


def figures(rule: str, targets: tuple[str, ...] = TARGETS, stored: dict[str, str] | None = None) -> Iterator[Figures]:
    """The figures of every pass of a rule; raises `Unsupported` if it has no form in Triton."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dotopt.runtime import triton as backend

    kernel = backend.Kernel(program_of(rule))
    plan, module = kernel.module(dict.fromkeys(kernel.conditions, False), stored)
    kernels = backend._executed(module.text)
    for index, one in enumerate(plan.passes):
        name = f"pass_{index}"
        constants = {"PIECE": backend.PIECE, "BLOCK": backend.BLOCK}
        source = ASTSource(getattr(kernels, name), SIGNATURE | dict.fromkeys(constants, "constexpr"), constants)
        text = module.text.split(f"def {name}(")[1].split("@triton.jit")[0]
        tables = text.split("for block")[0].count("tl.load(") + 1  # and the size, in the other branch
        for target in targets:
            kind, arch = target.split(":")
            start = time.perf_counter()
            made = triton.compile(
                source,
                GPUTarget(kind, int(arch) if kind == "cuda" else arch, 32 if kind == "cuda" else 64),
                {"num_warps": backend.WARPS},
            )
            seconds = time.perf_counter() - start
            lanes = 32 * backend.WARPS if kind == "cuda" else 64 * backend.WARPS
            wide = [
                sum(max(1, backend.BLOCK // lanes * bytes_of(buffer, stored) // 16) for buffer in some)
                for some in (one.loads, [buffer for buffer, _ in one.stores])
            ]
            read = nvidia if kind == "cuda" else amd
            loads, stores, narrow, local, registers = read(made.asm, arch)
            turns = loads // wide[0] if loads and wide[0] and loads % wide[0] == 0 else 1  # a short loop is unrolled
            loads, stores = loads // turns, stores // turns if stores % turns == 0 else stores
            yield Figures(
                rule,
                name,
                target,
                loads,
                stores,
                (wide[0], wide[1]),
                max(0, narrow - tables),
                local,
                registers,
                seconds,
            )


def bytes_of(buffer: Any, stored: dict[str, str] | None) -> int:
    """Of one entry."""
    return {"fp32": 4, "fp64": 8, "bf16": 2, "fp16": 2}[(stored or {}).get(buffer.name, "fp32")]


def nvidia(asm: dict[str, str], arch: str) -> tuple[int, int, int, int, int]:
    """Wide loads, wide stores, narrow unmasked loads, local memory in bytes, registers."""
    from triton.knobs import nvidia as tools

    ptx = asm["ptx"]
    unmasked = [line for line in ptx.splitlines() if "ld.global" in line and "@" not in line and ".v4." not in line]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [
            tools.ptxas.path,
            "-v",
            f"-arch=sm_{arch}{'a' if arch == '90' else ''}",
            file.name,
            "-o",
            "/dev/null",
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    spilled = sum(map(int, re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", said)))
    registers = max(map(int, re.findall(r"Used (\d+) registers", said)))
    return (
        len(re.findall(r"ld\.global\S*\.v4\.", ptx)),
        len(re.findall(r"st\.global\S*\.v4\.", ptx)),
        len(unmasked),
        (spilled + ptx.count("ld.local") + ptx.count("st.local")),
        registers,
    )


def amd(asm: dict[str, str], arch: str) -> tuple[int, int, int, int, int]:
    """The same from AMD's assembly; narrow loads are not told apart from masked ones there."""
    text = asm["amdgcn"]
    scratch = sum(
        map(int, re.findall(r"\.(?:vgpr_spill_count|sgpr_spill_count|private_segment_fixed_size):\s+(\d+)", text))
    )
    registers = max(map(int, re.findall(r"\.vgpr_count:\s+(\d+)", text)))
    return (
        len(re.findall(r"(?:global|buffer)_load_dwordx4", text)),
        len(re.findall(r"(?:global|buffer)_store_dwordx4", text)),
        0,
        (scratch),
        registers,
    )


def rules() -> list[str]:
    """All rules of stdlib/optimizers."""
    from dotopt.compiler.library import catalogue

    names = []
    for path in catalogue().values():
        if path.parent.name == "optimizers":
            names += [line.split()[1] for line in path.read_text().splitlines() if line.startswith("rule ")]
    return sorted(names)


def report(found: list[Figures], refused: dict[str, str]) -> str:
    """The Markdown of the results."""
    import triton

    lines = [
        "# What the Triton kernels compile to",
        "",
        f"Written by `python bench/codegen.py` with Triton {triton.__version__}, without any card. Loads and stores "
        "are 128-bit accesses in one turn of the main loop (8 entries a thread; 4 on AMD, whose waves are twice as "
        "wide), in brackets what the schedule promises. Seconds are a cold compilation.",
        "",
        "| rule | kernel | target | loads | stores | narrow | local | registers | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        lines.append(
            f"| {one.rule} | {one.kernel} | {one.target} | {one.loads} ({one.wanted[0]}) "
            f"| {one.stores} ({one.wanted[1]}) | {one.narrow} | {one.local} | {one.registers} | {one.seconds:.2f} |"
        )
    lines += ["", "Not in Triton yet, and run by the emitted torch code on a GPU:", ""]
    lines += [f"- {rule}: {reason}" for rule, reason in refused.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compile all and write."""
    import os

    from dotopt.compiler.places import Unsupported

    os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp()
    found: list[Figures] = []
    refused: dict[str, str] = {}
    for rule in sys.argv[1:] or rules():
        try:
            found += figures(rule)
        except Unsupported as error:
            refused[rule] = error.reason if len(error.reason) < 90 else error.reason[:89] + "…"
        print(
            rule,
            *(
                f"{one.kernel} {one.target}: {one.loads} {one.stores} {one.wanted}; {one.narrow}, {one.local}"
                for one in found
                if one.rule == rule
            ),
            refused.get(rule, ""),
            sep="\n  ",
            flush=True,
        )
    if len(sys.argv) == 1:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "codegen.md").write_text(report(found, refused))


if __name__ == "__main__":
    main()
