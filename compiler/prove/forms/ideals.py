"""Polynomials with packed monomials, and what equations make of them.

A monomial is one whole number, a field of bits for each variable, the youngest variable in front: products add the
numbers, and their order is the lexicographic one, in which roots, quotients and absolute values are replaced by what
they stand for. Coefficients are fractions, or floating-point numbers where only a guess is wanted.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from dotopt.compiler.prove.forms.clauses import Foreign
from dotopt.compiler.prove.terms import Monomial, Terms

BITS = 12
Packed = dict[int, Any]  # coefficients by monomial

MOST_PAIRS, MOST_TERMS, MOST_STEPS = 24, 40, 3000


class Ring:
    """The variables of one question, the oldest first."""

    def __init__(self, variables: Iterable[str]) -> None:
        self.names = list(variables)
        self.place = {name: BITS * i for i, name in enumerate(self.names)}
        self.guard = sum(1 << (BITS * (i + 1) - 1) for i in range(len(self.names)))
        self.field = (1 << BITS) - 1

    def packed(self, p: Terms) -> Packed:
        """The polynomial with packed monomials; raises `Foreign` for powers that do not fit."""
        if any(not 0 <= power < 1 << (BITS - 3) for m in p for _, power in m):
            raise Foreign("a power that is negative or too large")
        return {sum(power << self.place[a] for a, power in m): c for m, c in p.items()}

    def powers(self, m: int) -> list[int]:
        """The power of each variable."""
        return [(m >> (BITS * i)) & self.field for i in range(len(self.names))]

    def monomial(self, m: int) -> Monomial:
        """With names again, as certificates have them."""
        return tuple(sorted((name, e) for name, e in zip(self.names, self.powers(m), strict=True) if e))

    def terms(self, p: Packed) -> Terms:
        """The polynomial with names again."""
        return {self.monomial(m): c for m, c in p.items()}

    def divides(self, d: int, m: int) -> bool:
        """Whether no power in d is above that in m."""
        return ((m | self.guard) - d) & self.guard == self.guard

    def largest(self, monomials: Iterable[int]) -> int:
        """The largest power of each variable."""
        best = [0] * len(self.names)
        for m in monomials:
            best = [max(a, b) for a, b in zip(best, self.powers(m), strict=True)]
        return self.code(best)

    def unit(self, i: int) -> int:
        """The i-th variable as a monomial."""
        return 1 << (BITS * i)

    def code(self, powers: Iterable[int]) -> int:
        """The monomial with these powers."""
        return sum(e << (BITS * i) for i, e in enumerate(powers))


def times(p: Packed, q: Packed) -> Packed:
    """The product."""
    total: Packed = {}
    for m, c in p.items():
        for n, k in q.items():
            total[m + n] = total.get(m + n, 0) + c * k
    return {m: c for m, c in total.items() if c}


def plus(p: Packed, q: Packed, scale: Any = 1) -> Packed:
    """p + scale * q."""
    total = dict(p)
    for m, c in q.items():
        value = total.get(m, 0) + scale * c
        if value:
            total[m] = value
        else:
            total.pop(m, None)
    return total


Origin = dict[int, Packed]  # Σ multiplier * equation, by the number of the equation


class Ideal:
    """Equations as rules that replace leading monomials, completed a little; each knows of which equations it is made.

    `contradiction` is how they make 1, if they do.
    """

    def __init__(self, ring: Ring, equations: dict[int, Packed]) -> None:
        self.ring = ring
        self.rules: list[tuple[int, Packed, Origin]] = []  # leading monomial with coefficient 1, polynomial, origin
        self.rough: list[tuple[int, Packed]] = []  # the same in floating point, without the leading term
        self.contradiction: Origin | None = None
        waiting: list[tuple[Packed, Origin]] = [(e, {k: {0: Fraction(1)}}) for k, e in equations.items()]
        pairs = 0
        while waiting and self.contradiction is None:
            waiting.sort(key=lambda item: -len(item[0]))
            e, origin = waiting.pop()
            used: Origin = {}
            e = self.reduced(e, used)
            origin = _combined(origin, used, -1)
            if not e:
                continue
            lead = max(e)
            e, origin = _scaled(e, origin, 1 / e[lead])
            if lead == 0:
                self.contradiction = origin
                return
            for other, p, o in self.rules:
                both = ring.largest((lead, other))
                if both == lead + other or pairs >= MOST_PAIRS:
                    continue  # without a common variable nothing new comes of them
                pairs += 1
                up, across = {both - lead: Fraction(1)}, {both - other: Fraction(1)}
                between = plus(times(up, e), times(across, p), -1)
                if len(between) <= MOST_TERMS:
                    theirs = {k: times(across, q) for k, q in o.items()}
                    waiting.append((between, _combined({k: times(up, q) for k, q in origin.items()}, theirs, -1)))
            self.rules.append((lead, e, origin))
            self.rough.append((lead, {m: float(c) for m, c in e.items() if m != lead}))

    def reduced(self, p: Packed, used: Origin | None = None) -> Packed:
        """p with leading monomials replaced; `used` collects how often which equation was subtracted."""
        total, rest = dict(p), Packed()
        for _ in range(MOST_STEPS):
            if not total:
                return rest
            m = max(total)
            c = total.pop(m)
            found = next((rule for rule in self.rules if self.ring.divides(rule[0], m)), None)
            if found is None:
                rest[m] = c
                continue
            lead, e, origin = found
            total = plus(total, {m - lead + n: k for n, k in e.items() if n != lead}, -c)
            if used is not None:
                for k, q in origin.items():
                    used[k] = plus(used.get(k, {}), {m - lead + n: v for n, v in q.items()}, c)
        raise Foreign("replacing goes on for too long")

    def roughly(self, p: Packed) -> Packed:
        """The same in floating point."""
        if not any(self.ring.divides(lead, m) for m in p for lead, _ in self.rough):
            return _cleaned(p)
        total, rest = dict(p), Packed()
        for _ in range(MOST_STEPS):
            if not total:
                return _cleaned(rest)
            m, c = total.popitem()
            for lead, e in self.rough:
                if self.ring.divides(lead, m):
                    for n, k in e.items():
                        total[m - lead + n] = total.get(m - lead + n, 0.0) - c * k
                    break
            else:
                rest[m] = rest.get(m, 0.0) + c
        raise Foreign("replacing goes on for too long")


def _cleaned(p: Packed) -> Packed:
    """Without what is left of rounding."""
    least = 1e-11 * max(map(abs, p.values()), default=0.0)
    return {m: c for m, c in p.items() if abs(c) > least}


def _combined(left: Origin, right: Origin, scale: int) -> Origin:
    total = dict(left)
    for k, q in right.items():
        total[k] = plus(total.get(k, {}), q, scale)
    return total


def _scaled(e: Packed, origin: Origin, factor: Fraction) -> tuple[Packed, Origin]:
    return {m: c * factor for m, c in e.items()}, {k: {m: c * factor for m, c in q.items()} for k, q in origin.items()}
