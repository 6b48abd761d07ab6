"""Rooted trees: elementary differentials of an objective, series of them, and their calculus.

A tree is an elementary differential of the objective f: a leaf is ∇f, [τ1, …, τm] is ∇^(m+1) f applied to τ1, …, τm,
all at one point. A vector that depends on h is a series {tree: coefficient}, with coefficients that are polynomials
in h and the constants. Derivatives along a field and Taylor's formula graft trees on trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import factorial

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms.normal import Normaliser
from dotopt.compiler.prove.forms.polynomial import ONE, ZERO, Atom, Polynomial, make, single
from dotopt.compiler.prove.forms.polynomial import number as constant
from dotopt.compiler.prove.procedures.identities import settle

Tree = tuple["Tree", ...]  # children, sorted
Series = dict[Tree, Polynomial]
LEAF: Tree = ()
POINT: Tree = (LEAF,) * 97  # θ itself, whose derivative along a field is the field; no tree in use has 97 branches
PROBE: Tree = (LEAF,) * 99  # stands for a state whose series is looked for


@dataclass
class Context:
    """The point, the step size, and the order up to which series are kept."""

    objective: str
    point: Node
    h: Atom
    order: int  # powers of h from this one on are dropped
    normal: Normaliser

    def short(self, p: Polynomial) -> Polynomial:
        """p without powers of h from `order` on."""
        kept = {m: k for m, k in p.terms if dict(m).get(self.h, 0) < self.order}
        return p if len(kept) == len(p.terms) else make(kept)

    def cut(self, series: Series) -> Series:
        """Without powers of h from `order` on, and without zeros."""
        result: Series = {}
        for tree, p in series.items():
            kept = self.short(p)
            if not settle(kept).zero:
                result[tree] = kept
        return result


def add(*many: Series) -> Series:
    """The sum of series."""
    total: Series = {}
    for series in many:
        for tree, p in series.items():
            total[tree] = total.get(tree, ZERO) + p
    return total


def scale(series: Series, factor: Polynomial) -> Series:
    """A multiple of a series."""
    return {tree: p * factor for tree, p in series.items()}


def along(tree: Tree, field: Series) -> Series:
    """The derivative of an elementary differential along a vector field: the field is grafted on every vertex."""
    if tree == POINT:
        return field
    total: Series = {}
    for branch, p in field.items():
        total = add(total, {tuple(sorted((*tree, branch))): p})
    for i, child in enumerate(tree):
        for moved, p in along(child, field).items():
            total = add(total, {tuple(sorted((*tree[:i], moved, *tree[i + 1 :]))): p})
    return total


def after(field: Series, c: Context, time: Polynomial | None = None) -> Series:
    """θ(time) - θ of the flow of `field`; the time is h, or another that vanishes with it."""
    h = single(c.h) if time is None else time
    total: Series = {}
    term = field
    for k in range(1, c.order):
        total = add(total, scale(term, h**k * Fraction(1, factorial(k))))
        following: Series = {}
        for tree, p in term.items():
            following = add(following, scale(along(tree, field), p))
        term = c.cut(following)
    return c.cut(total)


def shifted(tree: Tree, step: Series, c: Context) -> Series:
    """An elementary differential at θ + step, by Taylor's formula; `step` is of order h."""
    if tree == POINT:
        return add({POINT: ONE}, step)
    forest: Series = {(): ONE}  # by the branches of the root
    for child in tree:
        forest = _grown(forest, shifted(child, step, c), c)
    total = forest
    for j in range(1, c.order):
        forest = scale(_grown(forest, step, c), constant(Fraction(1, j)))
        total = add(total, forest)
    return c.cut(total)


def _grown(forest: Series, branches: Series, c: Context) -> Series:
    """Every tree of `forest` with one more branch at its root."""
    total: Series = {}
    for tree, p in forest.items():
        for branch, q in branches.items():
            grown = tuple(sorted((*tree, branch)))
            total[grown] = total.get(grown, ZERO) + c.short(p * q)
    return {tree: p for tree, p in total.items() if not p.zero}


def draw(tree: Tree) -> str:
    """An elementary differential in words: `H @ g`, `∇³f(g, g)`.

    >>> draw((LEAF,)), draw((LEAF, LEAF))
    ('H @ g', '∇³f(g, g)')
    """
    if not tree:
        return "g"
    if tree == POINT:
        return "θ"
    if len(tree) == 1:
        inside = draw(tree[0])
        return f"H @ {inside}"
    order = "⁰¹²³⁴⁵⁶⁷⁸⁹"[min(len(tree) + 1, 9)]
    return f"∇{order}f({', '.join(draw(child) for child in tree)})"


__all__ = ["LEAF", "POINT", "PROBE", "Context", "Series", "Tree", "add", "after", "along", "draw", "scale", "shifted"]
