"""The largest learning rate with which a rule is stable on a quadratic, in closed form where there is one.

The step on f = σ/2 θ² is a linear map once the preconditioner is frozen (`frozen`). All roots of its characteristic
polynomial P lie in the open unit disc iff the polynomials of Schur and Cohn are positive; for most rules the first to
fail is P(-1): the iterates begin to alternate. `P(-1) > 0` solved for the learning rate is the closed form; that it
implies the other conditions is asked of z3, first for all knobs, then at their defaults.

Source of the criterion: Jury, "Theory and Application of the z-Transform Method" (1964).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import sympy

from dotopt.compiler.analysis.ranges import number_at
from dotopt.compiler.ir import Hyper, Node, Program, leaf, node, number
from dotopt.compiler.ir.print import infix
from dotopt.compiler.ops.types import REAL
from dotopt.compiler.prove.derivations import closed_form
from dotopt.compiler.prove.derivations.characteristic import Step, felt, hurwitz, numeric
from dotopt.compiler.prove.derivations.conditions import Settled, settled
from dotopt.compiler.prove.derivations.frozen import CURVATURE, Frozen, NotLinear, freeze, same_in_all_steps
from dotopt.compiler.prove.derivations.late import ForEver, limit, resting, without_clocks
from dotopt.compiler.prove.forms.certificates import smt_certificate
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import Atom
from dotopt.compiler.prove.forms.smt import excluded
from dotopt.compiler.prove.fuel import TooLarge, within
from dotopt.compiler.prove.procedures.multipliers import as_polynomial, as_sympy
from dotopt.compiler.prove.procedures.stability import linear_map
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.solver.logic import Not
from dotopt.compiler.prove.statements.intervals import inside
from dotopt.compiler.prove.statements.statement import Unreadable

WORK = 700_000  # of z3 for one question


@dataclass(frozen=True)
class LargestStep:
    """The bound in one case: stable while `rate` < `bound`.

    `status` is `proved` (for all knobs), `proved at the defaults` (there exactly, elsewhere the bound is necessary),
    `numeric` (`number` only, at the defaults and σ = 1) or `none`, with the reason. `curvature` says what σ is, `where`
    under which conditions on the knobs this holds.
    """

    status: str
    rate: str = ""
    sigma: sympy.Symbol | None = None  # the letter of the curvature that the rule feels
    bound: sympy.Expr | None = None
    default: sympy.Expr | None = None  # the bound at the default knobs, a function of σ
    number: float | None = None
    where: tuple[str, ...] = ()
    curvature: str = "curvature of f"
    frozen: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str = ""
    certificate: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """The bound in the spelling of `.opt` files; empty if there is none."""
        return closed_form.text(self.bound, self.sigma) if self.bound is not None else ""

    @property
    def latex(self) -> str:
        """The bound in LaTeX; empty if there is none."""
        return closed_form.latex(self.bound, self.sigma) if self.bound is not None else ""

    @property
    def at_defaults(self) -> str:
        """The bound at the default knobs, with decimals."""
        if self.default is not None:
            return closed_form.decimals(self.default, self.sigma)
        return f"{self.number:.6g}" if self.number is not None else ""


def largest_steps(program: Program, work: int = WORK) -> Iterator[LargestStep]:
    """The bound for each way in which the conditions of the rule fall, that of the default knobs first.

    >>> from dotopt.compiler.text.library import Library
    >>> from dotopt.compiler.lower import Static, lower
    >>> plain, momentum = largest_steps(lower(Library().file("SGD"), Static(options={"nesterov": False})))
    >>> plain.text, momentum.text, momentum.where, momentum.curvature
    ('2/σ', '2*(1 + μ)/((1 - τ)*σ)', ('μ ≠ 0', 'μ < 1', 'τ < 1'), 'curvature of f + λ')
    """
    if program.kind != "optimizer":
        yield LargestStep("none", reason="it is no optimizer")
        return
    rate = next((h for h in program.hypers if h.keyword == "lr"), None)
    if rate is None:
        yield LargestStep("none", reason="it has no learning rate")
        return
    for case in settled(program):
        try:
            with within(4_000_000):
                frozen = freeze(case.program)
                if not same_in_all_steps(case, frozen):
                    raise Unreadable("the step is another one every so often")
                try:
                    yield _largest(case, rate, frozen, work)
                except ForEver:
                    case = resting(case)
                    yield _largest(case, rate, freeze(case.program), work)
        except NotLinear as error:
            yield LargestStep("none", rate.name, where=case.where, reason=str(error))
        except (Unreadable, Unsupported, TooLarge, ZeroDivisionError, OverflowError) as error:
            yield LargestStep("none", rate.name, where=case.where, reason=f"not found: {error}")


def _largest(case: Settled, rate: Hyper, frozen: Frozen, work: int) -> LargestStep:
    free = {h for root in frozen.moves.values() for h in root.walk() if h.role == "free"} | {CURVATURE}
    free |= {leaf("free", clock.name, REAL) for clock in frozen.clocks} | {_felt_leaf(case.program)}
    positive = [leaf("hyper", rate.name, rate.type), *sorted(free, key=lambda h: h.name)]
    premises = [*interior(case.program), *case.premises, *(node("gt", x, number(0)) for x in positive)]
    held = Task(tuple(premises), case.program)
    moves = {x: limit(v, held.facts) for x, v in frozen.moves.items()}
    late = any(moves[x] is not frozen.moves[x] for x in moves)
    moves, kept = without_clocks(moves, frozen, held.facts)
    step, curvature, alone = felt(_step(moves, rate, held, case.program), frozen)
    if step.sigma not in step.matrix.free_symbols:
        raise NotLinear("no gradient reaches the parameter")
    notes = [f"frozen: {', '.join(frozen.factors.values())}"] * bool(frozen.factors)
    notes += [f"unless {text}" for text in case.unless]
    notes += [f"clipping at rest: {', '.join(frozen.inactive)}"] * bool(frozen.inactive)
    notes += ["t large, so that terms β^t are gone"] * late + [f"{name} > 0" for name in kept]
    notes += ["on one coordinate: the frozen numbers do not act as one"] * (not alone)
    values = {h.name: number_at(h.default, 1, case.program) for h in case.program.hypers if h.default is not None}
    values |= _chosen(case)
    at = {x: sympy.Rational(str(values[str(x)])) for x in step.symbols if values.get(str(x)) is not None}
    threshold = numeric(step, at)
    if threshold is None:
        raise NotLinear("the step does not lose its stability at any rate between 1e-4 and 1e5")
    found = _closed_form(step, premises, case, at, threshold, work)
    common = LargestStep(
        "numeric", rate.name, step.sigma, None, None, threshold, case.where, curvature, frozen.named, tuple(notes)
    )
    if found is None:
        return common
    status, bound, certificate, more = found
    return replace(
        common,
        status=status,
        bound=bound,
        default=sympy.factor(bound.subs(at)),
        where=(*case.where, *more),
        certificate=certificate,
    )


def _step(moves: dict[Node, Node], rate: Hyper, held: Task, program: Program) -> Step:
    """The linear map of the moves, on symbols."""
    linear = linear_map(moves, held)
    symbols: dict[Atom, sympy.Symbol] = {}
    matrix = sympy.Matrix([[as_sympy(p, symbols) for p in row] for row in linear.matrix])
    if any(a.kind != "leaf" or a.key[0] in ("time", "param") for a in symbols):
        raise ForEver("the step changes with t for ever")
    named = {x: sympy.Symbol(repr(a)) for a, x in symbols.items()}
    (new,) = held.facts.normal(_felt_leaf(program)).atoms()
    sigma = sympy.Symbol(repr(new))
    atoms = {sympy.Symbol(repr(a)): a for a in symbols} | {sigma: new}
    return Step(linear.names, matrix.subs(named, simultaneous=True), sympy.Symbol(rate.name), atoms, sigma)


def _felt_leaf(program: Program) -> Node:
    """The curvature that the rule feels: that of f, times what is frozen; named σ, unless the file has a σ."""
    taken = {h.name for h in program.hypers}
    return leaf("free", next(name for name in ("σ", "ς", "curvature") if name not in taken), REAL)


def interior(program: Program) -> list[Node]:
    """The knobs in their ranges; those whose default is inside a closed range are taken inside."""
    found = []
    for h in program.hypers:
        if not h.indices:
            found += inside(leaf("hyper", h.name, h.type), h.interval)
            default = number_at(h.default, 1, program) if h.default is not None else None
            if h.interval.low is not None and h.interval.low.value == 0 and default:
                found.append(node("gt", leaf("hyper", h.name, h.type), number(0)))
    return found


def _chosen(case: Settled) -> dict[str, float]:
    """A value for each knob whose default the premises of the case exclude."""
    chosen = {}
    for premise in case.premises:
        if premise.op == "not" and premise.args[0].op == "eq" and premise.args[0].args[0].role == "hyper":
            name = premise.args[0].args[0].name
            default = next(h.default for h in case.program.hypers if h.name == name)
            if default is not None and default.value == premise.args[0].args[1].value:
                chosen[name] = 0.9 if default.value == 0 else float(default.value or 0) / 2
    return chosen


# ---- the closed form -------------------------------------------------------------------------------------------------


def _closed_form(
    step: Step,
    premises: list[Node],
    case: Settled,
    at: Mapping[sympy.Symbol, sympy.Rational],
    threshold: float,
    work: int,
) -> tuple[str, sympy.Expr, dict[str, Any], tuple[str, ...]] | None:
    """How far it is proved, the bound, the certificate, and premises that were added; None if there is no such bound.

    The conditions are tried one by one: the rate at which one vanishes is the bound if it implies all others.
    """
    c = step.characteristic
    read = set().union(*(ck.free_symbols for ck in c))
    knobs = {h.name: leaf("hyper", h.name, h.type) for h in case.program.hypers if sympy.Symbol(h.name) in read}
    knobs.pop(step.rate.name, None)
    default = {str(x): Fraction(int(v.p), int(v.q)) for x, v in at.items()}
    below = [
        node("lt", x, number(1)) for name, x in knobs.items() if 0 <= default.get(name, 0) < 1 <= _high(name, case)
    ]
    exact = [node("eq", x, number(default[name])) for name, x in knobs.items() if name in default]
    likely = [x for x in hurwitz(c) if _vanishes_at(x, step, at, threshold)]
    for status, extra in (("proved", below), ("proved at the defaults", exact)):
        found = _proved(c, likely, step, [*premises, *extra], case.program, work)
        if found is None:
            continue
        added = extra if status == "proved" else []
        for one in list(added):
            without = [x for x in added if x is not one]
            fewer = _proved(c, likely, step, [*premises, *without], case.program, work)
            if fewer is not None:
                added, found = without, fewer
        return status, *found, tuple(infix(p) for p in added)
    return None


def _vanishes_at(
    condition: sympy.Expr, step: Step, at: Mapping[sympy.Symbol, sympy.Rational], threshold: float
) -> bool:
    """Whether the condition, linear in the rate, vanishes at the threshold that was found by numbers."""
    bound = _solved(condition, step)
    if bound is None:
        return False
    top, bottom = (x.subs(at).subs(step.sigma, 1) for x in bound)
    return bool(bottom != 0 and abs(float(top / bottom) / threshold - 1) < 1e-6)


def _proved(
    c: list[sympy.Expr], likely: list[sympy.Expr], step: Step, premises: list[Node], program: Program, work: int
) -> tuple[sympy.Expr, dict[str, Any]] | None:
    """The bound at which one of the `likely` conditions vanishes, and the certificate that it implies all others."""
    facts = Task(tuple(premises), program).facts
    turn = -1 if facts.positive(as_polynomial(-c[-1], step.atoms)) else 1
    conditions = hurwitz([turn * ck for ck in c])
    for condition in (sympy.expand(turn * x) for x in likely):
        top, bottom = _solved(condition, step) or (condition, condition)
        sides = [turn * c[-1], top, bottom]
        if not all(facts.positive(as_polynomial(x, step.atoms)) for x in sides):
            continue
        parts = []
        for other in conditions:
            if other != condition:
                parts.append(_implied(condition, other, step, facts, work))
                if parts[-1] is None:
                    break
        else:
            certificate = {
                "kind": "stability",
                "states": list(step.names),
                "characteristic": [str(ck) for ck in c],
                "parts": [*parts, *(_sign(x, step, facts) for x in sides)],
            }
            return sympy.factor(top / bottom), certificate
    return None


def _high(name: str, case: Settled) -> float:
    """The upper end of the range of a knob that may reach it."""
    interval = next(h.interval for h in case.program.hypers if h.name == name)
    if interval.high is None:
        return float("inf")
    return 0.0 if interval.open_high else float(interval.high.value or 0)


def _solved(condition: sympy.Expr, step: Step) -> tuple[sympy.Expr, sympy.Expr] | None:
    """Numerator and denominator of the rate at which the condition vanishes, if it is linear in the rate."""
    p = sympy.Poly(condition, step.rate)
    if p.degree() != 1:
        return None
    return p.coeff_monomial(1), -p.coeff_monomial(step.rate)


def _implied(
    condition: sympy.Expr, other: sympy.Expr, step: Step, facts: Facts, work: int
) -> dict[str, Any] | None:
    """A certificate that the premises and `condition > 0` imply `other > 0`."""
    uses: set[Atom] = set()
    holds, wanted = (facts.smt.compare(as_polynomial(x, step.atoms), ">", uses) for x in (condition, other))
    question = [*facts.assertions(uses)[0], holds, Not(wanted)]
    return smt_certificate(question) if excluded(question, work) else None


def _sign(x: sympy.Expr, step: Step, facts: Facts) -> dict[str, Any]:
    uses: set[Atom] = set()
    positive = facts.smt.compare(as_polynomial(x, step.atoms), ">", uses)
    return smt_certificate([*facts.assertions(uses)[0], Not(positive)])


__all__ = ["LargestStep", "interior", "largest_steps"]
