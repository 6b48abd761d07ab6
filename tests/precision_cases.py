"""Runs that the tests of states in fewer bits share; as a script, the Triton kernels in its interpreter against torch.

TRITON_INTERPRET=1 python precision_cases.py
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass

import torch

import dotopt.stdlib as stdlib

SHAPES = ((64, 100), (13,), (70, 61), (4096,))  # a part of a block at the end, a small one, whole blocks

SMALLER = ((13,), (65, 64))

INTERPRETED = (
    ("AdamW", {"state_dtype": "int8"}), ("Lion", {"state_dtype": "int8"}), ("LAMB", {"state_dtype": "int8"}),
    ("AdamW", {"state_dtype": {"m": "fp8", "v": "int8:log"}}), ("AdamW", {"state_dtype": {"v": "int8:sqrt"}}),
    ("AdamW", {"state_dtype": "bf16"}), ("AdamW", {"state_dtype": "int8", "dtype": torch.float64}),
    ("Lion", {"param_rounding": "kahan", "dtype": torch.bfloat16}),
    ("AdamW", {"param_rounding": "low_word", "dtype": torch.bfloat16, "state_dtype": "int8"}),
    ("AdamP", {"param_rounding": "stochastic:5", "dtype": torch.bfloat16}),
)  # fmt: skip


def step(params, optimizer, count, seed):
    """Steps with random gradients."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        for p in params:
            p.grad = torch.randn(p.shape, generator=generator).to(p.dtype)
        optimizer.step()


def run(name, backend, shapes=SHAPES, dtype=torch.float32, steps=5, **options):
    """The parameters after some steps, and the optimizer."""
    generator = torch.Generator().manual_seed(1)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]
    given = {"lr": 1e-2} | ({"momentum": 0.8} if name == "SGD" else {})
    optimizer = getattr(stdlib, name)(params, backend=backend, **given, **options)
    step(params, optimizer, steps, seed=3)
    return params, optimizer


@dataclass(frozen=True)
class Differences:
    """Between a backend and torch: the largest of parameters, the share of codes that differ, and by how much."""

    on_kernels: bool
    params: float
    codes: float
    apart: int
    tolerance: float


def differences(name, backend, tolerance=None, **options):
    """The differences after some steps; second words are counted with their parameters."""
    ours, one = run(name, backend, **options)
    theirs, other = run(name, "torch", **options)
    dtype = options.get("dtype", torch.float32)
    rounded = options.get("param_rounding", "")
    unit = {torch.bfloat16: 2.0**-6, torch.float16: 2.0**-9}.get(dtype, 1e-5)
    unit = 2e-3 if "fp8" in str(options) else 5e-4 if "bf16" in str(options.get("state_dtype")) else unit
    largest, differing, apart, count = 0.0, 0, 0, 0
    for p, q in zip(ours, theirs, strict=True):
        mine, yours = one.state[p], other.state[q]
        wide = [
            x.float() + s["compensation"].float() if rounded == "kahan" else x.float()
            for x, s in ((p.detach(), mine), (q.detach(), yours))
        ]
        largest = max(largest, float((wide[0] - wide[1]).abs().max()))
        for key in mine.keys() & {k.removesuffix("_scale") for k in mine if k.endswith("_scale")}:
            a, b = (s[key].view(torch.uint8).int() for s in (mine, yours))
            if mine[key].dtype != torch.uint8:  # signs: 255 is next to 0
                a, b = (x - 256 * (x > 127) for x in (a, b))
            differing, count = differing + int((a != b).sum()), count + a.numel()
            apart = max(apart, int((a - b).abs().max()))
    return Differences(one._last is not None, largest, differing / max(count, 1), apart, tolerance or unit)


if __name__ == "__main__":
    from dotopt.runtime.backends import triton_table as tables

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    tables.PIECE, tables.BLOCK = 2048, 256
    for rule, given in INTERPRETED:
        found = differences(rule, "triton", steps=2, shapes=SMALLER, **given)
        print(json.dumps({"case": f"{rule} {given}", **asdict(found)}))
