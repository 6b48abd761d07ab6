"""What `use` reaches: the names in reach of a file, and circles among the files."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from dotopt.compiler.resolve.suggest import closest
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import OptError
from dotopt.compiler.text.library import Library, load
from dotopt.grammar.files import catalogue

Lookup = Callable[[str], Path | None]
USED = re.compile(r"^use[ \t]+([^\n#]*)", re.MULTILINE)


def beside(path: str) -> Lookup:
    """The look-up for the file at `path`: its own folder, then the library."""
    library = Library(Path(path).parent)

    def find(name: str) -> Path | None:
        try:
            return library.find(name)
        except (OSError, ValueError):  # a path that the system refuses is no file
            return None

    return find


def tree(name: str, lookup: Lookup) -> s.File | None:
    """The tree of the file that defines `name`; `None` if it is missing or broken, which is reported elsewhere."""
    path = lookup(name)
    try:
        return load(path) if path is not None else None
    except (OptError, OSError):
        return None


def rule_like(name: str, path: str, lookup: Lookup) -> str | None:
    """The name in reach of the file at `path` that `name` was probably meant to be, as its head spells it."""
    try:
        stems = [entry.stem for entry in Path(path).parent.glob("*.opt")]
    except (OSError, ValueError):
        stems = []
    stems += [Path(file).stem for file in catalogue()]
    meant = closest(name.lower(), stems) or closest(name, stems)
    found = tree(meant, lookup) if meant else None
    return found.head.name if found is not None else None


def circle(name: str, home: str, lookup: Lookup) -> list[str] | None:
    """A circle along `use` that the file `home` enters by using `name`; `None` if there is none."""
    if name == home:
        return [home, home]
    waiting = [[name]]
    seen: set[str] = set()
    while waiting:
        way = waiting.pop()
        path = lookup(way[-1])
        for following in _uses(path, path.stat().st_mtime_ns) if path is not None else ():
            if following == home:
                return [home, *way, home]
            if following == name:
                return [*way, name]
            if following not in seen:
                seen.add(following)
                waiting.append([*way, following])
    return None


@lru_cache(maxsize=1024)
def _uses(path: Path, changed: int) -> tuple[str, ...]:
    """The names that the file uses, read without parsing the rest of it."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ()
    listed = [part for found in USED.findall(text) for part in found.split(",")]
    return tuple(part.split()[0] for part in listed if part.split())
