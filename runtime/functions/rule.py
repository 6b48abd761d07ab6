"""What a compiled rule that is a pair of pure functions knows of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dotopt.runtime.rule import Hyper, Option
from dotopt.runtime.sequence.rule import Input

Pair = tuple[Callable[..., Any], Any]  # init, and step; of a protocol init, and (chosen, party)


@dataclass(frozen=True)
class Asked:
    """An objective, operator or function of the user: its arguments, its samples, and the set of a family."""

    word: str
    name: str
    keyword: str
    arguments: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    family: str = ""


@dataclass(frozen=True)
class Sampled:
    """A draw that the user hands over; `at`: it is played by the parameters at a point of the rule."""

    name: str
    keyword: str
    at: bool = False


@dataclass(frozen=True)
class Role:
    """The role of many parties in a protocol: their set, and the states that each keeps."""

    set: str
    states: tuple[str, ...]


@dataclass(frozen=True)
class FunctionRule:
    """A rule as pure functions: `init` and `step` for each choice of options, and what they ask for.

    `params` and `inputs` are what the functions take first; `asked` are the user's functions after them.
    """

    name: str
    kind: str
    doc: str
    source: str
    text: str
    params: tuple[Input, ...]
    inputs: tuple[Input, ...]
    outputs: Mapping[str, tuple[str, ...]]  # name -> axes
    asked: tuple[Asked, ...]
    samples: tuple[Sampled, ...]
    hypers: tuple[Hyper, ...]
    options: tuple[Option, ...]
    functions: Mapping[tuple[bool | str, ...], Pair]
    families: Mapping[str, str]  # input that is a family -> its set
    role: Role | None = None  # of a protocol, whose second function is a generator that every party runs

    def held(self, functions: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
        """The functions of a user by keyword, from those by position and those in `given`, which loses them.

        Raises TypeError for more by position than the rule asks for, and for one that is given twice.
        """
        keywords = [asked.keyword for asked in self.asked]
        if len(functions) > len(keywords):
            takes = f"the functions {', '.join(keywords)}" if keywords else "no functions"
            raise TypeError(f"{self.name} takes {takes}, and {len(functions)} were given by position")
        found = dict(zip(keywords, functions, strict=False))
        for keyword in keywords:
            if keyword in given:
                if keyword in found:
                    raise TypeError(f"{self.name}: `{keyword}` is given twice")
                found[keyword] = given.pop(keyword)
        return found
