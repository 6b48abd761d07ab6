"""What deciding a claim can end in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Proved:
    """It holds. The checker verifies `certificate` again; `assumptions` is what it leans on besides the premises."""

    procedure: str
    certificate: dict[str, Any]
    assumptions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuted:
    """It is false: `counterexample` names the values, and those of both sides."""

    procedure: str
    counterexample: dict[str, Any]
    repair: str = ""


@dataclass(frozen=True, slots=True)
class Vacuous:
    """The premises exclude each other."""

    procedure: str = "smt"


@dataclass(frozen=True, slots=True)
class Open:
    """Not decided; `reason` says what is missing, `points` how many were tried."""

    reason: str
    points: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stopped:
    """No verdict: the clock struck before the fuel was used up, which is an error of the machine or of the engine."""

    reason: str = "stopped by the clock: this machine is too slow or too busy, or the engine spent time without fuel"


Outcome = Proved | Refuted | Vacuous | Open | Stopped


def all_of(outcomes: Iterable[Outcome], label: str = "all") -> Outcome:
    """The outcome of a claim that is the conjunction of several; stops at the first that is refuted."""
    proved: list[Proved] = []
    vacuous: list[Vacuous] = []
    left: list[Open] = []
    for outcome in outcomes:
        match outcome:
            case Refuted() | Stopped():
                return outcome
            case Proved():
                proved.append(outcome)
            case Vacuous():
                vacuous.append(outcome)
            case Open():
                left.append(outcome)
    if left:
        return Open(left[0].reason, sum(o.points for o in left), left[0].evidence)
    if not proved:
        return vacuous[0] if vacuous else Open("there is nothing to decide")
    if len(proved) == 1:
        return proved[0]
    procedures = "+".join(dict.fromkeys(p.procedure for p in proved))
    assumptions = tuple(dict.fromkeys(a for p in proved for a in p.assumptions))
    return Proved(procedures, {"kind": label, "parts": [p.certificate for p in proved]}, assumptions)


def one_of(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of a claim that one of its cases is enough for: a counterexample that is wanted."""
    order = (Proved, Open, Refuted, Vacuous)
    return next(outcome for kind in order for outcome in outcomes if isinstance(outcome, kind))
