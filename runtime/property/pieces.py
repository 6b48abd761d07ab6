"""Small tensors cut as large ones are, so that what kernels do between pieces and blocks is tested as well."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PIECE = 64  # entries: several pieces a tensor, full ones and tails
SMALL: dict[str, dict[str, Any]] = {
    "dotopt.runtime.backends.cpu_table": {"PIECE": PIECE, "WHOLE": PIECE},
    "dotopt.runtime.backends.triton_table": {"PIECE": PIECE, "BLOCK": 32, "WIDTHS": (32, 16, 8)},
}


@contextmanager
def small_pieces(wanted: bool = True) -> Iterator[None]:
    """Tensors that are first stepped inside are cut into small pieces, if wanted."""
    loaded = [(sys.modules[name], values) for name, values in SMALL.items() if wanted and name in sys.modules]
    kept = [(module, {name: getattr(module, name) for name in values}) for module, values in loaded]
    for module, values in loaded:
        vars(module).update(values)
    try:
        yield
    finally:
        for module, values in kept:
            vars(module).update(values)
