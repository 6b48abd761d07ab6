"""The optimizers and update rules that dotopt ships, as `.opt` files by family.

`from dotopt.stdlib import Lion` compiles `optimizers/lion.opt` on first use and keeps the result on disk.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'dotopt.stdlib' has no attribute {name!r}")
    from dotopt.runtime.loading.load import stdlib

    value = globals()[name] = stdlib(name)
    return value


def __dir__() -> list[str]:
    from dotopt.runtime.loading.catalogue import entries

    return sorted(entry.name for entry in entries() if entry.word != "theorem")
