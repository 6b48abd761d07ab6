"""Reading a file: the text and its name, or a diagnostic that says why not."""

from __future__ import annotations

import os
from pathlib import Path

from dotopt.compiler.text.errors import fail
from dotopt.compiler.text.source import Source, Span
from dotopt.grammar.given import content, is_given

LARGEST = 100_000  # bytes; the longest file of the library has 4,000, and what is read must be answered in a second

def read(path: str | Path) -> Source:
    """The text of the `.opt` file at `path`, without a byte-order mark; line ends stay as they are.

    Raises `OptError` with E901 (missing), E902 (a directory), E903 (not UTF-8), E904 (too large), E905 (refused by
    the system) or E906 (NUL characters: a binary file).
    """
    name = os.fspath(path)
    try:
        if is_given(name):
            data = content(name)
            size = len(data)
        else:
            with open(name, "rb") as stream:
                data = stream.read(LARGEST + 1)
                size = max(os.fstat(stream.fileno()).st_size, len(data))
    except FileNotFoundError:
        raise fail("E901", None, path=name) from None
    except IsADirectoryError:
        raise fail("E902", None, path=name) from None
    except (OSError, ValueError) as error:
        if os.path.isdir(name):  # Windows says "permission denied"
            raise fail("E902", None, path=name) from None
        reason = getattr(error, "strerror", None) or str(error)
        raise fail("E905", None, path=name, reason=reason.lower()) from None
    if len(data) > LARGEST:
        raise fail("E904", None, path=name, size=f"{size:,}", limit=f"{LARGEST:,}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise fail("E903", None, path=name, help="it looks like UTF-16; save it as UTF-8") from None
        line = data[: error.start].count(b"\n") + 1
        help = f"line {line} holds the byte 0x{data[error.start]:02x}; save it as UTF-8"
        raise fail("E903", None, path=name, help=help) from None
    source = Source(name, text)
    if "\0" in text:
        where = text.index("\0")
        raise fail("E906", Span(source, where, where + 1))
    return source
