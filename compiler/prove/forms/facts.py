"""What the premises say: signs of polynomials for the normal forms, and assertions for z3.

facts = Facts(premises)          facts.normal(node)         normal form that knows the signs
                                 facts.proves(node)         whether the premises imply a boolean node
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from dotopt.compiler.ir import Node, node
from dotopt.compiler.prove.forms.matrices import as_words, ends
from dotopt.compiler.prove.forms.normal import Normaliser, Unsupported, atoms_below
from dotopt.compiler.prove.forms.polynomial import ONE, Atom, Polynomial, fraction, single, single_product
from dotopt.compiler.prove.forms.smt import Smt, check, excluded
from dotopt.compiler.prove.forms.words import Words, precedes
from dotopt.compiler.prove.solver.logic import Not, Term

SIGN = 150_000  # work of z3 for a question about a sign
WHOLE = 300_000  # for whole numbers, which z3 decides or never will
MODELS = 60  # that are kept of the premises, to answer questions about signs before z3 is asked


@dataclass
class Facts:
    """The premises of a claim, ready for use; `skipped` are those that have no normal form."""

    premises: tuple[Node, ...]
    shared: frozenset[str] = frozenset()
    chosen: tuple[tuple[str, Node], ...] = ()  # sets that are drawn, and from which
    skipped: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._quick: dict[Atom, int] = {}
        self._signs: dict[tuple[Polynomial, bool], bool] = {}
        self._models: list[Model] = []
        self._excluded: bool | None = None
        self._assertions: list[tuple[Term, set[Atom]]] = []
        self._ready = False
        self.rewrites: dict[Atom, Polynomial] = {}
        words = Words()
        self.normal = Normaliser(
            self.positive, self.nonnegative, shared=self.shared, chosen=dict(self.chosen), words=words
        )
        self.smt = Smt(self.normal)
        flat = list(conjuncts(self.premises))
        for premise in flat:
            self._simple_bound(premise)
            self._transposes(premise, words)
        self.normal.done.clear()
        for premise in flat:
            self._product(premise, words)
        self.normal.done.clear()  # what was normalised before all signs were known is done again
        for premise in flat:
            uses: set[Atom] = set()
            try:
                formula = self.smt.formula(premise, uses)
            except (Unsupported, ArithmeticError):
                self.skipped.append(premise)
                continue
            self._assertions.append((formula, self.smt.closure(uses)[0]))
            self._rewrite(premise)
        self._ready = True
        self.normal.done.clear()
        self._signs.clear()

    def _rewrite(self, premise: Node) -> None:
        """An equation that gives a sum, a norm or a trace becomes a law of the normal forms."""
        if premise.op != "eq" or premise.args[0].type.kind not in ("real", "int"):
            return
        p, _ = fraction(self.normal(premise.args[0]) - self.normal(premise.args[1]))
        for monomial, c in p.terms:
            if len(monomial) != 1 or monomial[0][1] != 1 or monomial[0][0].kind not in ("sqrt", "sum", "trace"):
                continue
            a = monomial[0][0]
            value = (single(a) * c - p) * (1 / c)
            if a in atoms_below(value):
                continue
            if a.kind != "sqrt":
                self.rewrites[a] = value
                return
            inside: Polynomial = a.key[0]
            for inner, k in inside.terms:
                if len(inner) == 1 and inner[0][1] == 1 and inner[0][0].kind in ("sum", "trace"):
                    rest = inside - single(inner[0][0]) * k
                    self.rewrites[inner[0][0]] = (value**2 - rest) * (1 / k)
                    self.rewrites[a] = value
                    return

    # ---- signs -----------------------------------------------------------------------------------------------------

    def _simple_bound(self, premise: Node) -> None:
        """`leaf > 0` and the like are known before anything is asked of z3."""
        if premise.op not in ("gt", "ge", "lt", "le"):
            return
        left, right = premise.args
        if premise.op in ("lt", "le"):
            left, right = right, left
        if left.op == "leaf" and right.value is not None and right.value >= 0:
            try:
                (a,) = self.normal(left).atoms()
            except (Unsupported, ValueError):
                return
            strict = premise.op in ("gt", "lt") or right.value > 0
            self._quick[a] = max(self._quick.get(a, 0), 2 if strict else 1)

    def _transposes(self, premise: Node, words: Words) -> None:
        """`Sᵀ == S`, `Sᵀ == -S` and `positive_definite(S)` become laws of matrix words."""
        if premise.op == "positive_definite" and premise.args[0].op == "leaf":
            words.symmetric.update(self.normal(premise.args[0]).atoms())
            words.semidefinite.update(self.normal(premise.args[0]).atoms())
            words.definite.update(self.normal(premise.args[0]).atoms())
        for x, y in (premise.args, premise.args[::-1]) if premise.op == "eq" else ():
            if x.op != "transpose" or x.args[0].op != "leaf" or len(set(x.type.axes)) != 1:
                continue
            if y is x.args[0]:
                words.symmetric.update(self.normal(y).atoms())
            if y.op == "neg" and y.args[0] is x.args[0]:
                words.skew.update(self.normal(y.args[0]).atoms())

    def _product(self, premise: Node, words: Words) -> None:
        """`Qᵀ @ Q == I`, `S @ S == S`, `A @ x == c*x` become rules of matrix words."""
        for x, y in (premise.args, premise.args[::-1]) if premise.op == "eq" else ():
            if x.op != "matmul" or any(a.type.any for a in (x, *x.args)):
                continue
            try:
                left, right = (as_words(self.normal(side), ends(x), words) for side in (x, y))
            except (Unsupported, ArithmeticError):
                continue
            if len(left) != 1 or left[0][0] != ONE or len(left[0][1]) != 2:
                continue
            word = left[0][1]
            if any(len(w) > 2 or (len(w) == 2 and not precedes(w, word, words)) for _, w in right):
                continue
            words.relate(word, right)
            first = word[0][0]
            if word[0] == word[1] and right == [(ONE, word[:1])] and first[0][0] in words.symmetric:
                words.semidefinite.add(first[0][0])
            return

    def _atom_sign(self, a: Atom) -> int:
        """2: positive, 1: never negative, 0: not known."""
        if a in self._quick:
            return self._quick[a]
        match a.kind, a.key:
            case (("size" | "pi"), _):
                return 2
            case "leaf", (("time" | "rank" | "axis"), *_):
                return 2
            case "exp", _:
                return 2
            case (("sqrt" | "abs" | "inverse"), (p,)):
                return 2 if self._ready and self.positive(p) else (0 if a.kind == "inverse" else 1)
            case (("truth" | "spectral_norm" | "spectral_radius"), _):
                return 1
            case "sum", (_, inside) if self._ready and self.positive(single_product(inside)):
                return 2
            case "family", (*_, inside):
                return int(all(power % 2 == 0 or self._atom_sign(b) for b, power in inside))
            case "sum", (_, inside):
                return int(all(power % 2 == 0 or self._atom_sign(b) for b, power in inside))
            case "trace", (word,):
                return int(self.normal.words.sign_of(word) > 0)
            case (("amax" | "amin"), (_, p)):
                return 2 if self.positive(p) else int(self.nonnegative(p))
            case "pow", (base, _):
                return 2 if self.positive(base) else 1 if self.nonnegative(base) else 0
        return 0

    def positive(self, p: Polynomial) -> bool:
        """Whether the premises imply p > 0."""
        return self._sign(p, True)

    def nonnegative(self, p: Polynomial) -> bool:
        """Whether the premises imply p >= 0."""
        return self._sign(p, False)

    def _sign(self, p: Polynomial, strict: bool) -> bool:
        constant = p.constant
        if constant is not None:
            return constant > 0 if strict else constant >= 0
        key = (p, strict)
        if key not in self._signs:
            self._signs[key] = False  # a question inside its own answer is not known
            try:
                self._signs[key] = self._by_atoms(p, strict) or self._by_z3(p, strict)
            except BaseException:
                del self._signs[key]
                raise
        return self._signs[key]

    def _by_atoms(self, p: Polynomial, strict: bool) -> bool:
        strictly = False
        for monomial, c in p.terms:
            if c < 0:
                return False
            least = 2
            for a, power in monomial:
                sign = self._atom_sign(a)
                if power % 2 == 0:
                    sign = max(sign, 1)
                if power < 0 and sign == 1 and power % 2:
                    sign = 1
                least = min(least, sign)
            if least == 0:
                return False
            strictly = strictly or least == 2
        return strictly or not strict

    def _by_z3(self, p: Polynomial, strict: bool) -> bool:
        if not self._ready or len(p.terms) > 12:
            return False
        if len(p.terms) == 1 and len(p.terms[0][0]) > 1:
            return False  # a product: its factors were asked
        uses: set[Atom] = set()
        t = self.smt.term(p, uses)
        atoms = self.smt.closure(uses)[0]
        for i, model in enumerate(self._models):
            if atoms <= model.atoms and model.denies(p, strict):
                self._models.insert(0, self._models.pop(i))
                return False
        assertions, atoms = self.assertions(uses)
        answer = check([*assertions, t <= 0 if strict else t < 0], SIGN)
        if answer.result == "sat":
            self._models.insert(0, Model(atoms, self.smt.numbers(answer, atoms)))
            del self._models[MODELS:]
        return answer.result == "unsat"

    # ---- questions to z3 -------------------------------------------------------------------------------------------

    def assertions(self, uses: set[Atom]) -> tuple[list[Term], set[Atom]]:
        """The premises that share atoms with `uses`, directly or not, and the axioms of all of them."""
        atoms, axioms = self.smt.closure(uses)
        taken: list[Term] = []
        waiting = list(self._assertions)
        while True:
            here = [item for item in waiting if item[1] & atoms or not item[1]]
            if not here:
                break
            waiting = [item for item in waiting if item[1] and not item[1] & atoms]
            taken.extend(formula for formula, _ in here)
            atoms, axioms = self.smt.closure(atoms.union(*(u for _, u in here)))
        return taken + axioms, atoms

    def refutes(self, negated: list[Term], uses: set[Atom], work: float) -> bool:
        """Whether the premises exclude these formulas."""
        assertions, _ = self.assertions(uses)
        return excluded([*assertions, *negated], work)

    def question(self, goal: Node) -> tuple[list[Term], set[Atom]]:
        """The assertions whose unsatisfiability is the goal."""
        uses: set[Atom] = set()
        formula = self.smt.formula(goal, uses)
        assertions, atoms = self.assertions(uses)
        return [*assertions, Not(formula)], atoms

    def proves(self, goal: Node, work: float = 1_000_000) -> bool:
        """Whether z3 derives a boolean node from the premises."""
        try:
            assertions, atoms = self.question(goal)
        except (Unsupported, ArithmeticError):
            return False
        return self.excluded(assertions, atoms, work) is not None

    def excluded(self, assertions: list[Term], atoms: set[Atom], work: float) -> list[Term] | None:
        """Assertions that z3 finds to exclude each other: these, or these of whole numbers; None if it finds none."""
        if excluded(assertions, work):
            return assertions
        whole = self.smt.whole(atoms)
        question = [*assertions, *whole]
        return question if whole and excluded(question, min(work, WHOLE)) else None

    def contradictory(self, work: float = 500_000) -> bool:
        """Whether the premises exclude each other."""
        if self._excluded is None:
            uses: set[Atom] = set()
            for _, atoms in self._assertions:
                uses |= atoms
            atoms, axioms = self.smt.closure(uses)
            question = [*(f for f, _ in self._assertions), *axioms]
            self._excluded = self.excluded(question, atoms, work) is not None
        return self._excluded


@dataclass(frozen=True)
class Model:
    """Values of atoms, all that each other's axioms reach, for which the premises hold."""

    atoms: set[Atom]
    values: dict[Atom, Fraction]

    def denies(self, p: Polynomial, strict: bool) -> bool:
        """Whether p > 0 (or p >= 0) fails here."""
        total = Fraction(0)
        try:
            for monomial, c in p.terms:
                for a, power in monomial:
                    c = c * self.values[a] ** power
                total += c
        except (KeyError, ZeroDivisionError):
            return False
        return total <= 0 if strict else total < 0


_KNOWN: dict[tuple[tuple[Node, ...], frozenset[str], tuple[tuple[str, Node], ...]], Facts] = {}


def facts_of(
    premises: tuple[Node, ...], shared: frozenset[str] = frozenset(), chosen: tuple[tuple[str, Node], ...] = ()
) -> Facts:
    """The facts of these premises, the same ones as long as one claim is being decided."""
    key = premises, shared, chosen
    if key not in _KNOWN:
        _KNOWN[key] = Facts(premises, shared, chosen)
    return _KNOWN[key]


def forget_facts() -> None:
    """Drops what is known from earlier claims."""
    _KNOWN.clear()


def conjuncts(premises: Iterable[Node]) -> Iterable[Node]:
    """The premises with `and` taken apart, and bounds on the largest entry read as bounds on every entry."""
    for premise in premises:
        if premise.op == "and":
            yield from conjuncts(premise.args)
        else:
            yield premise
            yield from _entrywise(premise)


def _entrywise(premise: Node) -> Iterable[Node]:
    if premise.op in ("le", "lt") and premise.args[0].op == "amax":
        yield node(premise.op, premise.args[0].args[0], premise.args[1])
    if premise.op in ("le", "lt") and premise.args[0].op == "norm" and premise.args[0].attrs[2] is None:
        yield node(premise.op, node("abs", premise.args[0].args[0]), premise.args[1])


__all__ = ["Any", "Facts", "conjuncts", "facts_of", "forget_facts", "single"]
