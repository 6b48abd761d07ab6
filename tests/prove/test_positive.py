"""Proofs by cases and sums of products: found for true sentences, verified without z3, never found for false ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from dotopt.compiler.prove.checker import impossible, verify
from dotopt.compiler.prove.forms.clauses import Formula, literal, plain
from dotopt.compiler.prove.forms.positive import Work
from dotopt.compiler.prove.forms.tableau import refutation
from dotopt.compiler.prove.report import ClaimReport
from dotopt.compiler.prove.terms import Terms

HEAD = "theorem Written\nfor all a, b, c, x, y\n\nclaim it:\n"
CLAIMS = {
    "a triangle": "  show |a + b| <= |a| + |b|\n",
    "products of bounds": "  given a >= 0 and a <= 1 and b >= 0 and b <= 1\n  show a*b <= 1 and a + b - a*b <= 1\n",
    "a completed square": "  show a² + b² >= 2*a*b and 4*a² - 4*a*b + 5*b² >= 0\n",
    "a quotient": "  given a > 0 and b >= a\n  show b/a >= 1\n",
    "a root": "  given a >= 1\n  show √a >= 1 and √a <= a\n",
    "signs": "  show sign(a)*a >= 0 and |sign(a)| <= 1\n",
    "the larger": "  show max(a, b) >= (a + b)/2 and min(a, b) <= max(a, b)\n",
    "a choice": "  y' = a if a > b else b\n  show y' >= a and y' >= b\n",
    "an equation": "  given a*b == 1 and a > 0\n  show b > 0\n",
    "no sum of squares": "  show x^4*y² + x²*y^4 + 1 >= 3*x²*y²\n",
    "a clipped value": "  given c > 0\n  show |clip(x, -c, c)| <= c\n",
}


@pytest.mark.parametrize("name", CLAIMS)
def test_what_z3_found_is_proved_without_it(name: str, decided: Callable[..., ClaimReport]) -> None:
    report = decided(HEAD + CLAIMS[name])
    assert report.status == "proved"
    certificate = json.loads(json.dumps(report.certificate))
    assert "smt-unsat" not in json.dumps(certificate) and verify(certificate)


def proof(formulas: list[Formula]) -> dict[str, Any] | None:
    return refutation(formulas, lambda name: float(ord(name)), Work(200_000))


X: Terms = {(("x", 1),): Fraction(1)}
Y: Terms = {(("y", 1),): Fraction(1)}


def test_the_cases_of_a_proof_leave_nothing_out() -> None:
    either = ("or", (literal(">", X), literal("=", X), literal(">", Y)))
    below = [literal(">=", {m: -c for m, c in p.items()}) for p in (X, Y)]
    assert proof([either, *below]) is None  # x = 0
    found = proof([("or", (either[1][0], either[1][2])), *below])
    assert found is not None
    certificate = {"formulas": [plain(("or", (either[1][0], either[1][2]))), *map(plain, below)], "proof": found}
    assert impossible(certificate)
    assert not impossible({**certificate, "proof": {**found, "parts": found["parts"][:1]}})
    more = [plain(either), *certificate["formulas"][1:]]
    assert not impossible({**certificate, "formulas": more})


def test_what_has_a_model_is_never_refuted() -> None:
    """Random formulas that hold at a point that is drawn first."""
    rng = random.Random(3)
    for _ in range(20):
        point = {a: Fraction(rng.randint(-3, 3)) for a in "xyz"}
        formulas = [_true_at(point, rng) for _ in range(6)]
        assert proof(formulas) is None


def _true_at(point: dict[str, Fraction], rng: random.Random) -> Formula:
    p: Terms = {}
    for _ in range(rng.randint(1, 3)):
        monomial = tuple((a, rng.randint(1, 2)) for a in sorted(rng.sample("xyz", rng.randint(1, 2))))
        p[monomial] = Fraction(rng.choice((-2, -1, 1, 2)))
    value = sum((c * _at(m, point) for m, c in p.items()), Fraction(0))
    shift = rng.choice((Fraction(0), Fraction(1, 2)))
    p[()] = shift - value  # p is `shift` at the point
    relation = rng.choice((">=", ">", "=")) if not shift else rng.choice((">=", ">"))
    p = {m: c for m, c in p.items() if c}
    if not shift and relation == ">":
        return ("or", (literal(">", p), literal("=", p)))
    return literal(relation, p)


def _at(monomial: Any, point: dict[str, Fraction]) -> Fraction:
    value = Fraction(1)
    for a, power in monomial:
        value *= point[a] ** power
    return value


def test_a_multiple_with_a_quotient_is_no_multiple() -> None:
    """x = 0 does not give 1 = 0 by multiplying with 1/x."""
    forged = {"sum": [["1", []]], "equations": [[0, [["-1", [["x", -1]]]]]]}
    with pytest.raises(ValueError, match="negative power"):
        impossible({"formulas": [["=", [["1", [["x", 1]]]]]], "proof": forged})
