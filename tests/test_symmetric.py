"""The kernel for symmetric products, without a card: in the interpreter, and as machine code for cards elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")


def test_half_a_product_is_the_product() -> None:
    """In every dtype, for odd sizes and transposed views, alone and in Muon's iteration; see symmetric.py."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "symmetric.py")],
        capture_output=True, text=True, check=False,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "well", done.stderr[-2000:]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("target", ["cuda:90", "cuda:80", "hip:gfx942"])
def test_machine_code(target: str, transposed: bool) -> None:
    """Matrix units do the products; whole tiles move 128 bits at a time, wherever they lie; nothing is spilled."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    from dotopt.runtime.backends import triton_symmetric as symmetric

    kind, arch = target.split(":")
    numbers = ("rows", "cols", "tiles", "x_matrix", "x_row", "x_col", "added_matrix", "added_row")
    signature = dict.fromkeys(("x", "added", "out"), "*bf16") | dict.fromkeys(numbers[:3], "i32")
    signature |= dict.fromkeys(numbers[3:], "i64") | {"alpha": "fp32", "beta": "fp32"}
    one = "x_row" if transposed else "x_col"
    constants = {one: 1, "ADD": True, "WHOLE": True, "TILE": symmetric.TILE, "DEPTH": symmetric.DEPTH, "WIDE": False}
    names = symmetric.product.arg_names
    by_16 = {(names.index(name),): [["tt.divisibility", 16]] for name in ("x", "added", "out", *numbers)
             if name not in ("tiles", one)}  # fmt: skip
    source = ASTSource(symmetric.product, signature | dict.fromkeys(constants, "constexpr"), constants, by_16)
    made = compile(
        source, GPUTarget(kind, int(arch) if kind == "cuda" else arch, 32 if kind == "cuda" else 64),
        {"num_warps": symmetric.WARPS, "num_stages": symmetric.STAGES},
    )  # fmt: skip
    if kind == "hip":
        text = made.asm["amdgcn"]
        assert "v_mfma" in text and len(re.findall(r"(?:global|buffer)_load_dwordx4", text)) >= 16
        assert re.findall(r"\.(?:vgpr_spill_count|private_segment_fixed_size):\s+(\d+)", text) == ["0", "0"]
        return
    ptx = made.asm["ptx"]
    assert ("wgmma.mma_async" if arch == "90" else "mma.sync") in ptx
    copies = re.findall(r"cp\.async\.c[ag]\.\S+ \[[^]]*\], \[[^]]*\], (\S+),", ptx)  # of X, to where products are made
    assert copies and set(copies) == {"0x10"}, "16 bytes each"
    moved = re.findall(r"(?:ld|st)\.global\S*", ptx)
    assert moved and all(".v4." in one for one in moved)
    assert "local" not in ptx
