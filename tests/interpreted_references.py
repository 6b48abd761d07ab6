"""Run by test_references.py in a process whose Triton interprets kernels; prints one line of JSON a comparison.

TRITON_INTERPRET=1 python interpreted_references.py KEY…
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

import references

from dotopt.runtime.backends import triton_table as tables

warnings.simplefilter("ignore")
torch.set_num_threads(1)
tables.PIECE, tables.BLOCK, tables.WIDTHS = 64, 32, (32, 16, 8)  # small tensors: several pieces, full ones and tails


def checked(key: str) -> None:
    """The trajectory on kernels is that of the other implementation."""
    reference = references.REFERENCES[key]
    rule = references.ours(reference)
    with references.in_double_precision():
        found = references.trajectory(
            lambda params: rule(params, **reference.both, **reference.here, backend="triton"), reference
        )
        for x, y in zip(found, references.expected(reference), strict=True):
            torch.testing.assert_close(x, y, rtol=reference.rtol, atol=reference.rtol / 100)


if __name__ == "__main__":
    for key in sys.argv[1:]:
        error = ""
        try:
            checked(key)
        except Exception:
            error = traceback.format_exc()[-2000:]
        print(json.dumps({"case": key, "error": error}), flush=True)
