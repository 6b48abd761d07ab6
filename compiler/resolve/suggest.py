"""Which known name was probably meant, and which two characters were mixed up."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

from dotopt.grammar.spelling import ascii, canonical

MOST_NAMES = 1000  # beyond that a comparison with each takes too long

# Characters that look like a Latin letter or digit, or like each other, in most fonts.
LOOK_ALIKE = str.maketrans(
    {
        "ν": "v", "υ": "u", "μ": "u", "µ": "u", "ο": "o", "ρ": "p", "κ": "k", "χ": "x", "α": "a", "γ": "y", "ω": "w",
        "η": "n", "ι": "i", "τ": "t", "ϵ": "ε", "ϑ": "θ", "ϕ": "φ", "ß": "β", "ℓ": "l", "ɡ": "g", "ı": "i",
        "Α": "A", "Β": "B", "Ε": "E", "Ζ": "Z", "Η": "H", "Ι": "I", "Κ": "K", "Μ": "M", "Ν": "N", "Ο": "O", "Ρ": "P",
        "Τ": "T", "Υ": "Y", "Χ": "X",
        "а": "a", "в": "b", "е": "e", "к": "k", "м": "m", "о": "o", "р": "p", "с": "c", "т": "t", "у": "y", "х": "x",
        "ѕ": "s", "і": "i", "ј": "j", "А": "A", "В": "B", "Е": "E", "К": "K", "М": "M", "Н": "H", "О": "O", "Р": "P",
        "С": "C", "Т": "T", "Х": "X", "З": "3",
    }
)  # fmt: skip

# What other languages call it.
ELSEWHERE = {
    "absolute": "abs", "sgn": "sign", "average": "mean", "sqr": "sqrt", "len": "size", "numel": "size",
    "shape": "size", "ndim": "rank", "clamp": "clip", "matmul": "dot", "inv": "inverse", "diag": "diagonal",
    "maximum": "max", "minimum": "min", "conjugate": "conj", "detach": "stop", "stop_gradient": "stop", "tr": "trace",
    "normalize": "unit", "svd": "svdvals", "eigh": "eigenvectors", "expectation": "expect", "ln": "log",
}  # fmt: skip


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `name` was probably meant to be, or `None`.

    >>> closest("beta3", ["β2", "momentum"])
    >>> closest("momentun", ["β2", "momentum"])
    'momentum'
    >>> closest("ν", ["v", "m"]), closest("bta", ["v", "β"])
    ('v', 'β')
    """
    known = [candidate for candidate in dict.fromkeys(candidates) if candidate != name]
    for form in (_skeleton, _loose):
        wanted = form(name)
        for candidate in known:
            if wanted and form(candidate) == wanted:
                return candidate
    if ELSEWHERE.get(name) in known:
        return ELSEWHERE[name]
    if len(name) < 3 or len(known) > MOST_NAMES:
        return None
    letters = _letters(name)  # `β3` is not a misspelt `β2`
    spelled = {ascii(other): other for other in reversed(known) if len(ascii(other)) > 2 and _letters(other) != letters}
    found = get_close_matches(ascii(name), list(spelled), 1, 0.7)
    return spelled[found[0]] if found else None


def look_alikes(name: str, other: str) -> str | None:
    """A sentence that names the two characters that look alike, if that is how the names differ.

    >>> look_alikes("ν", "v")
    '`ν` is GREEK SMALL LETTER NU, `v` is LATIN SMALL LETTER V'
    """
    if len(name) != len(other) or _skeleton(name) != _skeleton(other):
        return None
    for left, right in zip(name, other, strict=True):
        if left != right:
            return f"`{left}` is {unicodedata.name(left, '?')}, `{right}` is {unicodedata.name(right, '?')}"
    return None


def _letters(name: str) -> str:
    return "".join(character for character in ascii(name) if character.isalpha())


def _skeleton(name: str) -> str:
    return name.translate(LOOK_ALIKE)


def _loose(name: str) -> str:
    return canonical(name.lower()).replace("_", "")
