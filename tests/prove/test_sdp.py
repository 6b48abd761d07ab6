"""Inequalities with numbers for all constants, by a semidefinite program whose answer is only a guess."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotopt.compiler.prove.checker import verify
from dotopt.compiler.prove.procedures import sdp
from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

needs_solver = pytest.mark.skipif(not sdp.available(), reason="needs Clarabel: pip install dotopt[sdp]")
HEAD = '''theorem Rates
objective f : convex, smooth(1)
objective h : strongly_convex(1), smooth(4)
for all x : real[d], s : real[d]

claim c:
'''
ONE = "given ∇f(s) == 0\n  show f(x - ∇f(x)) - f(s) <= ‖x - s‖²/"
TWO = "given ∇f(s) == 0\n  z = x - ∇f(x)\n  show f(z - ∇f(z)) - f(s) <= ‖x - s‖²/"
NEAR = "given ∇h(s) == 0\n  show ‖x - 2/5*∇h(x) - s‖² <= "
CASES = {  # Drori and Teboulle (2014): after N steps of length 1/L the constant is L/(4 N + 2)
    f"{ONE}6": "proved", f"{ONE}(28/5)": "proved", f"{ONE}7": "refuted",
    f"{TWO}10": "proved", f"{TWO}9": "proved", f"{TWO}11": "refuted",
    f"{NEAR}9/25*‖x - s‖²": "proved", f"{NEAR}10/25*‖x - s‖²": "proved", f"{NEAR}8/25*‖x - s‖²": "refuted",
}  # fmt: skip


def decide(decided: Decided, claim: str) -> ClaimReport:
    return decided(f"{HEAD}  {claim}\n", fuel=4_000_000)


@needs_solver
@pytest.mark.parametrize(("claim", "status"), CASES.items())
def test_rates(decided: Decided, claim: str, status: str) -> None:
    assert decide(decided, claim).status == status


def squares(certificate: dict[str, Any]) -> dict[str, Any] | None:
    """The part of a certificate that holds squares."""
    if certificate.get("squares"):
        return certificate
    return next((found for part in certificate.get("parts", ()) if (found := squares(part))), None)


@needs_solver
def test_a_forged_certificate_shows_nothing(decided: Decided) -> None:
    genuine = squares(decide(decided, f"{TWO}9").certificate or {})
    assert genuine is not None and verify(genuine)
    for change in (lower_weight, other_vector, lost_square, negative_multiplier, unknown_product):
        forged = copy.deepcopy(genuine)
        change(forged)
        assert not verify(forged), change.__name__


def lower_weight(c: dict[str, Any]) -> None:
    c["squares"][0][0] = str(-Fraction(c["squares"][0][0]))


def other_vector(c: dict[str, Any]) -> None:
    c["squares"][0][1][0][0] = str(Fraction(c["squares"][0][1][0][0]) + 1)


def lost_square(c: dict[str, Any]) -> None:
    del c["squares"][0]


def negative_multiplier(c: dict[str, Any]) -> None:
    c["products"][0][0] = [["-1", []]]


def unknown_product(c: dict[str, Any]) -> None:
    c["inner"] = []


NUMBERS = st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=3)


@given(NUMBERS)
def test_ldl_of_sums_of_squares(rows: list[list[int]]) -> None:
    matrix = [[Fraction(sum(r[i] * r[j] for r in rows)) for j in range(3)] for i in range(3)]
    factors = sdp.ldl(matrix)
    assert factors is not None and all(d > 0 for d, _ in factors)
    assert [[sum(d * r[i] * r[j] for d, r in factors) for j in range(3)] for i in range(3)] == matrix


@given(NUMBERS)
def test_ldl_refuses_what_has_a_negative_eigenvalue(rows: list[list[int]]) -> None:
    matrix = np.array([[sum(r[i] + r[j] for r in rows) for j in range(3)] for i in range(3)], dtype=float)
    lowest = float(np.linalg.eigvalsh(matrix)[0])
    found = sdp.ldl([[Fraction(int(x)) for x in row] for row in matrix])
    assert (found is None) == (lowest < -1e-9)
