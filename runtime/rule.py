"""What a compiled rule knows of itself: its signature, its states, and which step to run for which options and rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

Value = Any  # of a hyperparameter: a number or a 0-dimensional tensor
End = float | Callable[[Mapping[str, Value]], float] | None


@dataclass(frozen=True)
class Hyper:
    """A scalar hyperparameter: entry `position` of the tuple `keyword`, or `keyword` itself.

    `default`, `low` and `high` may be functions of the other hyperparameters, by their names in the file.
    """

    name: str
    keyword: str
    position: int | None = None
    default: float | Callable[[Mapping[str, Value]], float] | None = None
    low: End = None
    high: End = None
    open_low: bool = False
    open_high: bool = False
    integer: bool = False
    range: str = ""  # in the words of the file

    @property
    def place(self) -> str:
        """How a user writes it: `lr`, `betas[0]`."""
        return self.keyword if self.position is None else f"{self.keyword}[{self.position}]"

    def of(self, group: Mapping[str, Any]) -> Value:
        """Its value in a parameter group."""
        value = group[self.keyword]
        return value if self.position is None else value[self.position]


@dataclass(frozen=True)
class Option:
    """A static choice, fixed when the group is made."""

    name: str
    keyword: str
    values: tuple[bool | str, ...]
    default: bool | str


class Signed(Protocol):
    """Any compiled rule: what its Python signature is made of."""

    @property
    def name(self) -> str: ...
    @property
    def hypers(self) -> tuple[Hyper, ...]: ...
    @property
    def options(self) -> tuple[Option, ...]: ...


@dataclass(frozen=True)
class Pattern:
    """The shape that a rule asks of its parameter: `…` stands for any number of axes, `merged` for `cols...`.

    `ranks` are the numbers of axes that it takes; empty: all that fit.
    """

    name: str
    axes: tuple[str, ...]
    merged: bool = False
    ranks: tuple[int, ...] = ()

    @property
    def viewed(self) -> bool:
        """Whether the rule may see another shape than the tensor has."""
        return self.axes != ("…",)

    def __str__(self) -> str:
        axes = ["..." if axis == "…" else axis for axis in self.axes]
        ranks = f" with {' or '.join(map(str, self.ranks))} axes" if self.ranks else ""
        return f"{self.name} : real[{', '.join(axes)}{'...' if self.merged else ''}]{ranks}"

    def misfit(self, rank: int) -> str | None:
        """What the pattern asks for, if a tensor of this rank does not fit; a number counts as a vector."""
        rank = max(rank, 1) if self.axes else rank
        named = [axis for axis in self.axes if axis != "…"]
        if self.ranks and rank not in self.ranks:
            return f"{' or '.join(map(str, self.ranks))} axes"
        if "…" in self.axes:
            return None if rank >= len(named) else f"at least {_axes(len(named))}"
        if self.merged:
            return None if rank >= len(named) - 1 else f"at least {_axes(len(named) - 1)}"
        return None if rank == len(named) else f"exactly {_axes(len(named))}"

    def view(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which the rule sees a tensor of shape `shape`.

        >>> Pattern("W", ("rows", "cols"), merged=True).view((8, 3, 5, 5))
        (8, 75)
        """
        shape = shape or ((1,) if self.axes else ())
        if not self.merged:
            return shape
        kept = len(self.axes) - 1
        rest = 1
        for size in shape[kept:]:
            rest *= size
        return (*shape[:kept], rest)

    def sizes(
        self, axes: tuple[str, ...], shape: tuple[int, ...], hypers: Mapping[str, Value] | None = None
    ) -> tuple[int, ...]:
        """The shape of a state with these axes, beside a parameter seen in shape `shape`; some are hyperparameters."""
        names = [axis for axis in self.axes if axis != "…"]
        by_name = dict(zip(names[::-1], shape[::-1], strict=False))
        lead = shape[: len(shape) - len(names)] if "…" in self.axes else ()
        found: tuple[int, ...] = ()
        for axis in axes:
            if axis == "…":
                found += lead
            elif axis.isdigit():
                found += (int(axis),)
            else:
                found += (by_name[axis] if axis in by_name else int((hypers or {})[axis]),)
        return found


def _axes(count: int) -> str:
    return f"{('zero', 'one', 'two', 'three', 'four')[count]} ax{'i' if count == 1 else 'e'}s"


@dataclass(frozen=True)
class State:
    """A quantity kept between steps, under `key` in the state of a parameter.

    place: `like` (a tensor like the parameter), `axes` (a tensor of its own shape), `number` (one number a tensor),
    `clock` (a number that follows from t alone: kept beside `step`), `group` (one number for the whole group).
    start: its value before the first step, or None if step 1 computes it.
    nonnegative: it has an entry for each of the parameter's, and none is ever negative.
    """

    name: str
    key: str
    place: str = "like"
    axes: tuple[str, ...] = ()
    start: float | None = 0.0
    nonnegative: bool = False


@dataclass(frozen=True)
class Step:
    """The compiled functions of one specialisation.

    `pattern` is how it sees the parameter. `run(*lists, **scalars)` takes the parameters, the gradients if `gradient`,
    the states, what the linear layer of the parameter saw (`layer`: `input`, `output`, `gradient`), then the scalars
    whose `sources` are `t`, `shape`, `random`, `keyword`, `keyword position` or `state key`; it returns the next values
    of the states that are numbers. `evaluate` takes the same and returns what evaluation shows.
    """

    run: Callable[..., Any]
    pattern: Pattern
    states: tuple[State, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    gradient: bool = True
    by_shape: bool = False
    generator: bool = False
    layer: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    evaluate: Callable[..., Any] | None = None

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of `runtime.foreach`, `runtime.matrices` and `runtime.oracles` in which it is written."""
        return frozenset(self.run.__code__.co_names)

    @cached_property
    def entrywise(self) -> bool:
        """Whether an entry moves by its own gradient and states alone, so that a slice moves as the whole does."""
        matrix = any(getattr(self.run.__globals__.get(word), "__module__", "") == MATRICES for word in self.words)
        kinds = {state.place for state in self.states}
        return not (
            self.words & WIDE or matrix or self.generator or self.pattern.viewed or self.by_shape or self.layer
            or kinds & {"axes", "number"} or "shape" in self.sources.values()
        )  # fmt: skip

    @cached_property
    def over_model(self) -> bool:
        """Whether it sums over all tensors of the optimizer."""
        return bool(self.words & {"ModelSum", "ModelMax", "ModelNorm"})

    @property
    def torch_only(self) -> bool:
        """Whether it needs what kernels are not given: draws, and what layers see."""
        return bool(self.layer) or "random" in self.sources


MATRICES = "dotopt.runtime.matrices"
# words of emitted steps that look beyond one entry; those of `runtime.matrices` do too
WIDE = frozenset(("sums", "means", "norms", "spreads", "largest", "smallest", "units", "sizes"))


@dataclass(frozen=True)
class Rule:
    """A rule as the runtime sees it. `steps` is indexed by the values of the options, and the rank if it matters."""

    name: str
    doc: str
    source: str
    text: str  # the equations, as in the file
    hypers: tuple[Hyper, ...]
    options: tuple[Option, ...]
    pattern: Pattern
    steps: Mapping[tuple[Any, ...], Step]
    ranked: bool = False

    @cached_property
    def layered(self) -> bool:
        """Whether it reads what the linear layer of a parameter saw."""
        return any(step.layer for step in self.steps.values())

    @cached_property
    def reasons(self) -> tuple[str, ...]:
        """Why a closure is needed; empty if none is."""
        return tuple(sorted({reason for step in self.steps.values() for reason in step.reasons}))

    @cached_property
    def pure(self) -> Rule:
        """The same rule with steps that write into no tensor; see `runtime.pure`."""
        from dotopt.runtime.pure import in_words

        made = {id(step): replace(step, run=in_words(step.run)) for step in self.steps.values()}
        return replace(self, steps={key: made[id(step)] for key, step in self.steps.items()})

    @cached_property
    def reads_value(self) -> bool:
        """Whether some step reads the objective itself, which a closure has to return."""
        return any("Value" in step.words for step in self.steps.values())

    def step(self, options: tuple[bool | str, ...], rank: int) -> Step:
        """The step for these options and a parameter with `rank` axes."""
        if not self.ranked:
            return self.steps[options]
        ranks = sorted({key[-1] for key in self.steps})
        rank = max(rank, 1)
        return self.steps[(*options, rank if rank in ranks else ranks[-1])]
