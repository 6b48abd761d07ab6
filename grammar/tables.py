"""The LALR parser: its tables built from `opt.lark` once, and kept."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from importlib.resources import files

import lark

from dotopt.grammar.files import cache_directory
from dotopt.grammar.layout import Layout


def text() -> str:
    """The grammar in Lark's notation, as shipped in the package."""
    return files("dotopt.grammar").joinpath("opt.lark").read_text(encoding="utf-8")


@cache
def parser() -> lark.Lark:
    """The LALR parser, its tables loaded from the cache (0.03 s) or built (0.8 s) and stored.

    The cache file is keyed by the grammar, Lark's version and this package; a damaged file is rebuilt.
    """
    grammar = text()
    key = hashlib.sha256(f"{lark.__version__}\0{Layout.__doc__}\0{grammar}".encode()).hexdigest()[:24]
    path = cache_directory() / f"grammar-{key}.lark"
    try:
        with path.open("rb") as stream:
            return _quick(lark.Lark.load(stream))
    except Exception:  # absent, damaged, or written by another version: the grammar text is the truth
        pass
    built = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            built.save(stream)
        os.replace(temporary, path)  # atomic, so a second process never reads half a file
    except OSError:
        pass  # a read-only home costs the building time, nothing else
    return _quick(built)


def build(strict: bool = False) -> lark.Lark:
    """The parser built from the grammar text; `strict` refuses conflicts and colliding terminals."""
    return lark.Lark(
        text(), parser="lalr", lexer="contextual", postlex=Layout(), propagate_positions=True,
        maybe_placeholders=True, strict=strict,
    )


def _quick(built: lark.Lark) -> lark.Lark:
    """The same parser, with productions that only pass their one child on (`?sum: product`) doing just that.

    A name in an expression climbs twelve of them; Lark computes positions at each, which is a third of the time. Where
    Lark keeps its callbacks elsewhere, nothing is changed but the speed.
    """
    callbacks = getattr(getattr(getattr(built, "parser", None), "parser", None), "parser", None)
    table = getattr(callbacks, "callbacks", None)
    if isinstance(table, dict):
        for rule in table:
            options, parts = rule.options, rule.expansion
            single = bool(options and options.expand1) and not rule.alias and len(parts) == 1
            if single and not parts[0].is_term and not parts[0].name.startswith("_"):
                table[rule] = _only_child
    return built


def _only_child(children: list[object]) -> object:
    return children[0]
