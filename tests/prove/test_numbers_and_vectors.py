"""Sentences about numbers and vectors at the edges: powers, tiny numbers, sizes, and sides without a value."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dotopt.compiler.prove.report import ClaimReport

Decided = Callable[..., ClaimReport]

HEAD = """theorem Edges
for all a, b, c, x, y, z, p > 0, q > 0, i : int, j : int, n : int > 0, k : int >= 0, s in [0, 1]
for all u : real[d], v : real[d], A : real[d, e]

claim c:
"""

SENTENCES = {
    # x^(2*y) is no square where y = 1/2
    "show x^(2*y) >= 0": "refuted",
    "show x^(2*y) == |x|^(2*y)": "refuted",
    "show x^(2*k) >= 0": "proved",
    "show p^(2*y) == (p^y)²": "proved",
    # what is not zero is not zero, however small
    "show √p*10^(-30) != 0": "proved",
    "show exp(-100*p) != 0": "proved",
    "show exp(-100*p) == 0": "refuted",
    "show tanh(100*p) != 1": "proved",
    "given exp(-100*p) == exp(-100*q); show p == q": "proved",
    "show log(p) < p - 1": "refuted",
    "given p <= 3; show p^0.75 > p": "refuted",
    # a side without a value
    "show std(u) >= 0": "open",
    "given d > 1; show std(u) >= 0": "proved",
    "show atanh(x) == x + atanh(x) - x": "open",
    "show x^i*x == x^(i + 1)": "open",
    "show p^i*p == p^(i + 1)": "proved",
    "show x^n*x == x^(n + 1)": "proved",
    "show (1/x if x > 0 else 0)*x + (1/x if x <= 0 else 0)*x == 1": "open",
    "show (1/x if x > 0 else 0)*x + (1/x if x < 0 else 0)*x == (1 if x != 0 else 0)": "proved",
    # the name of an axis is its size
    "show sum(u)² <= d*sum(u²)": "proved",
    "show ‖u‖[1] <= √d*‖u‖": "proved",
    "show sum(u) <= d*max(u)": "proved",
    "given d == 2; show sum(u)² <= 2*sum(u²)": "proved",
    "given d == 3; show sum(u)² <= 2*sum(u²)": "refuted",
    "show ‖u‖[1] <= √d*‖u‖[∞]": "refuted",
    "show d >= 2": "refuted",
    # the largest and the smallest entry
    "show max(-u) == -min(u)": "proved",
    "given a >= 0; show max(a*u) == a*max(u)": "proved",
    "show max(a*u) == a*max(u)": "refuted",
    "given u >= 0; show max(u) <= sum(u)": "proved",
    "show max(u) <= sum(u)": "refuted",
    "given u >= 0 and sum(u) == 0; show u == 0": "proved",
    "show |dot(u, v)| <= ‖u‖[1]*‖v‖[∞]": "proved",
    "show |‖u‖[∞] - ‖v‖[∞]| <= ‖u - v‖[∞]": "proved",
    "show |‖u‖[∞] - ‖v‖[∞]| < ‖u - v‖[∞]": "refuted",
    # false at one point only: where both sides meet
    "given ‖u‖ > 0 and ‖v‖ > 0; show dot(u, v)/(‖u‖*‖v‖) <= 1": "proved",
    "given ‖u‖ > 0 and ‖v‖ > 0; show dot(u, v)/(‖u‖*‖v‖) < 1": "refuted",
}


@pytest.mark.parametrize(("claim", "status"), SENTENCES.items())
def test_sentence(decided: Decided, claim: str, status: str) -> None:
    report = decided(HEAD + "".join(f"  {line.strip()}\n" for line in claim.split(";")))
    assert report.status == status, report


def test_a_size_in_a_counterexample_is_that_of_the_vectors_in_it(decided: Decided) -> None:
    report = decided(HEAD + "  given ‖u‖ > 0\n  show ‖sign(u)‖² == d\n")
    assert report.status == "refuted"
    assert report.counterexample["d"] == str(len(report.counterexample["u"]))
