"""What the standard library holds: name, family, sentence and source of every file, without parsing any."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dotopt.grammar.files import catalogue, library_root

_HEAD = re.compile(r"^(rule|formula|transform|theorem)[ \t]+(\w+)", re.MULTILINE)
_DOCSTRING = re.compile(r'\A\s*"""(.*?)"""', re.DOTALL)
# which backends run each rule of the library: `python docs/generate.py` writes it, since finding out takes seconds
BACKENDS = library_root() / "backends.json"
_SOURCE = re.compile(r'^source[ \t]+"([^"]*)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the library; `word` is rule, formula, transform or theorem, `sentence` its docstring.

    `backends` are those that run it, as the library's table says (`BACKENDS`); none for what is no rule.
    """

    name: str
    word: str
    family: str
    path: Path
    sentence: str
    source: str
    backends: tuple[str, ...] = ()

    @property
    def becomes(self) -> str:
        """What Python gets of it: a theorem has claims only."""
        return BECOMES[self.word]

    @property
    def link(self) -> str:
        """The address of the source; empty if it has none.

        >>> Entry("A", "rule", "optimizers", Path("a.opt"), "", "arXiv:2302.06675").link
        'https://arxiv.org/abs/2302.06675'
        """
        if self.source.lower().startswith("arxiv:"):
            return "https://arxiv.org/abs/" + self.source[len("arxiv:") :]
        return self.source if self.source.startswith("http") else ""


@cache
def entries() -> tuple[Entry, ...]:
    """Every file of the library, by family and name."""
    found = [entry for path in catalogue().values() if (entry := _read(path)) is not None]
    return tuple(sorted(found, key=lambda entry: (_order(entry.family), entry.name.lower())))


def names() -> list[str]:
    """The names of the catalogue; those that are no theorems are attributes of `dotopt.stdlib`.

    >>> "Lion" in names()
    True
    """
    return [entry.name for entry in entries()]


def _read(path: Path) -> Entry | None:
    text = path.read_text(encoding="utf-8")
    docstring = _DOCSTRING.match(text)
    head = _HEAD.search(text, docstring.end() if docstring else 0)
    if head is None:
        return None
    source = _SOURCE.search(text, head.end())
    sentence = " ".join(docstring.group(1).split()) if docstring else ""
    family = path.relative_to(library_root()).parts[0]
    cited = source.group(1) if source else ""
    name = head.group(2)
    return Entry(name, head.group(1), family, path, sentence, cited, tuple(_backends().get(name, ())))


@cache
def _backends() -> dict[str, list[str]]:
    """The table of backends, by the name of the rule."""
    found: dict[str, list[str]] = json.loads(BACKENDS.read_text(encoding="utf-8"))
    return found


# What can be had of a file in Python, by the word of its head.
BECOMES = {
    "rule": "class",
    "transform": "transform of classes",
    "formula": "formula for rules",
    "theorem": "none: `dotopt check`",
}
FAMILIES = (
    "optimizers",
    "transforms",
    "nested",
    "sequence",
    "federated",
    "objectives",
    "dynamics",
    "functions",
    "theorems",
)


def _order(family: str) -> int:
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)
