"""How a step changes the norm of the weights: ‖w'‖² = A² ‖w‖² + ‖R‖² for w' = A w + R, where R is orthogonal to w.

Rules that project their step (AdamP, SGDP) have it by themselves; plain gradient steps have it on scale-invariant
objectives, where ⟨w, ∇f(w)⟩ = 0 (Euler). Without decay A = 1, and the norm never shrinks.

Source: Heo et al., "AdamP", arXiv:2006.08217, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dotopt.compiler.analysis.ranges import number_at
from dotopt.compiler.ir import Node, Program, leaf, node, number, substitute
from dotopt.compiler.ir.print import infix
from dotopt.compiler.prove.derivations.conditions import LATE, Settled, decided, each_way, named, words
from dotopt.compiler.prove.derivations.guards import guards
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.fuel import UNITS, TooLarge
from dotopt.compiler.prove.outcome import Proved, all_of
from dotopt.compiler.prove.procedures.decide import decide
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.intervals import inside
from dotopt.compiler.prove.statements.simplify import fold
from dotopt.compiler.rewrite import simplify

MOST_CASES = 10


@dataclass(frozen=True)
class WeightNorm:
    """The identity, as text in the names of the file; `grows` says whether the norm can never shrink."""

    text: str
    where: tuple[str, ...]
    assumptions: tuple[str, ...]
    grows: bool
    certificate: Mapping[str, Any]


def weight_norms(program: Program, fuel: float = UNITS) -> Iterator[WeightNorm]:
    """The identities that hold, one for each outcome of the conditions on the weights and gradients.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import Static, lower
    >>> file = Library().file("SGD")
    >>> found = next(weight_norms(lower(file, Static(options={"nesterov": False}))))
    >>> found.text, found.assumptions
    ("‖θ'‖² == ‖θ‖² + ‖η*g‖²", ('⟨θ, ∇f(θ)⟩ == 0: f does not change with the scale of θ',))
    """
    if program.kind != "optimizer" or len(program.params) != 1:
        return
    seen = set()
    for case in _cases(program):
        for knobs in _resting(case):
            chosen = case.program.mapped(lambda root, knobs=knobs: fold(substitute(root, knobs)))  # type: ignore[misc]
            found = _identity(chosen, fuel)
            if found is None:
                continue
            if found.text not in seen:
                seen.add(found.text)
                held = (f"{k.name} == 0" for k in knobs if k in {h for root in case.program.roots for h in root.walk()})
                yield replace(found, where=tuple(dict.fromkeys((*case.where, *held))))
            break


def _cases(program: Program) -> Iterator[Settled]:
    """The program with its conditions decided in every way; those on the data hold first."""

    def split(case: Settled, condition: Node, waiting: list[Settled]) -> list[Settled]:
        late = number_at(condition, LATE, program)
        roles = {here.role for here in condition.walk() if here.op == "leaf"}
        if late is not None and "hyper" not in roles:
            return [decided(case, condition, bool(late), quiet=True), *waiting]
        holds, fails = (decided(case, condition, truth) for truth in (True, False))
        return [replace(holds, where=(*case.where, words(condition, program))), fails, *waiting]

    return each_way(program, split, MOST_CASES)


def _resting(case: Settled) -> list[dict[Node, Node]]:
    """Nothing; guards against division by 0 at 0; and all knobs at 0 that rest there and that the case leaves open."""
    guarding = {leaf("hyper", h.name, h.type): number(0) for h in guards(case.program)}
    about = {here for premise in case.premises for here in premise.walk()}
    zeros = [h for h in case.program.hypers if h.default is not None and h.default.value == 0]
    knobs = {leaf("hyper", h.name, h.type): number(0) for h in zeros}
    return [{}, guarding, guarding | {knob: zero for knob, zero in knobs.items() if knob not in about}]


def _identity(program: Program, fuel: float) -> WeightNorm | None:
    name = program.params[0].name
    w = leaf("param", name, program.params[0].type)
    scale, rest = _split(program.next[name], w)
    if rest is None or scale is None:
        return None
    scale, names = simplify(scale), named(program)
    shown = rest.args[0] if rest.op == "neg" else rest
    squared = "" if scale.value == 1 else f"({infix(scale, names)})²*"
    premises = [p for h in program.hypers if not h.indices for p in inside(leaf("hyper", h.name, h.type), h.interval)]
    own = frozenset(here for root in program.roots for here in root.walk())
    zero = node("eq", _dot(w, rest), number(0))
    whole = node("add", node("mul", node("mul", scale, scale), _dot(w, w)), _dot(rest, rest))
    square = node("eq", _dot(program.next[name], program.next[name]), whole)
    gradient = [
        here for here in rest.walk() if here.op == "oracle" and here.attrs[1] == "gradient" and here.args[0] is w
    ]
    attempts: list[tuple[list[Node], tuple[str, ...]]] = [([], ())]
    if gradient:
        euler = node("eq", _dot(w, gradient[0]), number(0))
        attempts.append(([euler], (f"⟨{name}, {gradient[0]!r}⟩ == 0: f does not change with the scale of {name}",)))
    for more, assumptions in attempts:
        try:
            task = Task((*premises, *more), program, own, fuel=fuel, refute=False)
            first = decide(zero, task)
            if not isinstance(first, Proved):
                continue
            known = Task((*premises, *more, zero), program, own, fuel=fuel, refute=False)
            second = decide(square, known)
        except (Unsupported, ArithmeticError, TooLarge):
            continue
        outcome = all_of((first, second))
        if isinstance(outcome, Proved):
            return WeightNorm(
f"‖{name}'‖² == {squared}‖{name}‖² + ‖{infix(shown, names)}‖²",
                (), (*assumptions, *outcome.assumptions), scale.value == 1, outcome.certificate,
            )  # fmt: skip
    return None


def _split(root: Node, w: Node) -> tuple[Node | None, Node | None]:
    """w' = A w - R: the scalar A, and R; None where w does not stand as a term of its own."""
    match root.op:
        case "sub":
            scale, rest = _factor(root.args[0], w), root.args[1]
            return scale, rest
        case "add":
            for x, y in (root.args, root.args[::-1]):
                scale = _factor(x, w)
                if scale is not None:
                    return scale, node("neg", y)
    return None, None


def _factor(term: Node, w: Node) -> Node | None:
    if term is w:
        return number(1)
    if term.op == "mul":
        for x, y in (term.args, term.args[::-1]):
            if y is w and x.type.scalar:
                return x
    return None


def _dot(x: Node, y: Node) -> Node:
    return node("sum", node("mul", x, y), attrs=(x.type.axes, False))


__all__ = ["WeightNorm", "weight_norms"]
