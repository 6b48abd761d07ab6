"""Reports of claims on disk, by a hash of all that they depend on; certificates are verified again when read.

The key covers the file of the claim, every file of its folder and the library that it could name, and the engine
itself. A report that the checker does not accept is thrown away, and the claim is decided anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from dotopt.compiler.prove.checker import verify
from dotopt.grammar.files import cache_directory, library_root


def folder() -> Path:
    """Where reports are kept: `$DOTOPT_CACHE`, else the cache folder of the user."""
    return cache_directory() / "claims"


@cache
def engine() -> str:
    """A hash of the compiler and of the library."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *library_root().rglob("*.opt")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def key(path: Path, claim: str, seconds: float) -> str:
    """The key of a claim."""
    digest = hashlib.sha256(f"{engine()} {claim} {seconds}".encode())
    for text in _texts(path):
        digest.update(text)
    return digest.hexdigest()


def _texts(path: Path) -> Iterable[bytes]:
    yield path.read_bytes()
    if library_root() not in path.resolve().parents:
        for other in sorted(path.parent.glob("*.opt")):
            yield other.read_bytes()


def find(name: str) -> dict[str, Any] | None:
    """The report under this key, if its certificate still verifies."""
    path = folder() / f"{name}.json"
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if report.get("status") == "proved" and not verify(report.get("certificate") or {}):
        return None
    return report


def keep(name: str, report: dict[str, Any]) -> None:
    """Writes a report; a folder that cannot be written is no error."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        temporary = folder() / f"{name}.{os.getpid()}"
        temporary.write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")
        temporary.replace(folder() / f"{name}.json")
    except OSError:
        return
