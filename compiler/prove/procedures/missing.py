"""What a proof lacks, in a sentence: the term of which too little is known, or the work that z3 would need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from dotopt.compiler.ir import FUNCTIONS, Node
from dotopt.compiler.ops import OPERATIONS
from dotopt.compiler.prove.forms.facts import Facts
from dotopt.compiler.prove.forms.normal import Unsupported, atoms_below
from dotopt.compiler.prove.forms.polynomial import Atom, Polynomial, fraction
from dotopt.compiler.prove.forms.smt import check
from dotopt.compiler.prove.worlds.numbers import text

WORK = 100_000
NAMED, SHOWN = ("leaf", "oracle", "apply"), 6  # whose values a reason shows, and of how many
LONGEST = 60  # characters of a term of the claim in a reason
# Numbers that may be anything, and terms that z3 gets with a full definition, are not to blame.
UNDERSTOOD = {"leaf", "oracle", "base", "inverse", "sqrt", "abs", "sign", "truth", "size", "pi", "eye"}
# The first kind that occurs is blamed; kinds that are not listed have no laws at all and come before these.
SAID = {
    **{op: "`{}` is known by its bounds only" for op in FUNCTIONS if OPERATIONS[op].axioms},
    "pow": "powers such as `{}` are known by their order, tangents and chords only",
    "amax": "of `{}` only bounds at every place are known",
    "amin": "of `{}` only bounds at every place are known",
    "spectral_norm": "of `{}` only the sign is known",
    "spectral_radius": "of `{}` only the sign is known",
    "word": "products of matrices such as `{}` are equal or not, and have no order",
    "trace": "products of matrices such as `{}` are equal or not, and have no order",
    "sum": "sums such as `{}` are known term by term and by Cauchy-Schwarz only",
}


def missing(goal: Node, facts: Facts) -> str:
    """Why z3 does not decide a goal under these premises; empty where nothing can be said."""
    if facts.skipped:
        return f"the premise `{short(facts.skipped[0])}` has no normal form"
    try:
        question, atoms = facts.question(goal)
    except Unsupported as error:
        return str(error)
    except ArithmeticError:
        return ""
    answer = check(question, WORK)
    if answer.result == "unknown":
        return f"z3 finds no answer for its work ({_size(goal, facts)})"
    unclear = [a for a in atoms if a.kind not in UNDERSTOOD]
    order = ["", *SAID]
    for a in sorted(unclear, key=lambda a: (order.index(a.kind) if a.kind in SAID else 0, a.number)):
        term = _term(a, facts, goal)
        if term:
            return SAID.get(a.kind, "nothing is known of `{}`").format(term)
    values = ", ".join(_values(facts.smt.numbers(answer, atoms)))
    return f"z3 finds values at one place for which it fails{values and f', {values},'} and no numbers confirm them"


def _values(numbers: Mapping[Atom, Fraction]) -> Iterator[str]:
    """The values of the names and of what functions answer, a few of them."""
    shown = sorted((a for a in numbers if a.kind in NAMED and len(repr(a)) <= LONGEST), key=lambda a: a.number)
    yield from (f"{a!r} = {text(numbers[a])}" for a in shown[:SHOWN])
    if len(shown) > SHOWN:
        yield "…"


def short(here: Node) -> str:
    """A node as text, cut where it is long."""
    written = repr(here)
    return written if len(written) <= LONGEST else written[: LONGEST - 1] + "…"


def _term(a: Atom, facts: Facts, goal: Node) -> str:
    """The shortest part of the goal in whose normal form the atom occurs."""
    parts = {part for side in goal.args for part in side.walk()} & facts.normal.done.keys()
    found = [short(part) for part in parts if part.type.kind != "bool" and a in atoms_below(facts.normal.done[part])]
    return min(found, key=lambda text: (len(text), text), default="")


def _size(goal: Node, facts: Facts) -> str:
    """How large the polynomial inequality is that z3 was given."""
    p = facts.normal(goal.args[0]) - facts.normal(goal.args[1]) if len(goal.args) == 2 else Polynomial(())
    top = fraction(p)[0]
    degree = max((sum(abs(power) for _, power in monomial) for monomial, _ in top.terms), default=0)
    return f"a polynomial of {len(top.terms)} terms and degree {degree} in {len(atoms_below(top))} unknowns"


__all__ = ["missing", "short"]
