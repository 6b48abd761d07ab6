"""Finding `.opt` files by the name of what they define: beside the file that asks, then in the library."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from dotopt.compiler.parse import parse
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.read import read
from dotopt.grammar.files import catalogue, file_name
from dotopt.grammar.given import is_given, there


@cache
def _parsed(path: Path, stamp: tuple[int, int]) -> s.File:
    return parse(read(path))


class Library:
    """Finds and parses files; `folder` is searched before the standard library."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def find(self, name: str) -> Path | None:
        """The file that defines `name`, if there is one."""
        wanted = file_name(name)
        if self.folder is not None and there(self.folder / wanted):
            return self.folder / wanted
        return catalogue().get(wanted)

    def file(self, name: str) -> s.File | None:
        """The tree of the file that defines `name`; raises `OptError` if that file is broken."""
        path = self.find(name)
        return None if path is None else load(path)


def load(path: Path) -> s.File:
    """The tree of the file at `path`, parsed once as long as it does not change; raises `OptError`."""
    if is_given(path):
        return parse(read(path))
    try:
        status = path.stat()
    except (OSError, ValueError):
        return parse(read(path))  # which says what is wrong with it
    return _parsed(path, (status.st_mtime_ns, status.st_size))
