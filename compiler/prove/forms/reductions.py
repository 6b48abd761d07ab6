"""Sums over axes and what is made of them: means, sizes, norms, largest entries, spreads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    ZERO,
    Atom,
    Monomial,
    Polynomial,
    atom,
    inverse,
    number,
    single,
    single_product,
    split_content,
)
from dotopt.compiler.prove.forms.words import Words, add_up, flip

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.normal import Normaliser

MODEL = "@model"  # the axis that runs over the tensors of the optimizer


def reduction(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """A reduction over the axes in `here.attrs[0]`, and over all tensors if `here.attrs[1]` says so."""
    (p,) = a
    axes: tuple[str, ...] = tuple(here.attrs[0])
    if here.attrs[1]:
        axes = (MODEL, *axes)
    if len(set(axes)) != len(axes) or len(set(here.args[0].type.axes)) != len(here.args[0].type.axes):
        return _over_square(normal, here, p, axes)
    match here.op:
        case "sum":
            return along(p, axes, normal.words)
        case "mean":
            return along(p, axes, normal.words) * inverse(size_of(axes))
        case "size":
            return size_of(axes)
        case "norm" if here.attrs[2] == 2:
            return normal.root(along(p**2, axes, normal.words))
        case "norm" if here.attrs[2] == 1:
            return along(normal.absolute(p), axes, normal.words)
        case "norm" if here.attrs[2] is None:
            return _largest(normal, "amax", normal.absolute(p), axes)
        case "amax" | "amin":
            return _largest(normal, here.op, p, axes)
        case "std":
            size = size_of(axes)
            spread = along(p**2, axes, normal.words) - along(p, axes, normal.words) ** 2 * inverse(size)
            return normal.root(spread * inverse(size - 1))
        case _:
            return normal.opaque(here, a)


def along(p: Polynomial, axes: tuple[str, ...], words: Words) -> Polynomial:
    """The sum along several axes, the last one first."""
    for axis in reversed(axes):
        p = add_up(p, axis, words)
    return p


def opened(normal: Normaliser, p: Polynomial) -> Polynomial:
    """With inner products of vectors that are products of matrices as one word: Σ (A x)² is xᵀ Aᵀ A x."""

    def open_(a: Atom) -> Polynomial | None:
        if a.kind == "sqrt":
            inside = opened(normal, a.key[0])
            return normal.root(inside) if inside != a.key[0] else None
        if a.kind != "sum":
            return None
        axis, inner = a.key
        factors = [b for b, power in inner for _ in range(max(power, 0))]
        vectors = len(factors) == 2 and all(power > 0 for _, power in inner) and not a.axes
        if not vectors or not any(b.kind == "word" for b in factors) or any(b.axes != {axis} for b in factors):
            return None
        left, right = (normal.words.letters(((b, 1),), axis, None) for b in factors)
        return normal.words.product(flip(left) + right, (None, None))

    return p.replace(open_)


def size_of(axes: tuple[str, ...]) -> Polynomial:
    """The number of places along these axes."""
    result = ONE
    for axis in axes:
        result = result * (number(int(axis)) if axis.isdigit() else single(atom("size", axis)))
    return result


def _largest(normal: Normaliser, name: str, p: Polynomial, axes: tuple[str, ...]) -> Polynomial:
    inside = tuple(axis for axis in axes if axis in p.axes)
    if not inside:
        return p
    still = [(m, c) for m, c in p.terms if not any(a.axes & set(axes) for a, _ in m)]
    if still:  # what does not vary is added outside
        outside = ZERO
        for m, c in still:
            outside = outside + single_product(m) * c
        return outside + _largest(normal, name, p - outside, axes)
    factor = ONE
    if not p.zero:
        (monomial, lead), _ = split_content(p)
        outer = tuple(f for f in monomial if not f[0].axes & set(axes) and _comes_out(normal, *f))
        factor = single_product(outer) * abs(lead)
        p = _divided(p, outer) * (1 / abs(lead))
        if lead < 0:  # the largest of -e is minus the smallest of e
            name, factor, p = "amin" if name == "amax" else "amax", -factor, -p
    return factor * single(atom(name, inside, p, axes=p.axes - set(inside)))


def _comes_out(normal: Normaliser, a: Atom, power: int) -> bool:
    """Whether max(a^power * e) = a^power * max(e): for positive factors, and for those that may be 0 above the line."""
    return normal.positive(single(a)) or (power > 0 and normal.nonnegative(single(a)))


def _divided(p: Polynomial, factors: Monomial) -> Polynomial:
    """p without factors that all its terms share."""
    return p * single_product(tuple((a, -power) for a, power in factors))


def _over_square(normal: Normaliser, here: Node, p: Polynomial, axes: tuple[str, ...]) -> Polynomial:
    """A sum over a square matrix: a trace when it is a product of two, else an atom."""
    inner = here.args[0].type.axes
    if here.op == "size":
        return size_of(axes)
    if len(inner) != 2 or tuple(here.attrs[0]) != inner or here.attrs[1]:
        return normal.opaque(here, [p])
    body = p**2 if here.op == "norm" and here.attrs[2] == 2 else p
    if here.op not in ("sum", "mean", "norm") or (here.op == "norm" and here.attrs[2] != 2):
        return normal.opaque(here, [p])
    axis = inner[0]
    total = ZERO
    for monomial, coefficient in body.terms:
        outside = tuple(f for f in monomial if axis not in f[0].axes)
        pair = [a for a, power in monomial if axis in a.axes for _ in range(max(power, 0))]
        if len(pair) != 2 or any(power < 0 for a, power in monomial if axis in a.axes):
            return normal.opaque(here, [p])
        left, right = (normal.words.letters(((a, 1),), axis, axis) for a in pair)
        total = total + single_product(outside) * coefficient * normal.words.trace(flip(left) + right, axis)
    match here.op:
        case "norm":
            return normal.root(total)
        case "mean":
            return total * inverse(size_of(axes))
        case _:
            return total
