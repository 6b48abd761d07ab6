"""Atoms: what the ring operations do not look into. Each is made once, so that equal ones are the same object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dotopt.compiler.prove.forms.text import render_atom

Monomial = tuple[tuple["Atom", int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """One indeterminate. `kind` and `key` say what it is, `axes` the axes along which it varies."""

    kind: str
    key: tuple[Any, ...]
    axes: frozenset[str]
    number: int

    def __hash__(self) -> int:
        return self.number

    def __repr__(self) -> str:
        return render_atom(self)


ATOMS: dict[tuple[str, tuple[Any, ...], frozenset[str]], Atom] = {}
_NUMBERED: list[Atom] = []


def no_atoms() -> None:
    """Starts anew: numbers, and with them the order of atoms, depend on one claim alone."""
    ATOMS.clear()
    _NUMBERED.clear()


def atom(kind: str, *key: Any, axes: frozenset[str] = frozenset()) -> Atom:
    """The one atom with this kind, key and axes."""
    identity = (kind, key, axes)
    found = ATOMS.get(identity)
    if found is None:
        found = ATOMS[identity] = Atom(kind, key, axes, len(_NUMBERED))
        _NUMBERED.append(found)
    return found


def existing(kind: str, *key: Any, axes: frozenset[str] = frozenset()) -> Atom | None:
    """The atom with this kind, key and axes, if it was ever made."""
    return ATOMS.get((kind, key, axes))


def numbered(number: int) -> Atom:
    """The atom with this number."""
    return _NUMBERED[number]
