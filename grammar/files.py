"""How `.opt` files are called, where those of the library are, and where things are kept between runs."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])")


def file_name(name: str) -> str:
    """The file of the head `name`, in snake case.

    >>> file_name("CautiousLion"), file_name("AdamP"), file_name("newton_schulz")
    ('cautious_lion.opt', 'adamp.opt', 'newton_schulz.opt')
    """
    return _WORD.sub("_", name).lower() + ".opt"


def library_root() -> Path:
    """The folder of the standard library, beside this one."""
    return Path(__file__).resolve().parent.parent / "stdlib"


@cache
def catalogue() -> dict[str, Path]:
    """Every file of the standard library, by file name.

    >>> catalogue()["lion.opt"].parent.name
    'optimizers'
    """
    return {path.name: path for path in sorted(library_root().rglob("*.opt"))}


def cache_directory() -> Path:
    """The folder for everything kept between runs: `$DOTOPT_CACHE`, else `dotopt` in the user's cache directory."""
    chosen = os.environ.get("DOTOPT_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dotopt"
