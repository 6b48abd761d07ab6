"""P9: a function of a class for which an inequality fails, as finitely many points with values and gradients.

A smooth or strongly convex function through given points, values and gradients exists exactly if the inequalities of
its class hold between every two of them (A. B. Taylor, J. M. Hendrickx, F. Glineur, Math. Program. 161, 2017). So a
counterexample is a set of vectors: a semidefinite program finds it in floating point, it is rounded, and all
inequalities are evaluated again with fractions, strictly, so that functions without kinks have such points too. All
constants must be numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.forms.facts import conjuncts
from dotopt.compiler.prove.forms.normal import Unsupported
from dotopt.compiler.prove.forms.polynomial import Atom, Monomial, Polynomial
from dotopt.compiler.prove.procedures.multipliers import lone_square, split
from dotopt.compiler.prove.procedures.sdp import SMALL, Numbers, Program, available, inner_product, numbers, stacked
from dotopt.compiler.prove.procedures.task import Task
from dotopt.compiler.prove.statements.properties import inequalities
from dotopt.compiler.prove.statements.statement import Case
from dotopt.compiler.prove.statements.unroll import state_leaves
from dotopt.compiler.text import syntax as s

INTERPOLATED = {"convex", "smooth", "strongly_convex"}  # the classes whose inequalities are enough for a function


def worst_case(case: Case, goal: Node, task: Task) -> dict[str, Any] | None:
    """Points, values and gradients for which the goal fails, as text; None if none is found."""
    if goal.op not in ("le", "lt", "ge", "gt") or not available() or not _fits(case, goal):
        return None
    low, high = goal.args if goal.op in ("le", "lt") else goal.args[::-1]
    known = inequalities(case, [goal])
    if not known:
        return None
    try:
        normal = task.facts.normal
        wanted = numbers(split(normal(node("sub", high, low))))
        rows = [numbers(row) for k in known if (row := split(normal(k.node))) and not lone_square(row)]
    except (Unsupported, ZeroDivisionError):
        return None
    if wanted is None or any(row is None for row in rows):
        return None
    held = [row for row in rows if row is not None]
    program = Program.of([wanted, *held])
    found = _found(program, wanted, held) if program is not None else None
    if found is None:
        return None
    values, sides = found
    texts = _names(task, (goal, *(k.node for k in known)))
    shown = {texts.get(a, repr(a)): _text(value) for a, value in values.items()}
    return {**shown, "right - left": str(sides)}


def _fits(case: Case, goal: Node) -> bool:
    """Whether only functions of interpolated classes are asked, and nothing else is assumed of vectors."""
    questions = [here for here in goal.walk() if here.op in ("oracle", "apply")]
    if any(q.attrs[3] != (0, 1) or len(q.args) != 1 for q in questions):
        return False
    if any(q.attrs[1] not in ("value", "gradient", 0, 1) for q in questions):
        return False
    asked = {q.attrs[0] for q in questions}
    classes = {
        d.name: {p.name for p in d.properties}
        for d in case.file.statements
        if isinstance(d, s.Declaration) and d.word in ("objective", "function")
    }
    curved = {name for name, held in classes.items() if held <= INTERPOLATED and held & {"convex", "strongly_convex"}}
    vectors = any(here.type.axes for premise in conjuncts(case.premises) for here in premise.walk())
    zeros = all(p.args[1].op == "zeros" for p in case.point_premises)
    sized = any(axis.isdigit() for here in goal.walk() for axis in here.type.axes)
    plain = not any(here.op == "conjugate" for here in goal.walk())
    free = not vectors and not sized and not state_leaves([goal])
    return bool(asked) and asked <= curved and plain and zeros and free


def _found(
    program: Program, wanted: Numbers, held: Sequence[Numbers]
) -> tuple[dict[Atom, list[Fraction] | Fraction], Fraction] | None:
    guess = _guess(program)
    if guess is None:
        return None
    gram, plain = guess
    values, basis = np.linalg.eigh(gram)
    kept = values > 1e-7
    points = (basis[:, kept] * np.sqrt(values[kept])).T  # a column for each vector
    single = sorted({m for row in (wanted, *held) for m in row if inner_product(m) is None}, key=repr)
    heights_only = all(len(m) == 1 and m[0][1] == 1 and _answer(m[0][0], ("value", 0)) for m in single)
    if not heights_only or not all(v.kind == "leaf" or _answer(v, ("gradient", 1)) for v in program.vectors):
        return None  # a norm, say, is no number of its own
    for digits in range(1, 9):
        exact = {v: [_rounded(x, digits) for x in points[:, i]] for i, v in enumerate(program.vectors)}
        heights = {m: _rounded(x, digits) for m, x in zip(single, plain, strict=True)}
        if _at(wanted, exact, heights) < 0 and all(_at(row, exact, heights) > 0 for row in held):
            atoms: dict[Atom, list[Fraction] | Fraction] = dict(exact)
            return atoms | {m[0][0]: x for m, x in heights.items()}, _at(wanted, exact, heights)
    return None


def _answer(a: Atom, kinds: tuple[object, ...]) -> bool:
    """Whether an atom is what a function answers at a point."""
    return a.kind in ("oracle", "apply") and a.key[0][1] in kinds


def _rounded(x: float, digits: int) -> Fraction:
    return Fraction(round(float(x) * 10**digits), 10**digits)


def _at(row: Numbers, points: dict[Atom, list[Fraction]], heights: dict[Monomial, Fraction]) -> Fraction:
    total = Fraction(0)
    for m, c in row.items():
        pair = inner_product(m)
        if pair is None:
            total += c * heights[m]
        else:
            total += c * sum((x * y for x, y in zip(points[pair[0]], points[pair[1]], strict=True)), Fraction(0))
    return total


def _guess(program: Program) -> tuple[np.ndarray[Any, Any], list[float]] | None:
    """Inner products and function values that satisfy everything with the largest margin, in floating point."""
    import clarabel
    from scipy import sparse

    n, plain = len(program.vectors), len(program.equations)
    size = n * (n + 1) // 2
    rows = [stacked(np.array(m, dtype=float)) for m in program.matrices]
    heights = np.array([[float(x) for x in column] for column in program.equations]).reshape(plain, len(rows) - 1)
    wide = size + plain + 1  # the inner products, the values, the margin
    inside = np.zeros((len(rows), wide))  # margin - (what must be positive) <= 0
    for k, row in enumerate(rows):
        sign = 1.0 if k else -1.0
        inside[k, :size] = -sign * row
        inside[k, size : size + plain] = -sign * (heights[:, k - 1] if k else np.array(program.right, dtype=float))
        inside[k, -1] = 1.0
    trace = np.concatenate([stacked(np.eye(n)), np.zeros(plain + 1)])
    box = np.vstack([np.eye(wide)[size : size + plain], -np.eye(wide)[size : size + plain]])
    cone = np.hstack([-np.eye(size), np.zeros((size, plain + 1))])
    blocks = np.vstack([inside, trace[None], box, cone])
    right = [0.0] * len(rows) + [100.0] + [100.0] * (2 * plain) + [0.0] * size
    cones = [clarabel.NonnegativeConeT(len(rows) + 1 + 2 * plain), clarabel.PSDTriangleConeT(n)]
    cost = np.zeros(wide)
    cost[-1] = -1.0
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    quadratic = sparse.csc_matrix((wide, wide))
    solver = clarabel.DefaultSolver(quadratic, cost, sparse.csc_matrix(blocks), np.array(right), cones, settings)
    solution = solver.solve()
    if str(solution.status) not in ("Solved", "AlmostSolved") or solution.x[-1] < SMALL:
        return None
    gram = np.zeros((n, n))
    entries = iter(solution.x[:size])
    for j in range(n):
        for i in range(j + 1):
            gram[i, j] = gram[j, i] = next(entries) / (1.0 if i == j else 2**0.5)
    return gram, list(solution.x[size : size + plain])


def _names(task: Task, roots: Sequence[Node]) -> dict[Atom, str]:
    """How the user writes the vectors and values."""
    found: dict[Atom, str] = {}
    for root in roots:
        for here in root.walk():
            if here.op in ("leaf", "oracle", "apply"):
                p: Polynomial = task.facts.normal(here)
                if len(p.terms) == 1 and len(p.terms[0][0]) == 1:
                    found.setdefault(p.terms[0][0][0][0], repr(here))
    return found


def _text(value: list[Fraction] | Fraction) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


__all__ = ["worst_case"]
