"""Proofs that z3 need not be trusted for: cases, and in each case a sum of products that contradicts itself.

z3 only guides: a model of what is known so far shows which disjunction must be split. The answer is a certificate of
kind `positive`, which the checker verifies by multiplying out.

    proof = {"sum": …, "equations": …}           the literals known here contradict each other (`positive`)
          | {"split": k, "parts": proofs}        the k-th formula known here is a disjunction: a proof for each branch
          | {"compare": polynomial, "parts": …}  a proof for polynomial > 0, = 0 and < 0

Formulas are known in the order in which they are met: those that are assumed, then the branches; conjunctions count as
their parts, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from dotopt.compiler.prove.forms.clauses import FALSE, Foreign, Formula, frozen
from dotopt.compiler.prove.forms.positive import Work, contradiction
from dotopt.compiler.prove.solver.client import ask
from dotopt.compiler.prove.solver.logic import And, Or, Real, Term, product, term, total
from dotopt.compiler.prove.terms import Terms, minus, rows

WORK, CASE = 2_000_000, 20_000  # for one certificate, and for each case
PATIENCE = 3  # questions that z3 may leave unanswered
ASKED = 100_000  # work of z3 for a question
COMPARED, DEEP = 3, 2  # polynomials that are compared with zero, and one after the other


def refutation(formulas: Sequence[Formula], age: Callable[[str], float], work: Work) -> dict[str, Any] | None:
    """A proof that the formulas exclude each other, or None; takes what it does from `work`."""
    share = Work(min(WORK, work.left))
    before = share.left
    search = _Search(age, share)
    try:
        return search.case(_Known.of(formulas), search.needed(formulas))
    except Foreign:
        return None
    finally:
        work.left -= before - share.left


class _Known:
    """The formulas of one case, with their numbers: literals, and disjunctions that are not split yet."""

    def __init__(self) -> None:
        self.count = 0
        self.literals: dict[Formula, int] = {}
        self.open: dict[Formula, int] = {}

    @classmethod
    def of(cls, formulas: Iterable[Formula]) -> _Known:
        known = cls()
        for f in formulas:
            known.add(f)
        return known

    def add(self, f: Formula) -> None:
        """Takes one formula in."""
        if f[0] == "and":
            for part in f[1]:
                self.add(part)
            return
        (self.open if f[0] == "or" else self.literals).setdefault(f, self.count)
        self.count += 1

    def after(self, f: Formula, split: Formula | None = None) -> _Known:
        """With one formula more, and without the disjunction that it is a branch of."""
        new = _Known()
        new.count, new.literals = self.count, dict(self.literals)
        new.open = {g: k for g, k in self.open.items() if g != split}
        new.add(f)
        return new


class _Search:
    def __init__(self, age: Callable[[str], float], work: Work) -> None:
        self.age = age
        self.work = work
        self.patience = PATIENCE
        self.variables: dict[str, Term] = {}
        self.asked: dict[Formula, Term] = {}

    # ---- cases -----------------------------------------------------------------------------------------------------

    def case(self, known: _Known, needed: set[Formula]) -> dict[str, Any] | None:
        """A proof that what is known is impossible."""
        if FALSE in known.open:
            return {"split": known.open[FALSE], "parts": []}
        self.work.spend(CASE)
        found = self._closed(known, list(known.literals), 0)
        if found is not None:
            return found
        result, model = self._model(known.literals) if known.open else ("unsat", None)
        self.patience -= result == "unknown"
        if result == "unsat":
            found = self._hard(known, DEEP)
            if found is not None:
                return found
        split = self._chosen(known, needed, model)
        if split is None:
            return None
        parts = []
        for branch in split[1]:
            part = self.case(known.after(branch, split), needed)
            if part is None:
                return None
            parts.append(part)
        return {"split": known.open[split], "parts": parts}

    def _chosen(self, known: _Known, needed: set[Formula], model: dict[str, float] | None) -> Formula | None:
        """The smallest disjunction that is false in the model; without a model the first one."""
        candidates = [f for f in known.open if f in needed] or list(known.open)
        if model is not None:
            candidates = [f for f in candidates if not _holds(f, model)]
        return min(candidates, key=lambda f: len(f[1]), default=None)

    def _hard(self, known: _Known, depth: int) -> dict[str, Any] | None:
        """A proof from literals that z3 knows to be impossible: by larger sums, or by more cases."""
        literals = list(known.literals)
        for level in (1, 2):
            found = self._closed(known, literals, level)
            if found is not None:
                return found
        core = self._core(literals)
        for level in (2, 3, 4):
            found = self._closed(known, core, level)
            if found is not None:
                return found
        if depth == 0:
            return None
        for p in _compared(core, known.literals):
            parts = []
            for literal in ((">", frozen(p)), ("=", frozen(p)), (">", frozen(minus({}, p)))):
                self.work.spend(CASE)
                part = self._hard(known.after(literal), depth - 1)
                if part is None:
                    break
                parts.append(part)
            else:
                return {"compare": rows(p), "parts": parts}
        return None

    def _closed(self, known: _Known, literals: list[Formula], level: int) -> dict[str, Any] | None:
        found = contradiction(literals, self.age, level, self.work)
        if found is None:
            return None
        place = [known.literals[f] for f in literals]
        total = [[c, [place[k] for k in factors], *square] for c, factors, *square in found["sum"]]
        return {"sum": total, "equations": [[place[k], q] for k, q in found["equations"]]}

    # ---- what z3 knows ---------------------------------------------------------------------------------------------

    def needed(self, formulas: Sequence[Formula]) -> set[Formula]:
        """The formulas that z3 needs to contradict them; all of them if it does not say."""
        found = self._core(list(formulas))
        return set(_Known.of(found).open)

    def _core(self, formulas: list[Formula]) -> list[Formula]:
        marks = [f"b{i}" for i in range(len(formulas))]
        answer = ask(map(self._asked, formulas), ASKED, marks)
        if answer.result != "unsat":
            return formulas
        return [f for mark, f in zip(marks, formulas, strict=True) if mark in answer.core]

    def _model(self, literals: Iterable[Formula]) -> tuple[str, dict[str, float] | None]:
        if self.patience <= 0:
            return "unknown", None
        answer = ask([self._asked(f) for f in literals], ASKED)
        if answer.result != "sat":
            return answer.result, None
        return "sat", {a: float(answer.value(v)) for a, v in self.variables.items()}

    def _asked(self, f: Formula) -> Term:
        """The formula as z3 has it."""
        if f not in self.asked:
            match f[0]:
                case "and":
                    made = And(*map(self._asked, f[1]))
                case "or":
                    made = Or(*map(self._asked, f[1]))
                case relation:
                    p = total([self._product(m, c) for m, c in f[1]])
                    made = p > 0 if relation == ">" else p >= 0 if relation == ">=" else p == 0
            self.asked[f] = made
        return self.asked[f]

    def _product(self, monomial: Any, c: Fraction) -> Term:
        factors = (self.variables.setdefault(a, Real(a)) for a, power in monomial for _ in range(power))
        return product([term(c), *factors])


def _holds(f: Formula, model: dict[str, float]) -> bool:
    """Whether a formula is true in a model, up to rounding: it only says what to look at next."""
    match f[0]:
        case "and":
            return all(_holds(part, model) for part in f[1])
        case "or":
            return any(_holds(part, model) for part in f[1])
    total = 0.0
    for m, c in f[1]:
        term = float(c)
        for a, power in m:
            term *= model.get(a, 0.0) ** power
        total += term
    return total > 1e-9 if f[0] == ">" else total >= -1e-9 if f[0] == ">=" else abs(total) <= 1e-9


def _compared(core: list[Formula], literals: Iterable[Formula]) -> list[Any]:
    """What to compare with zero: what is bounded by zero from both sides, and variables of unknown sign."""
    known = set(literals)
    found = [dict(p) for relation, p in core if relation == ">=" and (">=", frozen(minus({}, dict(p)))) in known]
    count: dict[str, int] = {}
    for _, p in core:
        for m, _ in p:
            for a, _ in m:
                count[a] = count.get(a, 0) + 1
    for a in sorted(count, key=lambda a: (-count[a], a)):
        x: Terms = {((a, 1),): Fraction(1)}
        signs = ((">", frozen(x)), ("=", frozen(x)), (">", frozen(minus({}, x))))
        if not any(sign in known for sign in signs):
            found.append(x)
    return found[:COMPARED]


__all__ = ["refutation"]
