"""What is kept between runs: whole files in a folder that only this user can write.

What a cache holds is run as code or believed as a proof, so whoever can write it can make this process do anything. A
folder of somebody else, one that others may write, and files of either kind are not used, which is said once; what
would have been kept is made again each time.
"""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from functools import cache
from pathlib import Path

from dotopt.grammar.files import cache_directory

OTHERS = stat.S_IWGRP | stat.S_IWOTH


def folder(*below: str) -> Path | None:
    """The folder for what is kept, or one below it, made for this user alone; None if there is none to be trusted."""
    place = cache_directory()
    if not _own_folder(place):
        return None
    for name in below:
        place = place / name
        if not _own_folder(place):
            return None
    return place


def read(path: Path) -> bytes | None:
    """The content of a file that this user wrote; None if it is not there, or somebody else may have written it."""
    try:
        with open(path, "rb", opener=_without_links) as stream:
            return stream.read() if _private(os.fstat(stream.fileno())) else None
    except OSError:
        return None


def trusted(path: Path) -> bool:
    """Whether there is such a file and only this user can have written it."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and _private(status)


def write(path: Path, content: bytes) -> bool:
    """Keep a file: whole under its name or not at all, and for this user alone; False if the folder takes none."""
    try:
        handle, unfinished = tempfile.mkstemp(prefix=path.name[:8], suffix=".tmp", dir=path.parent)
    except OSError:
        return False
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(unfinished, path)
        return True
    except OSError:
        return False
    finally:
        Path(unfinished).unlink(missing_ok=True)  # a full disk, an interruption


def _own_folder(path: Path) -> bool:
    """Make the folder if it is not there, and say whether only this user can write it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        link, status = path.lstat(), path.stat()
    except OSError:
        return False
    if _private(status) and (_owned(link) or link.st_uid == 0):  # the administrator may have moved it elsewhere
        return True
    _refuse(path)
    return False


def _private(status: os.stat_result) -> bool:
    return _owned(status) and (os.name == "nt" or not status.st_mode & OTHERS)


def _owned(status: os.stat_result) -> bool:
    """Whether it belongs to this user; on Windows what lies in a profile does."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _without_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


@cache
def _refuse(path: Path) -> None:
    warnings.warn(
        f"nothing is read from or kept in {path}: it belongs to somebody else, or others may write it; "
        "`chmod go-w` it, or name another folder in DOTOPT_CACHE",
        stacklevel=2,
    )
