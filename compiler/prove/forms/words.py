"""Normal form N3: products of matrices as words.

    letter = (monomial, transposed, row axis, column axis)     a vector is a column: its column axis is None
    word   = letters, neighbours with equal inner axes

A 1×1 stretch of a word is a scalar and is pulled out; identity letters vanish; a pair that `given Uᵀ @ U == I` makes
the identity vanishes too. A trace is minimal over rotation and over reversal with transposition.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dotopt.compiler.prove.forms.polynomial import ONE, Atom, Monomial, Polynomial, atom, single, single_product

Letter = tuple[Monomial, bool, "str | None", "str | None"]
Word = tuple[Letter, ...]


@dataclass
class Words:
    """Words under the relations that the premises give: `orthogonal` and `symmetric` letters."""

    orthogonal: set[tuple[Atom, bool]] = field(default_factory=set)  # (Q, True): Qᵀ @ Q = I; (Q, False): Q @ Qᵀ = I
    symmetric: set[Atom] = field(default_factory=set)
    columns: dict[Atom, str] = field(default_factory=dict)  # the column axis of orthogonal letters that are not square

    def letters(self, monomial: Monomial, row: str | None, column: str | None) -> Word:
        """The word that an entrywise monomial is, seen as a matrix with these axes."""
        if len(monomial) == 1 and monomial[0][1] == 1:
            a = monomial[0][0]
            if a.kind == "eye":
                return ()
            if a.kind == "word":
                word: Word = a.key[0]
                return word if (word[0][2], word[-1][3]) == (row, column) else flip(word)
        return ((monomial, False, row, column),)

    def reduce(self, word: Iterable[Letter]) -> tuple[Polynomial, Word]:
        """The scalars pulled out, and the word that is left (empty: the identity, or nothing)."""
        letters = [self._plain(letter) for letter in word]
        factor = ONE
        changed = True
        while changed:
            changed = False
            for i in range(len(letters) - 1):
                if self._cancels(letters[i], letters[i + 1]):
                    del letters[i : i + 2]
                    changed = True
                    break
            else:
                found = _scalar_stretch(letters)
                if found:
                    first, last = found
                    factor = factor * self.inner(tuple(letters[first : last + 1]))
                    del letters[first : last + 1]
                    changed = True
        return factor, tuple(letters)

    def product(self, word: Iterable[Letter], ends: tuple[str | None, str | None]) -> Polynomial:
        """The value of a word, as a polynomial."""
        factor, letters = self.reduce(word)
        if not letters:
            if None in ends:
                return factor
            return factor * single(atom("eye", ends[0], axes=frozenset({str(ends[0])})))
        row, column = letters[0][2], letters[-1][3]
        if row is None:
            letters = flip(letters)
        elif column is not None and row != column:
            letters = min(letters, flip(letters), key=_key)
        if len(letters) == 1 and (not letters[0][1] or letters[0][2] != letters[0][3]):
            return factor * single_product(letters[0][0])
        axes = {axis for axis in (row, column) if axis is not None} | _carried(letters)
        return factor * single(atom("word", letters, axes=frozenset(axes)))

    def trace(self, word: Iterable[Letter], axis: str) -> Polynomial:
        """The trace of a square word."""
        factor, reduced = self.reduce(word)
        letters = list(reduced)
        while len(letters) > 1 and self._cancels(letters[-1], letters[0]):
            letters = letters[1:-1]
        if not letters:
            return factor * single(atom("size", axis))
        row, column = letters[0][2:]
        if len(letters) == 2 and row is not None and column is not None and row != column:
            pair = single_product(letters[0][0]) * single_product(letters[1][0])
            return factor * add_up(add_up(pair, column, self), row, self)
        turned = [letters[i:] + letters[:i] for i in range(len(letters))]
        for candidate in turned:  # a vector in the cycle opens it to a 1×1 word
            if candidate[0][2] is None and candidate[-1][3] is None:
                return factor * self.inner(tuple(candidate))
        cycle = min((tuple(c) for w in turned for c in (w, flip(tuple(w)))), key=_key)
        return factor * single(atom("trace", cycle, axes=frozenset(_carried(cycle))))

    def inner(self, word: Word) -> Polynomial:
        """A 1×1 word; of two vectors it is the sum of their products."""
        if len(word) == 2:
            axis = str(word[0][3])
            product = single_product(word[0][0]) * single_product(word[1][0])
            return add_up(product, axis, self)
        word = min(word, flip(word), key=_key)
        return single(atom("trace", word, axes=frozenset(_carried(word))))

    def _plain(self, letter: Letter) -> Letter:
        monomial, transposed, row, column = letter
        if transposed and len(monomial) == 1 and monomial[0][0] in self.symmetric:
            return monomial, False, row, column
        return letter

    def _cancels(self, left: Letter, right: Letter) -> bool:
        if left[0] != right[0] or len(left[0]) != 1 or left[0][0][1] != 1 or left[2] != right[3]:
            return False
        if left[2] == left[3]:
            return left[1] != right[1] and (left[0][0][0], left[1]) in self.orthogonal
        return (left[0][0][0], self.columns.get(left[0][0][0]) != left[3]) in self.orthogonal


def _scalar_stretch(letters: list[Letter]) -> tuple[int, int] | None:
    start = None
    for i, letter in enumerate(letters):
        if letter[2] is None:
            start = i
        if letter[3] is None and start is not None:
            return start, i
    return None


def flip(word: Word) -> Word:
    """The transpose of a word."""
    return tuple((m, not t if r == c else False, c, r) for m, t, r, c in reversed(word))


def _key(word: Word) -> tuple[tuple[tuple[tuple[int, int], ...], bool, str, str], ...]:
    return tuple((tuple((a.number, p) for a, p in m), t, r or "", c or "") for m, t, r, c in word)


def _carried(word: Word) -> set[str]:
    """The axes of the letters that the products do not contract: leading ones."""
    inner = {axis for letter in word for axis in letter[2:] if axis is not None}
    return {axis for letter in word for a, _ in letter[0] for axis in a.axes} - inner


def add_up(p: Polynomial, axis: str, words: Words) -> Polynomial:
    """The sum of p along one axis: what does not vary along it is pulled out."""
    result = ONE - ONE
    for monomial, coefficient in p.terms:
        outside = tuple(f for f in monomial if axis not in f[0].axes)
        inside = tuple(f for f in monomial if axis in f[0].axes)
        if not inside:
            total = single(atom("size", axis))
        elif len(inside) == 1 and inside[0][1] == 1 and inside[0][0].kind == "sum" and axis > inside[0][0].key[0]:
            inner, body = inside[0][0].key  # sums are nested in one order
            total = add_up(add_up(single_product(body), axis, words), inner, words)
        else:
            total = _trace_of_product(inside, axis, words) or single(
                atom("sum", axis, inside, axes=frozenset(x for a, _ in inside for x in a.axes) - {axis})
            )
        result = result + single_product(outside) * coefficient * total
    return result


def _trace_of_product(inside: Monomial, row: str, words: Words) -> Polynomial | None:
    """Σ_r Σ_c a*b is the trace of aᵀ @ b when both vary along rows and columns and one is a product of matrices."""
    if len(inside) != 1 or inside[0][1] != 1 or inside[0][0].kind != "sum":
        return None
    column, pair = inside[0][0].key
    factors = [a for a, power in pair for _ in range(power)]
    if len(factors) != 2 or any(power < 0 for _, power in pair) or not any(a.kind == "word" for a in factors):
        return None
    if any(not {row, column} <= a.axes for a in factors):
        return None
    left, right = (words.letters(((a, 1),), row, column) for a in factors)
    return words.trace(flip(left) + right, column)
