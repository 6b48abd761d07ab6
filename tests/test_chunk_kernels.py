"""Triton kernels of chunks: interpreted against the torch form, and compiled for cards that need not be here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

ALL = {"C": 32, "K": 32, "D": 32, "BK": 32, "TABLES": 8}
KERNELS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "prepare": (("P", "U", "Y", "TABLE", "W", "V"), {"BD": 32, "DOUBLINGS": 4, "ADDS": True}),
    "carry": (("START", "W", "V", "Y", "TABLE", "STARTS", "Z", "LAST"), {"BV": 32, "ADDS": True}),
    "look": (("Q", "STARTS", "Z", "Y", "TABLE", "O"), {"BD": 32, "AFTER": True}),
}
# (kernel, what the recurrence has)
RULES = {
    "linear attention": [("carry", {"FADES": False, "READS": False}), ("look", {"FADES": False})],
    "delta rule": [("prepare", {"FADES": False}), ("carry", {"FADES": False, "READS": True})],
    "gated delta rule": [
        ("prepare", {"FADES": True}), ("carry", {"FADES": True, "READS": True}), ("look", {"FADES": True}),
    ],
}  # fmt: skip


def test_kernels_are_the_torch_form() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "chunk_kernels.py")],
        capture_output=True, text=True, check=False,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "36 kernels agree", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("rule", "target"),
    [(rule, "hip:gfx942") for rule in RULES] + [(rule, "cuda:90") for rule in RULES] + [("delta rule", "cuda:80")],
)
def test_machine_code(rule: str, target: str) -> None:
    """The kernels of each rule compile, products go to matrix units, and nothing is spilled."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from dotopt.runtime.sequence import kernels

    kind, arch = target.split(":")
    for name, flags in RULES[rule]:
        pointers, own = KERNELS[name]
        constants = ALL | own | flags | {"EXACT": "ieee" if kind == "hip" else "tf32x3"}
        signature = dict.fromkeys(pointers, "*fp32") | ({"count": "i32"} if name == "carry" else {})
        source = ASTSource(getattr(kernels, name), signature | dict.fromkeys(constants, "constexpr"), constants)
        gpu = GPUTarget(kind, int(arch) if kind == "cuda" else arch, 32 if kind == "cuda" else 64)
        made = compile(source, gpu, {"num_warps": 4})
        if kind == "hip":
            text = made.asm["amdgcn"]
            assert "v_mfma" in text
            assert re.findall(r"\.(?:vgpr_spill_count|private_segment_fixed_size):\s+(\d+)", text) == ["0", "0"]
        else:
            ptx = made.asm["ptx"]
            assert "mma" in ptx and "local" not in ptx
