"""Indentation as tokens: blocks open and close as in Python; brackets of any kind suspend the layout."""

from __future__ import annotations

from lark.indenter import Indenter


class Layout(Indenter):
    """Turns the white space after a line break into `_INDENT` and `_DEDENT`.

    Openers and closers are counted, not paired, so the half-open interval `[0, 1)` is fine.
    """

    NL_type = "_NL"
    OPEN_PAREN_types = ["LPAR", "LSQB"]
    CLOSE_PAREN_types = ["RPAR", "RSQB"]
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 8
