"""The other spelling of the tokens of a file: ASCII for symbols, or symbols for ASCII, with the same tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from dotopt.compiler.emit.text.tokens import CLOSING, NABLA, OPENING, Line, Token
from dotopt.grammar import spelling

Spelling = Literal["keep", "ascii", "unicode"]

_TO_ASCII = {operator.symbol: operator.ascii for operator in spelling.OPERATORS}
_TO_SYMBOL = {operator.ascii: operator.symbol for operator in spelling.OPERATORS if operator.written}
_DIGITS = str.maketrans(spelling.SUPERSCRIPTS, "0123456789")
_RAISED = str.maketrans("0123456789", spelling.SUPERSCRIPTS)
_POSTFIX = ("(", "[", "'", "′", ".", "^T", "ᵀ", "^*")  # these would apply to a number, but not to a superscript
_DEFINING = ("function", "operator", "objective", "formula", "where")
_HEADS = ("rule", "transform", "theorem", "formula", "claim", "as")  # the name after these is not mathematics


def respell(lines: list[Line], chosen: Spelling) -> list[Line]:
    """The lines with every token spelled as `chosen`; comments, strings and what has no other form stay.

    Two forms depend on what the file calls its own: with an own name `T` the transpose stays as written (`^T` would
    be refused), with an own `norm` or `dot` so do `‖x‖` and `⟨a, b⟩`, which mean the built-in ones.
    """
    if chosen == "keep":
        return lines
    own = _own_names(lines)
    change = _to_ascii if chosen == "ascii" else _to_unicode
    return [replace(line, tokens=tuple(change(line.tokens, own))) for line in lines]


def _own_names(lines: Iterable[Line]) -> set[str]:
    """Names that may be the file's own: those that are not called, and those that a definition calls."""
    own = set()
    for line in lines:
        texts = [token.text for token in line.tokens] + [""]
        defines = any(token.text == "=" and token.depth == 0 for token in line.tokens)
        for position, token in enumerate(line.tokens):
            defined = (position == 0 and defines) or (position == 1 and texts[0] in _DEFINING)
            if token.kind == "name" and (defined or texts[position + 1] != "("):
                own.add(token.text)
    return own


def _mathematical(tokens: tuple[Token, ...], position: int) -> bool:
    """Whether the name is one that may be respelled: not of a file, of a claim, or of a Python argument."""
    return tokens[0].text != "use" and (position == 0 or tokens[position - 1].text not in _HEADS)


def _to_ascii(tokens: tuple[Token, ...], own: set[str]) -> Iterator[Token]:
    pairs = [pair for pair in spelling.ENCLOSURES if pair.function not in own]
    for position, token in enumerate(tokens):
        text = token.text
        enclosure = next((pair for pair in pairs if text in (pair.opening, pair.closing)), None)
        match token.kind:
            case "string":
                yield token
            case "name":
                yield replace(token, text=spelling.ascii(text)) if _mathematical(tokens, position) else token
            case "subscript":
                yield replace(token, kind="sign", text="[")
                yield Token("name", spelling.ascii(text[1:]))
                yield Token("sign", "]")
            case "superscript" | "order" if not text.isascii():
                kind = "order" if token.kind == "order" else "sign"
                yield replace(token, kind=kind, text="^")
                yield Token("order" if kind == "order" else "number", text.translate(_DIGITS))
            case "opening" if enclosure:
                yield replace(token, kind="name", text=enclosure.function)
                yield Token("sign", "(")
            case "closing" if enclosure:
                yield replace(token, kind="sign", text=")")
            case _ if text == "ᵀ" and "T" in own:
                yield token
            case _ if text in _TO_ASCII:
                spelled = _TO_ASCII[text]
                kind = {"½": "number", "∞": "name"}.get(text, "word" if spelled.isalpha() else token.kind)
                yield replace(token, kind=kind, text=spelled)
            case _:
                yield token


def _to_unicode(tokens: tuple[Token, ...], own: set[str]) -> Iterator[Token]:
    norms = dict(_calls_of_norm(tokens)) if "norm" not in own else {}
    closings = set(norms.values())
    skip = 0
    for position, token in enumerate(tokens):
        following = [later.text for later in tokens[position + 1 : position + 4]] + ["", "", ""]
        if skip:
            skip -= 1
        elif position in norms:
            yield replace(token, kind="opening", text="‖")
            skip = 1
        elif position in closings:
            yield replace(token, kind="closing", text="‖")
        elif token.text == "[" and position and tokens[position - 1].text in NABLA:
            yield replace(token, kind="subscript", text="_" + spelling.unicode(following[0]))
            skip = 2
        elif token.text == "^" and following[0].isdecimal() and following[1] not in _POSTFIX:
            kind = "order" if token.kind == "order" else "superscript"
            yield replace(token, kind=kind, text=following[0].translate(_RAISED))
            skip = 1
        elif token.text == "0.5":  # as a factor; a value of 0.5 stays a decimal
            yield replace(token, kind="sign", text="½") if following[0] in ("*", "/", "·", "⊙") else token
        elif token.kind == "name" and token.text != "inf":
            yield replace(token, text=spelling.unicode(token.text)) if _mathematical(tokens, position) else token
        elif token.kind == "string" or (token.text == "^T" and "T" in own):
            yield token
        else:
            kind = "sign" if token.kind in ("word", "name") else token.kind
            yield replace(token, kind=kind, text=_TO_SYMBOL[token.text]) if token.text in _TO_SYMBOL else token


def _calls_of_norm(tokens: tuple[Token, ...]) -> Iterator[tuple[int, int]]:
    """Where `norm(` starts and its `)` stands, for calls with one argument that fit on the line."""
    for start, (token, bracket) in enumerate(pairwise(tokens)):
        if token.kind != "name" or token.text != "norm" or bracket.text != "(":
            continue
        depth = 0
        for end in range(start + 1, len(tokens)):
            text = tokens[end].text
            depth += (text in OPENING) - (text in CLOSING)
            if depth == 0:
                if end > start + 2:
                    yield start, end
                break
            if depth == 1 and (text in (",", ";", "=") or (tokens[end].kind == "word" and text in ("for", "over"))):
                break


