"""`.opt` text in its house style. The tokens drive it, not the tree, so every comment stays where it was.

What is always the same: blocks are indented by two blanks; `* / ^ ..` and keyword arguments stand close, all other
operators, relations and definitions between single blanks; a comma is followed by one; at most one empty line in a
row; no blanks or empty lines at the ends.

What is the author's: columns. More than one blank is kept where it brings the same kind of thing (a range, an `=`,
a condition, …) to the column where another line of the same level has it; otherwise it becomes one. Such a column
moves only as far as the longest text before it asks, and a line put between two rows of a table joins it. A comment
at the end of a line keeps its column, if it can.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from dotopt.compiler.emit.text.respell import Spelling, respell
from dotopt.compiler.emit.text.tokens import CLOSING, NABLA, OPENING, Line, Token, ends_operand, read
from dotopt.compiler.parse import parse
from dotopt.compiler.text.source import Source
from dotopt.grammar.spelling import width

INDENT = 2
CONTINUATION = 4
COMMENT_GAP = 2
MOST_SWEEPS = 20  # a line has at most seven things to align, so this is never reached

_CLOSE_BEFORE = {*CLOSING, ",", ";", ".", "'", "′", "ᵀ", "^T", "^*"}
_CLOSE_AFTER = {*OPENING, ".", "√", "∇"}
_CLOSE_AROUND = {"*", "·", "⊙", "/", "^", ".."}
_TYPES = {"real", "int", "bool", "complex", "list"}
_ALONE = {"rule", "transform", "theorem", "formula", "source", "use", "claim"}  # no table begins with these
_RELATIONS = {":", "<", "<=", "≤", ">", ">=", "≥", "in"}

Column = tuple[int, int, str]  # where it is on the screen, the level of its lines, what stands in it


@dataclass(slots=True)
class _Row:
    """A line on its way to the page: `gaps[k]` are the blanks before token `k`, `kinds[k]` what columns it may join."""

    line: Line
    depth: int
    gaps: list[int]
    kinds: list[str]

    @property
    def opening(self) -> str:
        """What makes two lines rows of one table: the same keyword, or none."""
        first = self.line.tokens[0] if self.line.tokens else None
        return "" if first is None else first.text if first.kind == "word" else "equation"

    def places(self) -> set[Column]:
        """The columns in which something of this line stands."""
        tokens = zip(self.line.tokens, self.kinds, strict=True)
        return {(token.column, self.depth, kind) for token, kind in tokens if kind}

    def settle(self) -> None:
        """Let the tokens take their new places for the author's."""
        placed = [
            replace(token, column=self.end(position) + gap, gap=gap)
            for position, (token, gap) in enumerate(zip(self.line.tokens, self.gaps, strict=True))
        ]
        self.line = replace(self.line, tokens=tuple(placed))

    @property
    def start(self) -> int:
        """The column of the first character."""
        return self.depth * INDENT + CONTINUATION * self.line.continues

    def end(self, count: int) -> int:
        """The column after the first `count` tokens."""
        tokens = self.line.tokens[:count]
        return self.start + sum(self.gaps[:count]) + sum(width(token.text) for token in tokens)


def format_text(text: str, spelling: Spelling = "keep") -> str:
    """The text in house style; with `spelling` also respelled in ASCII or in symbols, the tree staying the same.

    Raises `OptError` where the text does not parse. A second call changes nothing.

    >>> print(format_text("rule SGD\\nobjective f\\nparam θ:real[...]\\nθ'=θ-0.1 * ∇f( θ )\\n"), end="")
    rule SGD
    objective f
    param θ : real[...]
    θ' = θ - 0.1*∇f(θ)
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n") + "\n"
    parse(Source("", text))
    rows = _rows(respell(read(Source("", text)), spelling))
    _align(rows)
    return "".join(_printed(rows))


def _rows(lines: list[Line]) -> list[_Row]:
    """The lines with their level, with canonical gaps, and with what may stand in a column."""
    rows = []
    for line, depth in zip(lines, _depths(lines), strict=True):
        tokens = line.tokens
        gaps = [_gap(tokens, position) if position else 0 for position in range(len(tokens))]
        kinds: list[str] = []
        for position, gap in enumerate(gaps):
            kind = _kind(line, position) if gap == 1 else ""
            kinds.append("" if kind in kinds else kind)
        rows.append(_Row(line, depth, gaps, kinds))
    return rows


def _depths(lines: list[Line]) -> list[int]:
    """The level of each line; a line of comment belongs to the deepest open block that is not right of it."""
    following = [0] * len(lines)  # the indentation of the next line of code
    indent = 0
    for position in reversed(range(len(lines))):
        following[position] = indent
        if lines[position].tokens and not lines[position].continues:
            indent = lines[position].indent
    depths = []
    levels = [0]
    for line, after in zip(lines, following, strict=True):
        if line.tokens and not line.continues:
            levels = [level for level in levels if level < line.indent] + [line.indent]
        depth = len(levels) - 1
        if not line.tokens and not line.continues:
            open_levels = sorted({*levels, after})
            depth = max((k for k, level in enumerate(open_levels) if level <= line.indent), default=0)
        depths.append(depth)
    return depths


def _gap(tokens: tuple[Token, ...], position: int) -> int:
    """The blanks between the token at `position` and the one before it, columns aside."""
    before, token = tokens[position - 1], tokens[position]
    match before.text, token.text:
        case _ if token.kind in ("closing", "superscript", "subscript", "keyword") or token.text in _CLOSE_BEFORE:
            return 0
        case _ if before.kind in ("opening", "prefix", "keyword") or before.text in _CLOSE_AFTER:
            return 0
        case _ if token.kind == "order" or (before.kind == "order" and not before.text.isdecimal()):
            return 0
        case _ if token.text in _CLOSE_AROUND or before.text in _CLOSE_AROUND:
            return 0
        case ",", _ if _opens_definition(tokens, position):
            return min(token.gap, 1)  # `tangent(u,a) = …` may be written close
        case _, "(" if ends_operand(before) or before.text == "sqrt":
            return 0
        case _, "[" if ends_operand(before) or before.text in _TYPES or before.text in NABLA:
            return 0
        case _, "..." if before.kind == "name":
            return 0
        case _, ":" if position == len(tokens) - 1:
            return 0
    return 1


def _opens_definition(tokens: tuple[Token, ...], position: int) -> bool:
    """Whether the token stands among the parameters on the left of a local function's definition."""
    texts = [token.text for token in tokens[:2]]
    return (
        tokens[0].kind == "name"
        and texts[1:] == ["("]
        and all(token.depth >= 1 for token in tokens[1:position] if token.text != "(")
        and tokens[position].depth == 1
    )


def _align(rows: list[_Row]) -> None:
    """Keep the columns that the author made, and bring lines that were added to a table into its columns."""
    columns = _keep_columns(rows)
    for _ in range(MOST_SWEEPS):
        if not _join_columns(rows, columns):
            return
        columns = _keep_columns(rows)


def _keep_columns(rows: list[_Row]) -> set[Column]:
    """Set the gaps so that each column is as far to the right as its longest line needs; returns the columns."""
    columns: dict[Column, list[tuple[_Row, int]]] = defaultdict(list)
    for row in rows:
        for position, token in enumerate(row.line.tokens):
            if row.kinds[position] and token.gap:
                columns[token.column, row.depth, row.kinds[position]].append((row, position))
        row.gaps = [1 if kind else gap for kind, gap in zip(row.kinds, row.gaps, strict=True)]
    for _, members in sorted(columns.items(), key=lambda item: item[0]):
        blanks = [row.line.tokens[position].gap for row, position in members]
        if len(members) > 1 and max(blanks) > 1:
            target = max(row.end(position) for row, position in members) + min(blanks)
            for row, position in members:
                row.gaps[position] = target - row.end(position)
    kept = set()
    for row in rows:
        row.settle()
        tokens = zip(row.line.tokens, row.kinds, strict=True)
        kept |= {(token.column, row.depth, kind) for token, kind in tokens if kind and token.gap > 1}
    return kept


def _join_columns(rows: list[_Row], columns: set[Column]) -> bool:
    """Move, once a line, what stands left of a column that the lines above and below share; whether there was any."""
    moved = False
    for above, row, below in zip(rows, rows[1:], rows[2:], strict=False):
        if not (above.opening == row.opening == below.opening and above.depth == row.depth == below.depth):
            continue
        shared = above.places() & below.places() & columns
        for position, (token, kind) in enumerate(zip(row.line.tokens, row.kinds, strict=True)):
            here = (token.column, row.depth, kind)
            further = [column for column, _, other in shared if other == kind and column > token.column]
            if further and here not in columns:
                row.gaps[position] += min(further) - token.column
                row.settle()
                moved = True
                break
    return moved


def _kind(line: Line, position: int) -> str:
    """What a token begins, if that is something that lines align: an empty text if not."""
    tokens = line.tokens
    token = tokens[position]
    if line.continues:
        return ""
    declares = tokens[0].kind == "word"
    if position == 1 and declares and tokens[0].text not in _ALONE:
        return "name"
    if token.depth > 0 or position == 0:
        return ""
    match token.text:
        case "=" | "~":
            return "value"
        case "if" | "otherwise":
            return "condition"
        case "as" | "every" | "unit" if token.kind == "word":
            return token.text
        case text if text in _RELATIONS and (declares or text == ":"):
            return "range"
    return ""


def _printed(rows: list[_Row]) -> Iterator[str]:
    empty = written = False
    for row, column in zip(rows, _comment_columns(rows), strict=True):
        line = row.line
        if not line.tokens and not line.comment:
            empty = written
            continue
        if empty and not line.continues:
            yield "\n"
        text = " " * row.start
        for gap, token in zip(row.gaps, line.tokens, strict=True):
            text += " " * gap + token.text
        if line.comment:
            text += " " * (column - width(text)) + line.comment
        yield text + "\n"
        empty, written = False, True


def _comment_columns(rows: list[_Row]) -> Iterator[int]:
    """Where each comment goes: its own column, or with its neighbours of the same column to the right of the code."""
    for (after_code, column), run in groupby(rows, key=_comment_place):
        members = list(run)
        if after_code:
            column = max([column, *map(_after_code, members)])
        for row in members:
            yield column if after_code else row.start


def _comment_place(row: _Row) -> tuple[bool, int]:
    return bool(row.line.tokens and row.line.comment), row.line.comment_column


def _after_code(row: _Row) -> int:
    gap = row.line.comment_gap
    return row.end(len(row.gaps)) + (gap if 0 < gap < COMMENT_GAP else COMMENT_GAP)
