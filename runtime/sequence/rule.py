"""What a compiled rule over sequences knows of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dotopt.runtime.given import Given
from dotopt.runtime.rule import Hyper, Option


@dataclass(frozen=True)
class Input:
    """What is given at every token: `axes` without the leading ones; `keyword` is the name of the argument.

    `low` and `high` are the ends of the range that the file states, None where there is none. One with a `start` (as of
    a memory) is a weight: the module holds it as a parameter, the same for all tokens.
    """

    name: str
    keyword: str
    axes: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    start: float | str | Callable[..., Any] | None = None


@dataclass(frozen=True)
class Memory:
    """What is kept between tokens. start: a number, `eye`, or a function `draw(shape, sizes, generator, like)`."""

    name: str
    axes: tuple[str, ...] = ()
    start: float | str | Callable[..., Any] = 0.0


@dataclass(frozen=True)
class Functions:
    """The compiled functions of one choice of options.

    `token` advances one token; `stretch`, if the recurrence has a parallel form, any number of them. `periods` are the
    hyperparameters, or numbers, at whose multiples a stretch must end.
    """

    token: Callable[..., Any]
    stretch: Callable[..., Any] | None
    memories: tuple[Memory, ...]
    periods: tuple[str | int, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)  # state -> kind of its recurrence, and why
    masked: bool = True  # whether `stretch` can leave out tokens
    local: bool = False  # whether what it does for a token costs the same however many came before


@dataclass(frozen=True)
class SequenceRule:
    """A rule over sequences: signature, inputs, outputs, and the functions for each choice of options."""

    name: str
    doc: str
    source: str
    text: str
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    hypers: tuple[Hyper, ...]
    options: tuple[Option, ...]
    functions: Mapping[tuple[bool | str, ...], Functions]
    given: tuple[Given, ...] = ()  # functions that the user passes
