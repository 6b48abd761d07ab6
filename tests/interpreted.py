"""Run by test_triton_backend.py in a process whose Triton interprets kernels; prints one line of JSON a case."""

from __future__ import annotations

import json
import sys
import traceback
import warnings

import torch

sys.path.insert(0, sys.argv[1])

import kernel_cases as cases

import dotopt.stdlib as stdlib
from dotopt.runtime import triton_table as tables

warnings.simplefilter("ignore")
torch.set_num_threads(1)
tables.PIECE, tables.BLOCK, tables.WIDTHS = 64, 32, (32, 16, 8)  # small tensors: several pieces, full ones and tails

TOLERANCE = {torch.float64: (1e-11, 1e-13), torch.float32: (2e-5, 1e-6), torch.bfloat16: (2**-6, 2**-6)}
SHAPES = ((5, 7), (13,), (1, 1), (3, 2, 3, 3), (0, 4), (11, 23), (6, 32))


def compared(name, options, dtype):
    """Whether the rule runs on kernels, and how it differs from the judge, if it does."""
    pattern = getattr(stdlib, name).rule.pattern
    shapes = [s for s in SHAPES if pattern.misfit(len(s)) is None and (0 not in s or not pattern.merged)]
    got, wanted, optimizer = cases.compared(name, options, dtype, "triton", steps=2, shapes=shapes)
    rtol, atol = TOLERANCE[dtype]
    if name == "SGDSaI" and dtype == torch.float32:
        rtol = 1e-4
    for p, value in zip(got, wanted, strict=True):
        torch.testing.assert_close(p.detach().double(), value.reshape(p.shape), rtol=rtol, atol=atol)
    return optimizer._last is not None


def views():
    """Parameters and gradients that begin anywhere: the branch with masks."""
    storage, slopes = torch.randn(700), torch.randn(700)
    p, q = (torch.nn.Parameter(part) for part in (storage[1:501], storage[1:501].clone()))
    for one, name in ((p, "triton"), (q, "torch")):
        optimizer = stdlib.AdamW([one], lr=0.1, backend=name)
        for k in range(3):
            one.grad = slopes[k + 1 : k + 501]
            optimizer.step()
    torch.testing.assert_close(p, q, rtol=2e-5, atol=1e-6)
    return True


def run(label, function, *arguments):
    """One line."""
    try:
        print(json.dumps({"case": label, "kernels": function(*arguments)}), flush=True)
    except Exception:
        print(json.dumps({"case": label, "error": traceback.format_exc()[-1500:]}), flush=True)


for index, (rule, given) in enumerate(cases.OPTIONS):
    for kind in (torch.float64, torch.float32, torch.bfloat16)[: 1 + (index % 6 == 0) + (index % 12 == 0)]:
        run(f"{rule} {given} {kind}", compared, rule, given, kind)
run("views", views)
