"""Matrices of fractions with the shapes that premises ask for: orthogonal, symmetric, skew, idempotent, definite."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np

from dotopt.compiler.prove.worlds.arrays import identity, product, solve

ENTRIES = tuple(Fraction(n, 2) for n in (-6, -4, -2, 0, 2, 4, 6, 1, -1, 3))
ANGLES = ((Fraction(3, 5), Fraction(4, 5)), (Fraction(0), Fraction(1)), (Fraction(5, 13), Fraction(-12, 13)))


def shaped(names: frozenset[str], rows: int, columns: int, rng: random.Random) -> Any:
    """A matrix with all these shapes, None if there is no recipe for them together.

    >>> p = shaped(frozenset(("symmetric", "idempotent")), 2, 2, random.Random(1))
    >>> bool((product(p, p) == p).all() and (p == p.T).all())
    True
    """
    if names == {"orthogonal"}:
        return rotation(rows, columns, rng)
    if rows != columns:
        return None
    match sorted(names):
        case ["symmetric"]:
            lower = _lower(rows, rng)
            return lower + lower.T
        case ["skew"]:
            lower = _lower(rows, rng)
            return lower - lower.T
        case ["definite"] | ["definite", "symmetric"]:
            return _spectrum(rows, (Fraction(1), Fraction(2), Fraction(1, 2), Fraction(5)), rng, True)
        case ["idempotent"] | ["idempotent", "symmetric"]:
            return _spectrum(rows, (Fraction(0), Fraction(1)), rng, "symmetric" in names)
        case ["involutory"] | ["involutory", "symmetric"] | ["orthogonal", "symmetric"]:
            return _spectrum(rows, (Fraction(1), Fraction(-1)), rng, len(names) > 1)
    return None


def rotation(rows: int, columns: int, rng: random.Random) -> Any:
    """A matrix with orthonormal columns (or rows): rotations by (3, 4, 5), swaps and signs."""
    n = max(rows, columns)
    q = identity(n)
    for _ in range(2 * n):
        i, j = rng.randrange(n), rng.randrange(n)
        if i == j:
            q[i] = -q[i]
            continue
        c, s = rng.choice(ANGLES)
        q[i], q[j] = c * q[i] - s * q[j], s * q[i] + c * q[j]
    return q[:rows, :columns].copy()


def _spectrum(n: int, eigenvalues: tuple[Fraction, ...], rng: random.Random, symmetric: bool) -> Any:
    """A matrix with some of these eigenvalues, with orthogonal eigenvectors or others."""
    diagonal = identity(n)
    for i in range(n):
        diagonal[i, i] = rng.choice(eigenvalues)
    basis = rotation(n, n, rng) if symmetric else _lower(n, rng, whole=False) + identity(n)
    return product(product(basis, diagonal), basis.T if symmetric else solve(basis, identity(n)))


def _lower(n: int, rng: random.Random, whole: bool = True) -> Any:
    """Random entries below the diagonal, and on it where `whole`."""
    array = np.empty((n, n), dtype=object)
    for i, j in np.ndindex(array.shape):
        array[i, j] = rng.choice(ENTRIES) if j < i or (whole and i == j) else Fraction(0)
    return array


__all__ = ["rotation", "shaped"]
