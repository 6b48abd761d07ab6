"""Where the parser stopped: the token, the line around it, and what could have stood there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import lark

from dotopt.compiler.text.errors import Edit, OptError, fail
from dotopt.compiler.text.source import Source, Span
from dotopt.grammar import tables

LONGEST_REPAIRED = 20_000  # characters; edits are not tried in longer files
TOKENS = re.compile(r"[^\W\d](?:\w|[\u0300-\u036f])*'?|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|==|<=|>=|!=|\S")
WORDS = {  # what a terminal is called
    "_NL": "the end of the line", "$END": "the end of the text", "_INDENT": "an indented line",
    "_DEDENT": "the end of the block", "NAME": "a name", "NUMBER": "a number", "STRING": 'a text in `"…"`',
}  # fmt: skip


@dataclass(frozen=True)
class Stop:
    """Where the parser stopped: the token, its kind, what could have stood there, and the line around it."""

    source: Source
    start: int
    token: str
    kind: str
    expected: frozenset[str]

    @property
    def span(self) -> Span:
        """The token; at the end of a line, the place after its last character."""
        if self.kind in ("_NL", "$END", "_DEDENT", "_INDENT"):
            end = len(self.source.text[: self.start].rstrip())
            if self.kind == "_INDENT":
                return Span(self.source, self.start, self.start + 1)
            return Span(self.source, end, end)
        return Span(self.source, self.start, self.start + max(len(self.token), 1))

    @property
    def rest(self) -> str:
        """The text from the token on."""
        return self.source.text[self.start : self.start + 200]

    @property
    def line(self) -> str:
        """The line up to the token."""
        place = min(self.span.start, len(self.source.text))
        return self.source.text[self.source.line_starts[self.source.line_of(place) - 1] : place]

    @property
    def before(self) -> str:
        """The last token before the place, on the same line."""
        found = TOKENS.findall(self.line)
        return found[-1] if found else ""

    @property
    def before_span(self) -> Span:
        """Where that token stands."""
        end = self.start - (len(self.line) - len(self.line.rstrip())) if self.line else self.start
        return Span(self.source, end - len(self.before), end)

    @property
    def first_word(self) -> str:
        """The first word of the line, if it starts with one."""
        found = re.match(r"\s*(\w+)", self.line + self.token)
        return found.group(1) if found else ""

    def fails(self, code: str, span: Span | None = None, edit: Edit | None = None, **details: object) -> OptError:
        """The diagnostic; the edit only if it helps."""
        kept = edit if edit is not None and self.repairs(edit) else None
        return fail(code, span or self.span, edit=kept, **details)

    def repairs(self, edit: Edit) -> bool:
        """Whether the parser gets past this place with the edit made."""
        text = self.source.text
        if len(text) > LONGEST_REPAIRED:
            return False
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
        try:
            tables.parser().parse(text + "\n")
        except lark.UnexpectedInput as error:
            moved = len(edit.text) - (edit.span.end - edit.span.start)
            place = self.source.line_starts[min(self.span.line, len(self.source.line_starts)) - 1]
            end = text.find("\n", place + max(moved, 0))
            return (error.pos_in_stream or 0) > end >= 0
        except (lark.indenter.DedentError, AssertionError):
            return False
        return True


def stop_at(source: Source, error: lark.UnexpectedInput) -> Stop:
    """The place of a parser failure."""
    if isinstance(error, lark.UnexpectedToken):
        kinds = error.accepts or error.expected
        token, kind = str(error.token), str(error.token.type)
    else:
        kinds = set(getattr(error, "allowed", None) or ())
        token, kind = "", "character"
    start = min(max(error.pos_in_stream or 0, 0), len(source.text))
    return Stop(source, start, token or source.text[start : start + 1], _sign(kind), frozenset(map(_sign, kinds)))


@cache
def _signs() -> dict[str, str]:
    terminals = tables.parser().terminals
    return {t.name: str(t.pattern.value) for t in terminals if t.name.startswith("__ANON")}


def _sign(kind: str) -> str:
    """Anonymous terminals are known by their text."""
    return _signs().get(kind, kind)


@cache
def keywords() -> frozenset[str]:
    """Every word of the language."""
    return frozenset(str(t.pattern.value) for t in tables.parser().terminals if str(t.pattern.value).isalpha())


def listed(expected: frozenset[str]) -> str:
    """What could stand here, in words."""
    words = list(dict.fromkeys(_words(expected)))
    if not words:
        return "something else"
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _words(expected: frozenset[str]) -> Iterator[str]:
    if {"HYPER", "STATE"} <= expected:
        yield "a declaration, an equation or a claim"
        return
    if {"SHOW", "GIVEN"} <= expected:
        yield "a line of the claim, such as `given …` or `show …`"
        return
    if {"NAME", "NUMBER", "LPAR"} <= expected:
        yield "a value"
        return
    if {"TIMES", "PLUS"} <= expected or {"LESSTHAN", "AND"} <= expected:
        yield "an operator"
    elif "LESSTHAN" in expected:
        yield "a range"
    if {"REAL", "INT"} <= expected:
        yield "a type (`real[...]`, `like x`, …)"
    patterns = {t.name: str(t.pattern.value) for t in tables.parser().terminals}
    hidden = {"LESSTHAN", "MORETHAN", "REAL", "INT", "BOOL", "COMPLEX", "LIKE", "LIST", "_NL", "_DEDENT", "PRIME", "IN"}
    for kind in sorted(expected - hidden):
        sign = patterns.get(kind, kind)
        if kind in WORDS:
            yield WORDS[kind]
        elif sign in (":", "=", ",", "~") or (sign.isalpha() and sign.islower()) or kind in ("RPAR", "RSQB", "RBRACE"):
            yield f"`{sign}`"
    if "_NL" in expected:
        yield WORDS["_NL"]


def wrong_dedent(source: Source) -> Span | None:
    """The first line whose indentation is that of no open block."""
    levels, depth = [0], 0
    for number, start in enumerate(source.line_starts, 1):
        line = source.line(number)
        text = line.strip()
        if text and not text.startswith("#") and depth <= 0:
            column = len(line.expandtabs(8)) - len(line.expandtabs(8).lstrip())
            while column < levels[-1]:
                levels.pop()
            if column > levels[-1]:
                if number > 1 and len(levels) > 0 and _dedents(source, number, column):
                    return Span(source, start + len(line) - len(line.lstrip()), start + len(line.rstrip()))
                levels.append(column)
        for character in line.split("#")[0]:
            depth += (character in "([") - (character in ")]")
    return None


def _dedents(source: Source, number: int, column: int) -> bool:
    """Whether the line is less indented than the last line of text before it."""
    for before in range(number - 1, 0, -1):
        line = source.line(before).expandtabs(8)
        if line.strip() and not line.strip().startswith("#"):
            return column < len(line) - len(line.lstrip())
    return False
