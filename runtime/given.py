"""Functions that a rule asks its user for: modules or callables, one or a family of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

OWN = ("hyper", "options", "block", "functions", "calls")  # attributes that a module gets later


@dataclass(frozen=True)
class Given:
    """A function that the user passes; `family`: a sequence of them, one for each layer."""

    name: str
    family: bool = False


class Asking(nn.Module):
    """A module of a compiled rule, which holds what its user passed for the functions of the rule.

    `compiled` names the attribute, and the table of the rule, with the functions for the chosen options. Copies and
    pickles leave them out and find them again by the origin of the class.
    """

    compiled: ClassVar[str]
    origin: ClassVar[tuple[str, Any, str] | None] = None
    rule: ClassVar[Any]
    options: tuple[bool | str, ...]

    def __reduce__(self) -> str | tuple[Any, ...]:
        if self.origin is None:
            return super().__reduce__()
        from dotopt.runtime.loading.load import unpickled

        return unpickled, (*self.origin, {n: v for n, v in self.__dict__.items() if n != self.compiled})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        setattr(self, self.compiled, getattr(self.rule, self.compiled)[self.options])

    def hold(self, rule: str, asked: Sequence[Given], functions: Sequence[Any], given: dict[str, Any]) -> None:
        """Takes the functions from `functions`, in the order of the file, and by name from `given`, which loses them.

        Modules are registered under their names, if nothing else stands there. Raises TypeError for what is missing,
        too much, or no function.
        """
        names = [f.name for f in asked]
        if len(functions) > len(names):
            takes = f"the functions {', '.join(names)}" if names else "keywords only"
            raise TypeError(f"{rule} takes {takes}, and {len(functions)} more were given by position")
        passed = dict(zip(names, functions, strict=False)) | {n: given.pop(n) for n in names if n in given}
        self.asked = tuple(asked)
        self.keys: dict[str, str] = {}  # under what name each module is registered
        self.plain: dict[str, Any] = {}  # functions without parameters of their own
        for function in asked:
            if function.name not in passed:
                what = "a module for each layer" if function.family else "a module or another callable"
                raise TypeError(f"{rule} needs `{function.name}`: {what}")
            held = _checked(rule, function, passed[function.name])
            if isinstance(held, nn.Module):
                key = self.keys[function.name] = self._free(function.name)
                self.add_module(key, held)
            else:
                self.plain[function.name] = held

    def answers(self) -> list[Any]:
        """The functions in the order of the file; modules are looked up, since they may have been replaced."""
        return [self.plain[f.name] if f.name in self.plain else getattr(self, self.keys[f.name]) for f in self.asked]

    def _free(self, name: str) -> str:
        """The name, or with underscores behind it where a module has something else there (`step`, `float`)."""
        while name in OWN or hasattr(self, name):
            name += "_"
        return name


def _checked(rule: str, function: Given, passed: Any) -> Any:
    if not function.family:
        if not callable(passed):
            raise TypeError(f"{rule}: `{function.name}` is {type(passed).__name__}, which cannot be called")
        return passed
    if not isinstance(passed, Iterable):
        raise TypeError(f"{rule}: `{function.name}` is {type(passed).__name__}; pass a sequence, one for each layer")
    members = list(passed)
    return nn.ModuleList(members) if all(isinstance(m, nn.Module) for m in members) else members
