"""True certificates, forged at every place: what the checker still accepts must still be true.

A forged certificate may happen to be another proof, or a proof of another sentence: so each one that is accepted is
judged by other means, z3 for formulas and random numbers for identities.
"""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import z3

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.report import ClaimReport

HEAD = "theorem Written\nobjective f : convex, smooth(L)\nfor all L > 0, η >= 0, a, b, c\n"
POINTS = "for all x : real[d], y : real[d], z : real[d]\n\nclaim it:\n"
CLAIMS = {
    "sums of products": "  given a >= 0 and b >= a\n  show a*b >= a² and b + c² >= 0\n",
    "cases": "  given c > 0\n  show |clip(a, -c, c)| <= c\n",
    "equations": "  given a*b == 1 and a > 0\n  show b > 0\n",
    "an identity": "  given a != b\n  show (a² - b²)/(a - b) == a + b\n",
    "an identity by cases": "  show (a if a > b else b) + (b if a > b else a) == a + b\n",
    "roots": "  given a > 0\n  show √(a²*b² + a²)/a == √(b² + 1)\n",
    "multipliers": "  given η*L <= 2\n  show f(x - η*∇f(x)) <= f(x) - η*(1 - L*η/2)*‖∇f(x)‖²\n",
    "multipliers with quotients": "  given η > 0 and η*L <= 1\n  show 0 <= (f(y) - f(x) - dot(∇f(x), y - x))/η\n",
}
MOST = 150  # forgeries of one certificate, spread over all places
NUMBERS = ("0", "1", "-1", "2")
RELATIONS = (">", ">=", "=")
KINDS = ("truth", "nf-zero", "multipliers", "positive", "smt-unsat", "all", "trees", "interval", "unheard of")


def forgeries(here: Any) -> Iterator[Any]:
    """Every value with one place changed: a number, a relation, a kind, an index, an item or a key taken away."""
    match here:
        case dict():
            for key, value in here.items():
                for changed in forgeries(value):
                    yield {**here, key: changed}
                yield {k: v for k, v in here.items() if k != key}
                if key == "kind":
                    yield from ({**here, "kind": kind} for kind in KINDS if kind != value)
        case list():
            for i, value in enumerate(here):
                for changed in forgeries(value):
                    yield [*here[:i], changed, *here[i + 1 :]]
                yield [*here[:i], *here[i + 1 :]]
        case str() if here in RELATIONS:
            yield from (r for r in RELATIONS if r != here)
        case str() if here.lstrip("-").replace("/", "", 1).isdigit():
            yield from (n for n in NUMBERS if n != here)
        case bool():
            yield not here
        case int():
            yield from (here + 1, here - 1)


# ---- judges ----------------------------------------------------------------------------------------------------------


def true(certificate: Any) -> bool:
    """Whether what a certificate says is so, as far as other means can tell."""
    parts = certificate.get("parts", ())
    match certificate["kind"]:
        case "positive" | "smt-unsat":
            return unsatisfiable(certificate["formulas"])
        case "nf-zero":
            questions = certificate.get("excluded", [])
            return all(same(certificate, case) for case in every(certificate)) and all(true(q) for _, q in questions)
        case "multipliers":
            return combined(certificate) and signed(certificate)
        case "truth":
            return certificate["value"] is True
        case _:
            return all(true(part) for part in parts)


def unsatisfiable(formulas: list[Any]) -> bool:
    def formula(f: Any) -> Any:
        if f[0] in ("and", "or"):
            return (z3.And if f[0] == "and" else z3.Or)(*map(formula, f[1]))
        total = z3.Sum([z3.RealVal(c) * z3.Product([z3.RealVal(1)] + [z3.Real(a) ** p for a, p in m]) for c, m in f[1]])
        return {">": total > 0, ">=": total >= 0, "=": total == 0}[f[0]]

    solver = z3.Solver()
    solver.set("timeout", 2000)
    solver.add(*map(formula, formulas))
    return bool(solver.check() == z3.unsat)


def evaluated(rows: Any, values: dict[str, float]) -> float:
    return sum(float(z3.RealVal(c).as_fraction()) * math.prod(values[a] ** p for a, p in m) for c, m in rows)


def names(rows: Any) -> set[str]:
    return {a for _, m in rows for a, _ in m}


def every(certificate: Any) -> Iterator[dict[str, int]]:
    """All choices of truth values but those that are excluded; what forgers leave out of the cases is among them."""
    conditions = sorted(
        {a for case in [*certificate["cases"], *(c for c, _ in certificate.get("excluded", []))] for a in case}
    )
    for bits in range(2 ** len(conditions)):
        choice = {a: bits >> i & 1 for i, a in enumerate(conditions)}
        if not any(case.items() <= choice.items() for case, _ in certificate.get("excluded", [])):
            yield choice


def same(certificate: Any, case: dict[str, int]) -> bool:
    """Whether both sides agree at random numbers, roots as their laws say."""
    rng = random.Random(1)
    laws = certificate["laws"]
    sides = [*certificate["left"], *certificate["right"]]
    free = sorted(set().union(*map(names, (*sides, *laws.values(), *certificate["values"].values()))) - set(laws))
    compared = 0
    for _ in range(60):
        values = {a: rng.uniform(0.5, 2) for a in free} | case
        try:
            for a, rows in certificate["values"].items():
                values[a] = evaluated(rows, values)
            for _ in laws:
                for a, rows in laws.items():
                    if names(rows) <= set(values):
                        values[a] = math.sqrt(evaluated(rows, values))
            top, bottom, other_top, other_bottom = (evaluated(p, values) for p in sides)
            left, right = top / bottom, other_top / other_bottom
        except (ValueError, ZeroDivisionError):
            continue
        compared += 1
        if abs(left - right) > 1e-9 * (1 + abs(left)):
            return False
    return compared > 0


def combined(certificate: Any) -> bool:
    """Whether the goal is the combination, at random numbers."""
    rng = random.Random(2)
    rows = [certificate["goal"], *(p for pair in certificate["products"] for p in pair)]
    inverses = certificate["inverses"]
    free = sorted(set().union(*map(names, (*rows, *inverses.values()))) - set(inverses))
    for _ in range(5):
        values = {a: rng.uniform(0.5, 2) for a in free}
        for a, below in inverses.items():
            values[a] = 1 / evaluated(below, values)
        total = sum(evaluated(m, values) * evaluated(p, values) for m, p in certificate["products"])
        if abs(evaluated(certificate["goal"], values) - total) > 1e-9 * (1 + abs(total)):
            return False
    return True


def signed(certificate: Any) -> bool:
    """Whether no multiplier is negative at random numbers that the premises of its part allow."""
    rng = random.Random(3)
    for (multiplier, _), part in zip(certificate["products"], certificate["parts"], strict=True):
        premises = part["formulas"][:-1]
        for _ in range(200):
            values = {a: rng.uniform(0, 3) for a in names(multiplier) | set().union(*map(_names_of, premises), ())}
            if all(_holds(f, values) for f in premises) and evaluated(multiplier, values) < -1e-9:
                return False
    return True


def _names_of(f: Any) -> set[str]:
    return set().union(*map(_names_of, f[1]), ()) if f[0] in ("and", "or") else names(f[1])


def _holds(f: Any, values: dict[str, float]) -> bool:
    if f[0] in ("and", "or"):
        return (all if f[0] == "and" else any)(_holds(part, values) for part in f[1])
    value = evaluated(f[1], values)
    return value > 0 if f[0] == ">" else value >= 0 if f[0] == ">=" else abs(value) < 1e-12


# ---- forging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLAIMS)
def test_what_is_accepted_is_true(name: str, decided: Callable[..., ClaimReport]) -> None:
    report = decided(HEAD + POINTS + CLAIMS[name], 5_000_000)
    assert report.status == "proved"
    genuine = json.loads(json.dumps(report.certificate))
    assert verify(genuine) and true(genuine)
    tried = accepted = 0
    places = list(forgeries(genuine))
    for forged in places[:: len(places) // MOST + 1]:
        tried += 1
        if not verify(copy.deepcopy(forged), work=500_000):
            continue
        accepted += 1
        assert true(forged), json.dumps(forged, ensure_ascii=False)
    print(f"{name}: {accepted} of {tried} forgeries are accepted, and true")
    assert accepted < tried / 2


def test_a_multiplier_needs_the_sign_of_its_own_part(decided: Callable[..., ClaimReport]) -> None:
    """Parts that are true but about something else, or that are left out, show nothing."""
    report = decided(HEAD + POINTS + CLAIMS["multipliers with quotients"], 5_000_000)
    genuine = json.loads(json.dumps(report.certificate))
    assert genuine["kind"] == "multipliers" and any(m != [["1", []]] for m, _ in genuine["products"])
    other = {"kind": "truth", "value": True}
    assert not verify({**genuine, "parts": [other for _ in genuine["parts"]]})
    assert not verify({**genuine, "parts": genuine["parts"][:-1]})
    turned = [[[[f"-{c}".replace("--", ""), m] for c, m in rows] for rows in pair] for pair in genuine["products"]]
    assert not verify({**genuine, "products": turned})  # (-λ)*(-p) is the same product


def test_a_case_without_value_is_no_case() -> None:
    """0/0 is not 1: a denominator that vanishes in a case leaves it without a value."""
    one, i = [["1", []]], [["1", [["i", 1]]]]
    shape = {"kind": "nf-zero", "laws": {}, "values": {}, "left": [i, i], "right": [one, one]}
    assert verify({**shape, "cases": [{}]})
    assert not verify({**shape, "cases": [{"i": 0}, {"i": 1}]})


def test_an_excluded_case_is_what_its_question_denies() -> None:
    one, nothing = [["1", []]], []
    i = [["1", [["i", 1]]]]
    question = {
        "kind": "positive",
        "formulas": [[">", one], [">", nothing]],
        "proof": {"sum": [["1", [1]]], "equations": []},
    }
    shape = {"kind": "nf-zero", "laws": {}, "values": {}, "left": [i, one], "right": [one, one], "cases": [{"i": 1}]}
    assert verify(question)  # 0 > 0 is impossible, and says nothing of i
    assert not verify({**shape, "excluded": [[{"i": 0}, question]]})


def test_malformed_certificates_show_nothing() -> None:
    for certificate in ({}, {"kind": "all"}, {"kind": "positive", "formulas": [], "proof": {"split": 0, "parts": []}}):
        assert not verify(certificate)
    assert not verify(
        {"kind": "multipliers", "goal": [["1", []]], "products": [], "parts": [], "values": {}, "inverses": {}}
    )
