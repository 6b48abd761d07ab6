"""The code of a rule in each backend, and its equations in other notations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotopt.compiler.errors import OptError, diagnostic

if TYPE_CHECKING:
    from dotopt.runtime.explain import Explanation


def code(facts: Explanation, form: str) -> str:
    """The text of `form`: ir, latex, torch, cpu or triton; raises `OptError` (E601) where there is none."""
    match form:
        case "ir":
            from dotopt.runtime.timeline import listing

            return "\n".join(listing(facts.program))
        case "latex":
            from dotopt.compiler.emit.latex import latex

            return latex(facts.file)
    raise OptError(diagnostic("E601", facts.decided, construct=facts.kind))
