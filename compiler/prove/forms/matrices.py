"""Products of matrices and vectors as words, transposes, traces, and polar factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dotopt.compiler.ir import Node
from dotopt.compiler.prove.forms.polynomial import (
    ZERO,
    Monomial,
    Polynomial,
    atom,
    inverse,
    single,
    single_product,
    split_content,
)
from dotopt.compiler.prove.forms.scalars import Unsupported
from dotopt.compiler.prove.forms.words import Letter, Word, Words
from dotopt.compiler.prove.forms.words import flip as turned
from dotopt.compiler.types import REST

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.normal import Normaliser

Ends = tuple[str | None, str | None]  # the row and the column axis of a matrix; of a vector the second is None


def matrix(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """A product, outer product, transpose, trace or identity."""
    words = normal.words
    if any(arg.type.any for arg in here.args):
        return normal.opaque(here, a)
    match here.op:
        case "eye":
            return single(atom("eye", here.attrs[0], axes=frozenset({here.attrs[0]})))
        case "transpose":
            row, column = ends(here.args[0])
            if row is None or column is None or row != column:
                return a[0]  # a transpose moves no entry to other names
            return _map(words, a[0], (row, column), lambda w: words.product(turned(w), (column, row)))
        case "trace":
            row, column = ends(here.args[0])
            assert row is not None
            return _map(words, a[0], (row, column), lambda w: words.trace(w, str(row)))
    left, right = ends(here.args[0]), ends(here.args[1])
    if here.op == "outer":
        if left[1] is not None or right[1] is not None:
            return normal.opaque(here, a)
        return _pairs(words, a, left, right, lambda u, v: words.product(u + turned(v), (left[0], right[0])))
    if left[1] is None:  # a vector on the left is a row
        return _pairs(words, a, left, right, lambda u, v: words.product(turned(u) + v, (None, right[1])))
    return _pairs(words, a, left, right, lambda u, v: words.product(u + v, (left[0], right[1])))


def ends(here: Node) -> Ends:
    """The row and column axes of a matrix, or the one axis of a vector."""
    axes = [axis for axis in here.type.axes if axis != REST]
    if len(axes) == 1:
        return axes[0], None
    if len(axes) == 2:
        return axes[0], axes[1]
    raise Unsupported(f"a product of tensors of type {here.type}")


def _split(monomial: Monomial, axes: set[str | None]) -> tuple[Monomial, Monomial]:
    return (tuple(f for f in monomial if not f[0].axes & axes), tuple(f for f in monomial if f[0].axes & axes))


def _letters(words: Words, inside: Monomial, at: Ends) -> Word:
    if not inside:
        inside = ((atom("ones", *at, axes=frozenset(e for e in at if e)), 1),)
    return words.letters(inside, *at)


def _map(words: Words, p: Polynomial, at: Ends, one: Callable[[Word], Polynomial]) -> Polynomial:
    result = ZERO
    for monomial, coefficient in p.terms:
        outside, inside = _split(monomial, set(at))
        result = result + single_product(outside) * coefficient * one(_letters(words, inside, at))
    return result


def _pairs(
    words: Words, a: list[Polynomial], left: Ends, right: Ends, one: Callable[[Word, Word], Polynomial]
) -> Polynomial:
    result = ZERO
    for m1, c1 in a[0].terms:
        for m2, c2 in a[1].terms:
            out1, in1 = _split(m1, set(left))
            out2, in2 = _split(m2, set(right))
            value = one(_letters(words, in1, left), _letters(words, in2, right))
            result = result + single_product(out1) * single_product(out2) * (c1 * c2) * value
    return result


# ---- directions ----------------------------------------------------------------------------------------------------


def direction(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """`polar` and `unit`: a positive scalar factor does not matter, a sign comes out."""
    (p,) = a
    if p.zero:
        return ZERO
    axes = set(here.args[0].type.axes) - {REST}
    (monomial, lead), _ = split_content(p)
    outer = tuple(f for f in monomial if not f[0].axes & (axes | {REST}) and normal.positive(single(f[0])))
    rest = p * inverse(single_product(outer) * lead)
    value = _polar(normal, here, rest, ends(here.args[0])) if here.op == "polar" else normal.opaque(here, [rest])
    return value if lead > 0 else -value


def _polar(normal: Normaliser, here: Node, p: Polynomial, at: Ends) -> Polynomial:
    """polar(Q X R) = Q polar(X) R for orthogonal Q and R."""
    words = []
    for monomial, coefficient in p.terms:
        outside, inside = _split(monomial, set(at))
        words.append((outside, coefficient, list(_letters(normal.words, inside, at))))
    first: list[Letter] = []
    last: list[Letter] = []
    while all(w for _, _, w in words) and len({w[0] for _, _, w in words}) == 1 and _both(normal, words[0][2][0]):
        first.append(words[0][2][0])
        for _, _, w in words:
            w.pop(0)
    while all(w for _, _, w in words) and len({w[-1] for _, _, w in words}) == 1 and _both(normal, words[0][2][-1]):
        last.insert(0, words[0][2][-1])
        for _, _, w in words:
            w.pop()
    if not first and not last:
        return normal.opaque(here, [p])
    core = ZERO
    for outside, coefficient, w in words:
        core = core + single_product(outside) * coefficient * normal.words.product(tuple(w), at)
    result = ZERO
    for monomial, coefficient in direction(normal, here, [core]).terms:
        outside, inside = _split(monomial, set(at))
        word = (*first, *_letters(normal.words, inside, at), *last)
        result = result + single_product(outside) * coefficient * normal.words.product(word, at)
    return result


def _both(normal: Normaliser, letter: Letter) -> bool:
    """Whether a letter is orthogonal from both sides."""
    if len(letter[0]) != 1 or letter[2] != letter[3]:
        return False
    a = letter[0][0][0]
    return (a, True) in normal.words.orthogonal and (a, False) in normal.words.orthogonal
