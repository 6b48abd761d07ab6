"""Running means that dominate others: m² <= C²*v for every sequence of gradients, found from how both are made.

    m' = a*m + P,  v' = c*v + Q,  P² = k*Q       C² = k*c/(c - a²)  where a² < c      (Cauchy and Schwarz)
    n' = max(c*n, |P| + …),  m' = a*m + b*P       C  = b*c/(c - a)   where a < c
    v' = c*v + Q,  P² = k*Q                       C² = k             for P, the gradient itself

That it is so is a claim for the engine, by induction; here it is only written down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from dotopt.compiler.ir import Node, Program, State, leaf
from dotopt.compiler.ir.print import infix
from dotopt.compiler.prove.derivations import closed_form
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.normal import atoms_below
from dotopt.compiler.prove.forms.polynomial import ZERO, Atom, Polynomial, single, single_product
from dotopt.compiler.prove.procedures.multipliers import as_sympy

Knobs = Mapping[sympy.Symbol, sympy.Rational]  # their defaults


@dataclass(frozen=True)
class Dominated:
    """`numerator` is at most `constant` times the next value of `by`, or the root of it.

    `value` is the constant on symbols; `where` is the condition on knobs. `claim` says it of all steps, and `premise`
    of the next values.
    """

    numerator: Node
    by: State
    constant: str
    value: sympy.Expr
    where: str
    claim: str
    premise: str


def dominated(program: Program, facts: Facts, knobs: Knobs) -> Iterator[Dominated]:
    """The pairs of a rule."""
    tensors = [s for s in program.states if s.next is not None and s.type.axes and not s.indices]
    for by in tensors:
        found = _largest(by, facts) or _square(by, facts)
        if found is None:
            continue
        c, source, power = found
        for m in tensors:
            pair = _pair(m, by, c, source, power, facts, knobs) if m is not by else None
            if pair is not None:
                yield pair
        if power == 2:
            yield from _gradients(program, by, source, facts, knobs)


def _square(by: State, facts: Facts) -> tuple[sympy.Expr, Polynomial, int] | None:
    """c and Q of v' = c*v + Q."""
    assert by.next is not None
    split = _recurrence(facts.normal(by.next), by, facts)
    (here,) = facts.normal(leaf("state", by.name, by.type)).atoms()
    if split is None or split[1].zero or here in {b for a in split[1].atoms() for b in atoms_below(single(a))}:
        return None
    return (*split, 2)


def _largest(by: State, facts: Facts) -> tuple[sympy.Expr, Polynomial, int] | None:
    """c and P of n' = max(c*n, |P| + …)."""
    assert by.next is not None
    if by.next.op != "max":
        return None
    sizes = [here for a in by.next.args for here in (a, *a.args) if here.op == "abs"]
    kept = [a for a in by.next.args if leaf("state", by.name, by.type) in set(a.walk())]
    if len(sizes) != 1 or len(kept) != 1:
        return None
    split = _recurrence(facts.normal(kept[0]), by, facts)
    return (split[0], facts.normal(sizes[0].args[0]), 1) if split is not None and split[1].zero else None


def _recurrence(p: Polynomial, state: State, facts: Facts) -> tuple[sympy.Expr, Polynomial] | None:
    """The number before the state, and the rest; None if it is no number."""
    (here,) = facts.normal(leaf("state", state.name, state.type)).atoms()
    factor, rest = ZERO, ZERO
    for monomial, c in p.terms:
        if here in [a for a, _ in monomial]:
            factor = factor + single_product(tuple(f for f in monomial if f[0] is not here)) * c
        else:
            rest = rest + single_product(monomial) * c
    return (named(factor), rest) if factor.constant != 0 and _numbers(factor) else None


def _numbers(p: Polynomial) -> bool:
    """Whether only knobs occur."""
    return all(
        (a.kind == "leaf" and a.key[0] == "hyper") or (a.kind == "inverse" and _numbers(a.key[0])) for a in p.atoms()
    )


def _pair(
    m: State, by: State, c: sympy.Expr, source: Polynomial, power: int, facts: Facts, knobs: Knobs
) -> Dominated | None:
    assert m.next is not None
    split = _recurrence(facts.normal(m.next), m, facts)
    if split is None:
        return None
    a, added = split
    k = _ratio(added**power, source)
    if k is None:
        return None
    top, bottom = map(closed_form.text, _positive(k, knobs))
    speed, faster = closed_form.text(a**power), closed_form.text(c)
    room = f"1 - {speed}" if faster == "1" else f"1 - {speed}/{faster}"
    size = f"{m.name}^2" if power == 2 else f"|{m.name}|"
    claim = f"{_factor(bottom)}*({faster} - {speed})*{size} <= {_factor(top)}*{_factor(faster)}*{by.name}"
    premise = claim.replace(size, size.replace(m.name, f"{m.name}'")) + "'"
    constant = f"{_factor(top)}/({_factor(bottom)}*({room}))" if bottom != "1" else f"{_factor(top)}/({room})"
    value = k / (1 - a**power / c)
    if power == 2:
        constant, value = f"√({constant})", sympy.sqrt(value)
    return Dominated(m.next, by, constant, value, f"{speed} < {faster}", claim, premise)


def _gradients(program: Program, by: State, source: Polynomial, facts: Facts, knobs: Knobs) -> Iterator[Dominated]:
    """What is squared in v' itself, where the step reads it."""
    assert by.next is not None
    for here in {h.args[0] for h in by.next.walk() if h.op == "pow" and h.args[1].value == 2}:
        k = _ratio(facts.normal(here) ** 2, source)
        if k is not None:
            top, bottom = map(closed_form.text, _positive(k, knobs))
            said = f"{_factor(bottom)}*({infix(here, program.names)})^2 <= {_factor(top)}*{by.name}'"
            constant = f"√({top})" if bottom == "1" else f"√({_factor(top)}/{_factor(bottom)})"
            yield Dominated(here, by, constant, sympy.sqrt(k), "", "", said)


def _positive(k: sympy.Expr, knobs: Knobs) -> tuple[sympy.Expr, sympy.Expr]:
    """Numerator and denominator, both positive where the knobs are as usual."""
    top, bottom = sympy.fraction(sympy.factor(k))
    turn = -1 if bottom.subs(knobs) < 0 else 1
    return sympy.factor(turn * top), sympy.factor(turn * bottom)


def _factor(text: str) -> str:
    """A value as a factor."""
    return text if " " not in re.sub(r"\([^()]*\)", "", text) else f"({text})"


def _ratio(p: Polynomial, q: Polynomial) -> sympy.Expr | None:
    """The number k with p = k*q, if there is one."""
    rows = [_by_monomial(x) for x in (p, q)]
    if not rows[1] or set(rows[0]) != set(rows[1]):
        return None
    ratios = {sympy.factor(named(rows[0][m]) / named(rows[1][m])) for m in rows[1]}
    return ratios.pop() if len(ratios) == 1 else None


def _by_monomial(p: Polynomial) -> dict[Any, Polynomial]:
    rows: dict[Any, Polynomial] = {}
    for monomial, c in p.terms:
        inside = tuple(f for f in monomial if not _numbers(single_product((f,))))
        outside = single_product(tuple(f for f in monomial if f not in inside)) * c
        rows[inside] = rows.get(inside, ZERO) + outside
    return rows


def named(p: Polynomial) -> sympy.Expr:
    """A polynomial on symbols that are called as its atoms are written."""
    symbols: dict[Atom, sympy.Symbol] = {}
    total = as_sympy(p, symbols)
    written = {v: sympy.Symbol(re.sub(r"pow\((\w+), (\w+)\)", r"\1^\2", repr(a))) for a, v in symbols.items()}
    return total.subs(written, simultaneous=True)


__all__ = ["Dominated", "dominated", "named"]
