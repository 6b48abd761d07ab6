"""Run by test_bench.py: bench.gpu on a card that is not there, its kernels in the interpreter, on tiny tensors.

TRITON_INTERPRET=1 python pretended_card.py FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from bench import gpu
from dotopt.runtime.backends import triton_symmetric as symmetric
from dotopt.runtime.backends import triton_table as tables


class Event:
    """Of torch.cuda, by the clock on the wall."""

    def __init__(self, enable_timing):
        self.seconds = 0.0

    def record(self):
        self.seconds = time.perf_counter()

    def elapsed_time(self, later):
        return 1e3 * (later.seconds - self.seconds)


torch.cuda.Event = Event
torch.cuda.synchronize = torch.cuda.empty_cache = lambda: None
torch.cuda.mem_get_info = lambda: (2**20, 2**20)
torch.cuda.get_device_name = lambda: "Pretended Card 9000"
torch.cuda.is_available = lambda: True
tables.PIECE, tables.BLOCK, tables.WIDTHS = 64, 32, (32, 16, 8)
symmetric.SMALLEST, symmetric.TILE, symmetric.DEPTH = 0, 16, 16
gpu.DEVICE, gpu.COPIED, gpu.ENTRIES, gpu.PRODUCTS, gpu.COMPILED = "cpu", 2**12, 2**11, ((2, 16, 24),), ()
gpu.RESULTS = Path(sys.argv[1])
gpu.workloads = lambda: {"400": [(8, 16), (5, 7), (3,)]}
gpu.launches = lambda step: (step(), 3)[1]
sys.argv = ["gpu", "--rounds", "1", "--works", "1B,400", "--rules", "SGD,LAMB,Muon"]
gpu.main()
