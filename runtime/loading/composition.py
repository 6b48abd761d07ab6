"""Compositions as data: a transform, the class that it is around, and the defaults that it was given.

Every class knows its origin, from which another process, a copy or another backend finds it again:

    ("file", PATH, NAME)
    ("library", FILE, NAME)
    ("composition", (ORIGIN of the transform, ORIGIN of what is inside, ((KEYWORD, VALUE), …)), NAME)

An origin is made of plain tuples, since compiled modules state theirs and pickles carry it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dotopt.grammar.files import library_root

Origin = tuple[str, Any, str]


class Loaded(tuple[Any, ...]):
    """The origin of a class that was loaded, with the contents of its files by path, as they were then.

    Equal to the plain tuple, and written and pickled as that: another process finds what lies on disk.
    """

    contents: Mapping[str, bytes]

    def __new__(cls, origin: Origin, contents: Mapping[str, bytes]) -> Loaded:
        made = super().__new__(cls, origin)
        made.contents = contents
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (tuple(self),)


def contents(origin: Any) -> dict[str, bytes]:
    """What the files of a class held when it was loaded; empty for what was not loaded here."""
    if isinstance(origin, Loaded):
        return dict(origin.contents)
    if origin[0] == "composition":
        outer, inner, _ = origin[1]
        return contents(outer) | contents(inner)
    return {}


def composed(outer: Origin, inner: Origin, given: Mapping[str, float]) -> Origin:
    """The origin of `outer(inner, keyword=value, …)`.

    >>> lion = ("library", "optimizers/lion.opt", "Lion")
    >>> composed(("library", "transforms/lookahead.opt", "Lookahead"), lion, {})[2]
    'LookaheadLion'
    """
    numbers = tuple((keyword, value if isinstance(value, int) else float(value)) for keyword, value in given.items())
    return "composition", (outer, inner, numbers), outer[2] + inner[2]


def parts(origin: Origin) -> Iterator[tuple[str, Path]]:
    """The files that a class is made of, from the outermost to the innermost, each with the name of its head."""
    match origin:
        case ("composition", (outer, inner, _), _):
            yield from parts(outer)
            yield from parts(inner)
        case ("file", path, name):
            yield name, Path(path)
        case (_, file, name):
            yield name, library_root() / file


def text(origin: Origin) -> str:
    """How the language spells a class: its name, or its composition.

    >>> text(composed(("library", "a.opt", "A"), ("file", "b; c=d/b.opt", "B"), {"k": 2}))
    'A(B, k=2)'
    """
    match origin:
        case ("composition", (outer, inner, given), _):
            return f"{text(outer)}({text(inner)}{''.join(f', {keyword}={value!r}' for keyword, value in given)})"
        case (_, _, name):
            return name


def known(origin: Origin) -> dict[str, Path]:
    """Where the names of a composition are; raises `OptError` (E511) where one stands for two files."""
    found: dict[str, Path] = {}
    for name, path in parts(origin):
        if found.setdefault(name, path) != path:
            from dotopt.compiler.text.errors import fail

            raise fail("E511", None, name=name, first=found[name], second=path)
    return found
