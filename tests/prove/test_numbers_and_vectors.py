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
    # an equation that is put in still says that both its sides have a value
    "given y == √x; show x >= 0": "proved",
    "given y == 1/x; show x != 0": "proved",
    "given y == 1/x; show x*y == 1": "proved",
    "given y == 1/x and x == 0; show z == 1": "vacuous",
    "given x == 0 and y == 1/x; show z == 1": "vacuous",
    "given u == √v; show sum(v) >= 0": "proved",
    "given y == √(x - 1); show x == 1": "refuted",
    "given y == √(x - 1) + √(1 - x); show x == 1": "proved",
    "given y == (1/x if x != 0 else 0); show x != 0": "refuted",
    # and puts whole numbers in only for whole numbers
    "given i == x; show x != 1": "refuted",
    "given n == x; show x >= 1": "proved",
    "given n == x; show x >= 2": "refuted",
    # whole numbers
    "given n < 2; show n == 1": "proved",
    "given n < 3; show n == 1": "refuted",
    "given x < 3 and x > 1; show x == 2": "refuted",
    "given i > 3; show i >= 4": "proved",
    "given 3 < i and i < 4; show x == 0": "vacuous",
    "show i² >= i": "proved",
    "show x² >= x": "refuted",
    "show i² != 2": "proved",
    "show i² != 4": "refuted",
    "given i == 2*j; show i != 2*k + 1": "proved",
    "given d < 2; show d == 1": "proved",
    "given a == std(u); show d >= 2": "proved",
    # rounding down and up
    "show x - 1 < floor(x) <= x": "proved",
    "show floor(x) < x": "refuted",
    "show floor(x + i) == floor(x) + i": "proved",
    "show floor(x + y) == floor(x) + floor(y)": "refuted",
    "show floor(x) + floor(y) <= floor(x + y)": "proved",
    "show floor(-x) == -ceil(x)": "proved",
    "show |p*floor(x/p + 1/2) - x| <= p/2": "proved",
    "show |p*floor(x/p) - x| <= p/2": "refuted",
    "given x <= y; show floor(x) <= floor(y)": "proved",
    "show 0 <= i - n*floor(i/n) < n": "proved",
    "show floor(2*x) == 2*floor(x)": "refuted",
    # strict at every place is strict for the largest and for sums
    "given u < a; show max(u) < a": "proved",
    "given u < v; show sum(u) < sum(v)": "proved",
    "given u <= v; show sum(u) < sum(v)": "refuted",
    # premises say that they have a value
    "given √x >= 2; show x >= 4": "proved",
    "given 1/x > 1; show 0 < x < 1": "proved",
    "given 1/x < 1; show x > 1": "refuted",
    "given x/y > 0; show x*y > 0": "proved",
    "given 1/x == 0; show z == 0": "vacuous",
    "given log(x) > 0; show x > 1": "proved",
    "given log(x) > 0 or x > 0; show x > 1": "refuted",
    # powers
    "show (-1)^(2*n) == 1": "proved",
    "show (-1)^n == 1": "refuted",
    "show (-x)^(2*k) == x^(2*k)": "proved",
    "show (-x)^(2*k + 1) == -x^(2*k + 1)": "proved",
    "show (-x)^n == -x^n": "refuted",
    "show |x^n| == |x|^n": "proved",
    "show (x²)^k == x^(2*k)": "proved",
    "show (x²)^y == x^(2*y)": "refuted",
    "show p^x*q^x == (p*q)^x": "proved",
    "show (p^x)^y == p^(x*y)": "proved",
    "show (p^x)^y == p^(x^3)": "refuted",
    "given x >= -1; show (1 + x)^n >= 1 + n*x": "proved",
    "show (1 + x)^n >= 1 + n*x": "refuted",
    "given x >= -1; show (1 + x)^s <= 1 + s*x": "proved",
    "given x >= -1; show (1 + x)^s >= 1 + s*x": "refuted",
    "show log(p^x) == x*log(p)": "proved",
    "show p^s*q^(1 - s) <= s*p + (1 - s)*q": "proved",
    "show p^s*q^(1 - s) >= s*p + (1 - s)*q": "refuted",
    "show (p + q)^s <= p^s + q^s": "proved",
    "show (p + q)^s >= p^s + q^s": "refuted",
    # functions
    "show exp((a + b)/2) <= (exp(a) + exp(b))/2": "proved",
    "show exp((a + b)/2) >= (exp(a) + exp(b))/2": "refuted",
    "show cos(x)² + sin(x)² == 1": "proved",
    "show |sin(x)| <= |x|": "proved",
    "show sin(x) <= x": "refuted",
    "show cos(x) >= 1 - x²/2": "proved",
    "show cos(x) >= 1 - x²/3": "refuted",
    "show tanh(x) == 2*sigmoid(2*x) - 1": "proved",
    "show erf(-x) == -erf(x)": "proved",
    "given x >= 1; show erf(x) <= x": "proved",
    "show erf(x) <= x": "refuted",
    "show gelu(x) <= relu(x)": "proved",
    "show gelu(x) >= 0": "refuted",
    "given x != 0; show log(x²) == 2*log(|x|)": "proved",
    "show log(x²) == 2*log(x)": "open",  # where x < 0 only the left side has a value
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

FAMILIES = """theorem Families
for all x[i in S], w[i in S] >= 0, z[k in 1..3], s[k in 1..3] in [0, 1], c

claim c:
"""

OF_FAMILIES = {
    "show w[i] >= 0": "proved",
    "show sum(w[i] for i in S) >= 0": "proved",
    "show sum(w[i] for i in S) > 0": "refuted",
    "show 0 <= s[2] <= 1": "proved",
    "show s[2] < 1": "refuted",
    "show sum(s[k] for k in 1..3) <= 3": "proved",
    "show max(s[k] for k in 1..3) <= 1": "proved",
    "given s[2] > 1; show c == 0": "vacuous",
    "show z[1] + z[2] + z[3] == sum(z[k] for k in 1..3)": "proved",
    "show z[1] + z[2] == sum(z[k] for k in 1..3)": "refuted",
    "given z[k] == k; show z[2] == 2": "proved",
    "show sum(k² for k in 1..3) == 14": "proved",
    "given x[i] == c; show mean(x[i] for i in S) == c": "open",  # was refuted: every member is c
    "given x[i] >= c; show mean(x[i] for i in S) > c": "refuted",
}


@pytest.mark.parametrize(("claim", "status"), OF_FAMILIES.items())
def test_sentence_about_a_family(decided: Decided, claim: str, status: str) -> None:
    report = decided(FAMILIES + "".join(f"  {line.strip()}\n" for line in claim.split(";")))
    assert report.status == status, report


@pytest.mark.parametrize(("claim", "status"), SENTENCES.items())
def test_sentence(decided: Decided, claim: str, status: str) -> None:
    report = decided(HEAD + "".join(f"  {line.strip()}\n" for line in claim.split(";")))
    assert report.status == status, report


def test_a_size_in_a_counterexample_is_that_of_the_vectors_in_it(decided: Decided) -> None:
    report = decided(HEAD + "  given ‖u‖ > 0\n  show ‖sign(u)‖² == d\n")
    assert report.status == "refuted"
    assert report.counterexample["d"] == str(len(report.counterexample["u"]))
