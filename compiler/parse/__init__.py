"""Text to tree: the Lark tree becomes the frozen nodes of `syntax`, or a diagnostic."""

from __future__ import annotations

import gc
import unicodedata

import lark

from dotopt.compiler.parse.declarations import Declarations
from dotopt.compiler.parse.expressions import Expressions
from dotopt.compiler.parse.mistakes import explain
from dotopt.compiler.parse.statements import Statements
from dotopt.compiler.text import syntax as s
from dotopt.compiler.text.errors import Edit, fail
from dotopt.compiler.text.source import UNSEEN, Source, Span
from dotopt.grammar import tables

DEEPEST = 100  # nested brackets or blocks; also keeps every recursive pass far from Python's limit
WIDEST = 4000  # characters of a line
LONGEST = 200  # levels of the tree, brackets or not: `a + b + c + …` is one level a term


def parse(source: Source) -> s.File:
    """The tree of `source`; raises `OptError` with one diagnostic where the text is not a sentence of the language.

    >>> parse(Source("a.opt", "theorem A\\nclaim one:\\n  show 1 == 1\\n")).head.name
    'A'
    """
    if "\0" in source.text:
        where = source.text.index("\0")
        raise fail("E906", Span(source, where, where + 1))
    _check_characters(source)
    _check_depth(source)
    try:
        # Cyclic garbage is not made here, and collecting in the middle doubles the time.
        enabled = gc.isenabled()
        gc.disable()
        tree = tables.parser().parse(source.text + "\n")
    except (lark.UnexpectedInput, lark.indenter.DedentError) as error:
        raise explain(source, error) from None
    finally:
        if enabled:
            gc.enable()
    _check_height(source, tree)
    file: s.File = Tree(source).build(tree)
    return file


class Tree(Declarations, Statements, Expressions):
    """One method for each production of the grammar."""


def _check_characters(source: Source) -> None:
    found = UNSEEN.search(source.text)
    if found is not None:
        span = Span(source, found.start(), found.end())
        name = unicodedata.name(found.group(), "a control character").lower()
        raise fail("E139", span, point=f"{ord(found.group()):04X}", name=name, edit=Edit(span, ""))


def _check_depth(source: Source) -> None:
    """Refuse endless lines and deep nesting of brackets before the parser builds them."""
    for number, start in enumerate(source.line_starts, 1):
        if source.text.find("\n", start, start + WIDEST + 1) < 0 and len(source.line(number)) > WIDEST:
            raise fail("E138", Span(source, start, start + 1), limit=WIDEST)
    depth = 0
    quoted = False
    for offset, character in enumerate(source.text):
        if character == "\n":
            quoted = False
        elif quoted:
            continue
        elif character == "#":
            quoted = True
        elif character in "([{":
            depth += 1
            if depth > DEEPEST:
                raise fail("E113", Span(source, offset, offset + 1), limit=DEEPEST)
        elif character in ")]}":
            depth = max(depth - 1, 0)


def _check_height(source: Source, tree: lark.Tree[lark.Token]) -> None:
    level = [tree]
    for _ in range(LONGEST):
        level = [child for node in level for child in node.children if isinstance(child, lark.Tree)]
        if not level:
            return
    start = next((node.meta.start_pos for node in level if not node.meta.empty), 0)
    raise fail("E113", Span(source, start, start + 1), limit=LONGEST)
