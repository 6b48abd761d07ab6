"""The property "this module reads a sequence as the equations say": whole, in pieces and token by token.

The reference takes one token a step. The module is given the whole sequence, with blocks of a random size, and then the
same sequence in three parts, the middle one token by token: so a parallel form, the states that are handed on and
`step` are tested at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from dotopt.compiler.evaluate import Simulation
from dotopt.compiler.ir import Program
from dotopt.compiler.lower import Static, lower
from dotopt.compiler.resolve import resolve
from dotopt.compiler.text.library import Library, load
from dotopt.grammar.files import library_root
from dotopt.runtime.property.draw import hyperparameters, tensors
from dotopt.runtime.property.example import Array
from dotopt.runtime.property.outcome import Failed, Outcome, Untested
from dotopt.runtime.property.reproducer import class_line, literal
from dotopt.runtime.property.search import Budget, Disagreement, search

# relative to the largest number of the outputs: tokens follow from each other, so errors add up
TOLERANCE = {"float64": 1e-8, "float32": 2e-3}
LARGEST = 1e4  # a memory that grows beyond says nothing about code


@dataclass(frozen=True, eq=False)
class Reading:
    """A sequence and how it is read: whole, and with the tokens between two cuts one by one."""

    given: Mapping[str, Any]
    sizes: Mapping[str, int]
    inputs: Mapping[str, Array]
    block: int
    cuts: tuple[int, int]
    seed: int

    @property
    def length(self) -> int:
        """How many tokens there are."""
        return len(next(iter(self.inputs.values())))


def sequences(cls: type[Any], dtype: str, budget: Budget) -> Outcome:
    """Whether the module agrees with the reference in this dtype; fails with the smallest sequence found."""
    if cls.rule.given:
        return Untested("it asks for functions of the user: " + ", ".join(f.name for f in cls.rule.given))

    def check(reading: Reading) -> None:
        size = reading.length, sum(x.size for x in reading.inputs.values()), *reading.cuts
        try:
            wanted = _reference(cls, reading)
            largest = max(float(np.abs(w).max(initial=0.0)) for w in wanted.values())
            if not largest < LARGEST:
                return
            for how, found in _read(cls, reading, dtype).items():
                for name, value in found.items():
                    off = np.abs(value - wanted[name]) > TOLERANCE[dtype] * (largest + 1e-3)
                    if off.any() or not np.isfinite(value).all():
                        place = tuple(int(i) for i in np.argwhere(off | ~np.isfinite(value))[0])
                        raise Disagreement(_failed(cls, reading, dtype, (how, name, place), value, wanted[name]), size)
        except (Disagreement, NotImplementedError):
            raise
        except Exception as error:
            message = f"{cls.rule.name}, sequences, {dtype}: {type(error).__name__}: {error}"
            raise Disagreement(Failed(_described(message, reading), _snippet(cls, reading, dtype)), size) from None

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are small: threads would wait for each other
    try:
        return search(_readings(cls), check, budget)
    finally:
        torch.set_num_threads(threads)


@st.composite
def _readings(draw: st.DrawFn, cls: type[Any]) -> Reading:
    rule = cls.rule
    options = {o.keyword: draw(st.sampled_from(sorted(o.values, key=lambda v: v != o.default))) for o in rule.options}
    given = options | draw(hyperparameters(rule, options))
    numbers = {name: value for name, value in given.items() if isinstance(value, int) and not isinstance(value, bool)}
    axes = sorted({axis for x in rule.inputs for axis in x.axes if not axis.isdigit()} - set(numbers))
    sizes = {axis: draw(st.sampled_from((2, 1, 3, 4))) for axis in axes}
    length = draw(st.sampled_from((1, 2, 3, 5, 8, 17, 40)))
    inputs = {}
    for x in rule.inputs:
        shape = (length, *(int(axis) if axis.isdigit() else numbers.get(axis) or sizes[axis] for axis in x.axes))
        low, high = (-1.0 if x.low is None else x.low), (1.0 if x.high is None else x.high)
        low, high = (
            (low, max(high, low + 1)) if x.high is None else (min(low, high - 1) if x.low is None else low, high)
        )
        inputs[x.keyword] = low + (high - low) * (draw(tensors(shape)).clip(-2, 2) + 2) / 4
    first = draw(st.integers(0, length))
    cuts = first, draw(st.integers(first, length))
    return Reading(given, sizes, inputs, draw(st.sampled_from((64, 1, 4, 16))), cuts, draw(st.integers(0, 9)))


def _module(cls: type[Any], reading: Reading) -> tuple[Any, dict[str, Any]]:
    module = cls(block=reading.block, **reading.given)
    sizes = {n: v for n, v in module.hyper.items() if isinstance(v, int)} | dict(reading.sizes)
    return module, module.initial_state((), reading.seed, torch.zeros((), dtype=torch.float64), **sizes)


@cache
def _program(origin: tuple[str, Any, str], options: tuple[bool | str, ...]) -> Program:
    """The equations as they stand in the file, with nothing rearranged for a backend."""
    _, place, _ = origin
    path = Path(place) if Path(place).is_absolute() else library_root() / place
    library = Library(path.parent)
    file = resolve(load(path)).file
    declared = lower(file, Static({}), library).options
    return lower(file, Static({o.name: value for o, value in zip(declared, options, strict=True)}), library)


def _reference(cls: type[Any], reading: Reading) -> dict[str, Array]:
    """The outputs of the reference, token by token."""
    module, start = _module(cls, reading)
    step = _program(cls.origin, module.options)
    first = {state.name for state in step.states if state.kind == "first"}  # these follow from the first token
    states = {name: value.numpy() for name, value in start.items() if name != "t" and name not in first}
    sizes = {n: v for n, v in module.hyper.items() if isinstance(v, int)} | dict(reading.sizes)
    run = Simulation(step, hypers={n: float(v) for n, v in module.hyper.items()}, states=states, sizes=sizes)
    names = {x.keyword: x.name for x in cls.rule.inputs}
    rows = [run.step(inputs={names[k]: v[t] for k, v in reading.inputs.items()}) for t in range(reading.length)]
    return {name: np.stack([np.asarray(row[name], dtype=float) for row in rows]) for name in cls.rule.outputs}


def _read(cls: type[Any], reading: Reading, dtype: str) -> dict[str, dict[str, Array]]:
    """The outputs of the module: read at once, and in pieces."""
    module, start = _module(cls, reading)
    kind = getattr(torch, dtype)
    inputs = {name: torch.tensor(value, dtype=kind) for name, value in reading.inputs.items()}
    state = {n: v.to(kind) if isinstance(v, torch.Tensor) else v for n, v in start.items()}
    at_once = _named(cls, module(**inputs, state=dict(state)))
    first, last = reading.cuts
    pieces = []
    for begin, end, singly in ((0, first, False), (first, last, True), (last, reading.length, False)):
        part = {name: value[begin:end] for name, value in inputs.items()}
        if not singly:
            found, state = module(**part, state=state, return_state=True)
            pieces.append(_named(cls, found))
            continue
        for t in range(end - begin):
            found, state = module.step(**{name: value[t] for name, value in part.items()}, state=state)
            pieces.append({name: value[None] for name, value in _named(cls, found).items()})
    parts = {name: np.concatenate([piece[name] for piece in pieces]) for name in cls.rule.outputs}
    return {"at once": at_once, f"with tokens {first + 1} to {last} one by one": parts}


def _named(cls: type[Any], outputs: Any) -> dict[str, Array]:
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    return {name: x.detach().double().numpy() for name, x in zip(cls.rule.outputs, several, strict=True)}


def _failed(
    cls: type[Any], reading: Reading, dtype: str, where: tuple[str, str, tuple[int, ...]], found: Array, wanted: Array
) -> Failed:
    how, name, place = where
    equation = [line for line in cls.rule.text.splitlines() if line.split("=")[0].split(":")[0].strip() == name]
    lines = [
        f"{cls.rule.name}, sequences, {dtype}: `{name}[{', '.join(map(str, place))}]` is wrong, read {how}",
        *(f"    {line}" for line in equation),
        f"  reference {float(wanted[place])!r}",
        f"  module    {float(found[place])!r}",
    ]
    return Failed(_described("\n".join(lines), reading), _snippet(cls, reading, dtype))


def _described(message: str, reading: Reading) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in {**reading.given, "block": reading.block}.items())
    shown = [f"  {name} = {value.tolist()}" for name, value in reading.inputs.items()]
    return "\n".join([message, f"  with {given}, {reading.length} tokens", *shown])


def _snippet(cls: type[Any], reading: Reading, dtype: str) -> str:
    inputs = ", ".join(f"{name!r}: {literal(value)}" for name, value in reading.inputs.items())
    return "\n".join(
        [
            "import numpy as np",
            "from dotopt.runtime.property.sequences import Reading, outputs",
            class_line(cls),
            "",
            f"reading = Reading({dict(reading.given)!r}, {dict(reading.sizes)!r}, {{{inputs}}},",
            f"    block={reading.block}, cuts={reading.cuts}, seed={reading.seed})",
            f"for how, values in outputs(Rule, reading, {dtype!r}).items():",
            "    print(how, values)",
        ]
    )


def outputs(cls: type[Any], reading: Reading, dtype: str) -> dict[str, dict[str, Array]]:
    """What the reference and the module give, for reproducers."""
    return {"reference": _reference(cls, reading), **_read(cls, reading, dtype)}
