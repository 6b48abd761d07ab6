"""From what is typed on the command line to files: paths, folders, `-`, and names of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path


def expand(given: Iterable[str]) -> Iterator[Path | None]:
    """The files meant: every `.opt` below a folder, None for `-`."""
    for text in given:
        path = Path(text)
        if text == "-":
            yield None
        elif path.is_dir():
            yield from sorted(path.rglob("*.opt"))
        else:
            yield path


def locate(given: str) -> Path:
    """The file at this path, or the one that defines this name in the library.

    A missing file is left for the reader to complain about, unless the name is close to one of the catalogue.

    >>> locate("Lion").name
    'lion.opt'
    """
    from dotopt.compiler.text.errors import diagnostic
    from dotopt.compiler.text.library import Library

    path = Path(given)
    if path.exists() or path.suffix == ".opt" or path.name != given:
        return path
    found = Library(Path.cwd()).find(given) or _ignoring_case(given)
    if found is None:
        from dotopt.compiler.text.errors import OptError

        raise OptError(diagnostic("E222", None, name=given, help=_suggestion(given)))
    return found


def _ignoring_case(given: str) -> Path | None:
    from dotopt.runtime.loading.catalogue import entries

    return next((entry.path for entry in entries() if entry.name.lower() == given.lower()), None)


def _suggestion(given: str) -> str:
    from difflib import get_close_matches

    from dotopt.runtime.loading.catalogue import names

    lower = {name.lower(): name for name in names()}
    close = get_close_matches(given.lower(), list(lower), n=1, cutoff=0.6)
    return f"did you mean `{lower[close[0]]}`?" if close else "`dotopt list` prints the catalogue"
