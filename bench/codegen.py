"""Compiles every rule's Triton kernels for cards that need not be here, and reads the machine code.

    python -m bench.codegen [RULE …]

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotopt.compiler.schedule.storage import FORMATS

RESULTS = Path(__file__).parent / "results"
TARGETS = ("cuda:90", "cuda:80", "hip:gfx942")
WIDTH = 256  # columns of a tile, where a rule has rows

SIGNATURE = {
    "data": "*i64", "shape": "*i64", "piece_tensor": "*i32", "piece_start": "*i64", "piece_full": "*i32",
    "first": "*i64", "first_row": "*i64", "given": "*fp64", "host": "*fp64", "sums": "*fp64", "totals": "*fp64",
    "rows": "*fp64", "tensors": "i32", "offset": "i32",
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

    @property
    def as_promised(self) -> bool:
        """Whether nothing is spilled, and a pass touches memory as the schedule says, 128 bits at a time."""
        passes = not self.kernel.startswith("pass") or ((self.loads, self.stores) == self.wanted and self.narrow == 0)
        return passes and self.local == 0


def program_of(rule: str) -> Any:
    """The program of a rule with its default options, for a matrix."""
    from dotopt import stdlib
    from dotopt.runtime.loading.load import program

    cls = getattr(stdlib, rule)
    return program(cls.origin, tuple(option.default for option in cls.rule.options), 2 if cls.rule.ranked else None)


def kernel_of(rule: str) -> Any:
    """Its kernels, for default options; raises `Unsupported` if it has none."""
    from dotopt.runtime.backends.triton import Kernel

    return Kernel(program_of(rule))


def figures(rule: str, targets: tuple[str, ...] = TARGETS, stored: dict[str, str] | None = None) -> Iterator[Figures]:
    """The figures of every kernel of a rule, the passes first; raises `Unsupported` if it has no form in Triton."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dotopt.runtime.backends import triton as backend
    from dotopt.runtime.backends import triton_table as tables

    kernel = kernel_of(rule)
    plan, module = kernel.module(dict.fromkeys(kernel.conditions, False), stored)
    kernels = backend.executed(module.text)
    passes = {f"pass_{index}": one for index, one in enumerate(plan.passes)}
    for name in sorted(module.kernels, key=lambda name: (name not in passes, name)):
        turn = tables.turn(module.in_blocks)
        constants = {"PIECE": tables.PIECE, "BLOCK": turn, "WIDTH": WIDTH} if name in passes else {}
        # of 32 bits or less: the tensor of a piece, whether it is full, and states that are one number for a tensor
        looked_up = module.text.split(f"def {name}(")[1].split("@triton.jit")[0].count("tl.load(tl.load(")
        looked_up += 2 + len(_blocks(passes[name].loads, stored)) if name in passes else 0  # scales of blocks too
        source = ASTSource(getattr(kernels, name), SIGNATURE | dict.fromkeys(constants, "constexpr"), constants)
        for target in targets:
            kind, arch = target.split(":")
            start = time.perf_counter()
            made = triton.compile(
                source,
                GPUTarget(kind, int(arch) if kind == "cuda" else arch, 32 if kind == "cuda" else 64),
                {"num_warps": tables.WARPS},
            )
            seconds = time.perf_counter() - start
            each = turn // (32 if kind == "cuda" else 64) // tables.WARPS  # entries of a thread
            found = nvidia(made.asm, arch, looked_up) if kind == "cuda" else amd(made.asm)
            one = passes.get(name)
            wanted = (
                (_wide(one.loads, each, stored), _wide([b for b, _ in one.stores], each, stored)) if one else (0, 0)
            )
            yield Figures(rule, name, target, *_one_turn(found[:2], wanted), wanted, *found[2:], seconds)


def _wide(buffers: Sequence[Any], each: int, stored: Mapping[str, str] | None) -> int:
    """How many 128-bit accesses a thread needs for its entries of these arrays."""
    return sum(max(1, each * bytes_of(buffer, stored) // 16) for buffer in buffers)


def _one_turn(found: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """What one turn of the loop accesses: a loop that is short has been unrolled."""
    loads, stores = found
    turns = loads // wanted[0] if wanted[0] and loads % wanted[0] == 0 else 1
    return (loads // turns, stores // turns) if turns and stores % turns == 0 else found


def bytes_of(buffer: Any, stored: Mapping[str, str] | None) -> int:
    """Of one entry, without the scale of its block."""
    return FORMATS[(stored or {}).get(buffer.name, "fp32")].bytes


def _blocks(buffers: Sequence[Any], stored: Mapping[str, str] | None) -> list[Any]:
    """Those that are kept in blocks."""
    return [buffer for buffer in buffers if FORMATS[(stored or {}).get(buffer.name, "fp32")].blocks]


def nvidia(asm: dict[str, str], arch: str, looked_up: int) -> tuple[int, int, int, int, int]:
    """Wide loads, wide stores, narrow accesses without a mask, local memory in bytes, registers.

    Most tables hold numbers of 64 bits, so narrower accesses are those of arrays, but for `looked_up` of them.
    """
    from triton.knobs import nvidia as tools

    ptx = asm["ptx"]
    narrow = [line for line in ptx.splitlines() if re.match(r"\s*(ld|st)\.global(?!\S*\.v4)\S*\.b(16|32) ", line)]
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
        max(0, len(narrow) - looked_up),
        (spilled + ptx.count("ld.local") + ptx.count("st.local")),
        registers,
    )


def amd(asm: dict[str, str]) -> tuple[int, int, int, int, int]:
    """The same from AMD's assembly, where narrow accesses are not told apart from masked ones.

    Scalar registers that are spilled go to lanes of a vector register, not to memory.
    """
    text = asm["amdgcn"]
    scratch = sum(map(int, re.findall(r"\.(?:vgpr_spill_count|private_segment_fixed_size):\s+(\d+)", text)))
    registers = max(map(int, re.findall(r"\.vgpr_count:\s+(\d+)", text)))
    return (
        len(re.findall(r"(?:global|buffer)_load_dwordx4", text)),
        len(re.findall(r"(?:global|buffer)_store_dwordx4", text)),
        0,
        scratch,
        registers,
    )


def rules() -> list[str]:
    """All rules of stdlib/optimizers that can have kernels: they ask for gradients only, and draw nothing."""
    from dotopt.grammar.files import catalogue

    without = ("AliG", "Gravity", "SophiaH")

    names = []
    for path in catalogue().values():
        if path.parent.name == "optimizers":
            names += [line.split()[1] for line in path.read_text().splitlines() if line.startswith("rule ")]
    return sorted(name for name in names if name not in without)


def report(found: list[Figures], refused: dict[str, str]) -> str:
    """The Markdown of the results."""
    import triton

    lines = [
        "# What the Triton kernels compile to",
        "",
        f"Written by `python -m bench.codegen` with Triton {triton.__version__}, without any card. Loads and stores "
        "are 128-bit accesses in one turn of the main loop (8 entries a thread; 4 on AMD, whose waves are twice as "
        "wide), in brackets what the schedule promises. Seconds are a cold compilation.",
        "",
        "| rule | kernel | target | loads | stores | narrow | local | registers | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        if one.kernel.startswith("pass"):
            lines.append(
                f"| {one.rule} | {one.kernel} | {one.target} | {one.loads} ({one.wanted[0]}) "
                f"| {one.stores} ({one.wanted[1]}) | {one.narrow} | {one.local} | {one.registers} | {one.seconds:.2f} |"
            )
    others = [one for one in found if not one.kernel.startswith("pass")]
    lines += [
        "",
        f"The {len(others)} other kernels (sums put together, numbers of a group, small states) compile on all targets "
        f"in {min(one.seconds for one in others):.2f} to {max(one.seconds for one in others):.2f} s; "
        f"local memory: {sum(one.local for one in others)} bytes. Rules with rows are compiled for tiles {WIDTH} wide.",
    ]
    broken = [one for one in found if not one.as_promised]
    names = len({one.rule for one in found})
    lines += ["", f"{len(found) - len(broken)} of {len(found)} kernels of {names} rules are as promised."]
    lines += [f"- not {one.rule} {one.kernel} {one.target}" for one in broken]
    if refused:
        lines += ["", "Not in Triton, and run by the emitted torch code on a GPU:", ""]
        lines += [f"- {rule}: {reason}" for rule, reason in refused.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compile all and write."""
    import os

    from dotopt.compiler.schedule.places import Unsupported

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
                if one.rule == rule and (one.wanted != (0, 0) or one.local)
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
