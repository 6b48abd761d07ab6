"""The tokens of a file with all that the parser throws away: comments, blank lines, columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import lark

from dotopt.compiler.text.source import Source
from dotopt.grammar import tables
from dotopt.grammar.spelling import width

NABLA = ("∇", "grad")
OPENING, CLOSING = ("(", "[", "{"), (")", "]", "}")
_KINDS = {"NAME": "name", "NUMBER": "number", "SUPERSCRIPT": "superscript", "SUBSCRIPT": "subscript"}
_KINDS |= {"STRING": "string", "DOCSTRING": "string"}
_OPERANDS = ("name", "number", "superscript", "closing")
_ENDS = (*CLOSING, "'", "′", "ᵀ", "^T", "^*", "½", "∞", "true", "false")


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    `kind` is `word` (a keyword), `name`, `number`, `string`, `superscript`, `subscript`, `opening` and `closing`
    (of `‖ |` and `⟨ ⟩`), `prefix` (the minus of `-x`), `order` (the 2 of `∇²`),
    `keyword` (the `=` of `over=rows`) or `sign`. `column` is where it starts
    on the screen and `gap` the blanks before it, both as the author wrote them; `depth` counts the brackets around it.
    """

    kind: str
    text: str
    column: int = 0
    gap: int = 0
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """One line as written; a docstring counts as one. `continues` what a bracket of an earlier line opened."""

    tokens: tuple[Token, ...]
    indent: int
    continues: bool
    comment: str
    comment_column: int
    comment_gap: int


def read(source: Source) -> list[Line]:
    """The lines of a file that parses, with their tokens and comments."""
    lexed = [token for token in _lexed(source.text) if token.type not in ("_NL", "_INDENT", "_DEDENT", "$END")]
    tokens: dict[int, list[Token]] = {}
    ends: dict[int, int] = {}  # where the last token of a line ends
    within: set[int] = set()  # lines that end inside a docstring
    for raw, token in zip(lexed, _classified(source, lexed), strict=True):
        first, last = source.line_of(_start(raw)), source.line_of(_end(raw))
        within.update(range(first, last))
        tokens.setdefault(last, []).append(token)
        ends[last] = _end(raw)
    lines = []
    depth = 0
    for number in range(1, len(source.line_starts) + 1):
        if number in within:
            continue
        text = source.line(number)
        found = tuple(tokens.get(number, ()))
        end = ends.get(number, source.line_starts[number - 1]) - source.line_starts[number - 1]
        comment = text[end:].strip()
        column = _columns(text[: len(text) - len(text[end:].lstrip())])
        indent = found[0].column if found else column
        continues = depth > 0
        depth += sum((token.text in OPENING) - (token.text in CLOSING) for token in found)
        lines.append(Line(found, indent, continues, comment, column, column - _columns(text[:end])))
    return lines


def ends_operand(token: Token) -> bool:
    """Whether an operand may end with this token, so that a sign after it stands between two operands."""
    return token.kind in _OPERANDS or token.text in _ENDS


def _lexed(text: str) -> Iterator[lark.Token]:
    """The tokens as the parser's contextual lexer cuts them: what is a keyword depends on the place."""
    yield from tables.parser().parse_interactive(text + "\n").iter_parse()


def _classified(source: Source, lexed: list[lark.Token]) -> Iterator[Token]:
    previous: Token | None = None
    end = depth = 0
    gradient = -1  # the depth of a ∇ whose function is still to come
    formula = False  # in the parameter list of a formula, where `=` gives defaults
    for raw in lexed:
        line_start = source.line_starts[source.line_of(_start(raw)) - 1]
        column = _columns(source.text[line_start : _start(raw)])
        gap = column - _columns(source.text[line_start:end]) if end > line_start else 0
        text = " ".join(raw.split()) if raw.type == "FOR_ALL_STEPS" else str(raw)
        kind = _KINDS.get(raw.type, "word" if text[0].isalpha() else "sign")
        within_line = end > line_start or depth > 0
        operand = previous is not None and within_line and ends_operand(previous)
        if text in ("|", "‖", "⟨", "⟩"):
            kind = "closing" if operand else "opening"
        elif text in ("-", "−", "+") and not operand:
            kind = "prefix"
        elif gradient == depth and (kind in ("number", "superscript") or text == "^"):
            kind = "order"
        elif gradient == depth and kind == "name":
            gradient = -1
        elif text in NABLA and kind != "name":
            gradient = depth
        elif text == "=":
            kind = "keyword" if depth > formula else "sign"
            formula &= depth > 0
        formula |= kind == "word" and text == "formula"
        previous = Token(kind, text, column, gap, depth)
        yield previous
        end = _end(raw)
        depth += (text in OPENING) - (text in CLOSING)


def _start(token: lark.Token) -> int:
    assert token.start_pos is not None
    return token.start_pos


def _end(token: lark.Token) -> int:
    assert token.end_pos is not None
    return token.end_pos


def _columns(text: str) -> int:
    return width(text.expandtabs(8))
