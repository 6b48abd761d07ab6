"""Functions that a rule asks its user for: modules or callables, one or a family of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Given:
    """A function that the user passes; `family`: a sequence of them, one for each layer."""

    name: str
    family: bool = False


class Asking(nn.Module):
    """A module that holds what its user passed for the functions of its rule."""

    def hold(self, rule: str, asked: Sequence[Given], functions: Sequence[Any], given: dict[str, Any]) -> None:
        """Takes the functions from `functions`, in the order of the file, and by name from `given`, which loses them.

        Modules are registered under their names. Raises TypeError for what is missing, too much, or no function.
        """
        names = [f.name for f in asked]
        if len(functions) > len(names):
            takes = f"the functions {', '.join(names)}" if names else "keywords only"
            raise TypeError(f"{rule} takes {takes}, and {len(functions)} more were given by position")
        passed = dict(zip(names, functions, strict=False)) | {n: given.pop(n) for n in names if n in given}
        self.asked = tuple(asked)
        self.plain: dict[str, Any] = {}  # functions without parameters of their own
        for function in asked:
            if function.name not in passed:
                what = "a module for each layer" if function.family else "a module or another callable"
                raise TypeError(f"{rule} needs `{function.name}`: {what}")
            held = _checked(rule, function, passed[function.name])
            if isinstance(held, nn.Module):
                self.add_module(function.name, held)
            else:
                self.plain[function.name] = held

    def answers(self) -> list[Any]:
        """The functions in the order of the file; modules are looked up, since they may have been replaced."""
        return [self.plain[f.name] if f.name in self.plain else getattr(self, f.name) for f in self.asked]


def _checked(rule: str, function: Given, passed: Any) -> Any:
    if not function.family:
        if not callable(passed):
            raise TypeError(f"{rule}: `{function.name}` is {type(passed).__name__}, which cannot be called")
        return passed
    if not isinstance(passed, Iterable):
        raise TypeError(f"{rule}: `{function.name}` is {type(passed).__name__}; pass a sequence, one for each layer")
    members = list(passed)
    return nn.ModuleList(members) if all(isinstance(m, nn.Module) for m in members) else members
