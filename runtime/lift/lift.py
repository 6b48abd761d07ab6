"""`lift`: a class of torch as a file, and what is known of the two."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch

from dotopt.compiler.emit.text.rule import Body, Draft, Switch, rule
from dotopt.compiler.emit.text.rule import Knob as Written
from dotopt.compiler.ir import Node, leaf, number
from dotopt.compiler.ir.print import decimal
from dotopt.compiler.ops.types import Type
from dotopt.runtime.lift.numbers import SIMPLE, Choice, Refused, exact
from dotopt.runtime.lift.recover import Recovered, recover, symbol
from dotopt.runtime.lift.tensors import NeedsAxes
from dotopt.runtime.lift.trace import IGNORED, LAYOUTS, NAMED, Constructor, Knob, Layout, Run, explore, signature


@dataclass(frozen=True)
class Lifted:
    """A class and its rule. `recovered` is by the number of axes that was traced."""

    cls: type[torch.optim.Optimizer]
    name: str
    text: str
    constructor: Constructor
    recovered: Mapping[int, Recovered]
    known: tuple[Choice, ...]
    notes: tuple[str, ...]


def named(path: str) -> type[torch.optim.Optimizer]:
    """The class `module.Class`; raises `Refused` if there is none, or it is no optimizer."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Refused(f"there is no class `{path}`: {error}") from None
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        raise Refused(f"`{path}` is no subclass of torch.optim.Optimizer")
    return found


def lift(cls: type[torch.optim.Optimizer], path: str = "") -> Lifted:
    """The rule that the step of this class is; raises `Refused` where it is none, with the line that is the reason."""
    SIMPLE.clear()
    constructor, ranges = _constructor(cls)
    known = tuple(_known(constructor.knobs, ranges))
    try:
        return _lifted(cls, path, constructor, ranges, known)
    except Refused:
        whole = [k for k in constructor.knobs if isinstance(k.default, int) and not isinstance(k.default, bool)]
        if not whole:
            raise
        rest = tuple(k for k in constructor.knobs if k not in whole)
        fixed = {**constructor.fixed, **{k.keyword: k.default for k in whole if k.position is None}}
        return _lifted(cls, path, replace(constructor, knobs=rest, fixed=fixed), ranges, known)


def _lifted(
    cls: Any, path: str, constructor: Constructor, ranges: Mapping[str, str], known: Sequence[Choice]
) -> Lifted:
    found: dict[int, Recovered] = {}
    notes: dict[str, None] = {}
    refused: dict[int, Refused] = {}
    for rank in (1, 2, 4):
        try:
            runs = _traced(constructor, rank, known, not found)
        except Refused as error:
            refused[rank] = error
            continue
        found[rank] = recover(runs, constructor.knobs)
        notes |= dict.fromkeys(note for run in runs for note in run.notes)
    if 2 not in found and 2 in refused:
        raise refused[2]
    if not found.keys() & {1, 2}:
        raise refused[1]
    bodies, param, comments = _shapes(found, refused)
    used = frozenset[Node]().union(*(f.used for f in found.values()))
    whole = {k.keyword for k in constructor.knobs if k.leaf in used and k.position is not None}
    used |= {k.leaf for k in constructor.knobs if k.keyword in whole}  # a tuple is given as a whole
    fixed = [k for k in constructor.knobs if k.leaf not in used]
    numbers = tuple(_number(k, ranges[k.name]) for k in constructor.knobs if k.leaf in used and k.leaf.role == "hyper")
    switches = tuple(
        Switch(k.name, k.keyword, k.default) for k in constructor.knobs if k.leaf in used and k.leaf.role == "option"
    )
    name = _class_name(cls.__name__)
    where = path or f"{cls.__module__}.{cls.__qualname__}"
    unread = sorted(
        {k.keyword for k in fixed} | {k for k, v in constructor.fixed.items() if k not in IGNORED and v is not None}
    )
    if unread:
        comments = (*comments, f"as constructed, without: {', '.join(unread)}")
    draft = Draft(
        name, f"lifted from {cls.__module__}.{cls.__name__}.", where, (f"dotopt lift {where}", *comments), param,
        numbers, switches, bodies, _gradient(bodies),
    )  # fmt: skip
    return Lifted(cls, name, rule(draft), constructor, found, tuple(known), tuple(notes))


def _gradient(bodies: Sequence[tuple[str, Body]]) -> Node:
    roots = [r for _, b in bodies for r in (b.next, *(k.next for k in b.states), *(k.start for k in b.states))]
    return next((x for r in roots for x in r.walk() if x.role == "free"), leaf("free", "g", Type("real", ("…",))))


def _traced(constructor: Constructor, rank: int, known: Sequence[Choice], twice: bool) -> list[Run]:
    """The ways through a step; with `twice` those of two choices of generic numbers, which must be the same."""
    layouts = [LAYOUTS[rank]] + ([NAMED] if rank == 2 else [])
    for layout in layouts:
        try:
            runs = explore(constructor, layout, known)
        except NeedsAxes:
            continue
        if twice and not _alike(runs, explore(_other(constructor), layout, known)):
            raise Refused("the step hangs on numbers whose origin Python does not tell (a conversion, or a loop)")
        return runs
    raise Refused(f"the step tells the axes of a tensor with {rank} axes apart")


def _alike(left: Sequence[Run], right: Sequence[Run]) -> bool:
    """Whether both found the same, in whatever order they tried the ways."""

    def table(runs: Sequence[Run]) -> dict[Any, Any]:
        return {frozenset(r.choices): (r.first, r.later, r.start, bool(r.error)) for r in runs}

    return table(left) == table(right)


def _other(constructor: Constructor) -> Constructor:
    values = {
        k.name: v if isinstance(v, bool) else v + 1 if isinstance(v, int) else v * 0.97
        for k in constructor.knobs
        for v in (constructor.values[k.name],)
    }
    return replace(constructor, values=values)


def _shapes(
    found: Mapping[int, Recovered], refused: Mapping[int, Refused]
) -> tuple[tuple[tuple[str, Body], ...], str, tuple[str, ...]]:
    """What holds for which shapes: one body, or one for matrices and one for the rest."""
    one = [found[r].body for r in (1, 2, 4) if r in found]
    if all(b == one[0] for b in one) and len(one) == 3:
        return (("real[...]", one[0]),), "real[...]", ()
    if 2 in found and 1 not in found:
        return (("real[rows, cols]", found[2].body),), "real[rows, cols]", ("for matrices only",)
    if 1 in found and 2 in found and found[1].body == found[2].body:
        return (("real[...]", one[0]),), "real[...]", ("traced for one and two axes only",)
    if 1 in found and 2 in found and (4 not in found or found[4].body == found[1].body):
        comments = () if 4 in found else ("traced for one and two axes only",)
        return (("real[rows, cols]", found[2].body), ("real[...]", found[1].body)), "real[...]", comments
    if 2 not in found:
        raise refused[2]
    raise Refused("what it does with more than two axes is something else")


# ---- the constructor -------------------------------------------------------------------------------------------------


def _constructor(cls: type[torch.optim.Optimizer]) -> tuple[Constructor, dict[str, str]]:
    """Knobs with generic numbers that the class takes, and the range of each."""
    knobs: list[Knob] = []
    fixed: dict[str, Any] = {}
    taken: set[str] = set()
    for keyword, default, annotation in signature(cls):
        if type(default) is int and ("float" in annotation or (not annotation and default == 0)):
            default = float(default)
        if keyword in IGNORED:
            if keyword == "foreach":
                fixed[keyword] = False
        elif isinstance(default, bool | int | float) and not (
            isinstance(default, float) and not math.isfinite(default)
        ):
            knobs.append(Knob(keyword, None, keyword if isinstance(default, bool) else symbol(keyword, taken), default))
            if isinstance(default, bool):
                knobs[-1] = replace(knobs[-1], name=symbol(keyword, taken))
        elif isinstance(default, tuple) and default and all(type(x) in (int, float) for x in default):
            knobs += [Knob(keyword, i, symbol(keyword, taken, i), float(x)) for i, x in enumerate(default)]
        else:
            fixed[keyword] = default
    values = {k.name: _generic(k.default) for k in knobs}
    made = Constructor(cls, tuple(knobs), fixed, values)
    plain = {k.name: k.default for k in knobs}
    if _takes(made, plain) is not None:
        raise Refused(f"it is not constructed from its defaults: {_takes(made, plain)}")
    ranges: dict[str, str] = {}
    for k in knobs:
        if isinstance(k.default, bool):
            continue
        ranges[k.name] = _range(made, k, plain)
        if _takes(made, {**plain, k.name: values[k.name]}) is not None:
            values[k.name] = next(
                (v for v in _candidates(k.default) if _takes(made, {**plain, k.name: v}) is None), k.default
            )
    made = replace(made, values=values)
    if _takes(made, values) is not None:
        raise Refused(f"it is not constructed from generic numbers: {_takes(made, values)}")
    return made, ranges


def _generic(default: Any) -> Any:
    """A number of the same kind that is nothing special."""
    if isinstance(default, bool | int):
        return default
    if default == 0:
        return 0.0371
    if 0 < default < 1e-4:
        return 0.00213
    if 0 < default < 0.3:
        return round(default * 0.83 + 0.00137, 6)
    if 0 < default < 1:
        return round(default * 0.871, 6)
    return round(default * 1.0371, 6)


def _candidates(default: Any) -> Iterator[Any]:
    yield from (default * 0.97, default * 1.03, default, 1)


def _takes(constructor: Constructor, values: Mapping[str, Any]) -> str | None:
    """None if the class is constructed with these numbers, else what it says."""
    try:
        constructor.make([torch.nn.Parameter(torch.ones(4, 3, dtype=torch.float64))], False, values)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None


def _range(constructor: Constructor, knob: Knob, values: Mapping[str, Any]) -> str:
    """The range that the constructor keeps, by what it refuses."""
    whole = isinstance(knob.default, int)

    def legal(value: float) -> bool:
        return _takes(constructor, {**values, knob.name: int(value) if whole else float(value)}) is None

    negative, zero = legal(-1), legal(0)
    if whole:
        return "" if negative else ">= 0" if zero else "> 0"
    unit = abs(knob.default) < 1 or not legal(2)
    below = legal(0.9375) or legal(0.5)
    if unit and below and not legal(1.5) and not legal(2):
        left, right = "[" if zero else "(", "]" if legal(1) else ")"
        if not negative:
            return f"in {left}0, 1{right}"
        return ""
    if negative:
        return ""
    return ">= 0" if zero else "> 0"


def _known(knobs: Sequence[Knob], ranges: Mapping[str, str]) -> Iterator[Choice]:
    """What the ranges say, as outcomes of choices."""
    from dotopt.compiler.ir import node

    for k in knobs:
        text = ranges.get(k.name, "")
        if text:
            zero = ">= 0" in text or "[0" in text
            yield (node("lt", k.leaf, number(0)), False) if zero else (node("le", k.leaf, number(0)), False)
        if text.endswith("1)"):
            yield node("lt", k.leaf, number(1)), True
        elif text.endswith("1]"):
            yield node("le", k.leaf, number(1)), True


def _number(knob: Knob, range_: str) -> Written:
    keyword = knob.keyword if knob.position is None else f"{knob.keyword}[{knob.position}]"
    default = exact(knob.default)
    assert default.value is not None
    text = decimal(default.value)
    return Written(knob.name, keyword, isinstance(knob.default, int), range_, text)


def _class_name(name: str) -> str:
    bare = "".join(c for c in name if c.isalnum())
    return bare[0].upper() + bare[1:]


__all__ = ["Fraction", "Layout", "Lifted", "ast", "inspect", "itertools", "lift", "named", "textwrap"]
