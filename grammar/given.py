"""Contents of files that stand for those on disk: code that is made later is made of the text that was loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

_GIVEN: ContextVar[Mapping[str, bytes]] = ContextVar("given", default=MappingProxyType({}))


@contextmanager
def given(contents: Mapping[str, bytes]) -> Iterator[None]:
    """Inside, the files at these paths hold this, whatever lies on disk by now, and no others are beside them."""
    token = _GIVEN.set(contents or _GIVEN.get())
    try:
        yield
    finally:
        _GIVEN.reset(token)


def content(path: str | Path) -> bytes:
    """The bytes of a file, given or on disk; raises OSError."""
    found = _GIVEN.get().get(os.fspath(path))
    return Path(path).read_bytes() if found is None else found


def is_given(path: str | Path) -> bool:
    """Whether the content of the file is given."""
    return os.fspath(path) in _GIVEN.get()


def there(path: Path) -> bool:
    """Whether the file is there: among those that are given, if some are, else on disk."""
    return is_given(path) if _GIVEN.get() else path.is_file()
