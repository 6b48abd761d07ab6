"""Normal form N3: products of matrices as words.

    letter = (monomial, transposed, row axis, column axis)     a vector is a column: its column axis is None
    word   = letters, neighbours with equal inner axes

A 1×1 stretch of a word is a scalar and is pulled out; identity letters vanish. Rules rewrite stretches, also across the
seam of a trace; they come from premises (`Uᵀ @ U == I`, `S @ S == S`, `A @ x == c*x`) and from inverses. A trace is
minimal over rotation and over reversal with transposition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from dotopt.compiler.prove.forms.polynomial import (
    ONE,
    ZERO,
    Atom,
    Monomial,
    Polynomial,
    accumulate,
    atom,
    make,
    number,
    single,
    single_product,
)

MODEL = "@model"  # the axis that runs over the tensors of the optimizer
Letter = tuple[Monomial, bool, "str | None", "str | None"]
Word = tuple[Letter, ...]
Sum = list[tuple[Polynomial, Word]]  # words with scalar factors


@dataclass
class Words:
    """Words under the relations that the premises give."""

    rules: dict[Word, Sum] = field(default_factory=dict)  # stretches of words and what they are
    symmetric: set[Atom] = field(default_factory=set)  # Sᵀ = S
    skew: set[Atom] = field(default_factory=set)  # Sᵀ = -S, of square ones
    semidefinite: set[Atom] = field(default_factory=set)  # symmetric, and xᵀ S x >= 0
    definite: set[Atom] = field(default_factory=set)  # and xᵀ S x > 0 for x ≠ 0
    turn: Callable[[Monomial], Monomial | None] = lambda monomial: None  # the transpose of an entrywise product

    def letters(self, monomial: Monomial, row: str | None, column: str | None) -> Word:
        """The word that an entrywise monomial is, seen as a matrix with these axes."""
        if len(monomial) == 1 and monomial[0][1] == 1:
            a = monomial[0][0]
            if a.kind == "eye":
                return ()
            if a.kind == "word":
                word: Word = a.key[0]
                return word if (word[0][2], word[-1][3]) == (row, column) else flip(word)
        if column is not None and row != column and not any({row, column} <= a.axes for a, _ in monomial):
            first, second = (tuple(f for f in monomial if axis in f[0].axes) for axis in (row, column))
            return self.column(first, str(row)) + flip(self.column(second, column))
        return ((monomial, False, row, column),)

    def column(self, monomial: Monomial, axis: str) -> Word:
        """A vector as a word; of ones, if nothing varies."""
        return self.letters(monomial, axis, None) if monomial else ones(axis)

    def relate(self, word: Word, value: Sum) -> None:
        """word = value from now on, and the transpose of it; two square letters that make I do so in any order."""
        for left, right in ((word, value), (flip(word), [(factor, flip(w)) for factor, w in value])):
            sign, letters = self.plain(left)
            self.rules[letters] = [(factor * (sign * s), w) for factor, v in right for s, w in (self.plain(v),)]
        square = len({axis for letter in word for axis in letter[2:]}) == 1
        if square and len(word) == 2 and value == [(ONE, ())] and word[::-1] not in self.rules:
            self.relate(word[::-1], value)

    def orthogonal(self, letter: Letter) -> bool:
        """Whether a letter is orthogonal from both sides."""
        (back,) = flip((letter,))
        return all(self.rules.get(pair) == [(ONE, ())] for pair in ((letter, back), (back, letter)))

    # ---- values ----------------------------------------------------------------------------------------------------

    def product(self, word: Iterable[Letter], ends: tuple[str | None, str | None]) -> Polynomial:
        """The value of a word, as a polynomial."""
        sign, letters = self.plain(word)
        found = self._rewritten(letters)
        if found is not None:
            return add_all(factor * self.product(rest, ends) for factor, rest in found) * sign
        stretch = _scalar_stretch(letters)
        if stretch is not None:
            first, last = stretch
            inside, rest = letters[first : last + 1], letters[:first] + letters[last + 1 :]
            return self.inner(inside) * self.product(rest, ends) * sign
        if not letters:
            return (ONE if None in ends else single(atom("eye", ends[0], axes=frozenset({str(ends[0])})))) * sign
        row, column = letters[0][2], letters[-1][3]
        if row is not None and column is not None and row != column:  # an outer product: entries are products
            seam = next((i for i, letter in enumerate(letters, 1) if letter[3] is None), 0)
            if seam:
                return self.product(letters[:seam], (row, None)) * self.product(letters[seam:], (None, column)) * sign
        if row is None or (column is not None and row != column):
            turned_sign, turned = self.plain(flip(letters))
            if row is None or _key(turned) < _key(letters):
                sign, letters = sign * turned_sign, turned
        if len(letters) == 1:
            monomial, transposed, row, column = letters[0]
            if _is_ones(letters[0]):
                return ONE * sign
            if not transposed or row != column:
                return single_product(monomial) * sign
            back = self.turn(monomial)
            if back is not None:
                return single_product(back) * sign
        axes = {axis for axis in (row, column) if axis is not None} | _carried(letters)
        return single(atom("word", letters, axes=frozenset(axes))) * sign

    def trace(self, word: Iterable[Letter], axis: str) -> Polynomial:
        """The trace of a square word, whose rows are this axis."""
        sign, letters = self.plain(word)
        if not letters:
            return size(axis) * sign
        for i in range(len(letters)):
            turned = letters[i:] + letters[:i]
            if turned[0][2] is None:  # a vector in the cycle opens it to a 1×1 word
                return self.product(turned, (None, None)) * sign
        for i in range(len(letters)):
            turned = letters[i:] + letters[:i]
            found = self._rewritten(turned)
            if found is not None:
                rows = str(turned[0][2])
                return add_all(factor * self.trace(rest, rows) for factor, rest in found) * sign
        row, column = letters[0][2:]
        if len(letters) == 2 and row is not None and column is not None and row != column:
            pair = single_product(letters[0][0]) * single_product(letters[1][0])
            return add_up(add_up(pair, column, self), row, self) * sign
        return self.closed(letters) * sign

    def inner(self, word: Word) -> Polynomial:
        """A 1×1 word; of two vectors it is the sum of their products."""
        if len(word) == 2:
            axis = str(word[0][3])
            left, right = (ONE if _is_ones(letter) else single_product(letter[0]) for letter in word)
            return add_up(left * right, axis, self)
        return self.closed(word)

    def closed(self, word: Word) -> Polynomial:
        """The atom of a trace, or of a 1×1 word; zero if it is minus its own transpose."""
        best: dict[Word, int] = {}
        for sign, candidate in self._cycles(word):
            if best.setdefault(candidate, sign) != sign:
                return ZERO
        first = min(best, key=_key)
        return single(atom("trace", first, axes=frozenset(_carried(first)))) * best[first]

    def _cycles(self, word: Word) -> Iterator[tuple[int, Word]]:
        """The word turned and transposed in every way; a vector in the cycle opens it to a 1×1 word."""
        starts = [i for i in range(len(word)) if word[i][2] is None and word[i - 1][3] is None]
        for i in starts or range(len(word)):
            for candidate in (word[i:] + word[:i], flip(word[i:] + word[:i])):
                yield self.plain(candidate)

    # ---- laws ------------------------------------------------------------------------------------------------------

    def plain(self, word: Iterable[Letter]) -> tuple[int, Word]:
        """The word with letters in their one form, behind the sign that transposes of skew ones give."""
        sign, letters = 1, []
        for monomial, transposed, row, column in word:
            a, power = monomial[0]
            if transposed and len(monomial) == 1 and a in self.symmetric:
                transposed = False
            elif transposed and len(monomial) == 1 and a in self.skew:
                transposed, sign = False, sign * (-1) ** power
            elif row == column:
                back = self.turn(monomial)
                if back == monomial:
                    transposed = False
                elif back is not None and _order(back) < _order(monomial):
                    monomial, transposed = back, not transposed
            letters.append((monomial, transposed, row, column))
        return sign, tuple(letters)

    def _rewritten(self, letters: Word) -> Sum | None:
        """With the first stretch rewritten that has a rule."""
        for n in sorted({len(word) for word in self.rules}):
            for i in range(len(letters) - n + 1):
                found = self.rules.get(letters[i : i + n])
                if found is not None:
                    return [(factor, letters[:i] + middle + letters[i + n :]) for factor, middle in found]
        return None

    def sign_of(self, word: Word) -> int:
        """1 where a closed word is never negative: tr(Xᵀ X), tr(Xᵀ P X), tr(P Xᵀ Q X); -1 if it is never positive."""
        n = len(word)
        for i in range(n):
            turned = word[i:] + word[:i]
            for start in (0, 1):
                middle = (n + start) // 2
                centre = turned[middle : middle + (n + start) % 2]
                if not all(self._semidefinite(letter) for letter in (*turned[:start], *centre)):
                    continue
                sign, back = self.plain(flip(turned[start:middle]))
                if back == turned[middle + len(centre) :]:
                    return sign
        return 0

    def _semidefinite(self, letter: Letter) -> bool:
        return len(letter[0]) == 1 and letter[0][0][1] == 1 and letter[0][0][0] in self.semidefinite


def size(axis: str) -> Polynomial:
    """How many places an axis has."""
    return number(int(axis)) if axis.isdigit() else single(atom("size", axis))


def add_all(parts: Iterable[Polynomial]) -> Polynomial:
    """The sum of polynomials."""
    return sum(parts, ZERO)


def _scalar_stretch(letters: Word) -> tuple[int, int] | None:
    start = None
    for i, letter in enumerate(letters):
        if letter[2] is None:
            start = i
        if letter[3] is None and start is not None:
            return start, i
    return None


def precedes(word: Word, other: Word, words: Words) -> bool:
    """Whether a word comes before another in the order that rules follow, and their transposes too."""
    turned = words.plain(flip(word))[1], words.plain(flip(other))[1]
    return _key(word) < _key(other) and _key(turned[0]) < _key(turned[1])


def flip(word: Word) -> Word:
    """The transpose of a word."""
    return tuple((m, not t if r == c else False, c, r) for m, t, r, c in reversed(word))


def ones(axis: str) -> Word:
    """A vector of ones."""
    return ((((atom("ones", axis, None, axes=frozenset({axis})), 1),), False, axis, None),)


def _is_ones(letter: Letter) -> bool:
    return len(letter[0]) == 1 and letter[0][0][0].kind == "ones"


def _order(monomial: Monomial) -> tuple[tuple[int, int], ...]:
    return tuple((a.number, power) for a, power in monomial)


def _key(word: Word) -> tuple[tuple[tuple[tuple[int, int], ...], bool, str, str], ...]:
    return tuple((_order(m), t, r or "", c or "") for m, t, r, c in word)


def _carried(word: Word) -> set[str]:
    """The axes of the letters that the products do not contract: leading ones."""
    inner = {axis for letter in word for axis in letter[2:] if axis is not None}
    return {axis for letter in word for a, _ in letter[0] for axis in a.axes} - inner


def add_up(p: Polynomial, axis: str, words: Words) -> Polynomial:
    """The sum of p along one axis: what does not vary along it is pulled out."""
    result: dict[Monomial, Fraction] = {}
    for monomial, coefficient in p.terms:
        outside = tuple(f for f in monomial if axis not in f[0].axes)
        inside = tuple(f for f in monomial if axis in f[0].axes)
        if not inside:
            total = size(axis)
        elif _is_square_of_direction(inside, axis):
            total = ONE
        elif len(inside) == 1 and inside[0][1] == 1 and inside[0][0].kind == "sum" and axis > inside[0][0].key[0]:
            inner, body = inside[0][0].key  # sums are nested in one order
            total = add_up(add_up(single_product(body), axis, words), inner, words)
        else:
            total = (
                _trace_of_product(inside, axis, words)
                or _matrix_times_vector(inside, axis, words)
                or single(atom("sum", axis, inside, axes=frozenset(x for a, _ in inside for x in a.axes) - {axis}))
            )
        accumulate(result, single_product(outside) * coefficient * total)
    return make(result)


def _is_square_of_direction(inside: Monomial, axis: str) -> bool:
    """‖unit(x)‖² is 1 for a vector x that is not zero, which the conditions of definedness ask for."""
    a, power = inside[0]
    return len(inside) == 1 and a.kind == "unit" and power == 2 and a.axes - {MODEL} == {axis}


def _matrix_times_vector(inside: Monomial, axis: str, words: Words) -> Polynomial | None:
    """Σ_c A_rc x_c is A @ x when one factor varies along two axes, and the others along one of them."""
    wide = [f for f in inside if len(f[0].axes - {MODEL}) == 2]
    rest = tuple(f for f in inside if f[0].axes - {MODEL} == {axis})
    if len(wide) != 1 or wide[0][1] != 1 or not rest or len(rest) + 1 != len(inside):
        return None
    (row,) = wide[0][0].axes - {MODEL, axis}
    return words.product(words.letters((wide[0],), row, axis) + words.letters(rest, axis, None), (row, None))


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


__all__ = ["MODEL", "Letter", "Sum", "Word", "Words", "add_all", "add_up", "flip", "ones", "precedes", "size"]
