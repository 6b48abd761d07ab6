"""The characteristic polynomial of a linear step, the criterion of its stability, and the rate at which it fails.

Step            the matrix, on symbols named as in the file
felt(…)         the same in terms of the one curvature that the rule feels
hurwitz(c)      polynomials that are positive iff all roots lie in the open unit disc
numeric(…)      the rate at which the spectral radius passes 1
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import sympy
from sympy.polys.matrices import DomainMatrix

from dotopt.compiler.prove.derivations.frozen import CURVATURE, Frozen
from dotopt.compiler.prove.forms.polynomial import Atom


@dataclass(frozen=True)
class Step:
    """The linear map on symbols named as in the file; `atoms` leads back to the normal form."""

    names: tuple[str, ...]
    matrix: sympy.Matrix
    rate: sympy.Symbol
    atoms: dict[sympy.Symbol, Atom]
    sigma: sympy.Symbol  # the curvature that the rule feels

    @property
    def symbols(self) -> set[sympy.Symbol]:
        """The knobs that occur, besides the rate and the curvature."""
        return {x for x in self.matrix.free_symbols if x != self.rate and x != self.sigma}

    @property
    def characteristic(self) -> list[sympy.Expr]:
        """c0, …, cn of det(z - A), multiplied by a common denominator, which is cn."""
        domain = DomainMatrix.from_Matrix(self.matrix).to_field()
        coefficients = [domain.domain.to_sympy(c) for c in domain.charpoly()][::-1]
        top, bottom = zip(*(sympy.fraction(sympy.together(c)) for c in coefficients), strict=True)
        common = sympy.Integer(1)
        for b in bottom:
            common = sympy.lcm(common, b)
        return [sympy.expand(sympy.cancel(t * common / b)) for t, b in zip(top, bottom, strict=True)]


def felt(step: Step, frozen: Frozen) -> tuple[Step, str, bool]:
    """The map in terms of s = (σ + λ) * frozen numbers, what s is, and whether no frozen number remains beside it."""
    sigma, s = sympy.Symbol(CURVATURE.name), step.sigma
    characteristic = step.characteristic
    seen, text = s, sigma.name
    for decay in sorted(step.symbols, key=str):  # a coupled decay adds to the curvature
        moved = [sympy.expand(c.subs(sigma, s - decay)) for c in characteristic]
        if decay != sigma and all(decay not in c.free_symbols for c in moved):
            seen, text = s - decay, f"{sigma} + {decay}"
            break
    plain = [sympy.expand(c.subs(sigma, seen)) for c in characteristic]
    factors = {sympy.Symbol(x.name): name for x, name in frozen.factors.items()}
    factors |= {x: str(x) for x in step.symbols if any(x == sympy.Symbol(clock.name) for clock in frozen.clocks)}
    powers = _powers(plain, s, list(factors))
    alone = powers is not None
    scale = sympy.Integer(1)
    if "+" in text and any((powers or {}).values()):
        text = f"({text})"
    for x, power in (powers or {}).items():
        scale *= x**power
        simple = factors[x].isidentifier() or (factors[x].endswith(")") and factors[x].partition("(")[0].isidentifier())
        text += ("*" if power > 0 else "/") + (factors[x] if simple else f"({factors[x]})")
    # with A -> D⁻¹ A D the states are scaled by what is frozen, which changes no root; s stands for all of it
    matrix = step.matrix.subs(sigma, seen.subs(s, s / scale))
    if alone and factors:
        matrix = _companion([sympy.cancel(c.subs(sigma, seen.subs(s, s / scale))) for c in characteristic])
    return replace(step, matrix=matrix), text, alone


def _powers(
    polynomials: list[sympy.Expr], s: sympy.Symbol, factors: list[sympy.Symbol]
) -> dict[sympy.Symbol, int] | None:
    """The power with which each frozen number goes with s; None if they do not go together."""
    if not factors:
        return {}
    rows = [
        dict(zip((s, *factors), m, strict=True)) for c in polynomials if c for m in sympy.Poly(c, s, *factors).monoms()
    ]
    lead = sympy.Poly(polynomials[-1], s, *factors).monoms()
    base = dict(zip((s, *factors), lead[0], strict=True))
    if len(lead) != 1 or base[s]:
        return None
    found: set[tuple[int, ...]] = set()
    for row in rows:
        change = [row[x] - base[x] for x in factors]
        if row[s] == 0:
            if any(change):
                return None
        elif any(c % row[s] for c in change):
            return None
        else:
            found.add(tuple(c // row[s] for c in change))
    return dict(zip(factors, found.pop(), strict=True)) if len(found) == 1 else None


def _companion(c: list[sympy.Expr]) -> sympy.Matrix:
    n = len(c) - 1
    return sympy.Matrix(n, n, lambda i, j: sympy.cancel(-c[n - 1 - j] / c[n]) if i == 0 else int(i == j + 1))


def hurwitz(c: list[sympy.Expr]) -> list[sympy.Expr]:
    """Polynomials that are all positive iff every root of Σ c[k] z^k lies in the open unit disc, for c[n] > 0.

    With z = (1 + w)/(1 - w) the disc becomes the left half plane, and the criterion is that of Liénard and Chipart:
    all coefficients positive, and every second determinant of Hurwitz. The first entry is P(-1), up to its sign.

    >>> a, b = sympy.symbols("a b")
    >>> hurwitz([b, a, sympy.Integer(1)])
    [-a + b + 1, 2 - 2*b, a + b + 1]
    """
    n = len(c) - 1
    w = sympy.Symbol("w")
    turned = sympy.Poly(sum(ck * (1 + w) ** k * (1 - w) ** (n - k) for k, ck in enumerate(c)), w)
    a = [turned.coeff_monomial(w ** (n - k)) for k in range(n + 1)]  # a[0] belongs to w^n
    conditions = [sympy.expand(x) for x in a]
    for size in range(n - 1, 1, -2):
        entries = sympy.Matrix(size, size, lambda i, j: a[2 * (j + 1) - i - 1] if 0 <= 2 * (j + 1) - i - 1 <= n else 0)
        conditions.append(sympy.expand(entries.det(method="berkowitz")))
    return conditions


def numeric(step: Step, at: Mapping[sympy.Symbol, sympy.Rational], s: float = 1.0) -> float | None:
    """The rate at which the spectral radius passes 1 at curvature s, the other knobs as in `at`; None if it does not.

    The radius is followed from small rates to large ones, so the first passage counts.
    """
    matrix = step.matrix.subs(at).subs(step.sigma, s)
    if matrix.free_symbols - {step.rate}:
        return None
    function = sympy.lambdify(step.rate, matrix, "numpy")

    def radius(rate: float) -> float:
        return float(max(abs(np.linalg.eigvals(np.array(function(rate), dtype=float)))))

    grid = np.geomspace(1e-4, 1e5, 1800)
    first = next((k for k, rate in enumerate(grid) if radius(rate) > 1 + 1e-9), 0)
    if first == 0:
        return None
    low, high = grid[first - 1], grid[first]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if radius(middle) > 1 + 1e-12 else (middle, high)
    return float(low)


__all__ = ["Step", "felt", "hurwitz", "numeric"]
