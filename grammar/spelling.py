"""The one table of spellings: every symbol of the language beside its ASCII and its LaTeX form.

A name has one identity however it is typed, `canonical(name)`, and one Python identifier, `ascii(name)`; the two
determine each other:

    ascii(canonical(s)) == s            for every ASCII identifier s that may stand in Python (and is not `lambda…`)
    canonical(ascii(n)) == canonical(n) for every name n

so that no two names of a file can meet in generated code. The rules:

- A name is cut at `_`, and at every Greek letter or letter with an accent, into parts.
- A part that is a whole Greek word, or one Latin letter followed by the word of an accent, with digits after it, is
  a symbol: `beta1` is `β1`, `eps` is `ε`, `mhat` is `m̂`, `thetahat2` is `θ̂2`, `beta2_decay` is `β2_decay`. What
  merely begins with such a word stays: `deltas`, `meta`, `pink`, `theta1hat`.
- After a bare Greek letter the underscore before a letter is dropped: `βm`, `β_m`, `βₘ` and `beta_m` are one name.
  Between other parts it is written: `xβ`, `x_β` and `x_beta` are one name.
- Subscript digits are digits (NFKC): `β₁` is `β1`. `ℓ` is not `l`: papers use both.
- A part with other letters (`é`, `中`) is spelled in hexadecimal, a Python keyword gets a final underscore.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that ASCII spells with a word."""

    symbol: str
    ascii: str
    latex: str


@dataclass(frozen=True, slots=True)
class Operator:
    """A symbol and the ASCII form of the same token; `written` says whether `fmt --unicode` chooses the symbol."""

    symbol: str
    ascii: str
    latex: str
    written: bool = True


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A pair of signs and the function that ASCII calls instead."""

    opening: str
    closing: str
    function: str
    arguments: int
    latex: tuple[str, str]


# Capital letters that look Latin (Α, Β, Ε, …) are left out: `Beta` is a word, not a sign.
LETTERS = (
    Letter("α", "alpha", r"\alpha"),
    Letter("β", "beta", r"\beta"),
    Letter("γ", "gamma", r"\gamma"),
    Letter("δ", "delta", r"\delta"),
    Letter("ε", "eps", r"\varepsilon"),
    Letter("ζ", "zeta", r"\zeta"),
    Letter("η", "eta", r"\eta"),
    Letter("θ", "theta", r"\theta"),
    Letter("ι", "iota", r"\iota"),
    Letter("κ", "kappa", r"\kappa"),
    Letter("λ", "lam", r"\lambda"),
    Letter("μ", "mu", r"\mu"),
    Letter("ν", "nu", r"\nu"),
    Letter("ξ", "xi", r"\xi"),
    Letter("π", "pi", r"\pi"),
    Letter("ρ", "rho", r"\rho"),
    Letter("σ", "sigma", r"\sigma"),
    Letter("τ", "tau", r"\tau"),
    Letter("υ", "upsilon", r"\upsilon"),
    Letter("φ", "phi", r"\varphi"),
    Letter("χ", "chi", r"\chi"),
    Letter("ψ", "psi", r"\psi"),
    Letter("ω", "omega", r"\omega"),
    Letter("Γ", "Gamma", r"\Gamma"),
    Letter("Δ", "Delta", r"\Delta"),
    Letter("Θ", "Theta", r"\Theta"),
    Letter("Λ", "Lambda", r"\Lambda"),
    Letter("Ξ", "Xi", r"\Xi"),
    Letter("Π", "Pi", r"\Pi"),
    Letter("Σ", "Sigma", r"\Sigma"),
    Letter("Φ", "Phi", r"\Phi"),
    Letter("Ψ", "Psi", r"\Psi"),
    Letter("Ω", "Omega", r"\Omega"),
    Letter("ℓ", "ell", r"\ell"),
)

# Combining marks; `symbol` follows its letter.
ACCENTS = (
    Letter("\u0302", "hat", r"\hat"),
    Letter("\u0304", "bar", r"\bar"),
    Letter("\u0303", "tilde", r"\tilde"),
    Letter("\u0308", "ddot", r"\ddot"),
    Letter("\u0307", "dot", r"\dot"),
    Letter("\u030c", "check", r"\check"),
    Letter("\u0306", "breve", r"\breve"),
)

OPERATORS = (
    Operator("√", "sqrt", r"\sqrt"),
    Operator("∇", "grad", r"\nabla"),
    Operator("≤", "<=", r"\leq"),
    Operator("≥", ">=", r"\geq"),
    Operator("≠", "!=", r"\neq"),
    Operator("→", "->", r"\to"),
    Operator("∞", "inf", r"\infty"),
    Operator("ᵀ", "^T", r"^{\top}"),
    Operator("½", "0.5", r"\tfrac{1}{2}"),  # not 1/2, which would be another tree in `½/η` or `x*½`
    Operator("∈", "in", r"\in", written=False),  # `in` has other places too, where no sign may stand
    Operator("·", "*", r"\cdot", written=False),
    Operator("⊙", "*", r"\odot", written=False),
    Operator("−", "-", "-", written=False),
    Operator("′", "'", "'", written=False),
)

ENCLOSURES = (
    Enclosure("‖", "‖", "norm", 1, (r"\lVert ", r"\rVert ")),
    Enclosure("⟨", "⟩", "dot", 2, (r"\langle ", r"\rangle ")),
)

SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"

_LETTER = {letter.symbol: letter for letter in LETTERS}
_ACCENT = {accent.symbol: accent for accent in ACCENTS}
_WORD = {letter.ascii: letter.symbol for letter in LETTERS} | {"lambda": "λ"}
_ACCENT_WORD = {accent.ascii: accent.symbol for accent in ACCENTS}

_accents = "|".join(_ACCENT_WORD)
_SPELLED = re.compile(
    rf"(?:(?P<word>{'|'.join(_WORD)})(?P<over>(?:{_accents})*)|(?P<latin>[A-Za-z])(?P<above>(?:{_accents})+))(?P<digits>\d*)"
)
_HEXADECIMAL = re.compile(r"uni((?:[0-9a-f]{2})+)")
_marks = "".join(_ACCENT)
_SYMBOL = re.compile(rf"([{''.join(_LETTER)}][{_marks}]*|[A-Za-z][{_marks}]+)([0-9]*)")
_PIECE = re.compile(rf"{_SYMBOL.pattern}|(?:[A-Za-z](?![{_marks}])|[0-9])+")


@lru_cache(maxsize=4096)
def canonical(name: str) -> str:
    """The identity of a name: equal for all its spellings, with Greek letters, accents and plain digits.

    >>> [canonical(name) for name in ("beta1", "β₁", "β1", "eps", "mhat", "beta_m", "deltas", "meta")]
    ['β1', 'β1', 'β1', 'ε', 'm̂', 'βm', 'deltas', 'meta']
    """
    if name.endswith("_") and keyword.iskeyword(name[:-1]):
        name = name[:-1]
    text, *pieces = _cut(name)
    for piece in pieces:
        text += piece if _is_bare(text) and _is_word(piece) else "_" + piece
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=4096)
def ascii(name: str) -> str:
    """The Python identifier of a name, the same for all its spellings and different for different names.

    >>> [ascii(name) for name in ("β₁", "ε", "λ", "m̂", "s̄", "θ̂2", "βm", "ℓ", "lambda", "class", "δ_w0")]
    ['beta1', 'eps', 'lam', 'mhat', 'sbar', 'thetahat2', 'beta_m', 'ell', 'lam', 'class_', 'delta_w0']
    """
    text = "_".join(map(_spell, _cut(canonical(name))))
    return text + "_" if keyword.iskeyword(text) else text


def unicode(name: str) -> str:
    """The symbols of a name, which is its canonical form.

    >>> unicode("theta"), unicode("weight_decay"), unicode("xtilde")
    ('θ', 'weight_decay', 'x̃')
    """
    return canonical(name)


def latex(name: str) -> str:
    r"""The name in LaTeX's mathematics: letters as symbols, words upright, what follows a symbol as its subscript.

    >>> print(latex("beta1"), latex("mhat"), latex("β_m"), latex("weight_decay"), latex("a0"))
    \beta_{1} \hat{m} \beta_{\mathrm{m}} \mathrm{weight\_decay} a_{0}
    """
    head, *rest = filter(None, _cut(canonical(name)))
    symbol = _SYMBOL.fullmatch(head) or re.fullmatch(r"([A-Za-z])([0-9]*)", head)
    if symbol is None and not any(map(_SYMBOL.fullmatch, rest)):
        return _upright(canonical(name))
    base, digits = symbol.groups() if symbol else (head, "")
    below = [digits] * bool(digits) + [latex(piece) if _SYMBOL.fullmatch(piece) else _upright(piece) for piece in rest]
    return (_accented(base) if symbol else _upright(base)) + (f"_{{{','.join(below)}}}" if below else "")


def width(text: str) -> int:
    """The columns that `text` takes on a terminal: combining marks none, wide characters two.

    >>> width("m̂ + β"), width("中")
    (5, 2)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _decomposed(name: str) -> str:
    """The name with compatibility forms replaced and accents apart, before the digits of their letter."""
    text = "".join(character if character == "ℓ" else _compatible(character) for character in name)
    text = unicodedata.normalize("NFD", text).replace("\u0305", "\u0304")  # overline and macron look the same
    return re.sub(rf"([0-9]+)([{_marks}]+)", r"\2\1", text)


def _compatible(character: str) -> str:
    replaced = unicodedata.normalize("NFKC", character)
    number = unicodedata.category(character) == "No" and character not in "₀₁₂₃₄₅₆₇₈₉"  # ① stays a sign
    return replaced if f"a{replaced}".isidentifier() and not number else character


def _cut(name: str) -> list[str]:
    """The symbols and words of a name; empty ones stand for further underscores."""
    return [piece for part in _decomposed(name).split("_") for piece in _pieces(part) or [""]]


def _pieces(part: str) -> list[str]:
    """The symbols and words of a part between underscores; one piece if it has letters that the table lacks."""
    found = [match.group() for match in _PIECE.finditer(part)]
    if "".join(found) != part:
        return [part]
    return [_read(piece) for piece in found]


def _read(piece: str) -> str:
    """The symbol or the letters that an ASCII piece spells; the piece itself if it spells none."""
    if match := _SPELLED.fullmatch(piece):
        accents = re.findall(_accents, match["over"] or match["above"] or "")
        letter = _WORD[match["word"]] if match["word"] else match["latin"]
        return letter + "".join(_ACCENT_WORD[word] for word in accents) + match["digits"]
    if match := _HEXADECIMAL.fullmatch(piece):
        try:
            text = bytes.fromhex(match[1]).decode()
        except UnicodeDecodeError:
            return piece
        return text if _decomposed(text) == text and _pieces(text) == [text] and _spell(text) == piece else piece
    return piece


def _spell(piece: str) -> str:
    """The ASCII form of one piece."""
    if match := _SYMBOL.fullmatch(piece):
        letter, accents = match[1][0], match[1][1:]
        word = _LETTER[letter].ascii if letter in _LETTER else letter
        return word + "".join(_ACCENT[accent].ascii for accent in accents) + match[2]
    return piece if piece.isascii() else "uni" + piece.encode().hex()


def _is_bare(text: str) -> bool:
    """Whether `text` ends in a Greek letter without accent or digit, which needs no underscore before a word."""
    return text[-1:] in _LETTER


def _is_word(piece: str) -> bool:
    """Whether the piece starts with a letter, all its letters being in the table."""
    return piece[:1].isalpha() and (piece.isascii() or _SYMBOL.fullmatch(piece) is not None)


def _accented(symbol: str) -> str:
    letter, accents = symbol[0], symbol[1:]
    text = _LETTER[letter].latex if letter in _LETTER else letter
    for accent in accents:
        text = f"{_ACCENT[accent].latex}{{{text}}}"
    return text


def _upright(word: str) -> str:
    escaped = word.replace("_", r"\_")
    return rf"\mathrm{{{escaped}}}"
