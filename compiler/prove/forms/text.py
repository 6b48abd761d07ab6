"""Polynomials and atoms as text."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.polynomial import Atom, Monomial, Polynomial

LONGEST_TEXT = 400  # characters of an atom as text


def render(p: Polynomial) -> str:
    """The polynomial as text, in an order that does not depend on the history of the process."""
    if p.zero:
        return "0"
    parts = []
    for monomial, c in p.terms:
        factors = _factors(monomial)
        if not factors or abs(c) != 1:
            factors.insert(0, str(abs(c)))
        parts.append(("-" if c < 0 else "+", "*".join(factors)))
    parts.sort(key=lambda part: part[1])
    text = " ".join(f"{sign} {body}" for sign, body in parts)
    return text[2:] if text.startswith("+ ") else "-" + text[2:]


def _factors(monomial: Monomial) -> list[str]:
    return sorted(repr(a) + (f"^{power}" if power != 1 else "") for a, power in monomial)


@lru_cache(maxsize=50_000)
def render_atom(a: Atom) -> str:
    """An atom as text, cut where it is very long."""
    text = _text(a)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…#{a.number}"


def _text(a: Atom) -> str:
    match a.kind:
        case "leaf":
            return str(a.key[1])
        case "sqrt":
            return f"√({a.key[0]!r})"
        case "inverse":
            return f"1/({a.key[0]!r})"
        case "sum":
            return f"sum[{a.key[0]}]({'*'.join(_factors(a.key[1])) or 1})"
        case _:
            return f"{a.kind}({', '.join(str(k) for k in a.key)})"
