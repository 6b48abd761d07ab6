"""The guards of a rule: knobs that keep a quotient or a root away from 0, found by their place in the equations.

    m/(√v + ε)      max(‖w‖, ε)      v' = β v + (1 - β) g² + ε  where a step divides by √v      L + ε I

A guard is added to, or compared by `max` with, something that a step divides by or takes a power or logarithm of; no
name makes it one. What is added to numbers alone, as in 1/(1 + η λ), guards nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from dotopt.compiler.ir import Hyper, Node, Program, leaf

THROUGH = {"neg", "abs", "sqrt", "pow", "mul", "div", "select", "transpose", "stop", "cast", "min", "sub"}
BELOW = {"log": 0, "inverse": 0, "div": 1, "matrix_power": 0}  # the argument that must not be 0
NUMBERS = {"hyper", "time", "axis", "rank", "option"}  # leaves without data


def guards(program: Program) -> tuple[Hyper, ...]:
    """The knobs that are guards, in the order of their declaration.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import Static, lower
    >>> [h.name for h in guards(lower(Library().file("AdamW"), Static()))]
    ['ε']
    """
    found = {part for root in _denominators(program) for part in _parts(root, program)}
    return tuple(h for h in program.hypers if leaf("hyper", h.name, h.type) in found)


def _denominators(program: Program) -> Iterator[Node]:
    """What must not be 0 for a step to have a value."""
    for root in program.roots:
        for here in root.walk():
            if here.op in BELOW:
                yield here.args[BELOW[here.op]]
            elif here.op == "pow" and here.args[1].value is not None and here.args[1].value < 0:
                yield here.args[0]


def _parts(root: Node, program: Program) -> Iterator[Node]:
    """The knobs that a sum or maximum below a quotient adds to data, states that stand there included."""
    moves = {s.name: [x for x in (s.next, s.start) if x is not None] for s in program.states}
    stack, seen = [root], {root}
    while stack:
        here = stack.pop()
        if here.op in ("add", "max"):
            for one, other in (here.args, here.args[::-1]):
                knob = _knob(one)
                if knob is not None and _data(other):
                    yield knob
        inside = here.args if here.op in THROUGH or here.op in ("add", "max") else ()
        for child in (*inside, *(moves.get(here.name, ()) if here.role == "state" else ())):
            if child not in seen:
                seen.add(child)
                stack.append(child)


def _knob(here: Node) -> Node | None:
    """The knob that a term is: alone, squared, times the identity, or times a number that a step computes."""
    match here.op:
        case "leaf" if here.role == "hyper":
            return here
        case "pow" if here.args[1].value is not None:
            return _knob(here.args[0])
        case "mul":
            for one, other in (here.args, here.args[::-1]):
                knob = _knob(one)
                if knob is not None and (other.op in ("eye", "ones") or _computed(other) or _knob(other) is knob):
                    return knob
    return None


def _computed(here: Node) -> bool:
    """Whether this is one number that a step computes from data."""
    return here.op != "leaf" and not here.type.axes and _data(here)


def decays(program: Program) -> tuple[Hyper, ...]:
    """The knobs that multiply the parameter in a sum with an answer of the objective: ∇f(θ) + λ θ."""
    found = {
        factor
        for root in program.roots
        for here in root.walk()
        if here.op == "add" and any(x.op == "oracle" for x in here.args)
        for term in here.args
        if term.op == "mul" and any(x.role == "param" for x in term.args)
        for factor in term.args
    }
    return tuple(h for h in program.hypers if leaf("hyper", h.name, h.type) in found)


def _data(here: Node) -> bool:
    """Whether a value hangs on parameters, states, inputs or answers."""
    return any(x.op == "oracle" or (x.op == "leaf" and x.role not in NUMBERS) for x in here.walk())


__all__ = ["decays", "guards"]
