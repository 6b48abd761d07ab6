"""The LALR parser: its tables built from `opt.lark` once, and kept."""

from __future__ import annotations

import hashlib
import io
import pickle
from functools import cache
from importlib.resources import files

import lark

from dotopt.grammar import cache as cache_files
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
    folder = cache_files.folder()
    path = folder / f"grammar-{key}.lark" if folder is not None else None
    found = cache_files.read(path) if path is not None else None
    if found is not None:
        try:
            return _quick(lark.Lark.load(_Tables(io.BytesIO(found)).load()))
        except Exception:  # damaged, or written by another version: the grammar text is the truth
            pass
    built = build()
    if path is not None:
        stream = io.BytesIO()
        built.save(stream)
        cache_files.write(path, stream.getvalue())  # a read-only home costs the building time, nothing else
    return _quick(built)


class _Tables(pickle.Unpickler):
    """Reads tables, which are plain values and the layout; what names anything else is damaged."""

    def find_class(self, module: str, name: str) -> type[Layout]:
        if (module, name) == (Layout.__module__, Layout.__name__):
            return Layout
        raise pickle.UnpicklingError(f"{module}.{name} is no part of the tables")


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
