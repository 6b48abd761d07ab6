"""Inequalities that contradict each other: a sum of their products that is zero although one of them is positive.

    Σ c * product of inequalities * square  +  Σ multiplier * equation  =  0        c > 0, one product without squares,
                                                                                    of strict inequalities

(Positivstellensatz of low degree.) Which products are needed is found in floating point, by the method of Lawson and
Hanson for least squares with signs, Solving Least Squares Problems, 1974, chapter 23; their coefficients are then
solved for in fractions, and the sum is multiplied out again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from sympy.polys.rings import PolyElement, PolyRing

from dotopt.compiler.prove.forms.clauses import Foreign, Formula
from dotopt.compiler.prove.forms.ideals import Ideal, Origin, Packed, Ring, plus, times
from dotopt.compiler.prove.terms import rows

LEVELS = ((0, 0), (60, 0), (250, 0), (1500, 0), (600, 1))  # products, and how far powers may pass those that occur
MOST_TERMS = 60  # of a product
MOST_MONOMIALS, MOST_PAIRED = 12, 6  # that are squared
TINY = 1e-9
GCD = 300  # work for each term of a greatest common divisor
STRICT = -1  # the row that counts products without squares of strict inequalities


@dataclass(frozen=True)
class Column:
    """A product, in floating point: the numbers of its inequalities, and the polynomial whose square is a factor."""

    value: Packed
    strict: bool
    factors: tuple[int, ...]
    square: int | None = None


class Work:
    """How much may still be done: roughly the products of two terms, which does not depend on the machine."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, amount: int) -> None:
        """Raises `Foreign` when too much was done."""
        self.left -= amount
        if self.left < 0:
            raise Foreign("more work than a certificate is worth")


def contradiction(
    literals: list[Formula], age: Callable[[str], float], level: int, work: Work
) -> dict[str, Any] | None:
    """How these literals contradict each other, for the checker; None if no sum of this level shows it."""
    try:
        return _Leaf(literals, age, work).proof(level)
    except (Foreign, ValueError, np.linalg.LinAlgError):
        return None


class _Leaf:
    def __init__(self, literals: list[Formula], age: Callable[[str], float], work: Work) -> None:
        self.work = work
        names = {a for _, p in literals for m, _ in p for a, _ in m}
        self.ring = Ring(sorted(names, key=lambda a: (age(a), a)))
        self.relations = [relation for relation, _ in literals]
        self.exact = [self.ring.packed(dict(p)) for _, p in literals]
        self.ideal = Ideal(self.ring, {k: p for k, p in enumerate(self.exact) if self.relations[k] == "="})
        self.squared: list[Packed] = []

    def proof(self, level: int) -> dict[str, Any] | None:
        if self.ideal.contradiction is not None:
            return self._told([(Fraction(1), Column({0: 1.0}, True, ()))], self.ideal.contradiction)
        base: dict[Any, Column] = {}
        for k, p in enumerate(self.exact):
            if self.relations[k] == "=":
                continue
            strict = self.relations[k] == ">"
            q = self.ideal.reduced(p)
            if set(q) <= {0}:
                value = q.get(0, Fraction(0))
                if value < 0 or (value == 0 and strict):
                    constant = [(-value, Column({0: 1.0}, True, ()))] if value else []
                    return self._summed([(Fraction(1), Column({}, strict, (k,))), *constant])
                continue
            key = tuple(sorted(q.items()))
            if key not in base or (strict and not base[key].strict):
                base[key] = Column({m: float(c) for m, c in q.items()}, strict, (k,))
        found = _solved(self._columns(list(base.values()), level), self.work)
        if not found:
            return None
        chosen = self._exactly(found)
        return self._summed(chosen) if chosen is not None else None

    # ---- products --------------------------------------------------------------------------------------------------

    def _columns(self, base: list[Column], level: int) -> list[Column]:
        most, beyond = LEVELS[level]
        monomials = {m for c in base for m in c.value}
        cap = self.ring.code(e + beyond for e in self.ring.powers(self.ring.largest(monomials)))
        seen = {(c.strict, *sorted(c.value.items())) for c in base}

        def admitted(p: Packed, strict: bool = False) -> bool:
            key = (strict, *sorted(p.items()))
            if key in seen or len(p) > MOST_TERMS or not all(self.ring.divides(m, cap) for m in p):
                return False
            seen.add(key)
            return strict or bool(p)

        columns = [Column({0: 1.0}, True, ()), *base]
        squares: list[Column] = []
        if level:
            simple, others = self._squares(base, level)
            squares = [Column(self._rough_square(p), False, (), self._noted(p)) for p in (*simple, *others)]
            columns += [c for c in squares if admitted(c.value)]
        frontier = base
        for _ in range(0 if level == 0 else 1 if level == 1 else 8):
            new = []
            for left in frontier:
                for right in base:
                    if right.factors < left.factors[-1:]:
                        continue
                    p = self._times(left.value, right.value)
                    if admitted(p, left.strict and right.strict):
                        new.append(Column(p, left.strict and right.strict, left.factors + right.factors))
                if len(columns) + len(new) > most:
                    break
            columns += new
            frontier = new
            if len(columns) > most or not new:
                break
        if level:
            plain = [c for c in columns if c.factors and c.square is None]
            for left in plain:
                for s in squares:
                    p = self._times(left.value, s.value)
                    if admitted(p):
                        columns.append(Column(p, False, left.factors, s.square))
                if len(columns) > 2 * most:
                    break
        return columns

    def _times(self, p: Packed, q: Packed) -> Packed:
        self.work.spend(10 + len(p) * len(q) * (1 + len(self.ideal.rules)))
        return self.ideal.roughly(times(p, q))

    def _noted(self, p: Packed) -> int:
        self.squared.append(p)
        return len(self.squared) - 1

    def _rough_square(self, p: Packed) -> Packed:
        rough = {m: float(c) for m, c in p.items()}
        return self._times(rough, rough)

    def _squares(self, base: list[Column], level: int) -> tuple[list[Packed], list[Packed]]:
        """Monomials that may be needed as squares; and what completing the square of a variable gives."""
        ring, one = self.ring, Fraction(1)
        found: dict[int, None] = {}
        for c in base:
            for m in c.value:
                powers = ring.powers(m)
                found[ring.code(e // 2 for e in powers)] = None
                found.update({ring.unit(i): None for i, e in enumerate(powers) if e})
        found.pop(0, None)
        monomials = sorted(found, key=lambda m: (sum(ring.powers(m)), m))[:MOST_MONOMIALS]
        simple: list[Packed] = [{m: one} for m in monomials]
        if level < 2:
            return simple, []
        others: dict[Any, Packed] = {}
        for k, relation in enumerate(self.relations):
            if relation != "=":
                for s in self._completed(self.ideal.reduced(self.exact[k])):
                    others.setdefault(tuple(sorted(s.items())), s)
        pairs = [m for m in monomials if sum(ring.powers(m)) <= 2][:MOST_PAIRED]
        for i, m in enumerate(pairs):
            for n in (0, *pairs[:i]):
                for sign in (1, -1):
                    s = {m: one, n: one * sign}
                    others.setdefault(tuple(sorted(s.items())), s)
        return simple, list(others.values())

    def _completed(self, p: Packed) -> list[Packed]:
        """From a v² + b v + c for each variable v: 2a v + b without common factors, and that times what is even."""
        ring = self.ring
        results = []
        for i in range(len(ring.names)):
            unit = ring.unit(i)
            parts: dict[int, Packed] = {}
            for m, c in p.items():
                e = ring.powers(m)[i]
                parts.setdefault(e, {})[m - e * unit] = c
            if max(parts, default=0) != 2 or 1 not in parts:
                continue
            a, b = self._without_common({m: 2 * c for m, c in parts[2].items()}, parts[1])
            s = plus(times(a, {unit: Fraction(1)}), b)
            results.append(s)
            inside = [ring.powers(m) for m in (*parts[1], *parts[2])]
            content = ring.code(min(column) // 2 for column in zip(*inside, strict=True))
            if content:
                results.append(times(s, {content: Fraction(1)}))
        return results

    def _without_common(self, a: Packed, b: Packed) -> tuple[Packed, Packed]:
        self.work.spend(GCD * (len(a) + len(b)))
        domain = PolyRing([f"x{i}" for i in range(len(self.ring.names))], sympy.QQ)

        def sparse(p: Packed) -> PolyElement:
            terms = {tuple(self.ring.powers(m)): sympy.QQ(c.numerator, c.denominator) for m, c in p.items()}
            return domain.from_dict(terms)

        def packed(p: PolyElement) -> Packed:
            return {self.ring.code(m): Fraction(int(c.numerator), int(c.denominator)) for m, c in p.terms()}

        _, first, second = sparse(a).cofactors(sparse(b))
        return packed(first), packed(second)

    # ---- exact numbers ---------------------------------------------------------------------------------------------

    def _product(self, column: Column) -> Packed:
        value: Packed = {0: Fraction(1)}
        for k in column.factors:
            value = times(value, self.exact[k])
        if column.square is not None:
            value = times(times(value, self.squared[column.square]), self.squared[column.square])
        return value

    def _exactly(self, columns: list[Column]) -> list[tuple[Fraction, Column]] | None:
        """The coefficients with which these sum to zero, strict ones to 1; None if some are negative."""
        table = [self.ideal.reduced(self._product(c)) for c in columns]
        for c, values in zip(columns, table, strict=True):
            if c.strict:
                values[STRICT] = Fraction(1)
        monomials = sorted({m for values in table for m in values})
        matrix = [[*(v.get(m, Fraction(0)) for v in table), Fraction(int(m == STRICT))] for m in monomials]
        solution = _eliminated(matrix, len(columns))
        if solution is None or min(solution) < 0:
            return None
        return [(x, c) for x, c in zip(solution, columns, strict=True) if x]

    def _summed(self, chosen: list[tuple[Fraction, Column]]) -> dict[str, Any] | None:
        total: Packed = {}
        for c, column in chosen:
            total = plus(total, self._product(column), c)
        used: Origin = {}
        return self._told(chosen, used) if not self.ideal.reduced(total, used) else None

    def _told(self, chosen: list[tuple[Fraction, Column]], equations: Origin) -> dict[str, Any]:
        """The certificate of Σ c * product = Σ multiplier * equation."""
        terms = self.ring.terms
        return {
            "sum": [
                [str(c), list(x.factors), *([] if x.square is None else [rows(terms(self.squared[x.square]))])]
                for c, x in chosen
            ],
            "equations": [[k, rows(terms({m: -c for m, c in q.items()}))] for k, q in equations.items() if q],
        }


# ---- least squares -------------------------------------------------------------------------------------------------


def _solved(columns: list[Column], work: Work) -> list[Column]:
    """Columns whose sum with positive coefficients is zero, strict ones among them; empty if none is seen."""
    active = columns
    while True:  # a monomial that occurs with one sign only cannot be cancelled
        signs: dict[int, int] = {}
        for c in active:
            for m, value in c.value.items():
                signs[m] = signs.get(m, 0) | (1 if value > 0 else 2)
        kept = [c for c in active if all(signs[m] == 3 for m in c.value)]
        if len(kept) == len(active):
            break
        active = kept
    if not any(c.strict for c in active):
        return []
    place = {m: i for i, m in enumerate(sorted(signs))}
    work.spend(len(place) * len(active))
    matrix = np.zeros((len(place) + 1, len(active)))
    for j, c in enumerate(active):
        scale = max(map(abs, c.value.values()), default=1.0)
        for m, value in c.value.items():
            matrix[place[m], j] = value / scale
        matrix[-1, j] = float(c.strict)
    target = np.zeros(len(place) + 1)
    target[-1] = 1.0
    x = _nonnegative(matrix, target)
    if np.abs(matrix @ x - target).max() > 1e-6:
        return []
    return [c for c, value in zip(active, x, strict=True) if value > TINY]


def _nonnegative(a: Any, b: Any) -> Any:
    """The x >= 0 with the smallest ‖a x - b‖."""
    n = a.shape[1]
    x, inside = np.zeros(n), np.zeros(n, dtype=bool)
    tolerance = 1e-10
    for _ in range(3 * n):
        slope = np.where(inside, -np.inf, a.T @ (b - a @ x))
        best = int(np.argmax(slope))
        if slope[best] <= tolerance:
            break
        inside[best] = True
        while True:
            trial = np.zeros(n)
            trial[inside] = np.linalg.lstsq(a[:, inside], b, rcond=1e-12)[0]
            below = inside & (trial <= 1e-12)
            if not below.any():
                break
            gap = x[below] - trial[below]
            step = float(np.min(np.where(gap > 0, x[below] / np.where(gap > 0, gap, 1), 0)))
            x = x + step * (trial - x)
            inside &= x > 1e-12
            x[~inside] = 0
        x = trial
    return x


def _eliminated(matrix: list[list[Fraction]], n: int) -> list[Fraction] | None:
    """A solution of linear equations, free unknowns zero; None if there is none."""
    pivots: list[int] = []
    for column in range(n):
        row = len(pivots)
        found = next((i for i in range(row, len(matrix)) if matrix[i][column]), None)
        if found is None:
            continue
        matrix[row], matrix[found] = matrix[found], matrix[row]
        scale = matrix[row][column]
        matrix[row] = [v / scale for v in matrix[row]]
        for i, other in enumerate(matrix):
            if i != row and other[column]:
                factor = other[column]
                matrix[i] = [v - factor * w for v, w in zip(other, matrix[row], strict=True)]
        pivots.append(column)
    if any(row[n] for row in matrix[len(pivots) :]):
        return None
    solution = [Fraction(0)] * n
    for row, column in enumerate(pivots):
        solution[column] = matrix[row][n]
    return solution
