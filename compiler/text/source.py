"""Text and places in it: every diagnostic and every node of the tree points here."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property

# Control characters, halves of surrogate pairs, and marks of direction (the property Bidi_Control of Unicode): nobody
# sees them, and a terminal or an editor that obeys them shows another text.
UNSEEN = re.compile(
    "[\0-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)"
)


def printable(text: str) -> str:
    """The text with a replacement sign for everything that a terminal would obey, line ends and tabs too.

    >>> printable("a\\x1b[2Jb") == "a\N{REPLACEMENT CHARACTER}[2Jb"
    True
    """
    return re.sub(r"[\t\r\n]", "\N{REPLACEMENT CHARACTER}", UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text))


@dataclass(frozen=True)
class Source:
    """The text of one `.opt` file and the name it is reported under."""

    path: str
    text: str = field(repr=False)

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        """Offset of the first character of each line."""
        return (0, *(i + 1 for i, character in enumerate(self.text) if character == "\n"))

    def line_of(self, offset: int) -> int:
        """The line (from 1) that holds the character at `offset`."""
        return bisect_right(self.line_starts, offset)

    def line(self, number: int) -> str:
        """The text of line `number` (from 1), without its end."""
        start = self.line_starts[number - 1]
        end = self.line_starts[number] if number < len(self.line_starts) else len(self.text)
        return self.text[start:end].rstrip("\r\n")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` up to `end` (excluded) of a source."""

    source: Source = field(repr=False)
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters themselves.

        >>> Span(Source("a.opt", "m' = m"), 0, 2).text
        "m'"
        """
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        """The line of the first character, from 1."""
        return self.source.line_of(self.start)

    @property
    def column(self) -> int:
        """The column of the first character, from 1, in characters."""
        return self.start - self.source.line_starts[self.line - 1] + 1

    def to(self, other: Span) -> Span:
        """The span from the start of this one to the end of the other."""
        return Span(self.source, min(self.start, other.start), max(self.end, other.end))
