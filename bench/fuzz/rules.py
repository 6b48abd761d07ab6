"""Optimizers as lists of statements, which can be made smaller."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.fuzz.terms import Term

# what stands for a value that is gone, by its kind
REPLACEMENTS = {"entry": "g", "key": "k", "value": "v", "matrix": "w"}


@dataclass(frozen=True)
class Statement:
    """Some lines; `defines` are the names that they give, with their kinds."""

    form: str
    terms: tuple[Term, ...] = ()
    defines: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """As it stands in a file."""
        return self.form.format(*(term.text for term in self.terms))

    def smaller(self) -> Iterator[Statement]:
        """The same with smaller terms."""
        for place, term in enumerate(self.terms):
            for less in term.smaller():
                yield replace(self, terms=(*self.terms[:place], less, *self.terms[place + 1 :]))


@dataclass(frozen=True)
class Rule:
    """A rule called Drawn; `files` stand beside it, by name; `around` is a composition that is run in its place."""

    head: str
    statements: tuple[Statement, ...]
    last: Statement  # what comes out of it all
    files: tuple[tuple[str, str], ...] = ()
    around: str = ""

    @property
    def text(self) -> str:
        """The file; inputs and formulas that nothing reads are left out."""
        body = "".join(f"{statement.text}\n" for statement in (*self.statements, self.last))
        words = set(re.findall(r"\w+", body))
        lines = [line for line in self.head.splitlines() if _read(line, words)]
        return "\n".join([*lines, body])

    @property
    def size(self) -> int:
        """How much there is."""
        return len(self.text) + sum(len(text) for _, text in self.files) + len(self.around)

    def smaller(self) -> Iterator[Rule]:
        """Rules that say less, the boldest changes first."""
        if self.around:
            yield replace(self, around="")
        if self.files and f"{self.files[0][0]}(" not in self.text:
            yield replace(self, files=())
        plain = re.sub(r"param x : real\[[^]]*\]", "param x : real[...]", self.head)
        if plain != self.head:
            yield replace(self, head=plain)
        for statement in self.statements:
            yield self._without(statement)
        for term in self.last.smaller():
            yield replace(self, last=term)
        for place, statement in enumerate(self.statements):
            for less in statement.smaller():
                yield replace(self, statements=(*self.statements[:place], less, *self.statements[place + 1 :]))

    def _without(self, gone: Statement) -> Rule:
        rest = [statement for statement in self.statements if statement is not gone]
        last = self.last
        for name, kind in gone.defines:
            for form in (name, f"{name}'"):
                new = REPLACEMENTS.get(kind, "0.5")
                rest = [replace(s, terms=tuple(term.replaced(form, new) for term in s.terms)) for s in rest]
                last = replace(last, terms=tuple(term.replaced(form, new) for term in last.terms))
        return replace(self, statements=tuple(rest), last=last)


def _read(line: str, words: set[str]) -> bool:
    """Whether a line of a head is needed: inputs and formulas are if something reads them."""
    first, _, rest = line.partition(" ")
    return first not in ("input", "use") or any(word in words for word in re.findall(r"\w+", rest)[:1])


def titled(text: str) -> str:
    """The name of the head of a file."""
    found = re.match(r"\w+ (\w+)", text)
    assert found is not None
    return found[1]
