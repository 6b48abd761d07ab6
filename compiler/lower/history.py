"""`m[t] = … m[t-1]` is another way to write `m' = … m`: the one form becomes the other before anything else."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from dotopt.compiler import syntax as s
from dotopt.compiler.errors import fail


def without_history(file: s.File) -> s.File:
    """The file with times in brackets replaced by primes; raises E207 if left sides differ in their offset.

    Theorems keep them: there sequences are defined by recurrences.
    """
    if file.head.word == "theorem":
        return file
    kept = {d.name for d in file.statements if isinstance(d, s.Declaration) and d.word in ("param", "state")}
    offsets: dict[int, s.Expression] = {}
    for statement in file.statements:
        if isinstance(statement, s.Definition):
            for target in statement.targets:
                offset = _offset(target, kept)
                if offset is not None:
                    offsets.setdefault(offset, target)
    if not offsets:
        return file
    if len(offsets) > 1:
        raise fail("E207", list(offsets.values())[1].span)
    (now,) = offsets
    changed: s.File = _replaced(file, now, kept)
    return changed


def _offset(expression: Any, names: set[str]) -> int | None:
    """k of `x[t + k]`, if that is what it is."""
    match expression:
        case s.Index(_, s.Name(_, name, False), (time,)) if name in names:
            match time:
                case s.Name(_, "t"):
                    return 0
                case s.Binary(_, "+", s.Name(_, "t"), s.Number(_, value)):
                    return int(value)
                case s.Binary(_, "-", s.Name(_, "t"), s.Number(_, value)):
                    return -int(value)
    return None


def _replaced(value: Any, now: int, names: set[str]) -> Any:
    offset = _offset(value, names)
    if offset is not None:
        name = value.base.name
        if offset == now:
            return s.Name(value.span, name, primed=True)
        if offset == now - 1:
            return s.Name(value.span, name)
        raise fail("E210", value.span, name=name)
    if isinstance(value, tuple):
        return tuple(_replaced(item, now, names) for item in value)
    if isinstance(value, s.Syntax):
        changes = {}
        for entry in fields(value):
            old = getattr(value, entry.name)
            if isinstance(old, s.Syntax | tuple):
                new = _replaced(old, now, names)
                if new is not old and new != old:
                    changes[entry.name] = new
        return replace(value, **changes) if changes else value
    return value


