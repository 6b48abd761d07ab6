"""Sums over axes and what is made of them: means, sizes, norms, largest entries, spreads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.forms.matrices import turned
from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    ZERO,
    Atom,
    Monomial,
    Polynomial,
    atom,
    inverse,
    single,
    single_product,
    split_content,
)
from dotopt.compiler.prove.forms.words import MODEL, Words, add_up, flip, ones, size

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.normal import Normaliser


def reduction(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """A reduction over the axes in `here.attrs[0]`, and over all tensors if `here.attrs[1]` says so."""
    (p,) = a
    inner = here.args[0]
    if here.op == "norm" and inner.op == "div" and inner.args[1].type.scalar and not here.attrs[1]:
        size = normal(node("norm", inner.args[0], attrs=here.attrs))  # ‖x/s‖ is ‖x‖/|s|, without multiplying out
        return size * inverse(normal.absolute(normal(inner.args[1])))
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
        if a.kind == "tanh":
            return ONE - inverse(ONE + normal.function("exp", a.key[0] * 2)) * 2
        if a.kind != "sum":
            return None
        axis, inner = a.key
        factors = [b for b, power in inner for _ in range(max(power, 0))]
        vectors = len(factors) in (1, 2) and all(power > 0 for _, power in inner) and not a.axes - {MODEL}
        vectors = vectors and all(b.axes - {MODEL} == {axis} for b in factors)
        if not vectors or not any(b.kind == "word" for b in factors):
            return None
        left, right = (*(normal.words.letters(((b, 1),), axis, None) for b in factors), ones(axis))[:2]
        return normal.words.product(flip(left) + right, (None, None))

    return p.replace(open_)


def size_of(axes: tuple[str, ...]) -> Polynomial:
    """The number of places along these axes."""
    result = ONE
    for axis in axes:
        result = result * size(axis)
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
    """Over all entries of a square matrix: tr(Aᵀ B) for products of two, 1ᵀ A 1 with a vector of ones for others."""
    inner = here.args[0].type.axes
    if here.op == "size":
        return size_of(axes)
    if len(inner) != 2 or tuple(here.attrs[0]) != inner or here.attrs[1]:
        return normal.opaque(here, [p])
    match here.op:
        case "sum":
            return _entries(normal, p, inner[0])
        case "mean":
            return _entries(normal, p, inner[0]) * inverse(size_of(axes))
        case "norm" if here.attrs[2] == 2:
            return normal.root(_entries(normal, p**2, inner[0]))
        case "norm" if here.attrs[2] == 1:
            return _entries(normal, normal.absolute(p), inner[0])
        case "norm" if here.attrs[2] is None:
            return _largest(normal, "amax", _either(normal, normal.absolute(p)), axes)
        case "amax" | "amin":
            return _largest(normal, here.op, _either(normal, p), axes)
        case _:
            return normal.opaque(here, [p])


def _either(normal: Normaliser, p: Polynomial) -> Polynomial:
    """The matrix or its transpose, which have the same entries."""
    back = turned(normal, p)
    return p if back is None else min(p, back, key=repr)


def _entries(normal: Normaliser, p: Polynomial, axis: str) -> Polynomial:
    """The sum of all entries of a square matrix."""
    total = ZERO
    for monomial, coefficient in p.terms:
        outside = tuple(f for f in monomial if axis not in f[0].axes)
        inside = tuple(f for f in monomial if axis in f[0].axes)
        factors = [a for a, power in inside for _ in range(max(power, 0))]
        if not inside:
            value = size(axis) ** 2
        elif len(factors) == 2 and all(power > 0 for _, power in inside):
            left, right = (normal.words.letters(((a, 1),), axis, axis) for a in factors)
            value = normal.words.trace(flip(left) + right, axis)
        else:
            word = normal.words.letters(inside, axis, axis)
            value = normal.words.product(flip(ones(axis)) + word + ones(axis), (None, None))
        total = total + single_product(outside) * coefficient * value
    return total
