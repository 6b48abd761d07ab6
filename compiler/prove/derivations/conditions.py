"""The conditions of a step, decided in every way: by the knobs, by the data, by what fires every so often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dotopt.compiler.analysis.intervals import assumptions, interval
from dotopt.compiler.analysis.ranges import number_at
from dotopt.compiler.ir import Node, Program, boolean, node, substitute
from dotopt.compiler.ir.print import infix
from dotopt.compiler.prove.statements.simplify import fold

LATE = 10**6  # a step at which powers β^t are gone
MOST_CASES = 8  # of a step near a minimum


@dataclass(frozen=True, slots=True)
class Settled:
    """A program whose conditions are decided: `premises` and `where` are those on its knobs, `unless` the others."""

    program: Program
    premises: tuple[Node, ...] = ()
    where: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    between: Program | None = None  # the steps in which what fires every so often does not


def each_way(
    program: Program, split: Callable[[Settled, Node, list[Settled]], list[Settled]], most: int
) -> Iterator[Settled]:
    """The program with its conditions decided, one after another; `split` says into which cases, and in what order."""
    waiting, found = [Settled(program)], 0
    while waiting and found < most:
        case = waiting.pop(0)
        condition = undecided(case.program)
        if condition is None:
            found += 1
            yield case
        else:
            waiting = split(case, condition, waiting)


def settled(program: Program, usual_only: bool = False) -> Iterator[Settled]:
    """The cases of a late step; the first one is that of the default knobs, for the usual outcome of each condition."""

    def split(case: Settled, condition: Node, waiting: list[Settled]) -> list[Settled]:
        late = 1.0 if condition.op == "fires" else number_at(condition, LATE, program)
        roles = {here.role for here in condition.walk() if here.op == "leaf"}
        alone = condition.op == "fires" or roles <= {"time", "rank", "option", "axis"}
        if (alone or usual_only) and late is not None:
            usual = decided(case, condition, bool(late), quiet=alone)
            if condition.op == "fires":
                still = replace(case, program=case.between or case.program, between=None)
                usual = replace(usual, between=decided(still, condition, False, quiet=True).program)
            return [usual, *waiting]
        if late is None:  # a condition on the data: where it does not hold, if it is not that something differs from 0
            return [decided(case, condition, _differs_from_zero(condition, case.program)), *waiting]
        first, other = (decided(case, condition, truth) for truth in (bool(late), not late))
        return [first, *waiting, other]

    return each_way(program, split, MOST_CASES)


def _differs_from_zero(condition: Node, program: Program) -> bool:
    """Whether it says of what is never negative that it is positive."""
    if condition.op != "gt" or condition.args[1].value != 0:
        return False
    return interval(condition.args[0], assumptions(program)).low >= 0


def undecided(program: Program) -> Node | None:
    for root in (*program.next.values(), *(s.next for s in program.states if s.next is not None)):
        for here in root.walk():
            if here.op == "select" and here.args[0].op != "bool":
                return here.args[0]
    return None


def decided(case: Settled, condition: Node, truth: bool, quiet: bool = False) -> Settled:
    premise = condition if truth else node("not", condition)
    knobs = {here.role for here in condition.walk() if here.op == "leaf"} <= {"hyper", "time"}
    table = {condition: boolean(truth)}
    if truth and condition.op == "eq" and condition.args[0].role == "hyper" and condition.args[1].value is not None:
        table[condition.args[0]] = condition.args[1]

    def put(root: Node) -> Node:
        return fold(substitute(fold(substitute(root, table)), table))

    program = case.program.mapped(put)
    case = replace(case, between=None if case.between is None else case.between.mapped(put))
    if quiet:
        return replace(case, program=program)
    if not knobs:
        return replace(case, program=program, unless=(*case.unless, words(condition, case.program)))
    where = (*case.where, words(condition, case.program, truth))
    return replace(case, program=program, premises=(*case.premises, premise), where=where)


def words(condition: Node, program: Program, truth: bool = True) -> str:
    """The condition as it is written in the file if that is short, else in terms of what it is made of."""
    place = program.places.get(condition)
    text = place.text if place is not None else ""
    if not text or len(text) > 40 or "\n" in text:
        text = infix(condition, {k: v for k, v in named(program).items() if k is not condition})
    text = text if len(text) <= 60 else f"{text[:57]}…"
    if truth:
        return text
    opposite = {"==": "≠", ">": "≤", "<": "≥"}
    parts = text.split(" ")
    if len(parts) == 3 and parts[1] in opposite:
        return f"{parts[0]} {opposite[parts[1]]} {parts[2]}"
    return f"not ({text})"


def named(program: Program) -> dict[Node, str]:
    """The names of the file for what is neither a number nor a leaf."""
    return {here: name for here, name in program.names.items() if here.args and here.op != "leaf"}


__all__ = ["LATE", "Settled", "decided", "each_way", "named", "settled", "undecided", "words"]
