"""Compiled modules on disk: found without the compiler, rebuilt when anything that they were made from has changed.

An entry is one JSON file named after the text of the `.opt` file, the version, the grammar and the compiler. It lists
the other files that the rule is made of, with their hashes, and is trusted only if all of them match and its own hash
does. It appears under its name when it is whole, so any number of processes may write it at once; a folder that takes
no files costs a compilation each time, no more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dotopt import __version__
from dotopt.grammar import cache as cache_files
from dotopt.grammar.given import content


@dataclass(frozen=True)
class Entry:
    """A compiled module: its text, and the other files that it was made from (path -> hash of the content)."""

    text: str
    uses: Mapping[str, str]


def digest(content: bytes) -> str:
    """The name of a content."""
    return hashlib.sha256(content).hexdigest()


@cache
def toolchain() -> str:
    """What stands for the version of the compiler: the grammar's content, and size and time of the sources."""
    root = Path(__file__).resolve().parent.parent.parent
    marks = [__version__, digest((root / "grammar" / "opt.lark").read_bytes())]
    for folder in (root / "compiler", root / "grammar"):
        for path in sorted(folder.rglob("*.py")):
            status = path.stat()
            marks.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return digest("\n".join(marks).encode())


def key(content: bytes, place: str) -> str:
    """The name of the entry of a file with this content, looked up from `place` (its folder)."""
    return digest(b"\0".join((content, place.encode(), toolchain().encode())))


def fetch(name: str, build: Callable[[], Entry]) -> Entry:
    """The entry `name`, from the cache if it is there, whole and still true; otherwise built and kept."""
    folder = cache_files.folder()
    path = folder / f"{name}.json" if folder is not None else None
    if path is not None and (found := _read(path)) is not None:
        return found
    made = build()
    if path is not None:
        _write(path, made)
    return made


def _read(path: Path) -> Entry | None:
    """The entry, or None if it is absent, damaged or out of date."""
    kept = cache_files.read(path)
    if kept is None:
        return None
    try:
        found = json.loads(kept)
        text, uses = found["text"], found["uses"]
        if found["hash"] != _seal(text, uses):
            return None
        if any(digest(content(used)) != known for used, known in uses.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Entry(text, uses)


def _seal(text: str, uses: Mapping[str, str]) -> str:
    return digest(json.dumps([text, dict(uses)], sort_keys=True).encode())


def _write(path: Path, entry: Entry) -> None:
    """Write the entry so that nobody ever sees half of it."""
    content = {"hash": _seal(entry.text, entry.uses), "uses": dict(entry.uses), "text": entry.text}
    cache_files.write(path, json.dumps(content).encode())
