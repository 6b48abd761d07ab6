"""What is known of norms and inner products of matrices, between the atoms that a question has.

    ⟨U, V⟩² <= ‖U‖² ‖V‖²          ‖U V‖² <= ‖U‖² ‖V‖²          tr(A)² <= n ‖A‖²
    ‖A V‖ <= σ(A) ‖V‖              σ(A) <= ‖A‖ <= √n σ(A)        (uᵀ P v)² <= uᵀ P u * vᵀ P v

σ is the largest singular value, P is positive semidefinite. Every atom is read as a word (`words`): a squared norm as
the word inside, an inner product as a closed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dotopt.compiler.prove.forms.polynomial import ONE, Atom
from dotopt.compiler.prove.forms.words import MODEL, Letter, Sum, Word, Words, flip
from dotopt.compiler.prove.solver.logic import Implies

Variable = Callable[[Atom], Any]


def norm_axioms(atoms: Iterable[Atom], words: Words, variable: Variable) -> Iterator[Any]:
    """The axioms that relate these atoms, as formulas of z3 over their variables."""
    ordered = sorted(atoms, key=lambda a: a.number)
    if not any(_of_matrices(a) for a in ordered):
        return
    known = Norms(words, variable)
    for a in ordered:
        known.read(a)
    yield from known.axioms()


def _of_matrices(a: Atom) -> bool:
    match a.kind, a.key:
        case (("trace" | "spectral_norm"), _):
            return True
        case "sum", (_, inside):
            return any(b.kind in ("word", "sum") for b, _ in inside)
    return False


class Norms:
    """Squared norms by their words, inner products, quadratic forms and largest singular values."""

    def __init__(self, words: Words, variable: Variable) -> None:
        self.words, self.variable = words, variable
        self.squares: dict[Word, Any] = {}
        self.closed: list[tuple[Word, Any]] = []
        self.forms: dict[tuple[Letter, Word], Any] = {}
        self.largest: dict[Word, Any] = {}
        self.sizes: dict[str, Any] = {}

    def read(self, a: Atom) -> None:
        """Notes what an atom is."""
        v = self.variable(a)
        match a.kind, a.key:
            case "size", (axis,):
                self.sizes[axis] = v
            case "spectral_norm", (axes, (p,)) if len(axes) == 2 and len(p.terms) == 1:
                self.largest[self._one(self.words.letters(p.terms[0][0], *axes))] = v
            case "trace", (word,):
                self._read_closed(word, v)
            case "sum", (axis, inside):
                word = _summed(axis, inside, self.words)
                if word is not None:
                    self._read_closed(word, v)

    def _read_closed(self, word: Word, v: Any) -> None:
        self.closed.append((word, v))
        n = len(word)
        for i in range(n):
            turned = word[i:] + word[:i]
            sign, back = self.words.plain(flip(turned[: n // 2]))
            if sign > 0 and back == turned[n - n // 2 :]:
                half = turned[n - n // 2 :]
                if n % 2 == 0:
                    self.squares[self._one(half)] = v
                elif self._semidefinite(turned[n // 2]):
                    self.forms[turned[n // 2], half] = v

    def _one(self, word: Word) -> Word:
        """The word or its transpose, which have the same norm."""
        return min((self.words.plain(w)[1] for w in (word, flip(word))), key=repr)

    def _semidefinite(self, letter: Letter) -> bool:
        return len(letter[0]) == 1 and letter[0][0][1] == 1 and letter[0][0][0] in self.words.semidefinite

    def _places(self, axis: str | None) -> Any:
        """The size of an axis, if the question has it."""
        return int(axis) if axis is not None and axis.isdigit() else self.sizes.get(str(axis))

    def _square(self, word: Word) -> Any:
        """‖word‖², if the question has it; of orthonormal columns their number."""
        (back,) = flip(word) if len(word) == 1 else (None,)
        if back is not None and self.words.rules.get((back, word[0])) == [(ONE, ())]:
            return self._places(word[0][3])
        return self.squares.get(self._one(word))

    def _sigma(self, word: Word) -> Any:
        """The largest singular value or a bound of it: 1 for orthonormal columns or rows, and for projections."""
        if len(word) == 1:
            (letter,), (back,) = word, flip(word)
            identity: Sum = [(ONE, ())]
            rules = self.words.rules
            symmetric = self.words.plain((back,)) == (1, word)
            if identity in (rules.get((back, letter)), rules.get((letter, back))):
                return 1
            if symmetric and rules.get((letter, letter)) == [(ONE, word)]:
                return 1
        return self.largest.get(self._one(word))

    # ---- the axioms ------------------------------------------------------------------------------------------------

    def axioms(self) -> Iterator[Any]:
        """All of them."""
        for word, v in self.closed:
            for i in range(len(word)):
                yield from self._of_closed(word[i:] + word[:i], v)
        for word, v in self.squares.items():
            yield from self._of_square(word, v)
        for (letter, half), v in self.forms.items():
            square = self._square(half)
            if square is not None and letter[0][0][0] in self.words.definite:
                yield Implies(square > 0, v > 0)

    def _of_closed(self, word: Word, v: Any) -> Iterator[Any]:
        for k in range(1, len(word)):
            first, second = self._square(word[:k]), self._square(word[k:])
            if first is not None and second is not None:
                yield v * v <= first * second
            s = self._sigma(word[:k])
            for m in range(k + 1, len(word)) if s is not None else ():
                first, second = self._square(word[k:m]), self._square(word[m:])
                if first is not None and second is not None:
                    yield v * v <= s * s * first * second
        if self._semidefinite(word[0]):
            for k in range(2, len(word)):
                left, right = word[1:k], self.words.plain(flip(word[k:]))
                first, second = self.forms.get((word[0], left)), self.forms.get((word[0], right[1]))
                if first is not None and second is not None:
                    yield v * v <= first * second
        places = self._places(word[0][2])
        if len(word) == 1:
            square = self._square(word)
            if places is not None and square is not None:
                yield v * v <= places * square
            if word[0][0][0][0] in self.words.definite and self._semidefinite(word[0]):
                yield v > 0

    def _of_square(self, word: Word, v: Any) -> Iterator[Any]:
        for here in (word, self.words.plain(flip(word))[1]):
            for k in range(1, len(here)):
                first, second = self._square(here[:k]), self._square(here[k:])
                if first is not None and second is not None:
                    yield v <= first * second
                s = self._sigma(here[:k])
                if s is not None and second is not None:
                    yield v <= s * s * second
        if word in self.largest:
            yield self.largest[word] ** 2 <= v
        s = self._sigma(word)
        if s is not None:
            for axis in (word[0][2], word[-1][3]):
                places = self._places(axis)
                if places is not None:
                    yield v <= places * s * s


def _summed(axis: str, inside: Any, words: Words) -> Word | None:
    """Σ x*y over the entries of vectors or matrices as the closed word xᵀ y."""
    column: str | None = None
    if len(inside) == 1 and inside[0][1] == 1 and inside[0][0].kind == "sum":
        column, inside = inside[0][0].key
    factors = [b for b, power in inside for _ in range(max(power, 0))]
    places = {axis} if column is None else {axis, column}
    if len(factors) != 2 or any(power < 0 for _, power in inside) or any(b.axes - {MODEL} != places for b in factors):
        return None
    left, right = (words.letters(((b, 1),), axis, column) for b in factors)
    return flip(left) + right


__all__ = ["norm_axioms"]
