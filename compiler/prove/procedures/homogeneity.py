"""Whether a step keeps its size when the objective is multiplied by c > 0: by the degrees of its values in c.

A gradient has degree 1, and so has a knob that is scaled along, such as an ε beside a root; which knobs these are is
tried. Units say the same of rules whose values all have one; this says it also where a length is compared with 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from dotopt.compiler.ir import Node, Program, leaf
from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.ops.row import Powers
from dotopt.compiler.prove.derivations.guards import decays, guards
from dotopt.compiler.prove.procedures.coordinates import STILL, ZERO, Group, Kind, join
from dotopt.compiler.prove.procedures.equivariance import kept


@dataclass(frozen=True)
class Degree:
    """Multiplied by c to this power, which is not 0."""

    power: Fraction


def scaled_along(program: Program) -> str | None:
    """What has to be said of knobs for the step to stay the same; None if that is not enough.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import Static, lower
    >>> scaled_along(lower(Library().file("LAMB"), Static(options={"variant": "paper"})))
    'with ε scaled along or 0'
    >>> scaled_along(lower(Library().file("SGD"), Static(options={"nesterov": False})))
    """
    if program.kind != "optimizer" or len(program.params) != 1:
        return None
    group = Group("positive multiples of f", _degree, STILL, answers=(Degree(Fraction(1)), Degree(Fraction(1))))
    chosen_by_place = {h.name for h in (*guards(program), *decays(program))}
    knobs = [h for h in program.hypers if h.name in chosen_by_place]
    kinds: tuple[Kind, ...] = (STILL, Degree(Fraction(1)), Degree(Fraction(2)), ZERO)  # in the order of preference
    for chosen in sorted(product(range(len(kinds)), repeat=len(knobs)), key=sum):
        known = {leaf("hyper", h.name, h.type): kinds[k] for h, k in zip(knobs, chosen, strict=True) if k}
        if kept(program, group, known):
            scaled = [x.name for x, kind in known.items() if kind != ZERO]
            nothing = [f"{x.name} == 0" for x, kind in known.items() if kind == ZERO]
            parts = [f"with {', '.join(scaled)} scaled along or 0"] * bool(scaled) + [f"where {n}" for n in nothing]
            return ", ".join(parts)
    return None


def _power(kind: Kind) -> Fraction:
    return kind.power if isinstance(kind, Degree) else Fraction(0)


def _of(power: Fraction) -> Kind:
    return Degree(power) if power else STILL


def _degree(here: Node, args: list[Kind]) -> Kind:
    match OPERATIONS[here.op].degree:
        case "alike":
            return join(args[0], args[1])
        case "compared":
            return STILL if join(args[0], args[1]) is not None else None
        case "exponent" if here.args[1].value is not None:
            return _of(_power(args[0]) * here.args[1].value)
        case Powers(powers) if all(kind == STILL for kind in args[len(powers) :]):
            return _of(sum((_power(kind) * Fraction(p) for kind, p in zip(args, powers, strict=False)), Fraction(0)))
        case "lost":
            return STILL
    return None


__all__ = ["scaled_along"]
