"""What users ask of the storage of states and parameters: `state_dtype` and `param_rounding`, in their words.

    resolve("AdamW", states, {"m": "bf16", "exp_avg_sq": "int8"})     {"m": "bf16", "v": "uint8"}
    rounding("stochastic:7", "bf16")                                  "stochastic"

`compiler.storage` has the formats that are meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dotopt.compiler.analysis.signs import nonnegative
from dotopt.compiler.ir import Program
from dotopt.compiler.schedule.storage import FORMATS
from dotopt.compiler.text.errors import Diagnostic, OptError, diagnostic
from dotopt.grammar.spelling import ascii

# the words of users: the format of a state that may be negative, and of one that may not
WORDS: Mapping[str, tuple[str | None, str]] = {
    "fp32": ("fp32", "fp32"),
    "bf16": ("bf16", "bf16"),
    "fp16": ("fp16", "fp16"),
    "int8": ("int8", "uint8"),
    "int8:sqrt": (None, "sqrt8"),
    "int8:log": (None, "log8"),
    "fp8": ("fp8", "fp8"),
}

# how a parameter of 16 bits is rounded: the dtypes that can, and the bytes an entry that this adds
ROUNDINGS: Mapping[str, tuple[tuple[str, ...], int]] = {
    "kahan": (("bf16", "fp16"), 2),
    "low_word": (("bf16",), 2),
    "stochastic": (("bf16",), 0),
}

# where each keeps what it needs, in the state of a parameter
KEPT_BESIDE = {"kahan": "compensation", "low_word": "low_word", "stochastic": "rounding_key"}


class StorageError(OptError, ValueError):
    """What was asked of the storage of states cannot be had; a ValueError, as of other keywords."""

    def __init__(self, found: Diagnostic) -> None:
        super().__init__(found)
        self.args = (f"{self.args[0]}{f'; {found.help}' if found.help else ''}",)


def _refuse(code: str, **words: object) -> StorageError:
    return StorageError(diagnostic(code, None, **words))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Stored:
    """A state as far as its storage goes: its names, why it has no choice (empty if it has), and its sign."""

    name: str
    key: str
    fixed: str = ""
    nonnegative: bool = False


def resolve(rule: str, states: tuple[Stored, ...], given: str | Mapping[str, str] | None) -> dict[str, str]:
    """The formats of states by name, for those that are asked for.

    One word is for every state that has an entry for each of the parameter's; a mapping names states by symbol or by
    key. Raises `StorageError` for an unknown state (E602) or word (E603), and for a state that the format cannot hold
    (E604).

    >>> m, v = Stored("m", "exp_avg"), Stored("v", "exp_avg_sq", nonnegative=True)
    >>> resolve("AdamW", (m, v), {"m": "bf16", "exp_avg_sq": "int8"})
    {'m': 'bf16', 'v': 'uint8'}
    """
    if given is None:
        return {}
    if isinstance(given, str):
        _check(given)
        fitting = (s for s in states if not s.fixed)
        every = {s.name: format for s in fitting if (format := WORDS[given][s.nonnegative]) is not None}
        return _with_room(every, states)
    known = {word: s for s in states for word in (s.key, ascii(s.name), s.name)}
    found: dict[str, str] = {}
    for name, word in given.items():
        if name not in known:
            names = ", ".join(f"`{s.name}`" for s in states if not s.fixed) or "none that has a choice"
            raise _refuse("E602", rule=rule, name=name, names=names)
        _check(word)
        state = known[name]
        if state.fixed:
            raise _refuse("E604", name=state.name, word=word, reason=state.fixed, choices=f"leave `{state.name}` out")
        format = WORDS[word][state.nonnegative]
        if format is None:
            why = "it may be negative, as far as its equation says"
            choices = "it can be " + _list(w for w, (signed, _) in WORDS.items() if signed is not None)
            raise _refuse("E604", name=state.name, word=word, reason=why, choices=choices)
        found[state.name] = format
    return _with_room(found, states)


def _with_room(formats: dict[str, str], states: tuple[Stored, ...]) -> dict[str, str]:
    """`formats`, whose scales are kept beside the states; raises `StorageError` if a state has the key of a scale."""
    keys = {s.key for s in states}
    for s in states:
        if f"{s.key}_scale" in keys and s.name in formats and FORMATS[formats[s.name]].blocks:
            why = f"its scales are kept under `{s.key}_scale`, which is the key of another state"
            choices = f"give one of the two another key: `state {s.name} as other : …`"
            raise _refuse("E604", name=s.name, word=formats[s.name], reason=why, choices=choices)
    return formats


def _check(word: object) -> None:
    if word not in WORDS:
        raise _refuse("E603", word=word, choices=_list(WORDS))


def _list(words: object) -> str:
    return ", ".join(f'"{word}"' for word in words)  # type: ignore[attr-defined]


def rounding(given: str | None, dtype: str) -> str | None:
    """How a parameter of `dtype` is rounded; None for what needs no rounding. `stochastic:7` has the seed 7.

    Raises `StorageError` for an unknown word, and for a dtype of 16 bits that cannot (E605).

    >>> rounding("kahan", "bf16"), rounding("kahan", "fp32")
    ('kahan', None)
    """
    if given is None:
        return None
    word, _, seed = given.partition(":") if isinstance(given, str) else (given, "", "")
    if word not in ROUNDINGS or (seed and (word != "stochastic" or not seed.isdigit())):
        raise _refuse("E605", word=given, choices=f'write one of {_list(ROUNDINGS)}, or "stochastic:SEED"')
    if dtype not in ("bf16", "fp16"):
        return None
    if dtype not in ROUNDINGS[word][0]:
        raise _refuse("E605", word=f"{word} of {dtype}", choices="for fp16 there is `kahan`")
    return word


def formats(program: Program, given: str | Mapping[str, str] | None) -> dict[str, str]:
    """The formats of the states of `program` for a choice of `state_dtype`; raises `StorageError` as `resolve` does."""
    if given is None:
        return {}
    signs = nonnegative(program)
    states = []
    for state in program.states:
        whole = not state.shared and state.type.axes == program.params[0].type.axes
        fixed = "" if whole else "it has another shape than the parameter" if state.type.axes else "it is one number"
        states.append(Stored(state.name, state.key, fixed, state.name in signs))
    return resolve(program.name, tuple(states), given)
