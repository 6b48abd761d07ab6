"""P8: an inequality between inner products, as a combination of known ones and of squares, all parameters numbers.

    goal = Σ λ_k * inequality_k + Σ d_j * ‖l_j‖²         λ, d >= 0 rational, l_j a combination of the vectors

A semidefinite program (solved by Clarabel, the optional extra `sdp`) finds the λ in floating point. They are rounded
to rational numbers that satisfy the linear conditions exactly, and what is left must be a sum of squares by an exact
LDLᵀ. So the solver only guesses; a number of it is never part of a proof. Where the inequality is sharp, no interior
point exists: then the vectors on which the rest vanishes are guessed as well, and asked for exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

import numpy as np

from dotopt.compiler.prove.forms.polynomial import ZERO, Atom, Monomial, Polynomial, single

Numbers = dict[Monomial, Fraction]
Matrix = list[list[Fraction]]
DENOMINATORS = (1, 2, 3, 4, 6, 8, 12, 24, 60, 120, 1000, 10**6)  # tried in this order: small numbers read better
SMALL = 1e-6  # of a solver's answer, below which a number is taken for zero


@dataclass(frozen=True)
class Squares:
    """The multipliers by position, and the squares: each a weight and a combination of vectors."""

    multipliers: dict[int, Fraction]
    squares: list[tuple[Fraction, Polynomial]]


def available() -> bool:
    """Whether the solver is installed: `pip install dotopt[sdp]`."""
    return find_spec("clarabel") is not None and find_spec("scipy") is not None


def with_squares(goal: dict[Monomial, Polynomial], known: Sequence[dict[Monomial, Polynomial]]) -> Squares | None:
    """Multipliers and squares that make up the goal; None if there are none, or if a parameter is no number."""
    rows = [numbers(row) for row in (goal, *known)]
    if not available() or any(row is None for row in rows):
        return None
    program = Program.of([row for row in rows if row is not None])
    return program.solved() if program is not None else None


def numbers(row: dict[Monomial, Polynomial]) -> Numbers | None:
    """The coefficients as numbers; None if one of them is none."""
    found = {m: c.constant for m, c in row.items()}
    return {m: c for m, c in found.items() if c is not None} if None not in found.values() else None


@dataclass(frozen=True)
class Program:
    """Find λ >= 0 with equations @ λ = right, and matrices[0] - Σ λ_k matrices[k] without a negative eigenvalue."""

    vectors: list[Atom]
    matrices: list[Matrix]
    equations: Matrix
    right: list[Fraction]

    @staticmethod
    def of(rows: list[Numbers]) -> Program | None:
        """The program of a goal (the first row) and inequalities; None where inner products run over several axes."""
        monomials = sorted({m for row in rows for m in row}, key=repr)
        pairs = {m: pair for m in monomials if (pair := inner_product(m)) is not None}
        if len({m[0][0].key[0] for m in pairs}) != 1:
            return None
        vectors = sorted({v for pair in pairs.values() for v in pair}, key=repr)
        place = {v: i for i, v in enumerate(vectors)}
        matrices = []
        for row in rows:
            matrix = [[Fraction(0)] * len(vectors) for _ in vectors]
            for m, (v, w) in pairs.items():
                i, j, c = place[v], place[w], row.get(m, Fraction(0))
                matrix[i][j] += c / 2
                matrix[j][i] += c / 2
            matrices.append(matrix)
        plain = [m for m in monomials if m not in pairs]
        equations = [[row.get(m, Fraction(0)) for row in rows[1:]] for m in plain]
        return Program(vectors, matrices, equations, [rows[0].get(m, Fraction(0)) for m in plain])

    def solved(self) -> Squares | None:
        """Exact multipliers and squares."""
        for interior in (True, False):
            guess = self._guess(interior)
            if guess is None:
                continue
            equations, right = list(self.equations), list(self.right)
            if not interior:
                for null in self._null_vectors(guess):
                    more, theirs = self._vanishing(null)
                    equations, right = equations + more, right + theirs
            for denominator in DENOMINATORS:
                exact = near(equations, right, guess, denominator)
                if exact is None or any(x < 0 for x in exact):
                    continue
                factors = ldl(self._rest(exact))
                if factors is not None:
                    return Squares(
                        {k: x for k, x in enumerate(exact) if x},
                        [(d, self._combination(row)) for d, row in factors if d],
                    )
        return None

    def _guess(self, interior: bool) -> list[float] | None:
        """Multipliers in floating point: as far inside as possible, or as small as possible."""
        import clarabel
        from scipy import sparse

        count = len(self.matrices) - 1
        first, *others = (stacked(np.array(m, dtype=float)) for m in self.matrices)
        depth = [stacked(self._seen())] if interior else []
        # what is in a cone is b - A z, for z = (the multipliers, the depth)
        matrix = np.array([*others, *depth]).T.reshape(len(first), -1)
        wide = count + len(depth)
        if wide == 0:
            return []
        equations = np.zeros((len(self.equations), wide))
        equations[:, :count] = np.array(self.equations, dtype=float).reshape(-1, count)
        bounds = -np.eye(count, wide)
        limits = np.array([[1.0] * count + [0.0], [0.0] * count + [1.0]]) if interior else np.zeros((0, wide))
        blocks = np.vstack([equations, bounds, limits, matrix])
        right = [*map(float, self.right), *[0.0] * count, *((1e4, 1.0) if interior else ()), *first]
        cones = [
            clarabel.ZeroConeT(len(equations)),
            clarabel.NonnegativeConeT(count + len(limits)),
            clarabel.PSDTriangleConeT(len(self.vectors)),
        ]
        cost = np.array([0.0] * count + [-1.0]) if interior else np.ones(count)
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        quadratic = sparse.csc_matrix((wide, wide))
        solver = clarabel.DefaultSolver(quadratic, cost, sparse.csc_matrix(blocks), np.array(right), cones, settings)
        solution = solver.solve()
        if str(solution.status) not in ("Solved", "AlmostSolved") or (interior and solution.x[-1] < SMALL):
            return None
        return [float(x) for x in solution.x[:count]]

    def _seen(self) -> np.ndarray[Any, Any]:
        """The projection on what any of the matrices sees: often only differences of points matter."""
        _, values, turned = np.linalg.svd(np.vstack([np.array(m, dtype=float) for m in self.matrices]))
        kept = turned[: len(values)][values > 1e-9]
        return np.asarray(kept.T @ kept)

    def _rest(self, multipliers: Sequence[Fraction]) -> Matrix:
        rest = [list(row) for row in self.matrices[0]]
        for x, matrix in ((x, m) for x, m in zip(multipliers, self.matrices[1:], strict=True) if x):
            rest = [[r - x * m for r, m in zip(*rows, strict=True)] for rows in zip(rest, matrix, strict=True)]
        return rest

    def _null_vectors(self, guess: Sequence[float]) -> list[list[Fraction]]:
        """Vectors on which the rest vanishes, in reduced form with small rational numbers."""
        matrices = [np.array(m, dtype=float) for m in self.matrices]
        rest = matrices[0] - sum(x * m for x, m in zip(guess, matrices[1:], strict=True))
        values, basis = np.linalg.eigh(rest)
        null = basis[:, values < 1e-4 * max(1.0, float(values[-1]))].T
        reduced = _reduced(null)
        return [[Fraction(float(x)).limit_denominator(1000) for x in row] for row in reduced]

    def _vanishing(self, null: Sequence[Fraction]) -> tuple[Matrix, list[Fraction]]:
        """The equations for λ that make the rest vanish on a vector."""
        n = range(len(self.vectors))
        applied = [[sum((m[i][j] * null[j] for j in n), Fraction(0)) for i in n] for m in self.matrices]
        return [[a[i] for a in applied[1:]] for i in n], [applied[0][i] for i in n]

    def _combination(self, row: Sequence[Fraction]) -> Polynomial:
        total = ZERO
        for x, v in zip(row, self.vectors, strict=True):
            total = total + single(v) * x
        return total


def inner_product(m: Monomial) -> tuple[Atom, Atom] | None:
    """The two vectors whose inner product a monomial is."""
    if len(m) != 1 or m[0][1] != 1 or m[0][0].kind != "sum":
        return None
    inside: Monomial = m[0][0].key[1]
    match inside:
        case ((v, 2),):
            return v, v
        case ((v, 1), (w, 1)):
            return v, w
    return None


def stacked(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The upper triangle, column by column, what is off the diagonal times √2: so Clarabel writes its cone."""
    scaled = matrix * (2**0.5 + (1 - 2**0.5) * np.eye(len(matrix)))
    return np.concatenate([scaled[: j + 1, j] for j in range(len(matrix))])


# ---- exact linear algebra ------------------------------------------------------------------------------------------


def near(
    equations: Matrix, right: Sequence[Fraction], guess: Sequence[float], denominator: int
) -> list[Fraction] | None:
    """A rational solution close to a guess; large entries of the guess are solved for, the others rounded.

    >>> near([[Fraction(1), Fraction(3)]], [Fraction(1)], [0.33334, 0.2222], 9)
    [Fraction(1, 3), Fraction(2, 9)]
    """
    order = sorted(range(len(guess)), key=lambda k: -guess[k])
    rows = [[row[k] for k in order] + [r] for row, r in zip(equations, right, strict=True)]
    pivots: list[int] = []
    for column in range(len(order)):
        pivot = next((i for i in range(len(pivots), len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        here = len(pivots)
        rows[here], rows[pivot] = rows[pivot], rows[here]
        rows[here] = [x / rows[here][column] for x in rows[here]]
        for i, row in enumerate(rows):
            if i != here and row[column]:
                rows[i] = [x - row[column] * y for x, y in zip(row, rows[here], strict=True)]
        pivots.append(column)
    if any(row[-1] for row in rows[len(pivots) :]):
        return None
    found = [Fraction(0)] * len(order)
    for column, k in enumerate(order):
        if column not in pivots and guess[k] > SMALL:
            found[column] = Fraction(guess[k]).limit_denominator(denominator)
    for row, column in zip(rows, pivots, strict=False):
        found[column] = row[-1] - sum(row[j] * found[j] for j in range(len(order)) if j != column)
    exact = [Fraction(0)] * len(order)
    for column, k in enumerate(order):
        exact[k] = found[column]
    return exact


def ldl(matrix: Matrix) -> list[tuple[Fraction, list[Fraction]]] | None:
    """d and l of Σ d l lᵀ, each d > 0; None if an eigenvalue is negative.

    >>> ldl([[Fraction(1), Fraction(2)], [Fraction(2), Fraction(4)]])
    [(Fraction(1, 1), [Fraction(1, 1), Fraction(2, 1)])]
    >>> ldl([[Fraction(0), Fraction(1)], [Fraction(1), Fraction(5)]]) is None
    True
    """
    left = [list(row) for row in matrix]
    factors = []
    for i in range(len(left)):
        d = left[i][i]
        if d < 0 or (d == 0 and any(left[i])):
            return None
        if d == 0:
            continue
        row = [x / d for x in left[i]]
        factors.append((d, row))
        left = [[x - d * row[a] * row[b] for b, x in enumerate(line)] for a, line in enumerate(left)]
    return factors


def _reduced(rows: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """The rows in reduced echelon form, with the largest entries as pivots."""
    work = [row.copy() for row in rows]
    for i in range(len(work)):
        pivot = int(np.argmax(np.abs(work[i])))
        work[i] = work[i] / work[i][pivot]
        work = [row if j == i else row - row[pivot] * work[i] for j, row in enumerate(work)]
    return work


__all__ = ["Numbers", "Program", "Squares", "available", "inner_product", "numbers", "stacked", "with_squares"]
