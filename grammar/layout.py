"""Indentation as tokens: blocks open and close as in Python; brackets of any kind suspend the layout."""

from __future__ import annotations

from collections.abc import Iterator

from lark import Token
from lark.indenter import Indenter
from lark.lark import PostLex


class _Blocks(Indenter):
    """The open blocks and brackets of one text.

    Openers and closers are counted, not paired, so the half-open interval `[0, 1)` is fine.
    """

    NL_type = "_NL"
    OPEN_PAREN_types = ["LPAR", "LSQB"]
    CLOSE_PAREN_types = ["RPAR", "RSQB"]
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 8


class Layout(PostLex):
    """Turns the white space after a line break into `_INDENT` and `_DEDENT`.

    It keeps nothing between texts, or while one is read: the parser is shared, and any number of threads may use it.
    """

    always_accept = (_Blocks.NL_type,)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """The tokens of a text with its blocks marked."""
        tokens: Iterator[Token] = _Blocks().process(stream)  # type: ignore[no-untyped-call]
        return tokens
