"""Polynomials as certificates have them: terms over named atoms, with fractions. The checker has no other arithmetic.

polynomial = [[coefficient, [[atom, power], …]], …]      as data
polynomial = {((atom, power), …): coefficient}           for computing
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import Any

Monomial = tuple[tuple[str, int], ...]
Terms = dict[Monomial, Fraction]


def minus(left: Terms, right: Terms) -> Terms:
    """The difference of two polynomials."""
    total = dict(left)
    for monomial, c in right.items():
        value = total.get(monomial, Fraction(0)) - c
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)
    return total


def product(left: Terms, right: Terms) -> Terms:
    """The product of two polynomials, with a whole number for each monomial: those of a product add up.

    >>> x, one = {(("x", 1),): Fraction(1)}, {(): Fraction(1)}
    >>> product({**x, **one}, {**x, (): Fraction(-1)})
    {(('x', 2),): Fraction(1, 1), (): Fraction(-1, 1)}
    """
    atoms = sorted({a for m in (*left, *right) for a, _ in m})
    place = {a: WIDTH * i for i, a in enumerate(atoms)}
    (first, below), (second, below_second) = packed(left, place), packed(right, place)
    total: dict[int, int] = {}
    for m, c in first:
        for n, k in second:
            total[m + n] = total.get(m + n, 0) + c * k
    below *= below_second
    return {unpacked(m, atoms): Fraction(c, below) for m, c in total.items() if c}


WIDTH = 32  # bits for a power


def packed(terms: Terms, place: dict[str, int]) -> tuple[list[tuple[int, int]], int]:
    """The terms as pairs of whole numbers over one denominator; raises `ValueError` for powers that do not fit."""
    if any(abs(p) >= 1 << (WIDTH - 3) for m in terms for _, p in m):
        raise ValueError("a power out of all proportion")
    below = lcm(*(c.denominator for c in terms.values()))
    return [(sum(p << place[a] for a, p in m), c.numerator * (below // c.denominator)) for m, c in terms.items()], below


def unpacked(code: int, atoms: list[str]) -> tuple[tuple[str, int], ...]:
    """The monomial with this code."""
    powers = []
    for a in atoms:
        power = ((code + (1 << (WIDTH - 1))) & ((1 << WIDTH) - 1)) - (1 << (WIDTH - 1))
        code = (code - power) >> WIDTH
        if power:
            powers.append((a, power))
    return tuple(powers)


def collect(rows: list[list[Any]]) -> Terms:
    """The terms of a polynomial, equal monomials added up."""
    total: Terms = {}
    for coefficient, monomial in rows:
        powers: dict[str, int] = {}
        for a, power in monomial:
            powers[a] = powers.get(a, 0) + power
        key = tuple(sorted((a, p) for a, p in powers.items() if p))
        total[key] = total.get(key, Fraction(0)) + Fraction(coefficient)
    return {m: c for m, c in total.items() if c}


def polynomial(rows: list[list[Any]]) -> Terms:
    """The terms of a polynomial without quotients; raises `ValueError` for negative powers.

    >>> polynomial([["1/2", [["x", 1]]], ["1/2", [["x", 1]]]])
    {(('x', 1),): Fraction(1, 1)}
    """
    terms = collect(rows)
    if any(power < 0 for _, monomial in rows for _, power in monomial):
        raise ValueError("a negative power in a polynomial")
    return terms


def add(total: Terms, powers: dict[str, int], c: Fraction) -> None:
    """Adds one term."""
    key = tuple(sorted((a, p) for a, p in powers.items() if p))
    total[key] = total.get(key, Fraction(0)) + c


def rows(p: Terms) -> list[list[Any]]:
    """The polynomial as data; `collect` reads it."""
    return [[str(c), [list(f) for f in monomial]] for monomial, c in sorted(p.items())]
