"""A step at t = ∞: powers β^t are gone, clocks stand, schedules that never end are refused.

limit(root, facts)         a value without its powers β^t
without_clocks(…)          states that no gradient reaches, at what they tend to
resting(case)              knobs at 0 that would keep a schedule going
"""

from __future__ import annotations

from dataclasses import replace

from dotopt.compiler.ir import TIME, Node, Program, leaf, number, rebuild, substitute
from dotopt.compiler.ops.types import REAL
from dotopt.compiler.prove.derivations.conditions import Settled
from dotopt.compiler.prove.derivations.frozen import Frozen, NotLinear
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.polynomial import ONE, ZERO, Atom, Polynomial, single
from dotopt.compiler.prove.statements.simplify import fold


class ForEver(NotLinear):
    """The linear step changes with t for ever."""


def resting(case: Settled) -> Settled:
    """The case with every knob at 0 whose default is 0: schedules that are switched off."""
    zeros = [h for h in case.program.hypers if h.default is not None and h.default.value == 0]
    zeros = [h for h in zeros if _beside_time(leaf("hyper", h.name, h.type), case.program)]
    table = {leaf("hyper", h.name, h.type): number(0) for h in zeros}
    program = case.program.mapped(lambda root: fold(substitute(root, table)))
    return replace(case, program=program, where=(*case.where, *(f"{h.name} == 0" for h in zeros)))


def _beside_time(knob: Node, program: Program) -> bool:
    """Whether some term has this knob as a factor and reads t."""
    terms = (here for root in program.roots for here in root.walk() if here.op in ("mul", "pow"))
    return any(knob in set(here.walk()) and TIME in set(here.walk()) and here.type.scalar for here in terms)


def limit(root: Node, facts: Facts) -> Node:
    """`root` at t = ∞: powers β^t of numbers between 0 and 1 are gone."""

    def change(here: Node) -> Node:
        if here.op != "pow" or TIME not in set(here.args[1].walk()):
            return here
        base = facts.normal(here.args[0])
        exponent = facts.normal(here.args[1])
        (t,) = facts.normal(TIME).atoms()
        still = _without(exponent, t)
        speed = (exponent - still) * single(t, -1)
        shrinks = facts.nonnegative(base) and facts.positive(ONE - base) and facts.positive(speed)
        return number(0) if shrinks and t not in set(speed.atoms()) else here

    return fold(rebuild(root, change))


def without_clocks(moves: dict[Node, Node], frozen: Frozen, facts: Facts) -> tuple[dict[Node, Node], list[str]]:
    """The moves with the states that no gradient reaches at what they tend to; and those that never change."""
    table: dict[Node, Node] = {}
    for clock in frozen.clocks:
        (a,) = facts.normal(clock).atoms()
        p = facts.normal(moves[clock])
        rest = _without(p, a)
        factor = (p - rest) * single(a, -1)
        if p == single(a):
            table[clock] = leaf("free", clock.name, REAL)
        elif rest.zero and facts.nonnegative(factor) and facts.positive(ONE - factor):
            table[clock] = number(0)
        else:
            raise ForEver(f"{clock.name} changes with t for ever")
    kept = [clock.name for clock, value in table.items() if value.role == "free"]
    return {x: fold(substitute(v, table)) for x, v in moves.items() if x not in table}, kept


def _without(p: Polynomial, a: Atom) -> Polynomial:
    """The terms that do not have `a`."""
    return p.replace(lambda b: ZERO if b is a else None)


__all__ = ["ForEver", "limit", "resting", "without_clocks"]
