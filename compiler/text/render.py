"""Diagnostics as text with the source line and carets, or as JSON for editors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dotopt.compiler.text.errors import MOST_ERRORS, Diagnostic, Edit
from dotopt.compiler.text.source import Span, printable
from dotopt.grammar.spelling import width

TAB = 4
WIDEST = 160  # columns of a source line that are shown; longer ones are cut around the caret
COLOURS = {"error": "\033[1;31m", "warning": "\033[1;33m", "place": "\033[1;34m", "bold": "\033[1m"}
PLAIN = "\033[0m"


def render(found: Diagnostic, color: bool = False) -> str:
    """The diagnostic with its place in the source, ending without a line break.

        error[E205]: state `v` never changes
          --> adam.opt:8:7
           |
         8 | state v : like θ = 0
           |       ^ no equation `v' = …`
           = help: add one, or declare `const v`
    """

    def paint(text: str, style: str) -> str:
        return f"{COLOURS[style]}{text}{PLAIN}" if color else text

    lines = [paint(f"{found.severity}[{found.code}]", found.severity) + paint(f": {printable(found.message)}", "bold")]
    margin = 2
    if found.span is not None:
        marks = _marks(found)
        margin = max(2, max(len(str(span.line)) for span, _, _ in marks))
        lines.append(f"{paint(' ' * margin + '-->', 'place')} {_place(found.span)}")
        edge = paint(" " * margin + " |", "place")
        lines.append(edge)
        shown = 0
        for number in sorted({span.line for span, _, _ in marks}):
            here = [mark for mark in marks if mark[0].line == number]
            if 0 < shown < number - 1:
                lines.append(paint(" " * margin + " :", "place"))
            shown = number
            text, origin = _cut(found.span.source.line(number), min(_columns(span)[0] for span, _, _ in here))
            lines.append(f"{paint(f'{number:>{margin}} |', 'place')} {text}".rstrip())
            row, used = "", 0  # marks share a row as long as only the last of them has a remark
            for span, sign, remark in sorted(here, key=lambda mark: mark[0].start):
                before, length = _columns(span)
                before -= origin
                length = min(length, max(WIDEST - before, 1))
                if row and before < used:
                    lines.append(f"{edge} {row}")
                    row, used = "", 0
                style = found.severity if sign == "^" else "place"
                row += " " * (before - used) + paint(f"{sign * length} {printable(remark)}".rstrip(), style)
                used = 10**9 if remark else before + length
            lines.append(f"{edge} {row}".rstrip())
    else:
        lines[0] = lines[0].rstrip()
    for note in found.notes:
        lines.append(f"{' ' * margin} {paint('=', 'place')} note: {printable(note)}")
    if found.help:
        lines.append(f"{' ' * margin} {paint('=', 'place')} help: {printable(found.help)}")
    return "\n".join(lines)


def render_all(found: Sequence[Diagnostic], color: bool = False) -> str:
    """All diagnostics with an empty line between them; past the tenth only their number."""
    texts = [render(one, color) for one in found[:MOST_ERRORS]]
    if len(found) > MOST_ERRORS:
        texts.append(f"… and {len(found) - MOST_ERRORS} more")
    return "\n\n".join(texts)


def to_json(found: Diagnostic) -> dict[str, object]:
    """The diagnostic as plain values; lines and columns from 1, offsets in characters of the text, ends excluded."""
    path = found.span.source.path if found.span is not None else None
    return {
        "file": path,
        "code": found.code,
        "severity": found.severity,
        "message": found.message,
        **(_range(found.span) if found.span is not None else {"line": None, "column": None, "end": None}),
        "remark": found.remark or None,
        "notes": list(found.notes),
        "help": found.help,
        "edit": _edit(found.edit) if found.edit is not None else None,
        "labels": [{"text": label.text, **_range(label.span)} for label in found.labels],
    }


def apply(edits: Iterable[Edit], text: str) -> str:
    """The text with the edits made, last place first.

    >>> from dotopt.compiler.text.source import Source
    >>> source = Source("a.opt", "m += g")
    >>> apply([Edit(Span(source, 1, 4), "' = m +")], source.text)
    "m' = m + g"
    """
    for edit in sorted(edits, key=lambda edit: edit.span.start, reverse=True):
        text = text[: edit.span.start] + edit.text + text[edit.span.end :]
    return text


def _marks(found: Diagnostic) -> list[tuple[Span, str, str]]:
    """The places to show: the caret of the diagnostic and its labels in the same file."""
    assert found.span is not None
    marks = [(found.span, "^", found.remark)]
    marks += [(label.span, "-", label.text) for label in found.labels if label.span.source == found.span.source]
    return marks


def _place(span: Span) -> str:
    return f"{printable(span.source.path)}:{span.line}:{span.column}"


def _columns(span: Span) -> tuple[int, int]:
    """How many columns stand before the span in its line, and how many it takes there, at least one."""
    line = span.source.line(span.line)
    start = span.column - 1
    end = min(start + span.end - span.start, len(line))
    before = width(_shown(line[:start]))
    return before, max(width(_shown(line[: max(end, start)])) - before, 1)


def _shown(text: str) -> str:
    """Tabs as spaces up to the next stop; control characters as a replacement sign."""
    if "\t" in text:
        pieces, column = [], 0
        for character in text:
            piece = " " * (TAB - column % TAB) if character == "\t" else character
            pieces.append(piece)
            column += width(piece)
        text = "".join(pieces)
    return printable(text)


def _cut(line: str, caret: int) -> tuple[str, int]:
    """The part of a line that is shown, and the columns left out before it."""
    shown = _shown(line)
    if len(shown) <= WIDEST:
        return shown, 0
    if caret < WIDEST - 40:
        return shown[: WIDEST - 1] + "…", 0
    # Columns and characters agree closely enough in a line this long.
    start = caret - 60
    return "…" + shown[start + 1 : start + WIDEST] + ("…" if start + WIDEST < len(shown) else ""), start


def _range(span: Span) -> dict[str, object]:
    last = Span(span.source, max(span.end, span.start), span.end)
    return {
        "line": span.line,
        "column": span.column,
        "end": {"line": last.line, "column": last.column},
        "start_offset": span.start,
        "end_offset": span.end,
    }


def _edit(edit: Edit) -> dict[str, object]:
    return {"start_offset": edit.span.start, "end_offset": edit.span.end, "text": edit.text}
