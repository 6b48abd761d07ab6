"""What was meant: a syntax error of the parser, explained by the tokens around it."""

from __future__ import annotations

import lark

from dotopt.compiler.errors import OptError, fail
from dotopt.compiler.source import Source, Span


def explain(source: Source, error: lark.UnexpectedInput | lark.indenter.DedentError) -> OptError:
    """The diagnostic for what stopped the parser."""
    if isinstance(error, lark.UnexpectedInput):
        start = min(error.pos_in_stream or 0, len(source.text))
        return fail("E100", Span(source, start, start + 1), found=f"`{source.text[start:start + 1]}`")
    return fail("E108", None)
