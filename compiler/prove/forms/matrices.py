"""Products of matrices and vectors as words, transposes, traces, and polar factors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from dotopt.compiler.ir import FUNCTIONS, Node
from dotopt.compiler.ops.types import REST
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
from dotopt.compiler.prove.forms.scalars import Unsupported
from dotopt.compiler.prove.forms.words import MODEL, Letter, Sum, Word, Words, add_all, flip, ones

if TYPE_CHECKING:
    from dotopt.compiler.prove.forms.normal import Normaliser

ENTRYWISE = ("inverse", *FUNCTIONS)  # kinds of atoms that are functions of one value
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
            return _map(words, a[0], (row, column), lambda w: words.product(flip(w), (column, row)))
        case "trace":
            row, column = ends(here.args[0])
            assert row is not None
            return _map(words, a[0], (row, column), lambda w: words.trace(w, str(row)))
    left, right = ends(here.args[0]), ends(here.args[1])
    if here.op == "outer":
        if left[1] is not None or right[1] is not None:
            return normal.opaque(here, a)
        return _pairs(words, a, left, right, lambda u, v: words.product(u + flip(v), (left[0], right[0])))
    if left[1] is None:  # a vector on the left is a row
        return _pairs(words, a, left, right, lambda u, v: words.product(flip(u) + v, (None, right[1])))
    return _pairs(words, a, left, right, lambda u, v: words.product(u + v, (left[0], right[1])))


def ends(here: Node) -> Ends:
    """The row and column axes of a matrix, or the one axis of a vector."""
    axes = [axis for axis in here.type.axes if axis != REST]
    if len(axes) == 1:
        return axes[0], None
    if len(axes) == 2:
        return axes[0], axes[1]
    raise Unsupported(f"a product of tensors of type {here.type}")


def as_words(p: Polynomial, at: Ends, words: Words) -> Sum:
    """A matrix or vector as a sum of words with scalar factors."""
    found: Sum = []
    for monomial, coefficient in p.terms:
        outside, inside = _split(monomial, set(at))
        found.append((single_product(outside) * coefficient, _letters(words, inside, at)))
    return found


def _split(monomial: Monomial, axes: set[str | None]) -> tuple[Monomial, Monomial]:
    return (tuple(f for f in monomial if not f[0].axes & axes), tuple(f for f in monomial if f[0].axes & axes))


def _letters(words: Words, inside: Monomial, at: Ends) -> Word:
    row, column = at
    if not inside and column is not None:
        return ones(str(row)) + flip(ones(column))
    return words.letters(inside, *at) if inside else ones(str(row))


def _map(words: Words, p: Polynomial, at: Ends, one: Callable[[Word], Polynomial]) -> Polynomial:
    return add_all(factor * one(word) for factor, word in as_words(p, at, words))


def _pairs(
    words: Words, a: list[Polynomial], left: Ends, right: Ends, one: Callable[[Word, Word], Polynomial]
) -> Polynomial:
    first, second = as_words(a[0], left, words), as_words(a[1], right, words)
    return add_all(x * y * one(u, v) for x, u in first for y, v in second)


# ---- transposes of entrywise functions ------------------------------------------------------------------------------


def turn(normal: Normaliser, monomial: Monomial) -> Monomial | None:
    """The transpose of a product or function of entries of square matrices, as such a one; None if it is not known."""
    if len(monomial) == 1 and monomial[0][1] == 1 and monomial[0][0].kind not in (*ENTRYWISE, "eye"):
        return None  # a letter of its own
    p = turned(normal, single_product(monomial))
    return p.terms[0][0] if p is not None and len(p.terms) == 1 and p.terms[0][1] == 1 else None


def turned(normal: Normaliser, p: Polynomial) -> Polynomial | None:
    """The transpose of a square matrix, entry by entry; None if it is not known."""
    result = ZERO
    for monomial, coefficient in p.terms:
        term = number(coefficient)
        for a, power in monomial:
            back = _turned_atom(normal, a)
            if back is None:
                return None
            term = term * (back**power if power > 0 else inverse(back) ** -power)
        result = result + term
    return result


def _turned_atom(normal: Normaliser, a: Atom) -> Polynomial | None:
    axes = [axis for axis in a.axes if axis != MODEL]
    if not axes or a.kind == "eye":
        return single(a)
    if len(axes) != 1:
        return None
    (axis,) = axes
    match a.kind, a.key:
        case (("leaf" | "word"), _):
            return normal.words.product(flip(normal.words.letters(((a, 1),), axis, axis)), (axis, axis))
        case name, (inside,) if name in ENTRYWISE:
            back = turned(normal, inside)
            return None if back is None else _function(normal, name, back)
    return None


def _function(normal: Normaliser, name: str, p: Polynomial) -> Polynomial:
    match name:
        case "abs":
            return normal.absolute(p)
        case "sqrt":
            return normal.root(p)
        case "sign":
            return normal.sign(p)
        case "inverse":
            return inverse(p)
        case _:
            return normal.function(name, p)


# ---- inverses and norms ---------------------------------------------------------------------------------------------


def inverted(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """`inverse(A)`, and `solve(A, b)` as its product with b."""
    at = ends(here.args[0])
    p = _inverse(normal, a[0], at, here)
    return p if here.op == "inverse" else _product(normal.words, p, at, a[1], ends(here.args[1]))


def _product(words: Words, p: Polynomial, left: Ends, q: Polynomial, right: Ends) -> Polynomial:
    return _pairs(words, [p, q], left, right, lambda u, v: words.product(u + v, (left[0], right[1])))


def _inverse(normal: Normaliser, p: Polynomial, at: Ends, here: Node) -> Polynomial:
    """Letter by letter from the end of a word; of a*I + b*outer(u, v) by Sherman and Morrison."""
    words, axis = normal.words, str(at[0])
    parts = as_words(p, at, words)
    if len(parts) == 1:
        ((factor, word),) = parts
        if all(letter[2] == letter[3] for letter in word):
            back = tuple(_inverse_letter(normal, letter) for letter in reversed(word))
            return inverse(factor) * words.product(back, at)
    if len(parts) == 2 and () in (parts[0][1], parts[1][1]):
        (a, _), (b, word) = sorted(parts, key=lambda part: len(part[1]))
        if len(word) == 2 and word[0][3] is None:
            inner = words.product(word[::-1], (None, None))
            eye = single(atom("eye", axis, axes=frozenset({axis})))
            return inverse(a) * (eye - b * inverse(a + b * inner) * words.product(word, at))
    scale, rest = normal.content(p)
    whole = single(atom("inverse of", at, (rest,), axes=rest.axes))
    if turned(normal, rest) == rest:
        words.symmetric.update(whole.atoms())
    _cancel(words, words.letters(((next(whole.atoms()), 1),), *at)[0], as_words(rest, at, words))
    return inverse(scale) * whole


def _inverse_letter(normal: Normaliser, letter: Letter) -> Letter:
    """The inverse of a square letter, which it cancels from now on."""
    monomial, transposed, row, column = letter
    if normal.words.orthogonal(letter):
        return flip((letter,))[0]
    if len(monomial) == 1 and monomial[0][0].kind == "inverse of" and monomial[0][0].key[1][0].terms[0][1] == 1:
        ((inside, _), *more) = monomial[0][0].key[1][0].terms
        if not more:
            return inside, transposed, row, column
    name = atom("inverse of", (row, column), (single_product(monomial),), axes=frozenset({str(row)}))
    if len(monomial) == 1 and monomial[0][0] in normal.words.symmetric:
        normal.words.symmetric.add(name)
    back: Letter = (((name, 1),), transposed, row, column)
    if (letter, back) not in normal.words.rules:
        normal.words.relate((letter, back), [(ONE, ())])
    return back


def _cancel(words: Words, letter: Letter, parts: Sum) -> None:
    """letter is the inverse of the sum of the parts: its product with the longest of them is known from the others."""
    factor, lead = max(parts, key=lambda part: len(part[1]))
    rest = [(x, w) for x, w in parts if w != lead]
    for left in (True, False):
        word = (letter, *lead) if left else (*lead, letter)
        others: Sum = [(x * inverse(factor) * -1, (letter, *w) if left else (*w, letter)) for x, w in rest]
        if word not in words.rules:
            words.relate(word, [(inverse(factor), ()), *others])


def spectral(normal: Normaliser, here: Node, a: list[Polynomial]) -> Polynomial:
    """The largest singular value: |c| comes out, the transpose has the same."""
    (p,) = a
    at = ends(here.args[0])
    parts = as_words(p, at, normal.words)
    if not parts:
        return ZERO
    if len(parts) > 1 or None in at:
        return normal.opaque(here, a)
    ((factor, word),) = parts
    if not word:
        return normal.absolute(factor)
    both = [normal.words.product(w, e) for w, e in ((word, at), (flip(word), at[::-1]))]
    inside = min(both, key=repr)
    if len(inside.terms) != 1 or inside.terms[0][1] not in (1, -1):
        return normal.opaque(here, a)
    inside = inside * inside.terms[0][1]
    return normal.absolute(factor) * single(atom("spectral_norm", tuple(sorted(map(str, at))), (inside,)))


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
    orthogonal = normal.words.orthogonal
    while all(w for _, _, w in words) and len({w[0] for _, _, w in words}) == 1 and orthogonal(words[0][2][0]):
        first.append(words[0][2][0])
        for _, _, w in words:
            w.pop(0)
    while all(w for _, _, w in words) and len({w[-1] for _, _, w in words}) == 1 and orthogonal(words[0][2][-1]):
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
