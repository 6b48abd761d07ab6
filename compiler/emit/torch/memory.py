"""Which lists a line may overwrite: those that it reads last, and that nothing else can be standing in.

A list belongs to a state or the parameter (`kept`, whose next values are to end up there), was made in this block
(`owned`), or is somebody else's: a gradient, a variable of a loop, a value from around the loop. Only the first two are
ever overwritten, and never while another name may stand in the same memory (`pinned`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dotopt.compiler.emit.torch.lists import Code
from dotopt.compiler.ir import Node


class Memory:
    """The lists of one block. `kept` maps the leaf of each storage to its next value, `lists` to its variable."""

    def __init__(self, kept: Mapping[Node, Node], lists: Mapping[Node, str]) -> None:
        self.kept = dict(kept)
        self.owned: set[Node] = set()  # lists made here, which may be overwritten once they have been read
        self.pinned: set[Node] = set()  # lists that may have another name
        self.aliases: dict[Node, frozenset[Node]] = {}  # the lists that a named value may turn out to be
        self.homes = {lists[leaf]: leaf for leaf in kept}  # whose memory the list of a name stands in

    def free(self, reads: Counter[Node], last: Mapping[Node, int], place: int) -> frozenset[Node]:
        """The lists that the line at `place` may overwrite: it reads them once, and nobody does later."""
        return frozenset(
            value
            for value, count in reads.items()
            if count == 1
            and last[value] == place
            and value not in self.pinned
            and (value in self.kept or value in self.owned)
        )

    def storages(self, here: Node) -> set[Node]:
        """The storages whose next value `here` is."""
        return {leaf for leaf, value in self.kept.items() if value is here}

    def home(self, code: Code) -> Node | None:
        """The storage in whose memory the list of `code` stands."""
        return self.homes.get(code.target or "")

    def made(self, here: Node, name: str, code: Code) -> None:
        """Notes what the line that gives `name` to `here` did."""
        self.renamed(here, code.aliases)
        if (home := self.home(code)) is not None:
            self.homes[name] = home
        if code.owned and here not in self.kept.values():
            self.owned.add(here)

    def renamed(self, here: Node, aliases: frozenset[Node]) -> None:
        """Notes that `here` may be one of `aliases`, which keep their memory from now on."""
        self.pinned |= aliases
        self.aliases[here] = aliases

    def reached(self, aliases: Iterable[Node]) -> frozenset[Node]:
        """The named values whose memory one of `aliases` may share."""
        found: set[Node] = set()
        stack = list(aliases)
        while stack:
            here = stack.pop()
            if here not in found:
                found.add(here)
                stack.extend(self.aliases.get(here, ()))
        return frozenset(found)


def in_order(reads: Mapping[Node, frozenset[Node]]) -> tuple[list[Node], list[Node]]:
    """The storages, ordered so that each is read before it is overwritten: `c' = b` before `b' = a`.

    Where that cannot be, as for `a' = b` and `b' = a`, the second list names storages whose next value is to be copied
    before anything is written.
    """
    found: list[Node] = []
    copied: list[Node] = []
    pending = dict(reads)
    while pending:
        free = next((x for x in pending if not any(x in read for y, read in pending.items() if y is not x)), None)
        if free is None:
            copied.append(next(iter(pending)))
            pending[copied[-1]] = frozenset()
            continue
        found.append(free)
        del pending[free]
    return found, copied
