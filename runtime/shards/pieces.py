"""The pieces of a step, compiled once for each specialisation of a rule and each way in which its parameter is cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dotopt.runtime.rule import Rule, Step

Cut = frozenset[str]


class Refused(Exception):
    """A step that cannot be taken in parts; the message is a sentence for the user."""


@dataclass(frozen=True)
class Piece:
    """A local program, or what an owner computes: its step, and the program for backends that compile it."""

    step: Step
    program: Any


@dataclass(frozen=True)
class Pieces:
    """The pieces in their order; `plan` is the `Phases` of the compiler that says what is sent between them."""

    plan: Any
    local: tuple[Piece | None, ...]
    owned: tuple[Piece | None, ...]
    last: Piece

    @property
    def silent(self) -> bool:
        """Whether no message is needed: each process steps what it holds by itself."""
        return not self.plan.phases


_known: dict[int, tuple[Any, Rule, tuple[bool | str, ...], int, Step]] = {}  # by the id of a step, which this keeps
_plans: dict[tuple[int, Cut], Any] = {}
_pieces: dict[tuple[int, Cut], Pieces] = {}


def know(origin: Any, rule: Rule, options: tuple[bool | str, ...], rank: int) -> Step:
    """The step of a rule; from now on its pieces can be found."""
    step = rule.step(options, rank)
    _known.setdefault(id(step), (origin, rule, options, rank, step))
    return step


def plan(step: Step, cut: Cut) -> Any:
    """The phases of a step where these axes are cut; raises `Refused`."""
    key = (id(step), cut)
    if key not in _plans:
        from dotopt.compiler.analysis.locality import Elsewhere
        from dotopt.compiler.schedule.phases import phases
        from dotopt.runtime.loading.load import program

        origin, rule, options, rank, _ = _known[id(step)]
        if origin is None:
            raise Refused("its class was written by `dotopt compile`, which holds whole steps alone")
        try:
            _plans[key] = phases(program(origin, options, max(rank, 1) if rule.ranked else None), cut)
        except Elsewhere as error:
            raise Refused(error.reason) from None
    return _plans[key]


def kept(step: Step, cut: Cut) -> tuple[str, ...]:
    """The states that only the owner of a matrix needs."""
    found: tuple[str, ...] = plan(step, cut).kept
    return found


def pieces(step: Step, cut: Cut) -> Pieces:
    """The compiled pieces; raises `Refused`, and `OptError` for a program that torch has no words for."""
    key = (id(step), cut)
    if key not in _pieces:
        found = plan(step, cut)
        _pieces[key] = Pieces(
            found,
            tuple(None if phase.program is None else _compiled(phase.program) for phase in found.phases),
            tuple(None if phase.owned is None else _compiled(phase.owned.program) for phase in found.phases),
            _compiled(found.last),
        )
    return _pieces[key]


def _compiled(program: Any) -> Piece:
    from dotopt.compiler.emit.torch.optimizer import piece

    names: dict[str, Any] = {"__name__": f"dotopt piece of {program.name}"}
    exec(compile(piece(program), f"<piece of {program.name}>", "exec"), names)
    return Piece(names["STEP"], program)


def sizes(plan: Any, axes: Mapping[str, int]) -> dict[str, float]:
    """The sizes that a plan reads, but for the number of entries of the model."""
    found = {}
    for name, (along, model) in plan.sizes.items():
        if not model:
            found[name] = 1.0
            for axis in along:
                found[name] *= axes[axis]
    return found
