"""Syntax colours for `.opt` text, generated from the grammar's keywords and the spelling table.

`OptLexer` is the Pygments lexer (made when first asked for, so that Pygments stays optional), `textmate()` the
grammar that VS Code, Sublime Text and GitHub read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from dotopt.grammar import spelling, tables

if TYPE_CHECKING:
    from pygments.lexer import RegexLexer

# Productions whose first word opens a line, and those whose words are of another kind than `keyword.control`.
_OPENING = {"head", "simple", "clause_simple", "when", "iterate", "role", "claim", "where"}
_KINDS = {
    "type": ("Keyword.Type", "storage.type.opt"),
    "scalar": ("Keyword.Type", "storage.type.opt"),
    "atom": ("Keyword.Constant", "constant.language.opt"),
    "disjunction": ("Operator.Word", "keyword.operator.word.opt"),
    "conjunction": ("Operator.Word", "keyword.operator.word.opt"),
    "negation": ("Operator.Word", "keyword.operator.word.opt"),
    "relation": ("Operator.Word", "keyword.operator.word.opt"),
    "_sqrt": ("Operator", "keyword.operator.opt"),
    "_nabla": ("Operator", "keyword.operator.opt"),
}
_OPENS = ("Keyword.Declaration", "keyword.declaration.opt")
_OTHER = ("Keyword", "keyword.control.opt")


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern, the Pygments token it makes and the TextMate scope it gets."""

    pattern: str
    token: str
    scope: str


@cache
def keywords() -> dict[str, frozenset[tuple[str, str]]]:
    """The words of the grammar and what each is, by place: openers of lines, types, constants, operators, others.

    >>> sorted(keywords()["show"]), sorted(keywords()["real"])
    ([('Keyword.Declaration', 'keyword.declaration.opt')], [('Keyword.Type', 'storage.type.opt')])
    """
    parser = tables.parser()
    words = {t.name: t.pattern.value for t in parser.terminals if t.pattern.type == "str" and t.pattern.value.isalpha()}
    found: dict[str, set[tuple[str, str]]] = {word: set() for word in words.values()}
    for rule in parser.rules:
        for position, symbol in enumerate(rule.expansion):
            if symbol.name in words:
                opens = position == 0 and rule.origin.name in _OPENING
                found[words[symbol.name]].add(_OPENS if opens else _KINDS.get(rule.origin.name, _OTHER))
    return {word: frozenset(kinds) for word, kinds in found.items()}


@cache
def rules() -> tuple[Rule, ...]:
    """The patterns in the order in which they are tried."""
    patterns = {t.name: t.pattern.value for t in tables.parser().terminals}
    name = patterns["NAME"]
    # In house style a keyword stands apart from `(` and `=`, an argument or a function of that name does not.
    after = r"(?![\w\u0300-\u036f'=(\[])"
    by_kind: dict[tuple[str, str], list[str]] = {}
    for word, kinds in keywords().items():
        for kind in kinds:
            by_kind.setdefault(kind, []).append(word)
    openers = "|".join(sorted(by_kind.pop(_OPENS)))
    # `sqrt(x)` and `real[n]` do touch their bracket.
    within = [
        Rule(rf"\b(?:{'|'.join(sorted(words))})" + (after if kind == _OTHER else r"\b"), *kind)
        for kind, words in sorted(by_kind.items())
    ]
    signs = {"+", "-", "/", "@", "^", "^*", "=", "==", "<", ">", "~", "..", "...", "|"}
    signs |= {sign for pair in spelling.ENCLOSURES for sign in (pair.opening, pair.closing)}
    for operator in spelling.OPERATORS:
        signs |= {operator.symbol} - {"½", "∞"} | ({operator.ascii} if not operator.ascii[-1].isalnum() else set())
    operators = "|".join(re.escape(sign) for sign in sorted(signs, key=lambda sign: (-len(sign), sign)))
    return (
        Rule(r"#[^\n]*", "Comment.Single", "comment.line.number-sign.opt"),
        Rule(r'"""(?:.|\n)*?"""', "String.Doc", "string.quoted.docstring.opt"),
        Rule(r'"[^"\n]*"', "String", "string.quoted.double.opt"),
        Rule(rf"^[ \t]*(?:{openers}){after}(?![ \t]*[=,])", *_OPENS),
        *within,
        Rule(patterns["NUMBER"] + "|[½∞]", "Number", "constant.numeric.opt"),
        Rule(rf"[{spelling.SUPERSCRIPTS}]+", "Number", "constant.numeric.opt"),
        Rule(rf"{name}(?=\()", "Name.Function", "entity.name.function.opt"),
        Rule(name, "Name", "variable.other.opt"),
        Rule(rf"_{name}", "Name", "variable.other.opt"),
        Rule(rf"\^T\b|{operators}", "Operator", "keyword.operator.opt"),
        Rule(r"[()\[\]{},;:.]", "Punctuation", "punctuation.opt"),
    )


def textmate() -> dict[str, Any]:
    """The TextMate grammar, ready for `json.dump`.

    >>> textmate()["scopeName"]
    'source.opt'
    """
    docstring = {"name": "string.quoted.docstring.opt", "begin": '"""', "end": '"""'}  # patterns see one line at a time
    patterns = [{"name": rule.scope, "match": rule.pattern} for rule in rules() if rule.token != "String.Doc"]
    return {"name": "dotopt", "scopeName": "source.opt", "fileTypes": ["opt"], "patterns": [docstring, *patterns]}


@cache
def lexer_class() -> type[RegexLexer]:
    """The Pygments lexer class; raises `ImportError` where Pygments is not installed."""
    from pygments.lexer import RegexLexer
    from pygments.token import Whitespace, string_to_tokentype

    root: list[tuple[str, Any]] = [(rule.pattern, string_to_tokentype(rule.token)) for rule in rules()]
    attributes = {
        "__doc__": "Lexer for `.opt` files: optimizers and other update rules as equations.",
        "__module__": __name__,
        "name": "dotopt",
        "aliases": ["opt", "dotopt"],
        "filenames": ["*.opt"],
        "flags": re.MULTILINE,
        "tokens": {"root": [*root, (r"\n|[ \t\r\f]+", Whitespace)]},
    }
    return type("OptLexer", (RegexLexer,), attributes)


def __getattr__(name: str) -> Any:
    if name == "OptLexer":
        return lexer_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
