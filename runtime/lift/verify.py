"""The written rule beside the class: symbolically on every way through a step, and by replaying both.

proved   every way that was traced, at the first step and from any state, in normal form
replay   both run on the same gradients, with generic numbers, each option on and off
smallest the least numbers that tell two optimizers apart
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dotopt.compiler.ir import TIME, Node, Program, leaf, node, number, substitute
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.ops.types import BOOL, Mismatch
from dotopt.compiler.parse import parse
from dotopt.compiler.text.library import Library
from dotopt.compiler.text.source import Source
from dotopt.runtime.lift.lift import Lifted
from dotopt.runtime.lift.numbers import PATH, Choice, Path
from dotopt.runtime.lift.recover import at_first as first_step
from dotopt.runtime.lift.recover import filled, settled, verdict

STEPS = 8
EXACT = 1e-9  # of a replay in float64, relative to how far the parameter went


# ---- symbolically ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Proof:
    """How many equations of how many ways were compared; `open` are those that only numbers agree on."""

    compared: int
    open: tuple[str, ...]
    different: tuple[str, ...]

    @property
    def proved(self) -> bool:
        return bool(self.compared) and not self.open and not self.different


def prove(lifted: Lifted) -> Proof:
    """Whether the lowered text is the traced step, on each way."""
    file = parse(Source(f"{lifted.name}.opt", lifted.text))
    compared, open_, different = 0, dict[str, None](), dict[str, None]()
    known: dict[tuple[Node, Node], str] = {}
    for rank, recovered in lifted.recovered.items():
        for way in recovered.ways:
            choices = (*lifted.known, *way.choices)
            options = {c.name: o for c, o in choices if c.role == "option"}
            program = lower(file, Static(options, rank), Library())
            for name, mine, theirs in _pairs(program, way.first, way.later, choices):
                compared += 1
                if (mine, theirs) not in known:
                    known[mine, theirs] = verdict(mine, theirs)
                found = known[mine, theirs]
                if found != "proved":
                    (different if found == "different" else open_)[f"{name}, {rank} axes"] = None
    return Proof(compared, tuple(open_), tuple(different))


def _pairs(
    program: Program, first: Mapping[str, Node], later: Mapping[str, Node], choices: Sequence[Any]
) -> Iterator[tuple[str, Node, Node]]:
    """Each next value of the program and of the trace, at the first step and later."""
    (param,) = program.params
    answer = next((x for x in program.oracles), None)
    gradient = leaf("free", "g", param.type)
    leaves = {s.name: leaf("state", s.name, s.type) for s in program.states}

    def own(root: Node) -> Node:
        return root if answer is None else substitute(root, {answer: gradient})

    starts = {s.name: own(s.start) for s in program.states}
    nexts = {s.name: own(s.next) if s.next is not None else leaves[s.name] for s in program.states}
    nexts["θ"] = own(program.next[param.name])
    later_names = [n for n in nexts if n in later]
    for name in later_names:
        yield name, *_both(nexts[name], later[name], (*choices, LATER))
    begin = {}
    for name, start in starts.items():  # a start may read states that begin at numbers
        begin[name] = start
    for name in (n for n in nexts if n in first):
        mine = first_step(nexts[name], begin, leaves)
        yield f"{name} at t = 1", *_both(mine, first[name], choices)


def _both(mine: Node, theirs: Node, choices: Sequence[Any]) -> tuple[Node, Node]:
    a, b = settled(mine, choices), settled(theirs, choices)
    try:
        return filled(a, b.type), filled(b, a.type)
    except Mismatch:
        return a, b


LATER: Choice = (node("lt", TIME, number(2)), False)  # the traced step from any state is no first one


# ---- by numbers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two optimizers part: settings, data, the step, and the two values."""

    settings: Mapping[str, Any]
    start: tuple[float, ...]
    gradients: tuple[tuple[float, ...], ...]
    step: int
    left: tuple[float, ...]
    right: tuple[float, ...]


Maker = Callable[[Sequence[torch.nn.Parameter], Mapping[str, Any]], Any]


def run(
    make: Maker, settings: Mapping[str, Any], starts: Sequence[Any], gradients: Sequence[Sequence[Any]]
) -> list[Any]:
    """The parameters after each step."""
    token, usual = PATH.set(Path(free=True)), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # numbers that a class keeps in tensors are then exact as well
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            params = [torch.nn.Parameter(torch.tensor(np.asarray(x, dtype=float))) for x in starts]
            optimizer = make(params, settings)
            seen = []
            for step in gradients:
                for p, g in zip(params, step, strict=True):
                    p.grad = torch.tensor(np.asarray(g, dtype=float))
                optimizer.step()
                seen.append([p.detach().numpy().copy() for p in params])
            return seen
    finally:
        torch.set_default_dtype(usual)
        PATH.reset(token)


def replay(
    left: Maker, right: Maker, settings: Mapping[str, Any], shapes: Sequence[tuple[int, ...]], steps: int = STEPS,
    seed: int = 0,
) -> float:  # fmt: skip
    """How far the parameters of two optimizers part, relative to how far they go; NaN in both is no difference."""
    draw = np.random.default_rng(seed)
    starts = [draw.normal(size=s) for s in shapes]
    gradients = [[draw.normal(size=s) for s in shapes] for _ in range(steps)]
    a, b = (run(make, settings, starts, gradients) for make in (left, right))
    worst = 0.0
    for one, other in zip(a, b, strict=True):
        for x, y, z in zip(one, other, starts, strict=True):
            both = np.isfinite(x) & np.isfinite(y)
            if (np.isfinite(x) != np.isfinite(y)).any():
                return math.inf
            size = float(np.max(np.abs(x - z), initial=0, where=both)) + 1e-6 * float(np.max(np.abs(z), initial=0))
            worst = max(worst, float(np.max(np.abs(x - y), initial=0, where=both)) / max(size, 1e-300))
    return worst


def settings_of(lifted: Lifted) -> Iterator[dict[str, Any]]:
    """Settings by name of the knob: defaults, generic numbers, each option turned, each number at 0 where it may be."""
    constructor = lifted.constructor
    used = frozenset[Node]().union(*(r.used for r in lifted.recovered.values()))
    knobs = [k for k in constructor.knobs if k.leaf in used]
    defaults = {k.name: k.default for k in constructor.knobs}
    generic = {k.name: constructor.values[k.name] if k in knobs else k.default for k in constructor.knobs}
    switches = [k for k in knobs if k.leaf.type is BOOL]
    options = [dict(zip((k.name for k in switches), chosen, strict=True))
               for chosen in itertools.islice(itertools.product((False, True), repeat=len(switches)), 16)]  # fmt: skip
    yield defaults
    for chosen in options:
        yield generic | chosen
    for k in knobs:
        if k.leaf.type is not BOOL:
            yield generic | {k.name: 0 if isinstance(k.default, int) else 0.0}
            yield defaults | {k.name: constructor.values[k.name]}


def makers(lifted: Lifted, other: type[torch.optim.Optimizer]) -> tuple[Maker, Maker]:
    """How the class and a compiled rule are made from the same settings."""
    constructor = lifted.constructor

    def theirs(params: Sequence[torch.nn.Parameter], settings: Mapping[str, Any]) -> Any:
        return constructor.make(params, False, settings)

    def ours(params: Sequence[torch.nn.Parameter], settings: Mapping[str, Any]) -> Any:
        return other(params, backend="torch", **keywords(lifted, other, settings))  # type: ignore[call-arg]

    return theirs, ours


def keywords(lifted: Lifted, other: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as keywords of a compiled rule, for those that it has."""
    known = {h.keyword for h in other.rule.hypers} | {o.keyword for o in other.rule.options}
    given: dict[str, Any] = {}
    whole: dict[str, dict[int, Any]] = {}
    for knob in lifted.constructor.knobs:
        if knob.keyword not in known:
            continue
        if knob.position is None:
            given[knob.keyword] = settings[knob.name]
        else:
            whole.setdefault(knob.keyword, {})[knob.position] = settings[knob.name]
    return given | {key: tuple(v[i] for i in sorted(v)) for key, v in whole.items()}


def worst_of(lifted: Lifted, other: Any, shapes: Sequence[tuple[int, ...]]) -> tuple[float, dict[str, Any] | None]:
    """The largest difference over all settings that both take, and the settings."""
    worst, at = -1.0, None
    left, right = makers(lifted, other)
    for i, settings in enumerate(settings_of(lifted)):
        try:
            found = replay(left, right, settings, shapes, seed=i)
        except (ValueError, RuntimeError, ZeroDivisionError, OverflowError, TypeError):
            if not _both_refuse(left, right, settings, shapes):
                raise
            continue
        if found > worst:
            worst, at = found, settings
    return worst, at


def _both_refuse(left: Maker, right: Maker, settings: Mapping[str, Any], shapes: Sequence[tuple[int, ...]]) -> bool:
    """Whether the class does not take these settings; what it refuses, the rule need not run."""
    starts = [np.ones(s) for s in shapes]
    try:
        run(left, settings, starts, [starts] * STEPS)
    except (ValueError, RuntimeError, ZeroDivisionError, OverflowError, TypeError):
        return True
    return False


def smallest(lifted: Lifted, left: Maker, right: Maker, settings: Sequence[Mapping[str, Any]]) -> Difference | None:
    """The least data on which two optimizers part: one entry if that is enough, few steps, small numbers."""
    shapes: tuple[tuple[int, ...], ...] = ((1,), (2,), (2, 2), (3, 2))
    for shape in shapes:
        size = math.prod(shape)
        pools = ([1.0] * 6, [1.0, -1.0, 2.0, -2.0, 1.0, 0.5], [1.0, 2.0, -1.0, 0.5, 3.0, -2.0])
        for steps in (1, 2, 3, 6, 12):
            for pool, setting in itertools.product(pools, settings):
                data = [np.resize(np.roll(pool, -i), size).reshape(shape) for i in range(steps)]
                start = np.resize([1.0, -2.0, 0.5], size).reshape(shape)
                try:
                    a, b = (run(make, setting, [start], [[g] for g in data]) for make in (left, right))
                except (ValueError, RuntimeError, ZeroDivisionError, OverflowError, TypeError):
                    continue
                for i, ((x,), (y,)) in enumerate(zip(a, b, strict=True)):
                    if not np.allclose(x, y, rtol=1e-7, atol=1e-9 * float(np.max(np.abs(x - start))), equal_nan=True):
                        return Difference(
                            setting, tuple(start.ravel()), tuple(tuple(g.ravel()) for g in data[: i + 1]), i + 1,
                            tuple(x.ravel()), tuple(y.ravel()),
                        )  # fmt: skip
    return None
