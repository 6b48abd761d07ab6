"""The names of emitted code, each given once, whoever wishes for it: the user, a formula, or the emitter itself.

    names = Names(PYTHON, ("torch", "state", "t"))      what stands in the text before anything is named
    names.of(leaf)          the variable of a leaf of the program, the same at every call
    names.new("m'")         a new variable, called after a label of the file: `m_next`, or `m_next_2`

Every variable of an emitted function, arguments included, comes from one allocator. So no value can overwrite another
one whose name it happens to share, and nothing that the text calls (keywords, built-in functions, imports) is hidden.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Hashable, Iterable

from dotopt.grammar import spelling

PYTHON = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins)))


class Names:
    """Identifiers of one function, each given once.

    `standing` are collections of words that are in the text already, or have a meaning in its language.

    >>> names = Names(PYTHON, ["torch"])
    >>> [names.new(label) for label in ("β1", "m'", "m'", "m_next", "sum", "torch", "m_next_2")]
    ['beta1', 'm_next', 'm_next_2', 'm_next_3', 'sum_2', 'torch_2', 'm_next_2_2']
    """

    def __init__(self, *standing: Iterable[str]) -> None:
        self.taken = set[str]().union(*standing)
        self.given: dict[Hashable, str] = {}

    def new(self, label: str) -> str:
        """An identifier that nothing has yet, like `label`; a prime becomes `_next`."""
        wanted = found = spelled(label)
        count = 1
        while found in self.taken:
            count += 1
            found = f"{wanted}_{count}"
        self.taken.add(found)
        return found

    def of(self, key: Hashable, label: str) -> str:
        """The identifier of `key`: one like `label` at the first call, the same one ever after."""
        if key not in self.given:
            self.given[key] = self.new(label)
        return self.given[key]

    def fix(self, key: Hashable, name: str) -> None:
        """`key` is called `name`, a word that the text has for it."""
        self.given[key] = name
        self.taken.add(name)

    def inside(self) -> Names:
        """The names of a function or loop inside this one: it sees all of these, and its own end with it."""
        inner = Names(self.taken)
        inner.given = dict(self.given)
        return inner


def spelled(label: str) -> str:
    """The identifier that `label` would have if nothing else stood there.

    >>> spelled("θ̂'"), spelled("1st row"), spelled("")
    ('thetahat_next', 'value_1st_row', 'value')
    """
    plain = label.rstrip("'")
    word = spelling.ascii(plain) if plain.isidentifier() else re.sub(r"\W+", "_", plain, flags=re.ASCII).strip("_")
    if not word.isidentifier():
        word = f"value_{word}" if word else "value"
    return word + "_next" * label.endswith("'")
